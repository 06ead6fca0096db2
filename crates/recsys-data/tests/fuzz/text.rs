//! Text that is parsed in memory.

use recsys_data::criteo::{RawRow, RowDefect, parse_row, parse_rows};
use recsys_data::taobao::{EventDefect, RawEvent, parse_event, parse_events};
use testing::fuzzing::Target;

use crate::reference;
use crate::taobao_text::event;

pub(crate) fn targets() -> Vec<Target<'static>> {
    let rows: Vec<String> = (0..4).map(criteo_row).collect();
    let events: Vec<String> = (0..6).map(event).collect();
    vec![
        Target {
            name: "Criteo text",
            seeds: vec![rows.join("\n").into_bytes(), rows[1].clone().into_bytes()],
            executions: 20_000,
            check: Box::new(criteo),
        },
        Target {
            name: "Taobao events",
            seeds: vec![
                events.join("\r\n").into_bytes(),
                (event(7) + "\n").into_bytes(),
            ],
            executions: 20_000,
            check: Box::new(taobao),
        },
    ]
}

/// A row with missing values and with integers of every length.
fn criteo_row(index: u32) -> String {
    let mut fields = vec![(index % 2).to_string()];
    fields.extend((0..13).map(|dense| {
        match (index + dense) % 5 {
            0 => String::new(),
            sign => (i64::from(sign) - 2)
                .wrapping_mul(7i64.pow(dense % 11))
                .to_string(),
        }
    }));
    fields.extend((0..26u32).map(|table| match (index + table) % 7 {
        0 => String::new(),
        1 => format!("{:X}", table * index),
        _ => format!("{:08x}", (table * 31 + index).wrapping_mul(0x85eb_ca6b)),
    }));
    fields.join("\t")
}

fn criteo(text: &[u8]) -> bool {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    let end: Result<(), ()> = parse_rows(
        text,
        |row| good.push(*row),
        |line, defect| {
            bad.push((line, defect == RowDefect::Empty));
            Ok(())
        },
    );
    assert_eq!(end, Ok(()));
    let (expected, refused) =
        split(reference::lines(text).map(|line| (line, reference::row(line))));
    assert_eq!((&good, &bad), (&expected, &refused));
    let mut row = RawRow::default();
    let first = reference::lines(text).next().and_then(reference::row);
    let length = parse_row(text, &mut row).filter(|_| !text.is_empty());
    assert_eq!(length.map(|_| row), first);
    bad.is_empty() && !good.is_empty()
}

fn taobao(text: &[u8]) -> bool {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    let end: Result<(), ()> = parse_events(
        text,
        |event| good.push(*event),
        |line, defect| {
            bad.push((line, defect == EventDefect::Empty));
            Ok(())
        },
    );
    assert_eq!(end, Ok(()));
    let lines = reference::lines(text).map(|line| (line, reference::event(line)));
    let (expected, refused) = split(lines);
    assert_eq!((&good, &bad), (&expected, &refused));
    let mut event = RawEvent::default();
    let first = reference::lines(text).next().and_then(reference::event);
    assert_eq!(parse_event(text, &mut event).map(|_| event), first);
    bad.is_empty() && !good.is_empty()
}

/// What was read, and the numbers of the lines that could not be, with whether they are empty.
fn split<'a, T>(lines: impl Iterator<Item = (&'a [u8], Option<T>)>) -> (Vec<T>, Vec<(u64, bool)>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for (number, (line, value)) in (0..).zip(lines) {
        match value {
            Some(value) => good.push(value),
            None => bad.push((number, line.is_empty())),
        }
    }
    (good, bad)
}
