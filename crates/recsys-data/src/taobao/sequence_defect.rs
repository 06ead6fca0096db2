//! What can be wrong with a line of the original's text.

/// The columns of a line.
pub(super) const COLUMNS: [&str; 8] = [
    "user",
    "target item",
    "target category",
    "label",
    "items",
    "categories",
    "negative items",
    "negative categories",
];
/// Why a line is no sequence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SequenceDefect {
    /// Too few or too many columns.
    #[error("{found} columns separated by TAB instead of {}", COLUMNS.len())]
    Columns {
        /// Number of columns.
        found: usize,
    },
    /// A value that is no id.
    #[error(
        "{} (column {}): value {place} is \"{text}\", which is no number from 0 to 4294967295",
        COLUMNS[*column], column + 1
    )]
    Number {
        /// The column, counted from 0.
        column: usize,
        /// Which value of the list, counted from 1.
        place: usize,
        /// The value, escaped and shortened.
        text: String,
    },
    /// A list of another length than it should have.
    #[error(
        "{} (column {}) has {found} values, and {expected} are needed",
        COLUMNS[*column], column + 1
    )]
    Length {
        /// The column, counted from 0.
        column: usize,
        /// Number of values.
        found: usize,
        /// What would be right.
        expected: String,
    },
    /// A label other than 0 and 1.
    #[error("label (column 4) is {found} instead of 0 or 1")]
    Label {
        /// The label.
        found: u32,
    },
}
