//! Rounding to a format in any direction, and the formats of 16 bits.

/// Where a result goes that a format cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::ptx) enum Rounding {
    /// To the nearest, ties to even.
    Nearest,
    /// Towards zero.
    Zero,
    /// Towards negative infinity.
    Down,
    /// Towards positive infinity.
    Up,
}

/// A binary format that 64 bits contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ptx) struct Format {
    /// Bits of the significand that are stored.
    fraction: u32,
    /// Bits of the exponent.
    exponent: u32,
}

impl Format {
    pub(in crate::ptx) const F16: Format = Format {
        fraction: 10,
        exponent: 5,
    };
    pub(in crate::ptx) const BF16: Format = Format {
        fraction: 7,
        exponent: 8,
    };
    pub(in crate::ptx) const F32: Format = Format {
        fraction: 23,
        exponent: 8,
    };

    fn bias(self) -> i32 {
        (1 << (self.exponent - 1)) - 1
    }

    fn largest(self) -> f64 {
        power_of_two(self.bias()) * (2.0 - power_of_two(-(self.fraction as i32)))
    }

    /// The value that `value + error` becomes, where `error` is below half of the last place of `value`.
    pub(in crate::ptx) fn round(self, value: f64, error: f64, rounding: Rounding) -> f64 {
        if value == 0.0 || !value.is_finite() {
            return value;
        }
        let value = to_odd(value, error);
        let exponent = exponent_of(value).max(1 - self.bias());
        let last_place = exponent - self.fraction as i32;
        let scaled = value * power_of_two(-last_place);
        let rounded = round_to_integer(scaled, rounding) * power_of_two(last_place);
        let largest = self.largest();
        if rounded.abs() <= largest {
            // A negative value that becomes zero keeps its sign.
            return rounded.copysign(value);
        }
        let infinite = match rounding {
            Rounding::Nearest => true,
            Rounding::Zero => false,
            Rounding::Down => value < 0.0,
            Rounding::Up => value > 0.0,
        };
        if infinite { f64::INFINITY } else { largest }.copysign(value)
    }

    /// The bits of a value that the format holds.
    pub(in crate::ptx) fn encode(self, value: f64) -> u64 {
        let bits = value.to_bits();
        let sign = (bits >> 63) << (self.fraction + self.exponent);
        let infinity = ((1 << self.exponent) - 1) << self.fraction;
        let magnitude = if value.is_nan() {
            // The canonical NaN of the 16-bit formats: all bits but the sign.
            return (1 << (self.fraction + self.exponent)) - 1;
        } else if value.is_infinite() {
            infinity
        } else if value == 0.0 {
            0
        } else {
            let exponent = exponent_of(value);
            let least = 1 - self.bias();
            if exponent < least {
                (value.abs() * power_of_two(self.fraction as i32 - least)) as u64
            } else {
                let fraction = (bits & ((1 << 52) - 1)) >> (52 - self.fraction);
                ((exponent + self.bias()) as u64) << self.fraction | fraction
            }
        };
        sign | magnitude
    }

    /// The value of bits in the format.
    pub(in crate::ptx) fn decode(self, bits: u64) -> f64 {
        let fraction = bits & ((1 << self.fraction) - 1);
        let exponent = (bits >> self.fraction) & ((1 << self.exponent) - 1);
        let negative = bits >> (self.fraction + self.exponent) & 1 == 1;
        let least = 1 - self.bias();
        let magnitude = if exponent == (1 << self.exponent) - 1 {
            if fraction == 0 {
                f64::INFINITY
            } else {
                f64::NAN
            }
        } else if exponent == 0 {
            fraction as f64 * power_of_two(least - self.fraction as i32)
        } else {
            (1.0 + fraction as f64 * power_of_two(-(self.fraction as i32)))
                * power_of_two(exponent as i32 - self.bias())
        };
        if negative { -magnitude } else { magnitude }
    }
}

fn power_of_two(exponent: i32) -> f64 {
    debug_assert!((-1022..=1023).contains(&exponent));
    f64::from_bits(((1023 + exponent) as u64) << 52)
}

/// The exponent of a finite value; that of the smallest normal number for all below it.
fn exponent_of(value: f64) -> i32 {
    (((value.to_bits() >> 52) & 0x7FF) as i32 - 1023).max(-1022)
}

/// Rounds `value + error` to odd, so that rounding the result once more is rounding the sum once.
fn to_odd(value: f64, error: f64) -> f64 {
    if error == 0.0 || error.is_nan() {
        return value;
    }
    let bits = value.to_bits();
    let truncated = if (error > 0.0) == (value > 0.0) {
        bits
    } else {
        bits - 1
    };
    f64::from_bits(truncated | 1)
}

/// Rounds to an integer.
pub(super) fn round_to_integer(value: f64, rounding: Rounding) -> f64 {
    match rounding {
        Rounding::Nearest => value.round_ties_even(),
        Rounding::Zero => value.trunc(),
        Rounding::Down => value.floor(),
        Rounding::Up => value.ceil(),
    }
}

