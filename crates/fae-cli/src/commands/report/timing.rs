//! Medians of times.

use std::time::{Duration, Instant};

use candle_core::Device;

/// The median time of some runs of `work`, each waited for, after some that warm up: buffers of a
/// device take turns.
///
/// # Errors
/// Those of `work`, and a device that fails.
pub(super) fn median_time(
    device: &Device,
    rounds: usize,
    mut work: impl FnMut(usize) -> anyhow::Result<()>,
) -> anyhow::Result<Duration> {
    let warming = if device.is_cpu() { 1 } else { 3 };
    for round in 0..warming {
        work(round)?;
        device.synchronize()?;
    }
    let mut times = Vec::with_capacity(rounds);
    for round in 0..rounds.max(1) {
        let start = Instant::now();
        work(round)?;
        device.synchronize()?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

/// Billions a second.
pub(super) fn billions_per_second(count: f64, time: Duration) -> f64 {
    count / time.as_secs_f64() / 1e9
}
