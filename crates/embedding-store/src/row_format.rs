//! How rows are kept on a device.

use std::fmt;
use std::str::FromStr;

use candle_core::DType;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How a [`DeviceStore`](crate::DeviceStore) keeps weights. Projections of mixed-dimension tables
/// and optimizer state are f32 in either, and so is all arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowFormat {
    /// 32 bits: the numbers of the rows in host memory.
    #[default]
    F32,
    /// 16 bits, of which 8 are the weight's: about twice the rows for the same memory. What an
    /// update writes is rounded up or down at random, so that steps too small for those bits are
    /// taken on average; the random bits are a function of the store's seed, the number of the
    /// update, the row and the column, so that runs are repeatable. Rows that come from host memory
    /// (initial ones, imports, those that [`HotReplicas`](crate::HotReplicas) takes to its devices)
    /// are rounded alike; what fits 16 bits stays as it is.
    Bf16,
}

impl RowFormat {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::F32, Self::Bf16];

    /// Name as on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// Bytes of a weight.
    pub fn bytes(self) -> usize {
        self.dtype().size_in_bytes()
    }

    pub(crate) fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }
}

impl fmt::Display for RowFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for RowFormat {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let format = Self::ALL.into_iter().find(|format| format.name() == text);
        format.ok_or_else(|| Error::UnknownRowFormat { text: text.into() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for format in RowFormat::ALL {
            assert_eq!(format.to_string().parse::<RowFormat>().unwrap(), format);
            let json = serde_json::to_string(&format).unwrap();
            assert_eq!(json, format!("\"{format}\""));
        }
        let error = "fp16".parse::<RowFormat>().unwrap_err().to_string();
        assert!(error.contains("fp16") && error.contains("bf16"), "{error}");
    }
}
