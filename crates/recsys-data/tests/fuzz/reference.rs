//! The text formats once more, read slowly with the standard library alone.

use std::str::FromStr;

use recsys_data::criteo::{DENSE_FEATURES, RawRow};
use recsys_data::taobao::{Behaviour, RawEvent};

/// The lines of a text without their ends.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let pieces = text.split_inclusive(|&byte| byte == b'\n');
    let lines = pieces.map(|piece| piece.strip_suffix(b"\n").unwrap_or(piece));
    lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// The fields of a line, if it is text.
fn fields(line: &[u8], separator: char) -> Option<Vec<&str>> {
    let text = std::str::from_utf8(line).ok()?;
    (!text.contains(['\0', '\r'])).then(|| text.split(separator).collect())
}

/// A number in decimal digits, with a minus sign where the type has one.
fn number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok().filter(|_| !text.starts_with('+'))
}

/// A line of Criteo text.
pub(crate) fn row(line: &[u8]) -> Option<RawRow> {
    let fields = fields(line, '\t')?;
    let (label, values) = fields.split_first()?;
    let mut row = RawRow {
        label: match *label {
            "0" => 0,
            "1" => 1,
            _ => return None,
        },
        ..RawRow::default()
    };
    if values.len() != DENSE_FEATURES + row.categories.len() {
        return None;
    }
    let (dense, categories) = values.split_at(DENSE_FEATURES);
    for (value, text) in row.dense.iter_mut().zip(dense) {
        if !text.is_empty() {
            *value = number(text)?;
        }
    }
    for (table, text) in categories.iter().enumerate() {
        if text.is_empty() {
            row.missing |= 1 << table;
        } else if text.len() <= 8 && !text.starts_with('+') {
            row.categories[table] = u32::from_str_radix(text, 16).ok()?;
        } else {
            return None;
        }
    }
    Some(row)
}

/// A line of Taobao's event log.
pub(crate) fn event(line: &[u8]) -> Option<RawEvent> {
    let fields = fields(line, ',')?;
    let &[user, item, category, behaviour, time] = fields.as_slice() else {
        return None;
    };
    Some(RawEvent {
        user: number(user)?,
        item: number(item)?,
        category: number(category)?,
        behaviour: Behaviour::ALL
            .into_iter()
            .find(|known| known.name() == behaviour)?,
        time: number(time)?,
    })
}

/// Whether a line is a sequence of the original programs.
pub(crate) fn is_sequence(line: &[u8]) -> bool {
    let columns: Option<Vec<Vec<u32>>> = line
        .split(|&byte| byte == b'\t')
        .map(|column| {
            let text = std::str::from_utf8(column).ok()?;
            let values = text.split(',').filter(|_| !text.is_empty());
            values.map(number).collect()
        })
        .collect();
    let Some(columns) = columns else {
        return false;
    };
    let lengths: Vec<usize> = columns.iter().map(Vec::len).collect();
    matches!(lengths[..], [1, 1, 1, 1, 200, 200, 1..=200, negatives] if negatives == lengths[6])
        && columns[3][0] <= 1
}

#[test]
fn lines_are_those_between_line_ends() {
    let all = |text: &'static str| lines(text.as_bytes()).collect::<Vec<_>>();
    assert_eq!(all("a\r\nb"), [b"a", b"b"]);
    assert_eq!(all("a\n\n"), [&b"a"[..], b""]);
    assert_eq!(all("\n"), [b""]);
    assert!(all("").is_empty());
}
