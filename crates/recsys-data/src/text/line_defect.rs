//! What can be wrong with a line of text: the same things in every format, and those of its fields.

use std::fmt;

use super::MAX_LINE;

/// What can be wrong with the fields of one kind of lines.
pub trait FieldDefect: fmt::Display + Sized {
    /// What a line is, such as "event".
    const LINE: &'static str;
    /// What stands between two fields.
    const SEPARATOR: u8;
    /// What messages call it.
    const SEPARATOR_NAME: &'static str;
    /// Fields of a line.
    const FIELDS: usize;
    /// Their names, for messages.
    const FIELD_NAMES: &'static str;

    /// What messages say about lines with other separators.
    const OTHER_SEPARATORS: &'static str = "";

    /// What messages say about a line with this number of fields.
    fn count_hint(_found: usize) -> &'static str {
        ""
    }

    /// Says what is wrong with a field, counted from 0. `None` means that nothing is.
    fn of_field(field: usize, text: &[u8]) -> Option<Self>;

    /// A short name for the kind of defect, under which skipped lines are counted.
    fn kind(&self) -> &'static str;
}

/// Why a line of text is refused; `F` is what can be wrong with its fields.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineDefect<F: FieldDefect> {
    /// Nothing between two line ends.
    #[error("the line is empty")]
    Empty,
    /// Longer than any such line can be; the rest of the line was not looked at.
    #[error("the line is longer than {MAX_LINE} bytes, so it is no {}", F::LINE)]
    LineTooLong,
    /// Too few or too many fields.
    #[error(
        "{found} fields separated by {} instead of {} ({}){}",
        F::SEPARATOR_NAME,
        F::FIELDS,
        F::FIELD_NAMES,
        F::count_hint(*found)
    )]
    FieldCount {
        /// Number of fields.
        found: usize,
    },
    /// No separator, and several that are usual elsewhere.
    #[error(
        "the line's fields are separated by {found} instead of {}{}",
        F::SEPARATOR_NAME,
        F::OTHER_SEPARATORS
    )]
    OtherSeparator {
        /// What separates them.
        found: &'static str,
    },
    /// A NUL byte.
    #[error("a NUL byte at byte {byte} of the line: the file is damaged or no text")]
    Nul {
        /// Its place in the line, counted from 1.
        byte: usize,
    },
    /// Bytes that are not UTF-8 text.
    #[error("byte {byte} of the line is no UTF-8 text: the file is damaged or of another kind")]
    NotUtf8 {
        /// The first such byte, counted from 1.
        byte: usize,
    },
    /// A carriage return that is not part of a line end.
    #[error("a carriage return at byte {byte} of the line, which does not end the line there")]
    CarriageReturn {
        /// Its place in the line, counted from 1.
        byte: usize,
    },
    /// A field that is refused.
    #[error("{0}")]
    Field(F),
}

impl<F: FieldDefect> LineDefect<F> {
    /// A short name for the kind of defect, under which skipped lines are counted.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Empty => "empty line",
            Self::LineTooLong => "line too long",
            Self::FieldCount { .. } => "wrong number of fields",
            Self::OtherSeparator { .. } => "other separator",
            Self::Nul { .. } => "NUL byte",
            Self::NotUtf8 { .. } => "not UTF-8",
            Self::CarriageReturn { .. } => "stray carriage return",
            Self::Field(defect) => defect.kind(),
        }
    }

    /// Says what is wrong with a line (without its line end) that the parser refuses.
    ///
    /// `None` means that nothing is.
    pub(crate) fn of(line: &[u8]) -> Option<Self> {
        if line.len() > MAX_LINE {
            return Some(Self::LineTooLong);
        }
        if line.is_empty() {
            return Some(Self::Empty);
        }
        if let Some(at) = memchr::memchr(0, line) {
            return Some(Self::Nul { byte: at + 1 });
        }
        if let Err(error) = std::str::from_utf8(line) {
            let byte = error.valid_up_to() + 1;
            return Some(Self::NotUtf8 { byte });
        }
        if let Some(at) = memchr::memchr(b'\r', line) {
            return Some(Self::CarriageReturn { byte: at + 1 });
        }
        let found = memchr::memchr_iter(F::SEPARATOR, line).count() + 1;
        let usual = [
            (b'\t', "TAB"),
            (b',', "commas"),
            (b';', "semicolons"),
            (b'|', "bars"),
        ];
        let separates = |&(byte, _): &(u8, _)| memchr::memchr_iter(byte, line).count() > 1;
        if let Some((_, found)) = usual
            .into_iter()
            .find(|other| found == 1 && separates(other))
        {
            return Some(Self::OtherSeparator { found });
        }
        if found != F::FIELDS {
            return Some(Self::FieldCount { found });
        }
        line.split(|&byte| byte == F::SEPARATOR)
            .enumerate()
            .find_map(|(field, text)| F::of_field(field, text))
            .map(Self::Field)
    }
}
