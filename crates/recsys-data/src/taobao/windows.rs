//! Which of a user's windows become samples.

use crate::generate::{Counter, Draws};

/// The family of draws that choose windows.
pub(super) const FAMILY: u64 = 1;

/// A number below `bound`, by multiplication (Lemire 2019, without the rejection: the bias is below `bound` / 2^64).
#[inline]
pub(super) fn below(draws: &mut Draws, bound: u64) -> u64 {
    (u128::from(draws.bits()) * u128::from(bound) >> 64) as u64
}

/// Puts the numbers of `most` of `windows` windows into `into`, in order; all where there are no more.
///
/// Every choice is equally likely (Floyd's algorithm: Bentley and Floyd, Programming Pearls, 1987).
pub(super) fn choose(windows: u64, most: u64, counter: Counter, user: u32, into: &mut Vec<u64>) {
    into.clear();
    if windows <= most {
        into.extend(0..windows);
        return;
    }
    let mut draws = counter.sample(u64::from(user));
    for last in windows - most..windows {
        let drawn = below(&mut draws, last + 1);
        match into.binary_search(&drawn) {
            // `last` is above everything that was drawn before.
            Ok(_) => into.push(last),
            Err(place) => into.insert(place, drawn),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn as_many_windows_as_asked_for_in_order(windows in 0u64..300, most in 1u64..400, user: u32) {
            let mut chosen = Vec::new();
            choose(windows, most, Counter::new(3, 1), user, &mut chosen);
            prop_assert_eq!(chosen.len() as u64, windows.min(most));
            prop_assert!(chosen.is_sorted_by(|before, after| before < after));
            prop_assert!(chosen.iter().all(|&window| window < windows));
        }
    }

    #[test]
    fn every_window_is_as_likely_as_the_others() {
        let mut counts = [0u32; 12];
        let mut chosen = Vec::new();
        for user in 0..12_000 {
            choose(12, 5, Counter::new(1, 1), user, &mut chosen);
            chosen
                .iter()
                .for_each(|&window| counts[window as usize] += 1);
        }
        // 5,000 expected, standard deviation 54.
        assert!(
            counts.iter().all(|count| count.abs_diff(5000) < 270),
            "{counts:?}"
        );
    }
}
