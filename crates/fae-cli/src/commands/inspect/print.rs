//! The layout of the `inspect` program, at most 110 columns wide.

use std::path::Path;

use recsys_data::inspect::{Counted, Inspection, TableSummary};
use recsys_data::vocabulary::Notation;
use serde_json::Value;

use super::wrap::print_wrapped;
use crate::numbers::grouped;
use crate::text::bytes;

/// Prints everything.
pub(super) fn print(folder: &Path, inspection: &Inspection) {
    print_origin(folder, inspection);
    print_splits(inspection);
    print_columns(inspection);
    print_tables(inspection);
    super::samples::print(inspection);
}

fn print_origin(folder: &Path, inspection: &Inspection) {
    let tables = inspection.tables.len();
    let shape = match inspection.schema.sequence_length {
        Some(length) => format!("sequences of {length} positions"),
        None if inspection.schema.multi_hot => "several ids a table".to_owned(),
        None => "one id a table".to_owned(),
    };
    say!(
        "{}: {}, {} samples of {} dense and {tables} categorical features, {shape}; {}",
        folder.display(),
        inspection.dataset,
        grouped(inspection.samples()),
        inspection.columns.len(),
        bytes(inspection.bytes())
    );
    for (place, source) in inspection.sources.iter().enumerate() {
        let what = if place == 0 { "made from" } else { "" };
        say!(
            "{what:<10} {} ({}, xxh3 {})",
            source.name,
            bytes(source.bytes),
            source.xxh3
        );
    }
    let release = format!(
        "release {} (format {})",
        inspection.tool_version, inspection.format_version
    );
    let options = inspection.options.as_object();
    let options = options
        .into_iter()
        .flatten()
        .filter(|(_, value)| !value.is_null());
    let words = options.map(|(key, value)| format!("{key} {}", shown(value)));
    print_wrapped("made by", std::iter::once(release).chain(words), ", ");
    say!();
}

/// A value of the options.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null());
            let words: Vec<String> = fields
                .map(|(key, value)| format!("{key} {}", shown(value)))
                .collect();
            format!("({})", words.join(", "))
        }
        Value::Array(entries) if entries.iter().any(Value::is_object) => {
            format!("({} entries)", entries.len())
        }
        other => other.to_string(),
    }
}

fn print_splits(inspection: &Inspection) {
    say!(
        "{:<12} {:>15} {:>10} {:>11}",
        "split",
        "samples",
        "positive",
        "on disk"
    );
    let mut estimated = None;
    for split in &inspection.splits {
        let rate = split.label_mean.map_or("-".to_owned(), |mean| {
            let mark = if split.labels_read < split.rows {
                "~"
            } else {
                ""
            };
            format!("{mark}{:.2}%", 100.0 * mean)
        });
        if split.labels_read < split.rows {
            estimated = Some(split.labels_read);
        }
        say!(
            "{:<12} {:>15} {rate:>10} {:>11}",
            split.split.name(),
            grouped(split.rows),
            bytes(split.bytes)
        );
    }
    if inspection.vocabulary_bytes > 0 {
        say!(
            "{:<12} {:>15} {:>10} {:>11}",
            "vocabularies",
            "",
            "",
            bytes(inspection.vocabulary_bytes)
        );
    }
    if let Some(samples) = estimated {
        say!("(~ mean of the labels of {} samples)", grouped(samples));
    }
    say!();
}

fn print_columns(inspection: &Inspection) {
    if inspection.columns.is_empty() {
        return;
    }
    let meaning = if Notation::of(&inspection.dataset) == Notation::Hexadecimal {
        " (ln(x + 1), and 0 for missing and negative x)"
    } else {
        ""
    };
    say!("dense features{meaning} over {}", sampled(inspection));
    let wide = name_width(inspection.columns.iter().map(|column| column.name.as_str()));
    say!(
        "{:<wide$} {:>10} {:>10} {:>10} {:>8}",
        "name",
        "least",
        "mean",
        "most",
        "zeros"
    );
    for column in &inspection.columns {
        say!(
            "{:<wide$} {:>10.3} {:>10.3} {:>10.3} {:>7.1}%",
            column.name,
            column.least,
            column.mean,
            column.most,
            100.0 * column.zeros
        );
    }
    say!();
}

/// What statistics were taken over.
fn sampled(inspection: &Inspection) -> String {
    let of_split = inspection
        .splits
        .iter()
        .find(|split| split.split == inspection.split);
    let rows = of_split.map_or(0, |split| split.rows);
    let split = inspection.split;
    if inspection.sampled == rows {
        format!("all {} samples of {split}", grouped(rows))
    } else {
        format!(
            "{} of the {} samples of {split}, evenly spread",
            grouped(inspection.sampled),
            grouped(rows)
        )
    }
}

fn name_width<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    names
        .map(|name| name.chars().count())
        .max()
        .unwrap_or(0)
        .clamp(5, 24)
}

fn print_tables(inspection: &Inspection) {
    let tables = &inspection.tables;
    let rows = tables.iter().map(|table| table.rows).sum();
    say!(
        "tables, {} rows in all; lookups counted over {}",
        grouped(rows),
        counted(inspection)
    );
    let wide = name_width(tables.iter().map(|table| table.name.as_str()));
    say!(
        "{:<wide$} {:>12} {:>12} {:>8} {:>8} {:>39}",
        "",
        "",
        "",
        "",
        "",
        "share of lookups of the most frequent"
    );
    say!(
        "{:<wide$} {:>12} {:>12} {:>8} {:>8} {:>9} {:>9} {:>9} {:>9}  head→tail",
        "table",
        "rows",
        "seen once",
        "missing",
        "other",
        "row",
        "10 rows",
        "1%",
        "10%"
    );
    for table in tables {
        print_table(table, wide);
    }
    say!();
}

/// What lookups were counted over.
fn counted(inspection: &Inspection) -> String {
    match inspection.tables.first() {
        Some(table) if table.counted == Counted::Vocabulary => {
            format!("all raw data ({} each)", grouped(table.lookups))
        }
        Some(table) if table.counted == Counted::Training => {
            format!("all training samples ({} each)", grouped(table.lookups))
        }
        _ => sampled(inspection),
    }
}

fn print_table(table: &TableSummary, wide: usize) {
    let percent = |share: f64| format!("{:.1}%", 100.0 * share);
    let special = |share: Option<f64>| share.map_or("-".to_owned(), percent);
    let row = format!(
        "{:<wide$} {:>12} {:>12} {:>8} {:>8} {:>9} {:>9} {:>9} {:>9}  {}",
        table.name,
        grouped(table.rows),
        grouped(table.once),
        special(table.missing),
        special(table.other),
        percent(table.top_1),
        percent(table.top_10),
        percent(table.top_1_percent),
        percent(table.top_10_percent),
        bars(&table.sketch)
    );
    match table.pooling {
        Some(pooling) => say!(
            "{row}{:pad$} {} to {} ids a bag, {:.1} on average",
            "",
            pooling.least,
            pooling.most,
            pooling.mean,
            pad = 10 - table.sketch.len().min(10)
        ),
        None => say!("{row}"),
    }
}

/// Shares as bars, the largest one in full height.
fn bars(shares: &[f64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = shares.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let bar = |&share: &f64| match (8.0 * share / most).ceil() as usize {
        0 => ' ',
        height => BARS[height.min(8) - 1],
    };
    shares.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_share_is_a_full_bar() {
        assert_eq!(bars(&[0.8, 0.4, 0.001, 0.0]), "█▄▁ ");
        assert_eq!(bars(&[]), "");
        assert_eq!(bars(&[0.0]), " ");
    }
}
