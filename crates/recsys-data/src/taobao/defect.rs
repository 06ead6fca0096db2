//! What can be wrong with an event.

use super::{Behaviour, FIELDS};
use crate::text::{Defect, MAX_LINE, shorten};

/// Why a line is no event. `field` counts from 0 (0 is the user), messages count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventDefect {
    /// Nothing between two line ends.
    #[error("the line is empty")]
    Empty,
    /// Longer than any event can be; the rest of the line was not looked at.
    #[error("the line is longer than {MAX_LINE} bytes, so it is no event")]
    LineTooLong,
    /// Too few or too many fields.
    #[error(
        "{found} fields separated by commas instead of {} (user, item, category, behaviour, time)", FIELDS.len()
    )]
    FieldCount {
        /// Number of fields.
        found: usize,
    },
    /// A NUL byte.
    #[error("a NUL byte at byte {byte} of the line: the file is damaged or no text")]
    Nul {
        /// Its place in the line, counted from 1.
        byte: usize,
    },
    /// Bytes that are no UTF-8 text.
    #[error("byte {byte} of the line is no UTF-8 text: the file is damaged or of another kind")]
    NotUtf8 {
        /// The first such byte, counted from 1.
        byte: usize,
    },
    /// A carriage return that is no part of a line end.
    #[error("a carriage return at byte {byte} of the line, which does not end the line there")]
    CarriageReturn {
        /// Its place in the line, counted from 1.
        byte: usize,
    },
    /// A user, item or category that is no number.
    #[error("{name} (field {number}) is \"{text}\", which is no decimal number without sign", name = FIELDS[*field], number = field + 1)]
    Id {
        /// The field's number.
        field: usize,
        /// The field, escaped and shortened.
        text: String,
    },
    /// A user, item or category that does not fit 32 bits.
    #[error("{name} (field {number}) is \"{text}\", which is beyond 4294967295", name = FIELDS[*field], number = field + 1)]
    IdOverflow {
        /// The field's number.
        field: usize,
        /// The field, escaped and shortened.
        text: String,
    },
    /// A behaviour that does not exist.
    #[error("behaviour (field 4) is \"{text}\" instead of pv, cart, fav or buy")]
    Behaviour {
        /// The field, escaped and shortened.
        text: String,
    },
    /// A time that is no number.
    #[error("time (field 5) is \"{text}\", which is no decimal integer")]
    Time {
        /// The field, escaped and shortened.
        text: String,
    },
    /// A time that does not fit 32 bits.
    #[error(
        "time (field 5) is \"{text}\", which does not fit a signed 32-bit number of seconds (years 1901 to 2038)"
    )]
    TimeOverflow {
        /// The field, escaped and shortened.
        text: String,
    },
    /// A time outside the days that the data are of, where those are refused.
    #[error("time (field 5) is {time}, which lies outside {from} to {until}")]
    TimeOutOfRange {
        /// The time found.
        time: i32,
        /// First second allowed.
        from: i32,
        /// Last second allowed.
        until: i32,
    },
    /// An item that came with another category before.
    #[error(
        "item {item} (field 2) has category {found} (field 3) here and category {known} on a line before"
    )]
    SecondCategory {
        /// The item.
        item: u32,
        /// Its category on the lines before.
        known: u32,
        /// The category found.
        found: u32,
    },
}

impl EventDefect {
    /// A short name for the kind of defect, under which skipped lines are counted.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Empty => "empty line",
            Self::LineTooLong => "line too long",
            Self::FieldCount { .. } => "wrong number of fields",
            Self::Nul { .. } => "NUL byte",
            Self::NotUtf8 { .. } => "not UTF-8",
            Self::CarriageReturn { .. } => "stray carriage return",
            Self::Id { .. } => "id no number",
            Self::IdOverflow { .. } => "id beyond 32 bits",
            Self::Behaviour { .. } => "unknown behaviour",
            Self::Time { .. } => "time no integer",
            Self::TimeOverflow { .. } => "time beyond 32 bits",
            Self::TimeOutOfRange { .. } => "time out of range",
            Self::SecondCategory { .. } => "item in two categories",
        }
    }

    /// What a user can do about it.
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            Self::TimeOutOfRange { .. } => {
                "keep such events with `OutOfRange::Keep`, or leave them out with `BadRows::Skip`"
            }
            _ => "mend the file, or leave such lines out with `BadRows::Skip`",
        }
    }

    /// Says what is wrong with a line (without its line end) that [`super::parse_event`] refuses.
    ///
    /// `None` means that nothing is: the line is an event.
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
        let found = memchr::memchr_iter(b',', line).count() + 1;
        if found != FIELDS.len() {
            return Some(Self::FieldCount { found });
        }
        line.split(|&byte| byte == b',')
            .enumerate()
            .find_map(|(field, text)| Self::of_field(field, text))
    }

    fn of_field(field: usize, text: &[u8]) -> Option<Self> {
        let is_number = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
        let shown = || shorten(text);
        let parsed = |text: &[u8]| std::str::from_utf8(text).map(str::to_owned);
        match field {
            0..=2 if !is_number(text) => Some(Self::Id {
                field,
                text: shown(),
            }),
            0..=2 => {
                let fits = parsed(text).is_ok_and(|text| text.parse::<u32>().is_ok());
                (!fits).then(|| Self::IdOverflow {
                    field,
                    text: shown(),
                })
            }
            3 => {
                let known = Behaviour::ALL
                    .iter()
                    .any(|behaviour| behaviour.name().as_bytes() == text);
                (!known).then(|| Self::Behaviour { text: shown() })
            }
            _ if !is_number(text.strip_prefix(b"-").unwrap_or(text)) => {
                Some(Self::Time { text: shown() })
            }
            _ => {
                let fits = parsed(text).is_ok_and(|text| text.parse::<i32>().is_ok());
                (!fits).then(|| Self::TimeOverflow { text: shown() })
            }
        }
    }
}

impl Defect for EventDefect {
    fn kind(&self) -> &'static str {
        self.kind()
    }
}
