//! Events out of bytes, without a copy of any field.

use super::behaviour::Behaviour;
use super::defect::EventDefect;
use crate::text::for_each_line;

/// An event of raw text as numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RawEvent {
    /// The user.
    pub user: u32,
    /// The item.
    pub item: u32,
    /// The item's category.
    pub category: u32,
    /// Unix time in seconds.
    pub time: i32,
    /// What was done.
    pub behaviour: Behaviour,
}

/// Reads the event at the front of `text` and returns the length of its line, line end included.
///
/// `None` where that line is no event; nothing is said about why, see [`EventDefect`]. Line ends are `\n`, `\r\n`, and the end of
/// `text`.
#[inline]
pub fn parse_event(text: &[u8], event: &mut RawEvent) -> Option<usize> {
    let mut at = 0;
    for value in [&mut event.user, &mut event.item, &mut event.category] {
        let (number, digits) = decimal(text.get(at..)?)?;
        *value = u32::try_from(number).ok()?;
        at += digits;
        if *text.get(at)? != b',' {
            return None;
        }
        at += 1;
    }
    let (behaviour, length) = match text.get(at..)? {
        [b'p', b'v', b',', ..] => (Behaviour::PageView, 3),
        [b'c', b'a', b'r', b't', b',', ..] => (Behaviour::Cart, 5),
        [b'f', b'a', b'v', b',', ..] => (Behaviour::Favourite, 4),
        [b'b', b'u', b'y', b',', ..] => (Behaviour::Buy, 4),
        _ => return None,
    };
    event.behaviour = behaviour;
    at += length;
    let negative = *text.get(at)? == b'-';
    at += usize::from(negative);
    let (number, digits) = decimal(&text[at..])?;
    at += digits;
    let time = if negative {
        -(number as i64)
    } else {
        number as i64
    };
    event.time = i32::try_from(time).ok()?;
    match &text[at..] {
        [b'\n', ..] => Some(at + 1),
        [] => Some(at),
        [b'\r', b'\n', ..] => Some(at + 2),
        [b'\r'] => Some(at + 1),
        _ => None,
    }
}

