//! Rows out of bytes, without a copy of any field.

use super::number::{decimal, hex, hex8};
use super::{DENSE_FEATURES, RowDefect, TABLES};
use crate::text::for_each_line;

/// A row of raw Criteo text as numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RawRow {
    /// 1 for a click.
    pub label: u8,
    /// Bit `t` is set where category `t` is missing.
    pub missing: u32,
    /// Integers I1 to I13 as written; a missing one is 0.
    pub dense: [i32; DENSE_FEATURES],
    /// Categories C1 to C26 as written in hexadecimal; a missing one is 0.
    pub categories: [u32; TABLES],
}

/// Reads the row at the front of `text` and returns the length of its line, line end included.
///
/// `None` where that line is no row; nothing is said about why, see [`RowDefect`]. Line ends are `\n`, `\r\n`, and the end of `text`.
#[inline]
pub fn parse_row(text: &[u8], row: &mut RawRow) -> Option<usize> {
    row.label = text.first()?.wrapping_sub(b'0');
    if row.label > 1 || *text.get(1)? != b'\t' {
        return None;
    }
    let mut at = 2;
    for value in &mut row.dense {
        if *text.get(at)? == b'\t' {
            *value = 0;
        } else {
            let (number, length) = decimal(&text[at..])?;
            *value = number;
            at += length;
            if *text.get(at)? != b'\t' {
                return None;
            }
        }
        at += 1;
    }
    row.missing = 0;
    let mut categories = row.categories.iter_mut().enumerate();
    for (table, value) in categories.by_ref().take(TABLES - 1) {
        at = category(text, at, table, value, &mut row.missing)?;
        if *text.get(at)? != b'\t' {
            return None;
        }
        at += 1;
    }
    let (table, value) = categories.next()?;
    at = category(text, at, table, value, &mut row.missing)?;
    line_end(text, at)
}

/// Reads a category that starts at `at`; returns where it ends. An empty field is a missing value.
#[inline(always)]
fn category(
    text: &[u8],
    at: usize,
    table: usize,
    value: &mut u32,
    missing: &mut u32,
) -> Option<usize> {
    let rest = text.get(at..)?;
    if let Some(number) = rest.first_chunk::<8>().and_then(|digits| hex8(*digits)) {
        *value = number;
        return Some(at + 8);
    }
    match rest.first() {
        None | Some(b'\t' | b'\n' | b'\r') => {
            *value = 0;
            *missing |= 1 << table;
            Some(at)
        }
        Some(_) => {
            let (number, digits) = hex(rest)?;
            *value = number;
            Some(at + digits)
        }
    }
}

/// Where the line after `at` starts, if a line ends at `at`.
#[inline(always)]
fn line_end(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at..)? {
        [b'\n', ..] => Some(at + 1),
        [] => Some(at),
        [b'\r', b'\n', ..] => Some(at + 2),
        [b'\r'] => Some(at + 1),
        _ => None,
    }
}

/// Reads all lines of `text`: `good` receives every row; `bad` every line that is none, with its number, counted from 0.
///
/// # Errors
/// The first error that `bad` returns ends the reading.
pub fn parse_rows<E>(
    text: &[u8],
    good: impl FnMut(&RawRow),
    bad: impl FnMut(u64, RowDefect) -> Result<(), E>,
) -> Result<(), E> {
    // A line that the fast path refuses has a defect; the two are held together by a test.
    let defect = |line: &[u8]| RowDefect::of(line).unwrap_or(RowDefect::Empty);
    for_each_line(text, parse_row, defect, good, bad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text_of(row: &RawRow, missing_dense: u16, upper: bool) -> String {
        let mut fields = vec![row.label.to_string()];
        for (index, value) in row.dense.iter().enumerate() {
            let missing = missing_dense >> index & 1 == 1;
            fields.push(if missing {
                String::new()
            } else {
                value.to_string()
            });
        }
        for (table, value) in row.categories.iter().enumerate() {
            fields.push(match (row.missing >> table & 1 == 1, upper) {
                (true, _) => String::new(),
                (false, true) => format!("{value:X}"),
                (false, false) => format!("{value:08x}"),
            });
        }
        fields.join("\t")
    }

    fn rows() -> impl Strategy<Value = (RawRow, u16, bool)> {
        let values = (
            0u8..2,
            0u32..1 << TABLES,
            any::<[i32; DENSE_FEATURES]>(),
            any::<[u32; TABLES]>(),
        );
        (values, 0u16..1 << DENSE_FEATURES, any::<bool>()).prop_map(
            |((label, missing, dense, categories), empty, upper)| {
                let mut row = RawRow {
                    label,
                    missing,
                    dense,
                    categories,
                };
                for index in 0..DENSE_FEATURES {
                    row.dense[index] *= i32::from(empty >> index & 1 == 0);
                }
                for table in 0..TABLES {
                    row.categories[table] *= u32::from(missing >> table & 1 == 0);
                }
                (row, empty, upper)
            },
        )
    }

    fn collect(text: &[u8]) -> (Vec<RawRow>, Vec<(u64, RowDefect)>) {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        let end: Result<(), ()> = parse_rows(
            text,
            |row| good.push(*row),
            |line, defect| {
                bad.push((line, defect));
                Ok(())
            },
        );
        assert_eq!(end, Ok(()));
        (good, bad)
    }

    proptest! {
        #[test]
        fn rows_round_trip_under_any_line_end((row, empty, upper) in rows()) {
            let line = text_of(&row, empty, upper);
            for end in ["\n", "\r\n", "", "\r"] {
                let mut read = RawRow::default();
                let text = format!("{line}{end}");
                prop_assert_eq!(parse_row(text.as_bytes(), &mut read), Some(text.len()));
                prop_assert_eq!(read, row);
            }
            prop_assert_eq!(RowDefect::of(line.as_bytes()), None);
        }

        /// The fast path and the explanation must agree on what a row is, whatever one damaged byte does.
        #[test]
        fn a_line_is_refused_exactly_when_it_has_a_defect(
            (row, empty, upper) in rows(), place: prop::sample::Index, byte in prop_oneof![any::<u8>(), Just(b'\t'), Just(b'-')],
        ) {
            let mut line = text_of(&row, empty, upper).into_bytes();
            let place = place.index(line.len());
            line[place] = byte;
            if byte != b'\n' {
                let stripped = line.strip_suffix(b"\r").unwrap_or(&line);
                let parsed = parse_row(&line, &mut RawRow::default());
                prop_assert_eq!(parsed == Some(line.len()), RowDefect::of(stripped).is_none());
            }
        }
    }

    #[test]
    fn bad_lines_are_numbered_and_do_not_disturb_their_neighbours() {
        let line = text_of(&RawRow::default(), 0, false);
        let (good, bad) = collect(format!("{line}\n\n{line}\r\nx\n{line}").as_bytes());
        assert_eq!(good.len(), 3);
        assert_eq!(
            bad,
            [
                (1, RowDefect::Empty),
                (3, RowDefect::FieldCount { found: 1 })
            ]
        );
    }

    #[test]
    fn an_empty_last_field_is_missing() {
        let mut row = RawRow::default();
        let text = format!("0{}\r\n", "\t".repeat(39));
        assert_eq!(parse_row(text.as_bytes(), &mut row), Some(text.len()));
        assert_eq!(row.missing, (1 << 26) - 1);
        assert_eq!(
            RowDefect::of(text.trim_end_matches(['\r', '\n']).as_bytes()),
            None
        );
    }
}
