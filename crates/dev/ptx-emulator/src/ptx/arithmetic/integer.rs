//! Integers and bits.

use super::{Binary, Ternary, Unary};
use crate::ptx::types::Type;

/// A function for the integer types of two to eight bytes; bits count as unsigned.
macro_rules! for_integer {
    ($ty:expr, |$($x:ident),+| $T:ident => $body:expr) => {
        match $ty {
            Type::B16 | Type::U16 => Some({ type $T = u16; for_integer!(@ $T; $($x),+; $body) }),
            Type::B32 | Type::U32 => Some({ type $T = u32; for_integer!(@ $T; $($x),+; $body) }),
            Type::B64 | Type::U64 => Some({ type $T = u64; for_integer!(@ $T; $($x),+; $body) }),
            Type::S16 => Some({ type $T = i16; for_integer!(@ $T; $($x),+; $body) }),
            Type::S32 => Some({ type $T = i32; for_integer!(@ $T; $($x),+; $body) }),
            Type::S64 => Some({ type $T = i64; for_integer!(@ $T; $($x),+; $body) }),
            _ => None,
        }
    };
    (@ $T:ident; $($x:ident),+; $body:expr) => {
        |$($x: u64),+| {
            $(let $x = $x as $T;)+
            let result = $body;
            result as u64
        }
    };
}

/// A function for predicates, and for bits of two to eight bytes.
macro_rules! for_bits {
    ($ty:expr, |$($x:ident),+| $body:expr) => {
        match $ty {
            Type::Pred | Type::B16 | Type::B32 | Type::B64 => Some(|$($x: u64),+| $body),
            _ => None,
        }
    };
}

/// The function of an integer instruction with one operand.
pub(in crate::ptx) fn integer_unary(name: &str, ty: Type) -> Option<Unary> {
    match (name, ty) {
        ("neg", _) => for_integer!(ty, |a| T => a.wrapping_neg()),
        ("abs", Type::S16 | Type::S32 | Type::S64) => {
            for_integer!(ty, |a| T => if (a as i64) < 0 { a.wrapping_neg() } else { a })
        }
        ("not", Type::Pred) => Some(|a| a ^ 1),
        ("not", _) => for_bits!(ty, |a| !a),
        ("cnot", _) => for_integer!(ty, |a| T => a == 0),
        ("popc", Type::B32) => Some(|a| (a as u32).count_ones() as u64),
        ("popc", Type::B64) => Some(|a| a.count_ones() as u64),
        ("clz", Type::B32) => Some(|a| (a as u32).leading_zeros() as u64),
        ("clz", Type::B64) => Some(|a| a.leading_zeros() as u64),
        ("brev", Type::B32) => Some(|a| (a as u32).reverse_bits() as u64),
        ("brev", Type::B64) => Some(u64::reverse_bits),
        ("bfind", Type::U32 | Type::B32) => {
            Some(|a| 31_u32.wrapping_sub((a as u32).leading_zeros()) as u64)
        }
        ("bfind", Type::U64) => Some(|a| 63_u32.wrapping_sub(a.leading_zeros()) as u64),
        _ => None,
    }
}

/// The function of an integer instruction with two operands.
pub(in crate::ptx) fn integer_binary(name: &str, ty: Type) -> Option<Binary> {
    match (name, ty) {
        ("add", _) => for_integer!(ty, |a, b| T => a.wrapping_add(b)),
        ("sub", _) => for_integer!(ty, |a, b| T => a.wrapping_sub(b)),
        ("mul.lo", _) => for_integer!(ty, |a, b| T => a.wrapping_mul(b)),
        ("mul.hi", Type::U64) => Some(high_product),
        ("mul.hi", _) => {
            for_integer!(ty, |a, b| T => (a as i128 * b as i128) >> T::BITS)
        }
        ("mul.wide", Type::U16 | Type::S16 | Type::U32 | Type::S32) => {
            for_integer!(ty, |a, b| T => (a as i64).wrapping_mul(b as i64))
        }
        // What a GPU gives for a zero divisor: ones, as quotient and as remainder.
        ("div", _) => for_integer!(ty, |a, b| T => if b == 0 { !0 } else { a.wrapping_div(b) }),
        ("rem", _) => for_integer!(ty, |a, b| T => if b == 0 { !0 } else { a.wrapping_rem(b) }),
        ("min", _) => for_integer!(ty, |a, b| T => a.min(b)),
        ("max", _) => for_integer!(ty, |a, b| T => a.max(b)),
        ("and", _) => for_bits!(ty, |a, b| a & b),
        ("or", _) => for_bits!(ty, |a, b| a | b),
        ("xor", _) => for_bits!(ty, |a, b| a ^ b),
        ("shl", Type::B16) => Some(|a, b| shift(b, 16, 0, |n| a << n)),
        ("shl", Type::B32) => Some(|a, b| shift(b, 32, 0, |n| a << n)),
        ("shl", Type::B64) => Some(|a, b| shift(b, 64, 0, |n| a << n)),
        ("shr", Type::B16 | Type::U16) => Some(|a, b| shift(b, 16, 0, |n| (a as u16 >> n) as u64)),
        ("shr", Type::B32 | Type::U32) => Some(|a, b| shift(b, 32, 0, |n| (a as u32 >> n) as u64)),
        ("shr", Type::B64 | Type::U64) => Some(|a, b| shift(b, 64, 0, |n| a >> n)),
        ("shr", Type::S16) => Some(|a, b| (a as i16 >> (b as u32).min(15)) as u64),
        ("shr", Type::S32) => Some(|a, b| (a as i32 >> (b as u32).min(31)) as u64),
        ("shr", Type::S64) => Some(|a, b| (a as i64 >> (b as u32).min(63)) as u64),
        ("carry", Type::U32 | Type::S32 | Type::B32) => {
            Some(|a, b| (a as u32).overflowing_add(b as u32).1 as u64)
        }
        ("carry", Type::U64 | Type::S64 | Type::B64) => Some(|a, b| a.overflowing_add(b).1 as u64),
        ("borrow", Type::U32 | Type::S32 | Type::B32) => {
            Some(|a, b| ((a as u32) < b as u32) as u64)
        }
        ("borrow", Type::U64 | Type::S64 | Type::B64) => Some(|a, b| (a < b) as u64),
        _ => None,
    }
}

