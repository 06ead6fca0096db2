//! Decoded samples.

use recsys_data::{DecodedRow, Inspection, Schema};

use super::{WIDTH, print_wrapped};

pub(super) fn print(inspection: &Inspection) {
    if inspection.rows.is_empty() {
        return;
    }
    let meaning = if inspection.schema.sequence_length.is_some() {
        "oldest position first, the candidate behind →"
    } else {
        "- is a missing value"
    };
    println!("first samples of {}, decoded ({meaning})", inspection.split);
    for row in &inspection.rows {
        println!("sample {}, label {}", row.sample, row.label);
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
            .map(|(name, value)| format!("{name} {value}"))
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
    for line in cells.chunks(((WIDTH - 2) / wide).max(1)) {
        let line: String = line.iter().map(|cell| format!("{cell:<wide$}")).collect();
        println!("  {}", line.trim_end());
    }
}

/// A line for every column: one value where it is the same at all positions, else the history and the candidate.
fn print_sequence(row: &DecodedRow, schema: &Schema) {
    let columns = schema.dense.len();
    for (place, name) in schema.dense.iter().enumerate() {
        let values = row.dense.iter().skip(place).step_by(columns);
        print_positions(name, &values.cloned().collect::<Vec<_>>());
    }
    for (table, bags) in schema.tables.iter().zip(&row.categories) {
        print_positions(&table.name, bags);
    }
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
