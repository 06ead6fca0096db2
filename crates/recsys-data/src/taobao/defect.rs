//! What can be wrong with an event.

use super::FIELDS;
use super::behaviour::Behaviour;
use crate::text::{FieldDefect, LineDefect, header_hint, shorten};

/// Why a line is not an event.
pub type EventDefect = LineDefect<EventFieldDefect>;

/// What is wrong with the fields of a line. `field` counts from 0 (the user), messages count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventFieldDefect {
    /// A user, item or category that is no number.
    #[error(
        "{name} (field {number}) is \"{text}\", which is no decimal number without sign{hint}",
        name = FIELDS[*field],
        number = field + 1,
        hint = match field {
            0 => header_hint(text, "; if the line names the columns, remove it"),
            _ => "",
        }
    )]
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

impl FieldDefect for EventFieldDefect {
    const LINE: &'static str = "event";
    const SEPARATOR: u8 = b',';
    const SEPARATOR_NAME: &'static str = "commas";
    const FIELDS: usize = FIELDS.len();
    const FIELD_NAMES: &'static str = "user, item, category, behaviour, time";

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

    fn kind(&self) -> &'static str {
        match self {
            Self::Id { .. } => "id no number",
            Self::IdOverflow { .. } => "id beyond 32 bits",
            Self::Behaviour { .. } => "unknown behaviour",
            Self::Time { .. } => "time no integer",
            Self::TimeOverflow { .. } => "time beyond 32 bits",
            Self::TimeOutOfRange { .. } => "time out of range",
            Self::SecondCategory { .. } => "item in two categories",
        }
    }
}

impl EventDefect {
    /// What a user can do about it.
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            Self::Field(EventFieldDefect::TimeOutOfRange { .. }) => {
                "keep such events with `OutOfRange::Keep`, or leave them out with `BadRows::Skip`"
            }
            _ => "mend the file, or leave such lines out with `BadRows::Skip`",
        }
    }
}
