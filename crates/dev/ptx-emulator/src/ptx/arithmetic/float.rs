//! Floating-point arithmetic, with the rounding of the instruction.

use super::rounding::{Format, Rounding, product_f64, sum_f64, sum_in};
use super::{Binary, Ternary, Unary};
use crate::ptx::types::Type;

fn f(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}

fn d(bits: u64) -> f64 {
    f64::from_bits(bits)
}

/// A result of 32 bits: a GPU has one NaN.
fn single(value: f32) -> u64 {
    if value.is_nan() {
        0x7FFF_FFFF
    } else {
        u64::from(value.to_bits())
    }
}

/// A rounding as a constant of a function.
const fn rounding(which: u8) -> Rounding {
    match which {
        0 => Rounding::Nearest,
        1 => Rounding::Zero,
        2 => Rounding::Down,
        _ => Rounding::Up,
    }
}

/// The instance of a function of `const R: u8` for a rounding.
macro_rules! rounded {
    ($rounding:expr, $function:ident) => {
        match $rounding {
            Rounding::Nearest => $function::<0>,
            Rounding::Zero => $function::<1>,
            Rounding::Down => $function::<2>,
            Rounding::Up => $function::<3>,
        }
    };
}

fn add_f32<const R: u8>(a: u64, b: u64) -> u64 {
    single(match R {
        0 => f(a) + f(b),
        _ => sum_in(Format::F32, f64::from(f(a)), f64::from(f(b)), rounding(R)) as f32,
    })
}

fn sub_f32<const R: u8>(a: u64, b: u64) -> u64 {
    if R == 0 {
        single(f(a) - f(b))
    } else {
        add_f32::<R>(a, b ^ 0x8000_0000)
    }
}

fn mul_f32<const R: u8>(a: u64, b: u64) -> u64 {
    single(match R {
        0 => f(a) * f(b),
        // The product is exact in 64 bits.
        _ => Format::F32.round(f64::from(f(a)) * f64::from(f(b)), 0.0, rounding(R)) as f32,
    })
}

fn fma_f32<const R: u8>(a: u64, b: u64, c: u64) -> u64 {
    single(match R {
        0 => f(a).mul_add(f(b), f(c)),
        _ => {
            let product = f64::from(f(a)) * f64::from(f(b));
            sum_in(Format::F32, product, f64::from(f(c)), rounding(R)) as f32
        }
    })
}

fn add_f64<const R: u8>(a: u64, b: u64) -> u64 {
    if R == 0 {
        d(a) + d(b)
    } else {
        sum_f64(d(a), d(b), rounding(R))
    }
    .to_bits()
}

fn sub_f64<const R: u8>(a: u64, b: u64) -> u64 {
    if R == 0 {
        (d(a) - d(b)).to_bits()
    } else {
        add_f64::<R>(a, b ^ (1 << 63))
    }
}

fn mul_f64<const R: u8>(a: u64, b: u64) -> u64 {
    if R == 0 {
        d(a) * d(b)
    } else {
        product_f64(d(a), d(b), rounding(R))
    }
    .to_bits()
}

/// A function in one of the formats of 16 bits.
macro_rules! for_half {
    ($ty:expr, |$($x:ident),+| $F:ident => $body:expr) => {
        match $ty {
            Type::F16 => Some({ const $F: Format = Format::F16; for_half!(@ $F; $($x),+; $body) }),
            Type::Bf16 => Some({ const $F: Format = Format::BF16; for_half!(@ $F; $($x),+; $body) }),
            _ => None,
        }
    };
    (@ $F:ident; $($x:ident),+; $body:expr) => {
        |$($x: u64),+| { $(let $x = $F.decode($x);)+ $F.encode($body) }
    };
}

/// The lesser of two values; a NaN only if both are.
fn least<T: Copy + PartialOrd>(a: T, b: T, is_nan: fn(T) -> bool, negative: fn(T) -> bool) -> T {
    if is_nan(a) {
        b
    } else if is_nan(b) || a < b || (a == b && negative(a)) {
        a
    } else {
        b
    }
}

/// The greater of two values; a NaN only if both are.
fn greatest<T: Copy + PartialOrd>(a: T, b: T, is_nan: fn(T) -> bool, negative: fn(T) -> bool) -> T {
    if is_nan(a) {
        b
    } else if is_nan(b) || a > b || (a == b && !negative(a)) {
        a
    } else {
        b
    }
}

fn min_f64(a: f64, b: f64) -> f64 {
    least(a, b, f64::is_nan, f64::is_sign_negative)
}

fn max_f64(a: f64, b: f64) -> f64 {
    greatest(a, b, f64::is_nan, f64::is_sign_negative)
}

fn min_f32(a: u64, b: u64) -> u64 {
    single(least(f(a), f(b), f32::is_nan, f32::is_sign_negative))
}

