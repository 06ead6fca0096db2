//! Ratios of times on a machine whose speed drifts: candidates take turns, and medians are compared.

use std::time::{Duration, Instant};

/// Runs every candidate once per round and returns the median time of each.
pub fn medians<const N: usize>(
    rounds: usize,
    candidates: [&mut (dyn FnMut(usize) + Send); N],
) -> [Duration; N] {
    medians_after(rounds, &mut |_, _| (), candidates)
}

/// [`medians`], where `before(round, candidate)` runs, untimed, before each candidate.
pub fn medians_after<const N: usize>(
    rounds: usize,
    before: &mut dyn FnMut(usize, usize),
    mut candidates: [&mut (dyn FnMut(usize) + Send); N],
) -> [Duration; N] {
    let mut times: [Vec<Duration>; N] = std::array::from_fn(|_| Vec::with_capacity(rounds));
    for round in 0..rounds {
        for (number, (candidate, times)) in candidates.iter_mut().zip(&mut times).enumerate() {
            before(round, number);
            let start = Instant::now();
            candidate(round);
            times.push(start.elapsed());
        }
    }
    times.map(|mut times| {
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default()
    })
}