fn high_product(a: u64, b: u64) -> u64 {
    ((u128::from(a) * u128::from(b)) >> 64) as u64
}

fn shift(by: u64, width: u32, beyond: u64, shifted: impl FnOnce(u32) -> u64) -> u64 {
    let by = by as u32;
    if by < width { shifted(by) } else { beyond }
}

/// The function of an integer instruction with three operands.
pub(in crate::ptx) fn integer_ternary(name: &str, ty: Type) -> Option<Ternary> {
    match (name, ty) {
        ("mad.lo", _) => for_integer!(ty, |a, b, c| T => a.wrapping_mul(b).wrapping_add(c)),
        ("mad.hi", Type::U64) => Some(|a, b, c| high_product(a, b).wrapping_add(c)),
        ("mad.hi", _) => {
            for_integer!(ty, |a, b, c| T => (((a as i128 * b as i128) >> T::BITS) as T).wrapping_add(c))
        }
        ("mad.wide", Type::U16) => {
            Some(|a, b, c| (a as u16 as u64 * b as u16 as u64).wrapping_add(c))
        }
        ("mad.wide", Type::S16) => {
            Some(|a, b, c| (a as i16 as i64 * b as i16 as i64).wrapping_add(c as i64) as u64)
        }
        ("mad.wide", Type::U32) => {
            Some(|a, b, c| (a as u32 as u64 * b as u32 as u64).wrapping_add(c))
        }
        ("mad.wide", Type::S32) => {
            Some(|a, b, c| (a as i32 as i64 * b as i32 as i64).wrapping_add(c as i64) as u64)
        }
        ("addc", _) => for_integer!(ty, |a, b, c| T => a.wrapping_add(b).wrapping_add(c)),
        ("subc", _) => for_integer!(ty, |a, b, c| T => a.wrapping_sub(b).wrapping_sub(c)),
        ("carry", Type::U32 | Type::S32 | Type::B32) => {
            Some(|a, b, c| (a as u32 as u64 + b as u32 as u64 + (c & 1)) >> 32)
        }
        ("carry", Type::U64 | Type::S64 | Type::B64) => {
            Some(|a, b, c| ((a as u128 + b as u128 + (c & 1) as u128) >> 64) as u64)
        }
        ("borrow", Type::U32 | Type::S32 | Type::B32) => {
            Some(|a, b, c| ((a as u32 as u64) < b as u32 as u64 + (c & 1)) as u64)
        }
        ("borrow", Type::U64 | Type::S64 | Type::B64) => {
            Some(|a, b, c| ((a as u128) < b as u128 + (c & 1) as u128) as u64)
        }
        ("bfe", Type::U32) => Some(|a, b, c| extract(a as u32 as u64, b, c)),
        ("bfe", Type::U64) => Some(extract),
        ("bfe", Type::S32) => Some(|a, b, c| extract_signed(a as i32 as i64, 32, b, c)),
        ("bfe", Type::S64) => Some(|a, b, c| extract_signed(a as i64, 64, b, c)),
        ("shf.l.wrap", Type::B32) => {
            Some(|a, b, c| ((a as u32 as u64 | b << 32) << (c & 31)) >> 32)
        }
        ("shf.l.clamp", Type::B32) => {
            Some(|a, b, c| ((a as u32 as u64 | b << 32) << (c as u32).min(32)) >> 32)
        }
        ("shf.r.wrap", Type::B32) => Some(|a, b, c| (a as u32 as u64 | b << 32) >> (c & 31)),
        ("shf.r.clamp", Type::B32) => {
            Some(|a, b, c| (a as u32 as u64 | b << 32) >> (c as u32).min(32))
        }
        ("sad", _) => {
            for_integer!(ty, |a, b, c| T => c.wrapping_add(if a < b { b.wrapping_sub(a) } else { a.wrapping_sub(b) }))
        }
        _ => None,
    }
}