/// What rounding to nearest lost of a sum (Knuth's TwoSum).
pub(super) fn sum_error(a: f64, b: f64, sum: f64) -> f64 {
    let b_virtual = sum - a;
    (a - (sum - b_virtual)) + (b - b_virtual)
}

/// The sign of a sum that is exactly zero.
fn zero_sum(a: f64, b: f64, rounding: Rounding) -> f64 {
    if rounding == Rounding::Down && (a.is_sign_negative() || b.is_sign_negative()) {
        -0.0
    } else {
        a + b
    }
}

/// `a + b` in a format that 64 bits contain.
pub(super) fn sum_in(format: Format, a: f64, b: f64, rounding: Rounding) -> f64 {
    let sum = a + b;
    if sum == 0.0 {
        return zero_sum(a, b, rounding);
    }
    format.round(sum, sum_error(a, b, sum), rounding)
}

/// `a + b` in 64 bits.
pub(super) fn sum_f64(a: f64, b: f64, rounding: Rounding) -> f64 {
    let sum = a + b;
    if sum == 0.0 {
        return zero_sum(a, b, rounding);
    }
    if sum.is_infinite() && a.is_finite() && b.is_finite() {
        return overflow(sum, rounding);
    }
    directed(sum, sum_error(a, b, sum), rounding)
}

/// `a * b` in 64 bits.
pub(super) fn product_f64(a: f64, b: f64, rounding: Rounding) -> f64 {
    let product = a * b;
    if product.is_infinite() && a.is_finite() && b.is_finite() {
        return overflow(product, rounding);
    }
    directed(product, a.mul_add(b, -product), rounding)
}

fn overflow(infinity: f64, rounding: Rounding) -> f64 {
    let inward = match rounding {
        Rounding::Nearest => false,
        Rounding::Zero => true,
        Rounding::Down => infinity > 0.0,
        Rounding::Up => infinity < 0.0,
    };
    if inward {
        f64::MAX.copysign(infinity)
    } else {
        infinity
    }
}

/// Moves a result that was rounded to nearest in the direction asked for.
fn directed(value: f64, error: f64, rounding: Rounding) -> f64 {
    if !value.is_finite() || error == 0.0 || error.is_nan() {
        return value;
    }
    match rounding {
        Rounding::Nearest => value,
        Rounding::Down if error < 0.0 => value.next_down(),
        Rounding::Up if error > 0.0 => value.next_up(),
        Rounding::Zero if value > 0.0 && error < 0.0 => value.next_down(),
        Rounding::Zero if value < 0.0 && error > 0.0 => value.next_up(),
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_to_f32_like_the_processor() {
        let mut state = 1_u64;
        for _ in 0..200_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let value = f64::from_bits(state);
            if value.is_nan() {
                continue;
            }
            let near = Format::F32.round(value, 0.0, Rounding::Nearest);
            assert_eq!(
                (near as f32).to_bits(),
                (value as f32).to_bits(),
                "{value:e}"
            );
            let down = Format::F32.round(value, 0.0, Rounding::Down);
            let up = Format::F32.round(value, 0.0, Rounding::Up);
            assert!(
                down <= value && value <= up && (near == down || near == up),
                "{value:e}"
            );
        }
    }

    #[test]
    fn sixteen_bits_return() {
        for format in [Format::F16, Format::BF16] {
            for bits in 0..=0xFFFF_u64 {
                let value = format.decode(bits);
                if !value.is_nan() {
                    assert_eq!(format.encode(value), bits);
                    assert_eq!(format.round(value, 0.0, Rounding::Nearest), value);
                }
            }
        }
        assert_eq!(Format::F16.decode(0x3C01), 1.0 + 1.0 / 1024.0);
        assert_eq!(
            Format::F16.round(65_520.0, 0.0, Rounding::Nearest),
            f64::INFINITY
        );
        assert_eq!(
            Format::F16.round(65_519.0, 0.0, Rounding::Nearest),
            65_504.0
        );
    }

    #[test]
    fn an_error_decides_a_tie() {
        let tie = 1.0 + f64::powi(2.0, -24);
        let after = 1.0 + f64::powi(2.0, -23);
        assert_eq!(Format::F32.round(tie, 0.0, Rounding::Nearest), 1.0);
        assert_eq!(Format::F32.round(tie, 1e-30, Rounding::Nearest), after);
        assert_eq!(
            Format::F32.round(1.0, -1e-30, Rounding::Down),
            f64::from(1_f32.next_down())
        );
        assert_eq!(Format::F32.round(1.0, 1e-30, Rounding::Up), after);
        assert_eq!(sum_f64(1.0, -1e-30, Rounding::Zero), 1_f64.next_down());
        assert!(sum_f64(1.0, -1.0, Rounding::Down).is_sign_negative());
    }
}
