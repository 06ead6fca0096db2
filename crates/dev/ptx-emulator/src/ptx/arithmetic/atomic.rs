//! What atomic instructions make of what they find.

use super::rounding::{Format, Rounding, sum_in};
use super::{Ternary, flush_f32};
use crate::ptx::types::Type;

/// The function from what an address holds, and an atomic instruction's two operands, to what it will hold.
pub(in crate::ptx) fn atomic(name: &str, ty: Type, shared: bool) -> Option<Ternary> {
    let wide = ty.bytes() == 8;
    Some(match (name, ty) {
        ("exch", Type::B32 | Type::B64 | Type::U32 | Type::U64) => |_, b, _| b,
        ("cas", Type::B16) => |old, b, c| if old as u16 == b as u16 { c } else { old },
        ("cas", Type::B32 | Type::U32 | Type::S32) => {
            |old, b, c| if old as u32 == b as u32 { c } else { old }
        }
        ("cas", Type::B64 | Type::U64 | Type::S64) => |old, b, c| if old == b { c } else { old },
        ("and", Type::B32 | Type::B64) => |old, b, _| old & b,
        ("or", Type::B32 | Type::B64) => |old, b, _| old | b,
        ("xor", Type::B32 | Type::B64) => |old, b, _| old ^ b,
        ("add", Type::U32 | Type::S32 | Type::U64 | Type::S64) => |old, b, _| old.wrapping_add(b),
        ("inc", Type::U32) => |old, b, _| {
            if old as u32 >= b as u32 {
                0
            } else {
                u64::from(old as u32 + 1)
            }
        },
        ("dec", Type::U32) => |old, b, _| match old as u32 {
            0 => b,
            old if old > b as u32 => b,
            old => u64::from(old - 1),
        },
        ("min", Type::U32 | Type::U64) if wide => |old, b, _| old.min(b),
        ("max", Type::U32 | Type::U64) if wide => |old, b, _| old.max(b),
        ("min", Type::U32) => |old, b, _| u64::from((old as u32).min(b as u32)),
        ("max", Type::U32) => |old, b, _| u64::from((old as u32).max(b as u32)),
        ("min", Type::S32) => |old, b, _| (old as i32).min(b as i32) as u64,
        ("max", Type::S32) => |old, b, _| (old as i32).max(b as i32) as u64,
        ("min", Type::S64) => |old, b, _| (old as i64).min(b as i64) as u64,
        ("max", Type::S64) => |old, b, _| (old as i64).max(b as i64) as u64,
        ("add", Type::F32) if shared => add_f32,
        // In global memory, subnormal numbers are flushed.
        ("add", Type::F32) => |old, b, c| flush_f32(add_f32(flush_f32(old), flush_f32(b), c)),
        ("add", Type::F64) => |old, b, _| (f64::from_bits(old) + f64::from_bits(b)).to_bits(),
        ("add", Type::F16) => |old, b, _| add_half(Format::F16, old, b),
        ("add", Type::Bf16) => |old, b, _| add_half(Format::BF16, old, b),
        _ => return None,
    })
}

fn add_f32(old: u64, b: u64, _: u64) -> u64 {
    u64::from((f32::from_bits(old as u32) + f32::from_bits(b as u32)).to_bits())
}

fn add_half(format: Format, a: u64, b: u64) -> u64 {
    format.encode(sum_in(
        format,
        format.decode(a),
        format.decode(b),
        Rounding::Nearest,
    ))
}
