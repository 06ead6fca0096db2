//! Tasks in order, by several threads.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};

/// Lets `workers` threads of the rayon pool take tasks `0..tasks` in order. Every worker begins with a state of its own.
///
/// # Errors
/// After an error no task begins any more; of several errors that of the first task is returned.
pub(super) fn in_order<S>(
    tasks: usize,
    workers: usize,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, usize) -> Result<()> + Sync,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let stopped = AtomicBool::new(false);
    let failure: Mutex<Option<(usize, Error)>> = Mutex::new(None);
    let run = || {
        let mut state = state();
        while !stopped.load(Ordering::Relaxed) {
            let task = next.fetch_add(1, Ordering::Relaxed);
            if task >= tasks {
                return;
            }
            let Err(error) = work(&mut state, task) else {
                continue;
            };
            stopped.store(true, Ordering::Relaxed);
            let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
            if failure.as_ref().is_none_or(|(first, _)| task < *first) {
                *failure = Some((task, error));
            }
        }
    };
    rayon::scope(|scope| {
        for _ in 0..workers.min(tasks) {
            scope.spawn(|_| run());
        }
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some((_, error)) => Err(error),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_done_once_and_the_first_failure_is_told() {
        let done: Vec<AtomicUsize> = (0..50).map(|_| AtomicUsize::new(0)).collect();
        let count = |_: &mut (), task: usize| {
            done[task].fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        in_order(50, 4, || (), count).unwrap();
        assert!(done.iter().all(|done| done.load(Ordering::Relaxed) == 1));
        let fail = |_: &mut (), task: usize| match task {
            0..5 => Ok(()),
            _ => Err(Error::TooManyIds {
                samples: task as u64,
            }),
        };
        let error = in_order(50, 1, || (), fail).unwrap_err();
        assert!(matches!(error, Error::TooManyIds { samples: 5 }));
    }
}
