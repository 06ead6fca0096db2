//! The loop over damaged inputs.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::mutate;
use crate::Counting;

/// What a parser may take whatever its input is: buffers, tables of fixed size.
const MOST_FIXED: usize = 64 << 20;
/// What it may take for each byte of its input.
const MOST_PER_BYTE: usize = 16;

/// Parses an input and says whether it was accepted.
pub type Check<'a> = Box<dyn FnMut(&[u8]) -> bool + 'a>;

/// A parser with valid inputs.
pub struct Target<'a> {
    /// What is parsed.
    pub name: &'a str,
    /// Valid inputs.
    pub seeds: Vec<Vec<u8>>,
    /// How many inputs are tried where `RECSYS_FUZZ_SECONDS` is not set.
    pub executions: u64,
    /// Parses an input and says whether it was accepted; panics where a property does not hold.
    pub check: Check<'a>,
}

/// Shows damaged inputs to every target, and prints how many were tried, accepted and refused, and
/// the most memory and the most time that one took.
///
/// `RECSYS_FUZZ_SECONDS=600` divides that time among the targets, `RECSYS_FUZZ_TARGET=npz`
/// leaves out those whose names do not hold that, `RECSYS_FUZZ_SEED=7` chooses other inputs.
///
/// # Panics
/// Where a target panics, takes more than 64 MiB and 16 bytes for each byte of its input, or refuses a seed. The number of the input
/// and the file that it was saved to are printed.
pub fn run(targets: &mut [Target<'_>]) {
    let only = std::env::var("RECSYS_FUZZ_TARGET").unwrap_or_default();
    let mut targets: Vec<_> = targets.iter_mut().collect();
    targets.retain(|target| target.name.contains(&only));
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let seed = number("RECSYS_FUZZ_SEED").unwrap_or(0);
    let share = number("RECSYS_FUZZ_SECONDS")
        .map(|seconds| Duration::from_secs(seconds) / targets.len().max(1) as u32);
    println!(
        "{:<28} {:>12} {:>12} {:>12} {:>12} {:>12}",
        "target", "inputs", "accepted", "refused", "peak bytes", "slowest ms"
    );
    for target in targets {
        for input in target.seeds.clone() {
            let accepted = try_input(target, &input, "seed").0;
            assert!(accepted, "{}: a valid input was refused", target.name);
        }
        let start = Instant::now();
        let (mut inputs, mut accepted, mut peak, mut slowest) = (0, 0, 0, Duration::ZERO);
        while share.map_or(inputs < target.executions, |share| start.elapsed() < share) {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            random.set_stream(inputs);
            let input = mutate(&mut random, &target.seeds);
            let clock = Instant::now();
            let (taken, memory) = try_input(target, &input, &inputs.to_string());
            slowest = clock.elapsed().max(slowest);
            inputs += 1;
            accepted += u64::from(taken);
            peak = memory.max(peak);
        }
        let refused = inputs - accepted;
        println!(
            "{:<28} {inputs:>12} {accepted:>12} {refused:>12} {peak:>12} {:>12}",
            target.name,
            slowest.as_millis()
        );
    }
}

fn try_input(target: &mut Target<'_>, input: &[u8], number: &str) -> (bool, usize) {
    let (result, memory) =
        Counting::peak_of(|| catch_unwind(AssertUnwindSafe(|| (target.check)(input))));
    let most = MOST_FIXED + MOST_PER_BYTE * input.len();
    let accepted = match result {
        Ok(accepted) if memory <= most => accepted,
        failed => {
            let name = target.name.replace(' ', "-");
            let path = std::env::temp_dir().join(format!("fuzz-{name}-{number}"));
            // Without the file the number is enough to find the input again.
            let _ = std::fs::write(&path, input);
            eprintln!(
                "{}, input {number}: saved as {}",
                target.name,
                path.display()
            );
            match failed {
                Err(panic) => resume_unwind(panic),
                Ok(_) => panic!("{memory} bytes taken for {} of input", input.len()),
            }
        }
    };
    (accepted, memory)
}