fn max_f32(a: u64, b: u64) -> u64 {
    single(greatest(f(a), f(b), f32::is_nan, f32::is_sign_negative))
}

/// The first of two values that is a NaN, else what `otherwise` says.
fn or_nan(a: f64, b: f64, otherwise: fn(f64, f64) -> f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        otherwise(a, b)
    }
}

/// The function of a floating-point instruction with one operand. `approx` forms are computed as exactly as the host can.
pub(in crate::ptx) fn float_unary(name: &str, ty: Type) -> Option<Unary> {
    Some(match (name, ty) {
        ("neg", Type::F32) => |a| a ^ 0x8000_0000,
        ("neg", Type::F64) => |a| a ^ (1 << 63),
        ("neg", Type::F16 | Type::Bf16) => |a| a ^ 0x8000,
        ("abs", Type::F32) => |a| a & 0x7FFF_FFFF,
        ("abs", Type::F64) => |a| a & !(1 << 63),
        ("abs", Type::F16 | Type::Bf16) => |a| a & 0x7FFF,
        ("sqrt", Type::F32) => |a| single(f(a).sqrt()),
        ("sqrt", Type::F64) => |a| d(a).sqrt().to_bits(),
        ("rcp", Type::F32) => |a| single(1.0 / f(a)),
        ("rcp", Type::F64) => |a| (1.0 / d(a)).to_bits(),
        // Only the upper halves of argument and result count.
        ("rcp.coarse", Type::F64) => |a| (1.0 / d(a & !0xFFFF_FFFF)).to_bits() & !0xFFFF_FFFF,
        ("rsqrt", Type::F32) => |a| single((1.0 / f64::from(f(a)).sqrt()) as f32),
        ("rsqrt", Type::F64) => |a| (1.0 / d(a).sqrt()).to_bits(),
        ("ex2", Type::F32) => |a| single(f64::from(f(a)).exp2() as f32),
        ("lg2", Type::F32) => |a| single(f64::from(f(a)).log2() as f32),
        ("sin", Type::F32) => |a| single(f64::from(f(a)).sin() as f32),
        ("cos", Type::F32) => |a| single(f64::from(f(a)).cos() as f32),
        ("tanh", Type::F32) => |a| single(f64::from(f(a)).tanh() as f32),
        ("ex2" | "tanh", _) => {
            return match name {
                "ex2" => for_half!(ty, |a| F => F.round(a.exp2(), 0.0, Rounding::Nearest)),
                _ => for_half!(ty, |a| F => F.round(a.tanh(), 0.0, Rounding::Nearest)),
            };
        }
        _ => return None,
    })
}

/// The function of a floating-point instruction with two operands.
pub(in crate::ptx) fn float_binary(name: &str, ty: Type, rounding: Rounding) -> Option<Binary> {
    let near = rounding == Rounding::Nearest;
    Some(match (name, ty) {
        ("add", Type::F32) => rounded!(rounding, add_f32),
        ("sub", Type::F32) => rounded!(rounding, sub_f32),
        ("mul", Type::F32) => rounded!(rounding, mul_f32),
        ("add", Type::F64) => rounded!(rounding, add_f64),
        ("sub", Type::F64) => rounded!(rounding, sub_f64),
        ("mul", Type::F64) => rounded!(rounding, mul_f64),
        ("div", Type::F32) if near => |a, b| single(f(a) / f(b)),
        ("div", Type::F64) if near => |a, b| (d(a) / d(b)).to_bits(),
        ("min", Type::F32) => min_f32,
        ("max", Type::F32) => max_f32,
        ("min", Type::F64) => |a, b| min_f64(d(a), d(b)).to_bits(),
        ("max", Type::F64) => |a, b| max_f64(d(a), d(b)).to_bits(),
        ("min.NaN", Type::F32) => |a, b| {
            if f(a).is_nan() || f(b).is_nan() {
                single(f32::NAN)
            } else {
                min_f32(a, b)
            }
        },
        ("max.NaN", Type::F32) => |a, b| {
            if f(a).is_nan() || f(b).is_nan() {
                single(f32::NAN)
            } else {
                max_f32(a, b)
            }
        },
        // The sign of the first operand, the magnitude of the second.
        ("copysign", Type::F32) => |a, b| (b & 0x7FFF_FFFF) | (a & 0x8000_0000),
        ("copysign", Type::F64) => |a, b| (b & !(1 << 63)) | (a & (1 << 63)),
        (_, Type::F16 | Type::Bf16) if near => {
            // Sums and products of 16-bit values are exact in 64 bits, but for sums of bf16 far apart.
            return match name {
                "add" => for_half!(ty, |a, b| F => sum_in(F, a, b, Rounding::Nearest)),
                "sub" => for_half!(ty, |a, b| F => sum_in(F, a, -b, Rounding::Nearest)),
                "mul" => for_half!(ty, |a, b| F => F.round(a * b, 0.0, Rounding::Nearest)),
                "min" => for_half!(ty, |a, b| F => min_f64(a, b)),
                "max" => for_half!(ty, |a, b| F => max_f64(a, b)),
                "min.NaN" => for_half!(ty, |a, b| F => or_nan(a, b, min_f64)),
                "max.NaN" => for_half!(ty, |a, b| F => or_nan(a, b, max_f64)),
                _ => None,
            };
        }
        _ => return None,
    })
}