/// Reads a decimal number from the front; returns it and its length in bytes. `None` without a digit, or beyond 32 bits.
///
/// Eight bytes at once: those that are digits are found and put together by the same operations on all of them (SIMD within
/// a register).
#[inline(always)]
pub(super) fn decimal(text: &[u8]) -> Option<(u64, usize)> {
    const fn every(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    let Some(chunk) = text.first_chunk::<8>() else {
        return more_digits(text, 0, 0);
    };
    let word = u64::from_le_bytes(*chunk) ^ every(b'0');
    // High bit set where the byte is 10 or more. A carry out of such a byte only reaches bytes behind it.
    let no_digit = (word | word.wrapping_add(every(0x76))) & every(0x80);
    let digits = (no_digit.trailing_zeros() / 8) as usize;
    if digits == 0 {
        return None;
    }
    // The first digits become leading zeros where there are less than eight.
    let word = word << (64 - 8 * digits);
    let pairs = word.wrapping_mul(10).wrapping_add(word >> 8);
    let (upper, lower) = (
        pairs & 0x0000_00ff_0000_00ff,
        (pairs >> 16) & 0x0000_00ff_0000_00ff,
    );
    let sum = upper
        .wrapping_mul(100 + (1_000_000 << 32))
        .wrapping_add(lower.wrapping_mul(1 + (10_000 << 32)));
    let value = sum >> 32;
    if digits < 8 {
        Some((value, digits))
    } else {
        more_digits(text, value, 8)
    }
}

/// Goes on with a number whose first digits were read. Leading zeros may go on for long; the value may not.
fn more_digits(text: &[u8], mut value: u64, mut at: usize) -> Option<(u64, usize)> {
    while let Some(digit) = text
        .get(at)
        .map(|byte| byte.wrapping_sub(b'0'))
        .filter(|&digit| digit < 10)
    {
        value = value * 10 + u64::from(digit);
        if value > u64::from(u32::MAX) {
            return None;
        }
        at += 1;
    }
    (at > 0).then_some((value, at))
}

/// Reads all lines of `text`: `good` receives every event; `bad` every line that is none, with its number, counted from 0.
///
/// # Errors
/// The first error that `bad` returns ends the reading.
pub fn parse_events<E>(
    text: &[u8],
    good: impl FnMut(&RawEvent),
    bad: impl FnMut(u64, EventDefect) -> Result<(), E>,
) -> Result<(), E> {
    // A line that the fast path refuses has a defect; the two are held together by a test.
    let defect = |line: &[u8]| EventDefect::of(line).unwrap_or(EventDefect::Empty);
    for_each_line(text, parse_event, defect, good, bad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text_of(event: &RawEvent) -> String {
        let RawEvent {
            user,
            item,
            category,
            time,
            behaviour,
        } = event;
        format!("{user},{item},{category},{},{time}", behaviour.name())
    }

    fn events() -> impl Strategy<Value = RawEvent> {
        let id = || {
            (any::<u32>(), 0u32..32)
                .prop_map(|(value, shift)| value.checked_shr(shift).unwrap_or(0))
        };
        (id(), id(), id(), any::<i32>(), 0usize..4).prop_map(
            |(user, item, category, time, behaviour)| RawEvent {
                user,
                item,
                category,
                time,
                behaviour: Behaviour::ALL[behaviour],
            },
        )
    }

    proptest! {
        #[test]
        fn events_round_trip_under_any_line_end(event in events()) {
            let line = text_of(&event);
            for end in ["\n", "\r\n", "", "\r", "\n123456789"] {
                let mut read = RawEvent::default();
                let text = format!("{line}{end}");
                let length = line.len() + end.trim_end_matches(char::is_numeric).len();
                prop_assert_eq!(parse_event(text.as_bytes(), &mut read), Some(length));
                prop_assert_eq!(read, event);
            }
            prop_assert_eq!(EventDefect::of(line.as_bytes()), None);
        }

        /// The fast path and the explanation must agree on what an event is, whatever one damaged byte does.
        #[test]
        fn a_line_is_refused_exactly_when_it_has_a_defect(
            event in events(), place: prop::sample::Index,
            byte in prop_oneof![any::<u8>(), Just(b','), Just(b'-'), Just(b'9')], insert: bool,
        ) {
            let mut line = text_of(&event).into_bytes();
            let place = place.index(line.len());
            if insert {
                line.insert(place, byte);
            } else {
                line[place] = byte;
            }
            if byte != b'\n' {
                let stripped = line.strip_suffix(b"\r").unwrap_or(&line);
                let parsed = parse_event(&line, &mut RawEvent::default());
                prop_assert_eq!(parsed == Some(line.len()), EventDefect::of(stripped).is_none());
            }
        }

        #[test]
        fn decimals_agree_with_the_standard_library(value: u64, shift in 0u32..64, zeros in 0usize..12, tail in "[,\n-]?[0-9a-z,]{0,9}") {
            let value = value >> shift;
            let digits = format!("{:0>1$}", value, zeros);
            let tail = if tail.starts_with(|c: char| c.is_ascii_digit()) { format!(",{tail}") } else { tail };
            let text = format!("{digits}{tail}");
            let expected = u32::try_from(value).ok().map(|value| (u64::from(value), digits.len()));
            prop_assert_eq!(decimal(text.as_bytes()), expected);
        }
    }

    #[test]
    fn bad_lines_are_numbered_and_do_not_disturb_their_neighbours() {
        let (mut good, mut bad) = (0, Vec::new());
        let end: Result<(), ()> = parse_events(
            b"1,2,3,pv,4\n\n1,2,3,cart,-4\r\nx\n1,2,3,buy,5",
            |_| good += 1,
            |line, defect| {
                bad.push((line, defect));
                Ok(())
            },
        );
        assert_eq!((end, good), (Ok(()), 3));
        assert_eq!(
            bad,
            [
                (1, EventDefect::Empty),
                (3, EventDefect::FieldCount { found: 1 })
            ]
        );
    }
}
