//! What instructions compute, as functions of the bits in registers.
//!
//! A register is 64 bits wide; a function reads as many of its argument's low bits as its type has, and may leave
//! anything in those above its result's.

mod atomic;
mod compare;
mod convert;
mod float;
mod integer;
mod rounding;

pub(super) use atomic::atomic;
pub(super) use compare::{Comparison, Join, compare, set};
pub(super) use convert::{Conversion, convert};
pub(super) use float::{
    float_binary, float_ternary, float_unary, flush_f32, flush_f64, saturate_f32, saturate_f64,
};
pub(super) use integer::{
    insert_bits, integer_binary, integer_ternary, integer_unary, permute_bytes, select,
};
pub(super) use rounding::Rounding;

/// A function of one register.
pub(super) type Unary = fn(u64) -> u64;
/// A function of two registers.
pub(super) type Binary = fn(u64, u64) -> u64;
/// A function of three registers.
pub(super) type Ternary = fn(u64, u64, u64) -> u64;
