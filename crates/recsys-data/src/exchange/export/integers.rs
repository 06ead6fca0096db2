//! From `ln(x + 1)` back to `x`.

use crate::criteo::logarithm;

/// Smaller integers have logarithms of their own in single precision.
const EXACT: i32 = 1 << 20;

/// Whether another integer has the same logarithm in single precision.
pub(super) fn shares(integer: i32) -> bool {
    let same = |other: Option<i32>| {
        other.is_some_and(|other| logarithm(other).to_bits() == logarithm(integer).to_bits())
    };
    integer >= EXACT && (same(integer.checked_add(1)) || same(integer.checked_sub(1)))
}

/// An integer from 0 on of which `PrepareCriteo` makes exactly this value, if there is one.
///
/// From [`EXACT`] on several integers share a logarithm in single precision; it is the one next to
/// the exact inverse.
pub(super) fn integer_of(value: f32) -> Option<i32> {
    let guess = (f64::from(value).exp() - 1.0).round();
    // A cast saturates, and makes 0 of what is no number.
    let mut integer = (guess as i32).max(0);
    let below = logarithm(integer) < value;
    loop {
        let found = logarithm(integer);
        if found.to_bits() == value.to_bits() {
            return Some(integer);
        }
        if (found < value) != below {
            return None;
        }
        integer = if below {
            integer.checked_add(1)?
        } else {
            integer.checked_sub(1).filter(|integer| *integer >= 0)?
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_small_integer_comes_back() {
        for integer in 0..EXACT {
            assert_eq!(integer_of(logarithm(integer)), Some(integer));
        }
        let mut next = EXACT..2 * EXACT;
        assert!(next.any(|integer| integer_of(logarithm(integer)) != Some(integer)));
        assert!(shares(1_312_407) && shares(i32::MAX) && !shares(1_000));
        assert!(integer_of(logarithm(i32::MAX)).is_some());
    }

    #[test]
    fn other_values_have_no_integer() {
        let others = [
            0.5,
            -0.0,
            -1.0,
            1e-30,
            22.0,
            1e30,
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
        ];
        for value in others
            .into_iter()
            .chain([logarithm(7).next_up(), logarithm(1 << 10).next_down()])
        {
            assert_eq!(integer_of(value), None, "{value}");
        }
    }

    proptest! {
        #[test]
        fn every_logarithm_has_an_integer(integer in 0..=i32::MAX) {
            let found = integer_of(logarithm(integer)).unwrap();
            prop_assert_eq!(logarithm(found).to_bits(), logarithm(integer).to_bits());
        }

        #[test]
        fn any_value_ends(bits: u32) {
            if let Some(found) = integer_of(f32::from_bits(bits)) {
                prop_assert_eq!(logarithm(found).to_bits(), bits);
            }
        }
    }
}
