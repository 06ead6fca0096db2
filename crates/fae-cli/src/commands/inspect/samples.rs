//! Decoded samples.

use recsys_data::Schema;
use recsys_data::inspect::{DecodedRow, Inspection};

use super::wrap::{WIDTH, print_wrapped};

pub(super) fn print(inspection: &Inspection) {
    if inspection.rows.is_empty() {
        return;
    }
    let mut cells = inspection
        .rows
        .iter()
        .flat_map(|row| &row.categories)
        .flatten();
    let mut meaning = "- is a missing value".to_owned();
    if cells.any(|cell| cell.contains('#')) {
        meaning = "# marks an id, because there is no vocabulary".to_owned();
    }
    if inspection.schema.sequence_length.is_some() {
        meaning += "; oldest position first, the candidate behind →";
    }
    say!("first samples of {}, decoded ({meaning})", inspection.split);
    for row in &inspection.rows {
        match inspection.options["labels"] == false {
            true => say!("sample {}, no label", row.sample),
            false => say!("sample {}, label {}", row.sample, row.label),
        }
        if inspection.schema.sequence_length.is_some() {
            print_sequence(row, &inspection.schema);
        } else {
            print_row(row, &inspection.schema);
        }
    }
}

/// Every value behind the name of its column, in columns.
fn print_row(row: &DecodedRow, schema: &Schema) {
    let dense = schema.dense.iter().zip(&row.dense);
    print_grid(
        dense
            .map(|(name, value)| format!("{name} {}", short(value)))
            .collect(),
    );
    let tables = schema.tables.iter().zip(&row.categories);
    print_grid(
        tables
            .map(|(table, bags)| format!("{} {}", table.name, bags.concat()))
            .collect(),
    );
}

fn print_grid(cells: Vec<String>) {
    let width = |cell: &String| cell.chars().count();
    let wide = cells.iter().map(width).max().unwrap_or(0) + 2;
    // As many cells on every line as on the others, as far as that goes.
    let lines = cells.len().div_ceil(((WIDTH - 2) / wide).max(1));
    for line in cells.chunks(cells.len().div_ceil(lines.max(1)).max(1)) {
        let line: String = line.iter().map(|cell| format!("{cell:<wide$}")).collect();
        say!("  {}", line.trim_end());
    }
}

/// A line for every column: one value where it is the same at all positions, else the history and
/// the candidate.
fn print_sequence(row: &DecodedRow, schema: &Schema) {
    let columns = schema.dense.len();
    for (place, name) in schema.dense.iter().enumerate() {
        let values = row.dense.iter().skip(place).step_by(columns);
        print_positions(name, &shortened(values));
    }
    for (table, bags) in schema.tables.iter().zip(&row.categories) {
        print_positions(&table.name, bags);
    }
}

/// A dense value, to three digits behind the point.
fn short(value: &str) -> String {
    match value.parse::<f32>() {
        Ok(number) if value.contains('.') => format!("{number:.3}"),
        _ => value.to_owned(),
    }
}

/// The first and the last dense values.
fn shortened<'a>(values: impl Iterator<Item = &'a String>) -> Vec<String> {
    /// Values in front of those that are left out; three stand behind.
    const SHOWN: usize = 4;
    let mut values: Vec<String> = values.map(|value| short(value)).collect();
    if values.len() > 2 * SHOWN {
        values.splice(SHOWN..values.len() - 3, ["…".to_owned()]);
    }
    values
}

fn print_positions(name: &str, values: &[String]) {
    let Some((candidate, history)) = values.split_last() else {
        return;
    };
    let name = format!("  {name}");
    if history.iter().all(|value| value == candidate) {
        print_wrapped(&name, std::iter::once(candidate.clone()), "");
    } else {
        let candidate = std::iter::once(format!("→ {candidate}"));
        print_wrapped(&name, history.iter().cloned().chain(candidate), " ");
    }
}
