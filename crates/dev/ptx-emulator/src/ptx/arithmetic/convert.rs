//! `cvt`.

use super::flush_f32;
use super::rounding::{Format, Rounding, round_to_integer};
use super::{Unary, saturate_f32, saturate_f64};
use crate::ptx::types::Type;

/// A form of `cvt`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ptx) struct Conversion {
    pub(in crate::ptx) to: Type,
    pub(in crate::ptx) from: Type,
    pub(in crate::ptx) rounding: Rounding,
    /// Whether a floating-point value is rounded to an integer.
    pub(in crate::ptx) to_integer: bool,
    pub(in crate::ptx) saturate: bool,
    pub(in crate::ptx) flush: bool,
}

impl Conversion {
    /// A function that does the same, for the forms that address arithmetic is full of.
    pub(in crate::ptx) fn fast(self) -> Option<Unary> {
        if self.saturate || self.flush || self.to_integer {
            return None;
        }
        Some(match (self.to, self.from, self.rounding) {
            (Type::U64 | Type::S64 | Type::B64, Type::U32, _) => |a| a as u32 as u64,
            (Type::U64 | Type::S64 | Type::B64, Type::S32, _) => |a| a as i32 as u64,
            (Type::U32 | Type::S32, Type::U64 | Type::S64, _) => |a| a,
            (Type::U16 | Type::S16, Type::U32 | Type::S32 | Type::U64 | Type::S64, _) => |a| a,
            (Type::U32 | Type::S32 | Type::U64 | Type::S64, Type::U16, _) => |a| a as u16 as u64,
            (Type::F64, Type::F32, _) => |a| f64::from(f32::from_bits(a as u32)).to_bits(),
            (Type::F32, Type::U32, Rounding::Nearest) => |a| u64::from((a as u32 as f32).to_bits()),
            (Type::F32, Type::S32, Rounding::Nearest) => |a| u64::from((a as i32 as f32).to_bits()),
            (Type::F64, Type::U32, _) => |a| f64::from(a as u32).to_bits(),
            (Type::F64, Type::S32, _) => |a| f64::from(a as i32).to_bits(),
            _ => return None,
        })
    }
}

enum Number {
    Integer(i128),
    Float(f64),
}

fn read(ty: Type, bits: u64) -> Number {
    match ty {
        Type::Pred | Type::B8 | Type::U8 => Number::Integer(i128::from(bits as u8)),
        Type::B16 | Type::U16 => Number::Integer(i128::from(bits as u16)),
        Type::B32 | Type::U32 => Number::Integer(i128::from(bits as u32)),
        Type::B64 | Type::U64 => Number::Integer(i128::from(bits)),
        Type::S8 => Number::Integer(i128::from(bits as i8)),
        Type::S16 => Number::Integer(i128::from(bits as i16)),
        Type::S32 => Number::Integer(i128::from(bits as i32)),
        Type::S64 => Number::Integer(i128::from(bits as i64)),
        Type::F16 => Number::Float(Format::F16.decode(bits)),
        Type::Bf16 => Number::Float(Format::BF16.decode(bits)),
        Type::F32 => Number::Float(f64::from(f32::from_bits(bits as u32))),
        Type::F64 => Number::Float(f64::from_bits(bits)),
    }
}

/// Carries out a conversion.
pub(in crate::ptx) fn convert(conversion: Conversion, bits: u64) -> u64 {
    let Conversion {
        to,
        from,
        rounding,
        to_integer,
        saturate,
        flush,
    } = conversion;
    let bits = if flush && from == Type::F32 {
        flush_f32(bits)
    } else {
        bits
    };
    let result = match read(from, bits) {
        Number::Integer(value) if to.is_float() => from_integer(to, value, rounding),
        Number::Integer(value) if saturate => {
            let (least, most) = limits(to);
            value.clamp(least, most) as u64
        }
        Number::Integer(value) => value as u64,
        Number::Float(value) if to.is_float() => {
            let value = if to_integer {
                round_to_integer(value, rounding)
            } else {
                value
            };
            encode(to, value, rounding)
        }
        Number::Float(value) => {
            let value = round_to_integer(value, rounding);
            if value.is_nan() {
                let wide = matches!(to, Type::U64 | Type::S64);
                // What the ISA lists for NaNs.
                if from == Type::F64 || wide {
                    1 << (8 * to.bytes() - 1)
                } else {
                    0
                }
            } else {
                let (least, most) = limits(to);
                (value as i128).clamp(least, most) as u64
            }
        }
    };
    let result = if flush && to == Type::F32 {
        flush_f32(result)
    } else {
        result
    };
    match to {
        Type::F32 if saturate => saturate_f32(result),
        Type::F64 if saturate => saturate_f64(result),
        // A register that is wider than the result holds its sign or zeros above it.
        Type::U8 | Type::B8 => result as u8 as u64,
        Type::U16 | Type::B16 | Type::F16 | Type::Bf16 => result as u16 as u64,
        Type::U32 | Type::B32 | Type::F32 => result as u32 as u64,
        Type::S8 => result as i8 as u64,
        Type::S16 => result as i16 as u64,
        Type::S32 => result as i32 as u64,
        _ => result,
    }
}

