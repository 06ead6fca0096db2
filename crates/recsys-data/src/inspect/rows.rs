//! Samples in the form of the raw data.

use serde::Serialize;

use crate::batch::Batch;
use crate::criteo::logarithm;
use crate::dataset::Dataset;
use crate::error::Result;
use crate::packed::PackedSplit;
use crate::vocabulary::{Notation, Vocabulary};

/// A sample, its ids decoded.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DecodedRow {
    /// Its number in the split.
    pub sample: u64,
    /// Its label.
    pub label: f32,
    /// Dense values, position by position. Criteo: the whole number, where the value is its logarithm to the last bit.
    pub dense: Vec<String>,
    /// For each table the categories of its bags, position by position; ids after `#` where there is no vocabulary.
    pub categories: Vec<Vec<String>>,
}

pub(super) fn decode(
    split: &PackedSplit,
    rows: u64,
    vocabularies: &[Option<Vocabulary>],
    dataset: &str,
) -> Result<Vec<DecodedRow>> {
    let notation = Notation::of(dataset);
    let logarithms = notation == Notation::Hexadecimal;
    let samples: Vec<u64> = (0..rows.min(split.len())).collect();
    let mut batch = Batch::default();
    split.read(&samples, &mut batch)?;
    let schema = split.schema();
    let (width, bags, tables) = (schema.dense_values(), schema.bags(), schema.tables.len());
    let sparse = &batch.sparse;
    let category = |table: usize, id: u32| {
        let raw = vocabularies[table]
            .as_ref()
            .and_then(|vocabulary| vocabulary.category(id));
        raw.map_or_else(|| format!("#{id}"), |raw| raw.written(notation))
    };
    let bag = |number: usize, table: usize| {
        let ids = sparse.bag(number).iter();
        let shown: Vec<String> = ids.map(|&id| category(table, id)).collect();
        if schema.multi_hot {
            format!("[{}]", shown.join(" "))
        } else {
            shown.concat()
        }
    };
    let row = |(place, &label): (usize, &f32)| DecodedRow {
        sample: samples[place],
        label,
        dense: batch.dense[place * width..][..width]
            .iter()
            .map(|&value| shown_value(value, logarithms))
            .collect(),
        categories: (0..tables)
            .map(|table| {
                let numbers = place * bags + table..(place + 1) * bags;
                numbers
                    .step_by(tables)
                    .map(|number| bag(number, table))
                    .collect()
            })
            .collect(),
    };
    Ok(batch.label.iter().enumerate().map(row).collect())
}

/// A dense value; with `logarithms` the whole number that it was made of, marked where its neighbours have the same logarithm.
fn shown_value(value: f32, logarithms: bool) -> String {
    let whole = f64::from(value).exp_m1().round();
    let of = |whole: f64| logarithm(whole as i32) == value;
    if !logarithms || !(0.0..=f64::from(i32::MAX)).contains(&whole) || !of(whole) {
        return format!("{value}");
    }
    // 0 stands for missing and negative numbers as well, which is said elsewhere.
    let exact = !of(whole + 1.0) && (whole == 0.0 || !of(whole - 1.0));
    format!("{}{whole}", if exact { "" } else { "≈" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dense_values_become_the_numbers_they_were() {
        for number in [0, 1, 2, 15, 1382, 245_000] {
            let value = logarithm(number);
            assert_eq!(shown_value(value, true), number.to_string());
        }
        assert!(shown_value(logarithm(99_999_999), true).starts_with("≈"));
        assert_eq!(shown_value(0.5, true), "0.5");
        assert_eq!(shown_value(2f32.ln(), false), "0.6931472");
    }
}
