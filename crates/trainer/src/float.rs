//! The types of weights in files. In memory they are all f32.

use half::{bf16, f16};

/// A type of floating-point numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Float {
    F16,
    BF16,
    F32,
    F64,
}

impl Float {
    /// Size in bytes.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::F16 | Self::BF16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// Little-endian numbers as f32, the nearest one where f32 has not all of them.
    pub(crate) fn decode(self, bytes: &[u8]) -> Vec<f32> {
        fn each<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
            bytes.as_chunks().0.iter().map(|&n| value(n)).collect()
        }
        match self {
            Self::F16 => each(bytes, |n| f16::from_le_bytes(n).to_f32()),
            Self::BF16 => each(bytes, |n| bf16::from_le_bytes(n).to_f32()),
            Self::F32 => each(bytes, f32::from_le_bytes),
            Self::F64 => each(bytes, |n| f64::from_le_bytes(n) as f32),
        }
    }
}