fn ones(count: u64) -> u64 {
    if count >= 64 { !0 } else { (1 << count) - 1 }
}

fn extract(a: u64, from: u64, count: u64) -> u64 {
    let (from, count) = (from & 0xFF, count & 0xFF);
    if from >= 64 {
        0
    } else {
        (a >> from) & ones(count)
    }
}

fn extract_signed(a: i64, width: u64, from: u64, count: u64) -> u64 {
    let (from, count) = (from & 0xFF, count & 0xFF);
    if count == 0 {
        return 0;
    }
    // Bits beyond the register are copies of its sign.
    let shifted = a >> from.min(width - 1);
    if count >= 64 {
        shifted as u64
    } else {
        (shifted << (64 - count) >> (64 - count)) as u64
    }
}

/// `bfi`: inserts `count` low bits of `a` into `b`, from bit `from` on.
pub(in crate::ptx) fn insert_bits(width: u32, a: u64, b: u64, from: u64, count: u64) -> u64 {
    let (from, count) = (from & 0xFF, count & 0xFF);
    if from >= u64::from(width) {
        return b;
    }
    let mask = ones(count) << from;
    (b & !mask) | ((a << from) & mask)
}

/// `prmt`: every byte of the result is one of the eight of `a` and `b`, or its sign.
pub(in crate::ptx) fn permute_bytes(a: u64, b: u64, selector: u64) -> u64 {
    let bytes = (a as u32 as u64 | b << 32).to_le_bytes();
    let mut result = [0_u8; 8];
    for (i, byte) in result[..4].iter_mut().enumerate() {
        let choice = (selector >> (4 * i)) & 0xF;
        let chosen = bytes[(choice & 7) as usize];
        *byte = if choice & 8 == 0 {
            chosen
        } else {
            ((chosen as i8) >> 7) as u8
        };
    }
    u64::from_le_bytes(result)
}

/// `selp`.
pub(in crate::ptx) fn select(a: u64, b: u64, predicate: u64) -> u64 {
    if predicate != 0 { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(name: &str, ty: Type, a: i64, b: i64) -> u64 {
        integer_binary(name, ty).unwrap()(a as u64, b as u64)
    }

    #[test]
    fn division_by_zero_gives_ones() {
        assert_eq!(binary("div", Type::U32, 7, 0) as u32, u32::MAX);
        assert_eq!(binary("rem", Type::S64, 7, 0), u64::MAX);
        assert_eq!(
            binary("div", Type::S32, i64::from(i32::MIN), -1) as i32,
            i32::MIN
        );
        assert_eq!(binary("rem", Type::S32, -7, 3) as i32, -1);
    }

    #[test]
    fn shifts_clamp() {
        assert_eq!(binary("shl", Type::B32, 1, 32), 0);
        assert_eq!(binary("shr", Type::S32, -8, 40) as i32, -1);
        assert_eq!(binary("shr", Type::U32, -8, 40) as u32, 0);
        assert_eq!(binary("shr", Type::U32, -8, 1) as u32, 0x7FFF_FFFC);
    }

    #[test]
    fn high_and_wide_products() {
        assert_eq!(binary("mul.hi", Type::U32, -1, -1) as u32, 0xFFFF_FFFE);
        assert_eq!(binary("mul.hi", Type::S32, -1, -1) as u32, 0);
        assert_eq!(binary("mul.hi", Type::U64, -1, -1), u64::MAX - 1);
        assert_eq!(binary("mul.wide", Type::U32, -1, -1), 0xFFFF_FFFE_0000_0001);
        assert_eq!(binary("mul.wide", Type::S32, -1, 5) as i64, -5);
    }

    #[test]
    fn bits_in_and_out() {
        assert_eq!(insert_bits(32, 0x3, 0xFF00, 4, 2), 0xFF30);
        assert_eq!(
            integer_ternary("bfe", Type::U32).unwrap()(0xABCD, 4, 8),
            0xBC
        );
        assert_eq!(
            integer_ternary("bfe", Type::S32).unwrap()(0xABCD, 12, 4) as i64,
            -6
        );
        assert_eq!(permute_bytes(0x4433_2211, 0x8877_6655, 0x7531), 0x8866_4422);
        assert_eq!(permute_bytes(0x80, 0, 0x8888), 0xFFFF_FFFF);
        assert_eq!(
            integer_ternary("shf.l.wrap", Type::B32).unwrap()(0x8000_0000, 1, 1) as u32,
            3
        );
    }

    #[test]
    fn carries() {
        let carry = integer_ternary("carry", Type::U32).unwrap();
        assert_eq!(carry(0xFFFF_FFFF, 0, 1), 1);
        assert_eq!(carry(0xFFFF_FFFE, 0, 1), 0);
        assert_eq!(integer_ternary("borrow", Type::U32).unwrap()(0, 0, 1), 1);
    }
}
