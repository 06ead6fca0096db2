//! Comparisons: `setp` and `set`.

use std::cmp::Ordering;

use super::Binary;
use super::rounding::Format;
use crate::ptx::types::Type;

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ptx) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// The same, or a NaN among them.
    EqualOrNan,
    NotEqualOrNan,
    LessOrNan,
    LessOrEqualOrNan,
    GreaterOrNan,
    GreaterOrEqualOrNan,
    /// Neither is a NaN.
    Numbers,
    /// One is a NaN.
    Nan,
}

impl Comparison {
    /// The comparison that a modifier names.
    pub(in crate::ptx) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "eq" => Comparison::Equal,
            "ne" => Comparison::NotEqual,
            "lt" | "lo" => Comparison::Less,
            "le" | "ls" => Comparison::LessOrEqual,
            "gt" | "hi" => Comparison::Greater,
            "ge" | "hs" => Comparison::GreaterOrEqual,
            "equ" => Comparison::EqualOrNan,
            "neu" => Comparison::NotEqualOrNan,
            "ltu" => Comparison::LessOrNan,
            "leu" => Comparison::LessOrEqualOrNan,
            "gtu" => Comparison::GreaterOrNan,
            "geu" => Comparison::GreaterOrEqualOrNan,
            "num" => Comparison::Numbers,
            "nan" => Comparison::Nan,
            _ => return None,
        })
    }
}

/// How the result of a comparison is joined with a predicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ptx) enum Join {
    And,
    Or,
    Xor,
}

impl Join {
    /// The operation that a modifier names.
    pub(in crate::ptx) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "and" => Join::And,
            "or" => Join::Or,
            "xor" => Join::Xor,
            _ => return None,
        })
    }
}

/// The comparison functions of a type, whose values `$read` makes of bits. `!(a >= b)` also holds of NaNs.
macro_rules! comparisons {
    ($comparison:expr, $read:expr) => {{
        #[allow(
            clippy::neg_cmp_op_on_partial_ord,
            reason = "NaNs are what it is about"
        )]
        let function: Binary = match $comparison {
            Comparison::Equal => |a, b| u64::from($read(a) == $read(b)),
            Comparison::NotEqual => {
                |a, b| u64::from($read(a).partial_cmp(&$read(b)).is_some_and(Ordering::is_ne))
            }
            Comparison::Less => |a, b| u64::from($read(a) < $read(b)),
            Comparison::LessOrEqual => |a, b| u64::from($read(a) <= $read(b)),
            Comparison::Greater => |a, b| u64::from($read(a) > $read(b)),
            Comparison::GreaterOrEqual => |a, b| u64::from($read(a) >= $read(b)),
            Comparison::EqualOrNan => {
                |a, b| u64::from($read(a).partial_cmp(&$read(b)).is_none_or(Ordering::is_eq))
            }
            Comparison::NotEqualOrNan => |a, b| u64::from($read(a) != $read(b)),
            Comparison::LessOrNan => |a, b| u64::from(!($read(a) >= $read(b))),
            Comparison::LessOrEqualOrNan => |a, b| u64::from(!($read(a) > $read(b))),
            Comparison::GreaterOrNan => |a, b| u64::from(!($read(a) <= $read(b))),
            Comparison::GreaterOrEqualOrNan => |a, b| u64::from(!($read(a) < $read(b))),
            Comparison::Numbers => |a, b| u64::from($read(a).partial_cmp(&$read(b)).is_some()),
            Comparison::Nan => |a, b| u64::from($read(a).partial_cmp(&$read(b)).is_none()),
        };
        function
    }};
}

/// The function of a comparison, whose result is 0 or 1.
pub(in crate::ptx) fn compare(comparison: Comparison, ty: Type) -> Option<Binary> {
    Some(match ty {
        Type::U16 | Type::B16 => comparisons!(comparison, |x: u64| x as u16),
        Type::U32 | Type::B32 => comparisons!(comparison, |x: u64| x as u32),
        Type::U64 | Type::B64 => comparisons!(comparison, |x: u64| x),
        Type::S16 => comparisons!(comparison, |x: u64| x as i16),
        Type::S32 => comparisons!(comparison, |x: u64| x as i32),
        Type::S64 => comparisons!(comparison, |x: u64| x as i64),
        Type::F16 => comparisons!(comparison, |x: u64| Format::F16.decode(x)),
        Type::Bf16 => comparisons!(comparison, |x: u64| Format::BF16.decode(x)),
        Type::F32 => comparisons!(comparison, |x: u64| f32::from_bits(x as u32)),
        Type::F64 => comparisons!(comparison, f64::from_bits),
        _ => return None,
    })
}

/// What `set` makes of a comparison that holds.
pub(in crate::ptx) fn set(ty: Type) -> Option<u64> {
    Some(match ty {
        Type::U32 | Type::S32 | Type::U16 | Type::S16 | Type::B16 | Type::B32 => 0xFFFF_FFFF,
        Type::F32 => u64::from(1_f32.to_bits()),
        Type::F16 => Format::F16.encode(1.0),
        Type::Bf16 => Format::BF16.encode(1.0),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unordered_comparisons_hold_of_nans() {
        let nan = u64::from(f32::NAN.to_bits());
        let one = u64::from(1_f32.to_bits());
        let holds = |name: &str, a, b| {
            compare(Comparison::named(name).unwrap(), Type::F32).unwrap()(a, b) == 1
        };
        for name in ["eq", "ne", "lt", "le", "gt", "ge", "num"] {
            assert!(!holds(name, nan, one), "{name}");
        }
        for name in ["equ", "neu", "ltu", "leu", "gtu", "geu", "nan"] {
            assert!(holds(name, nan, one), "{name}");
        }
        assert!(holds("equ", one, one) && !holds("neu", one, one) && !holds("ltu", one, one));
        assert!(holds("num", one, one) && holds("geu", one, one) && holds("leu", one, one));
    }

    #[test]
    fn signs_count() {
        let minus = -1_i64 as u64;
        assert_eq!(compare(Comparison::Less, Type::S32).unwrap()(minus, 0), 1);
        assert_eq!(compare(Comparison::Less, Type::U32).unwrap()(minus, 0), 0);
        // What is above a type's bits does not count.
        assert_eq!(
            compare(Comparison::Equal, Type::U32).unwrap()(1 << 32, 0),
            1
        );
    }
}
