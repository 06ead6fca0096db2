//! How the samples of a split are being read, and when it pays to ask the system for them ahead of their use.
//!
//! In ascending order the system's own reading ahead is best. In any other order it reads megabytes around every sample, most
//! of which are gone before they are used where the data are larger than memory; so it is told not to, and asked for exactly
//! the pages that will be read, many at a time. Asking costs a few system calls a sample. Where reading does not wait for the
//! disk, nothing is asked for.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Lists of samples that are asked for after one had to wait.
const AFTER_A_WAIT: u32 = 1024;

/// What is known about the reading of a split.
#[derive(Debug, Default)]
pub(super) struct Access {
    scattered: AtomicBool,
    asks_left: AtomicU32,
    readings: AtomicU64,
}

impl Access {
    /// The number of a reading that begins, counted from 1.
    pub(super) fn begin(&self) -> u64 {
        self.readings.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Notes whether samples come in another order than an ascending one; `true` where that was otherwise before.
    pub(super) fn turns(&self, scattered: bool) -> bool {
        self.scattered.swap(scattered, Ordering::Relaxed) != scattered
    }

    /// Whether it pays to ask for the next list of samples.
    pub(super) fn asks(&self) -> bool {
        let less = |left: u32| left.checked_sub(1);
        self.asks_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
    }

    /// Reads, and notes whether that waited for the disk.
    pub(super) fn read<R>(&self, read: impl FnOnce() -> R) -> R {
        let before = waits();
        let result = read();
        if before.is_none() || waits() != before {
            self.waited();
        }
        result
    }

    pub(super) fn waited(&self) {
        self.asks_left.store(AFTER_A_WAIT, Ordering::Relaxed);
    }
}

/// How often this thread has waited for a page from a disk; `None` where the system does not say.
#[cfg(target_os = "linux")]
fn waits() -> Option<libc::c_long> {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: the pointer is valid for writes of a `rusage`, which the call fills where it returns 0.
    unsafe {
        (libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()) == 0)
            .then(|| usage.assume_init().ru_majflt)
    }
}

#[cfg(not(target_os = "linux"))]
fn waits() -> Option<()> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_asked_for_only_after_a_wait() {
        let access = Access::default();
        assert!(!access.asks());
        access.asks_left.store(2, Ordering::Relaxed);
        assert_eq!(
            [access.asks(), access.asks(), access.asks()],
            [true, true, false]
        );
        assert_eq!(
            [true, true, false].map(|now| access.turns(now)),
            [true, false, true]
        );
        assert_eq!(access.read(|| 7), 7);
    }
}
