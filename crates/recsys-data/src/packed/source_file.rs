//! What a data set was made from.

use serde::{Deserialize, Serialize};

/// A raw file that a data set was made from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// File name, without folders.
    pub name: String,
    /// Size as it lay on disk.
    pub bytes: u64,
    /// xxh3 (64 bits) of those bytes, 16 hexadecimal digits.
    pub xxh3: String,
}