/// The function of a floating-point instruction with three operands.
pub(in crate::ptx) fn float_ternary(name: &str, ty: Type, rounding: Rounding) -> Option<Ternary> {
    match (name, ty) {
        ("fma" | "mad", Type::F32) => Some(rounded!(rounding, fma_f32)),
        ("fma" | "mad", Type::F64) if rounding == Rounding::Nearest => {
            Some(|a, b, c| d(a).mul_add(d(b), d(c)).to_bits())
        }
        ("fma", Type::F16 | Type::Bf16) if rounding == Rounding::Nearest => {
            for_half!(ty, |a, b, c| F => sum_in(F, a * b, c, Rounding::Nearest))
        }
        _ => None,
    }
}

/// Makes a subnormal number zero, and leaves its sign.
pub(in crate::ptx) fn flush_f32(a: u64) -> u64 {
    if f(a).is_subnormal() {
        a & 0x8000_0000
    } else {
        a
    }
}

/// Makes a subnormal number zero, and leaves its sign.
pub(in crate::ptx) fn flush_f64(a: u64) -> u64 {
    if d(a).is_subnormal() {
        a & (1 << 63)
    } else {
        a
    }
}

/// Clamps to 0 and 1; a NaN becomes 0.
pub(in crate::ptx) fn saturate_f32(a: u64) -> u64 {
    let value = f(a);
    if value > 0.0 {
        single(value.min(1.0))
    } else {
        0
    }
}

/// Clamps to 0 and 1; a NaN becomes 0.
pub(in crate::ptx) fn saturate_f64(a: u64) -> u64 {
    let value = d(a);
    if value > 0.0 {
        value.min(1.0).to_bits()
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(value: f32) -> u64 {
        u64::from(value.to_bits())
    }

    #[test]
    fn minimum_and_maximum_of_zeros_and_nans() {
        assert_eq!(min_f32(bits(0.0), bits(-0.0)), bits(-0.0));
        assert_eq!(max_f32(bits(-0.0), bits(0.0)), bits(0.0));
        assert_eq!(max_f32(bits(f32::NAN), bits(-3.0)), bits(-3.0));
        assert_eq!(min_f32(bits(f32::NAN), bits(f32::NAN)), 0x7FFF_FFFF);
        let with_nan = float_binary("max.NaN", Type::F32, Rounding::Nearest).unwrap();
        assert_eq!(with_nan(bits(f32::NAN), bits(-3.0)), 0x7FFF_FFFF);
    }

    #[test]
    fn directed_fma() {
        let (a, b, c) = (
            bits(1.0 + f32::EPSILON),
            bits(1.0 + f32::EPSILON),
            bits(0.0),
        );
        let down = float_ternary("fma", Type::F32, Rounding::Down).unwrap()(a, b, c);
        let up = float_ternary("fma", Type::F32, Rounding::Up).unwrap()(a, b, c);
        assert_eq!(f(down), 1.0 + 2.0 * f32::EPSILON);
        assert_eq!(f(up), f(down).next_up());
        // A product far below the sum's last place.
        let tiny = bits(-1e-20);
        let down = float_ternary("fma", Type::F32, Rounding::Down).unwrap();
        assert_eq!(f(down(tiny, bits(1e-20), bits(1.0))), 1_f32.next_down());
    }

    #[test]
    fn fma_of_sixteen_bits_rounds_once() {
        let fma = float_ternary("fma", Type::F16, Rounding::Nearest).unwrap();
        let half = |value| Format::F16.encode(value);
        // 1 + 2^-11 is a tie between 1 and its successor; the product of the smallest subnormals decides it.
        let tiny = f64::powi(2.0, -24);
        let product = fma(
            half(f64::powi(2.0, -5)),
            half(f64::powi(2.0, -6)),
            half(1.0),
        );
        assert_eq!(product, half(1.0));
        assert_eq!(fma(half(tiny), half(tiny), half(1.0)), half(1.0));
    }

    #[test]
    fn saturation_and_flushing() {
        assert_eq!(saturate_f32(bits(f32::NAN)), 0);
        assert_eq!(saturate_f32(bits(-0.5)), 0);
        assert_eq!(saturate_f32(bits(7.0)), bits(1.0));
        assert_eq!(flush_f32(bits(-1e-40)), bits(-0.0));
        assert_eq!(flush_f32(bits(1e-30)), bits(1e-30));
    }
}
