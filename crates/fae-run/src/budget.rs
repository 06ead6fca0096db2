//! Budgets as people write them.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Context, Error, Result, refuse};

/// How many bytes hot rows may take on a device, optimizer state included: a number, or a share of
/// the bytes of all rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Budget {
    /// A number of bytes.
    Bytes(u64),
    /// A share in [0, 1].
    Share(f64),
}

impl Budget {
    /// The budget in bytes, where all rows take `all` bytes.
    pub fn bytes(self, all: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Share(share) => (all as f64 * share) as u64,
        }
    }

    /// The budget as a share, where all rows take `all` bytes.
    pub fn share(self, all: u64) -> f64 {
        match self {
            Self::Bytes(bytes) => bytes as f64 / all.max(1) as f64,
            Self::Share(share) => share,
        }
    }
}

impl Default for Budget {
    /// 256 MiB, as in the paper.
    fn default() -> Self {
        Self::Bytes(256 << 20)
    }
}

impl FromStr for Budget {
    type Err = Error;

    /// Reads `256MiB`, `1.5GB`, `4096`, `0` or `10%`.
    fn from_str(text: &str) -> Result<Self> {
        let help = "give bytes such as 256MiB, 1GB or 0, or a share of all rows' bytes such as 10%";
        let text = text.trim();
        let unit = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(unit);
        let number: f64 = number
            .parse()
            .ok()
            .context(|| format!("`{text}` is not a budget: {help}"))?;
        let factor = match unit.trim().to_ascii_lowercase().as_str() {
            "%" if number <= 100.0 => return Ok(Self::Share(number / 100.0)),
            "%" => refuse!("`{text}` is more than 100%: {help}"),
            "" | "b" => 1u64,
            "kib" => 1 << 10,
            "mib" => 1 << 20,
            "gib" => 1 << 30,
            "tib" => 1 << 40,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            unit => refuse!("`{text}` has the unknown unit `{unit}`: {help}"),
        };
        // A float holds whole bytes up to 8 PiB.
        let bytes = number * factor as f64;
        if bytes > 9e15 {
            refuse!("`{text}` is more than any device has: {help}");
        }
        Ok(Self::Bytes(bytes as u64))
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => {
                let units = [(30, "GiB"), (20, "MiB"), (10, "KiB"), (0, "")];
                let whole = |(shift, _): &(u32, &str)| bytes.trailing_zeros() >= *shift;
                let (shift, unit) = units.into_iter().find(whole).unwrap_or_default();
                write!(f, "{}{unit}", bytes >> shift)
            }
            Self::Share(share) => {
                // The shortest percentage that is read as this share: the product may be off by its
                // last bit.
                let percent = 100.0 * share;
                let candidates = [percent, percent.next_down(), percent.next_up()];
                let exact = candidates.into_iter().filter(|it| it / 100.0 == *share);
                let texts = exact.map(|it| it.to_string());
                let shortest = texts.min_by_key(String::len);
                write!(f, "{}%", shortest.unwrap_or_else(|| percent.to_string()))
            }
        }
    }
}

impl Serialize for Budget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Budget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

    use super::*;

    #[test]
    fn budgets_are_read_as_written() {
        let bytes = [
            ("0", 0),
            ("4096", 4096),
            ("256MiB", 256 << 20),
            ("1.5 GiB", 3 << 29),
            ("500MB", 500_000_000),
            ("2kb", 2000),
        ];
        for (text, expected) in bytes {
            assert_eq!(text.parse::<Budget>().unwrap(), Budget::Bytes(expected));
        }
        for text in [
            "0GiB", "4KiB", "256MiB", "4097", "12.5%", "7%", "29%", "0.1%",
        ] {
            assert_eq!(text.parse::<Budget>().unwrap().to_string(), text);
        }
        let share: Budget = "12.5%".parse().unwrap();
        assert_eq!((share.bytes(800), share.share(800)), (100, 0.125));
        assert_eq!(Budget::Bytes(200).share(800), 0.25);
    }

    #[test]
    fn what_is_no_budget_is_named() {
        for text in [
            "",
            "much",
            "-1",
            "101%",
            "5 parsecs",
            "1.2.3MB",
            "99999999TiB",
        ] {
            let error = text.parse::<Budget>().unwrap_err().to_string();
            assert!(error.contains("give bytes such as 256MiB"), "{error}");
        }
    }
}