fn limits(ty: Type) -> (i128, i128) {
    let bits = 8 * ty.bytes();
    if ty.is_signed() {
        (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    } else {
        (0, (1 << bits) - 1)
    }
}

fn encode(to: Type, value: f64, rounding: Rounding) -> u64 {
    match to {
        Type::F16 => Format::F16.encode(Format::F16.round(value, 0.0, rounding)),
        Type::Bf16 => Format::BF16.encode(Format::BF16.round(value, 0.0, rounding)),
        Type::F32 if value.is_nan() => 0x7FFF_FFFF,
        Type::F32 if rounding == Rounding::Nearest => u64::from((value as f32).to_bits()),
        Type::F32 => u64::from((Format::F32.round(value, 0.0, rounding) as f32).to_bits()),
        _ => value.to_bits(),
    }
}

fn from_integer(to: Type, value: i128, rounding: Rounding) -> u64 {
    // What 64 bits lose of an integer of 64 is an integer again.
    let near = value as f64;
    let error = (value - near as i128) as f64;
    match to {
        Type::F64 => {
            let rounded = match rounding {
                Rounding::Down if error < 0.0 => near.next_down(),
                Rounding::Up if error > 0.0 => near.next_up(),
                Rounding::Zero if near > 0.0 && error < 0.0 => near.next_down(),
                Rounding::Zero if near < 0.0 && error > 0.0 => near.next_up(),
                _ => near,
            };
            rounded.to_bits()
        }
        Type::F32 => u64::from((Format::F32.round(near, error, rounding) as f32).to_bits()),
        Type::F16 => Format::F16.encode(Format::F16.round(near, error, rounding)),
        _ => Format::BF16.encode(Format::BF16.round(near, error, rounding)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cvt(to: Type, from: Type, rounding: Rounding, bits: u64) -> u64 {
        let to_integer = from.is_float() && !to.is_float();
        convert(
            Conversion {
                to,
                from,
                rounding,
                to_integer,
                saturate: false,
                flush: false,
            },
            bits,
        )
    }

    #[test]
    fn floats_to_integers_clamp() {
        let bits = |value: f32| u64::from(value.to_bits());
        assert_eq!(cvt(Type::U32, Type::F32, Rounding::Zero, bits(-3.0)), 0);
        assert_eq!(
            cvt(Type::U32, Type::F32, Rounding::Zero, bits(1e20)),
            0xFFFF_FFFF
        );
        assert_eq!(cvt(Type::S32, Type::F32, Rounding::Nearest, bits(2.5)), 2);
        assert_eq!(cvt(Type::S32, Type::F32, Rounding::Zero, bits(f32::NAN)), 0);
        let nan = f64::NAN.to_bits();
        assert_eq!(
            cvt(Type::S32, Type::F64, Rounding::Zero, nan) as i32,
            i32::MIN
        );
    }

    #[test]
    fn integers_to_floats_round() {
        let value = u64::MAX - 1;
        let down = cvt(Type::F32, Type::U64, Rounding::Down, value);
        let near = cvt(Type::F32, Type::U64, Rounding::Nearest, value);
        assert_eq!(f32::from_bits(near as u32), (value as f32));
        assert_eq!(f32::from_bits(down as u32), (value as f32).next_down());
        for value in [
            16_777_217_i64,
            -16_777_219,
            1 << 40 | 1,
            i64::MAX,
            i64::MIN,
            0,
        ] {
            let near = cvt(Type::F32, Type::S64, Rounding::Nearest, value as u64);
            assert_eq!(f32::from_bits(near as u32), value as f32);
            let near = cvt(Type::F64, Type::S64, Rounding::Nearest, value as u64);
            assert_eq!(f64::from_bits(near), value as f64);
        }
    }

    #[test]
    fn integers_to_integers_extend_and_clamp() {
        assert_eq!(cvt(Type::S64, Type::S8, Rounding::Zero, 0x80) as i64, -128);
        assert_eq!(cvt(Type::U32, Type::U64, Rounding::Zero, 0x1_0000_0002), 2);
        let conversion = Conversion {
            to: Type::U8,
            from: Type::S32,
            rounding: Rounding::Zero,
            to_integer: false,
            saturate: true,
            flush: false,
        };
        assert_eq!(convert(conversion, 300), 255);
        assert_eq!(convert(conversion, -3_i64 as u64), 0);
    }

    #[test]
    fn every_fast_form_does_what_the_slow_one_does() {
        let types = [
            Type::U16,
            Type::S16,
            Type::U32,
            Type::S32,
            Type::U64,
            Type::S64,
            Type::F32,
            Type::F64,
        ];
        for to in types {
            for from in types {
                let to_integer = from.is_float() && !to.is_float();
                let conversion = Conversion {
                    to,
                    from,
                    rounding: Rounding::Nearest,
                    to_integer,
                    saturate: false,
                    flush: false,
                };
                let Some(fast) = conversion.fast() else {
                    continue;
                };
                for bits in [
                    0,
                    1,
                    0x3F80_0000,
                    0xBF80_0001,
                    0xFFFF_FFFF,
                    u64::MAX,
                    1 << 40 | 77,
                ] {
                    let mask = u64::MAX >> (64 - 8 * to.bytes());
                    assert_eq!(
                        fast(bits) & mask,
                        convert(conversion, bits) & mask,
                        "{to:?} {from:?}"
                    );
                }
            }
        }
    }
}
