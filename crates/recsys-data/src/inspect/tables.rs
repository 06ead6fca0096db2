//! How lookups are spread over the rows of a table.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde::Serialize;

use super::sample::Sample;
use crate::packed::Manifest;
use crate::schema::Schema;
use crate::vocabulary::Vocabulary;

/// Bars of a sketch.
const BARS: usize = 10;

/// What the counts of a table were taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Counted {
    /// All raw data, as the vocabulary has them.
    Vocabulary,
    /// All training samples, as the vocabulary has them.
    Training,
    /// The sample; rows that occur rarely are then missing, and shares of frequent ones too large.
    Sample,
}

/// Ids in a bag of multi-hot data.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Pooling {
    /// Least of the sample.
    pub least: u64,
    /// Mean.
    pub mean: f64,
    /// Most.
    pub most: u64,
}

/// A table and its lookups.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TableSummary {
    /// Name of its column.
    pub name: String,
    /// Its rows.
    pub rows: u64,
    /// Where the counts come from.
    pub counted: Counted,
    /// Lookups that were counted.
    pub lookups: u64,
    /// Rows that were looked up once.
    pub once: u64,
    /// Share of lookups without a category, where an id stands for those.
    pub missing: Option<f64>,
    /// Share of lookups of rare categories, where those share an id.
    pub other: Option<f64>,
    /// Share of the most frequent row.
    pub top_1: f64,
    /// Share of the ten most frequent rows.
    pub top_10: f64,
    /// Share of the most frequent hundredth of the rows, rounded up.
    pub top_1_percent: f64,
    /// Share of the most frequent tenth of the rows, rounded up.
    pub top_10_percent: f64,
    /// Shares of rows from the most frequent to the rarest one, cut into at most ten parts that grow by a constant factor. They
    /// fall where few rows serve most lookups, and rise where all rows are equal.
    pub sketch: Vec<f64>,
    /// Ids in a bag, in multi-hot data.
    pub pooling: Option<Pooling>,
}

pub(super) fn summaries(
    sample: &Sample,
    manifest: &Manifest,
    vocabularies: &[Option<Vocabulary>],
) -> Vec<TableSummary> {
    let schema = &manifest.schema;
    // The counts of a vocabulary that was taken over from another data set are not of these rows.
    let foreign = !manifest.provenance.options["vocabulary"].is_null();
    let training = manifest.provenance.options["rank_on"] == "train";
    let tables = schema.tables.iter().zip(vocabularies).enumerate();
    let summary = |(place, (table, vocabulary)): (
        usize,
        (&crate::schema::TableSchema, &Option<Vocabulary>),
    )| {
        let own = vocabulary.as_ref().filter(|_| !foreign);
        let in_sample = if own.is_none() {
            count(sample, schema, place)
        } else {
            HashMap::new()
        };
        let mut counts: Vec<u64> = match own {
            Some(vocabulary) => vocabulary.counts.clone(),
            None => in_sample.values().copied().collect(),
        };
        counts.sort_unstable_by_key(|&count| Reverse(count));
        let lookups: u64 = counts.iter().sum();
        let share = |lookups_of: u64| lookups_of as f64 / lookups.max(1) as f64;
        let top = |rows: u64| {
            let rows = (rows as usize).min(counts.len());
            share(counts[..rows].iter().sum())
        };
        let special = |id: Option<u32>| {
            let count = |id: u32| match own {
                Some(vocabulary) => vocabulary.counts.get(id as usize).copied(),
                None => in_sample.get(&id).copied(),
            };
            id.map(|id| share(count(id).unwrap_or(0)))
        };
        TableSummary {
            name: table.name.clone(),
            rows: table.rows,
            counted: match own {
                None => Counted::Sample,
                Some(_) if training => Counted::Training,
                Some(_) => Counted::Vocabulary,
            },
            lookups,
            once: counts.iter().filter(|&&count| count == 1).count() as u64,
            missing: special(
                vocabulary
                    .as_ref()
                    .and_then(|vocabulary| vocabulary.missing),
            ),
            other: special(vocabulary.as_ref().and_then(|vocabulary| vocabulary.other)),
            top_1: top(1),
            top_10: top(10),
            top_1_percent: top(table.rows.div_ceil(100)),
            top_10_percent: top(table.rows.div_ceil(10)),
            sketch: sketch(&counts, table.rows).into_iter().map(share).collect(),
            pooling: pooling(sample, schema, place),
        }
    };
    tables.map(summary).collect()
}

/// Lookups of every id of a table in the sample.
fn count(sample: &Sample, schema: &Schema, table: usize) -> HashMap<u32, u64> {
    let sparse = &sample.batch.sparse;
    let mut counts = HashMap::new();
    for bag in bags(sample, schema, table) {
        for &id in sparse.bag(bag) {
            *counts.entry(id).or_insert(0) += 1;
        }
    }
    counts
}

/// Numbers of the bags of a table in the sample.
fn bags(sample: &Sample, schema: &Schema, table: usize) -> impl Iterator<Item = usize> {
    let all = sample.batch.len() * schema.bags();
    (table..all).step_by(schema.tables.len().max(1))
}

fn pooling(sample: &Sample, schema: &Schema, table: usize) -> Option<Pooling> {
    let sparse = &sample.batch.sparse;
    if !schema.multi_hot {
        return None;
    }
    let sizes = || bags(sample, schema, table).map(|bag| sparse.bag(bag).len() as u64);
    Some(Pooling {
        least: sizes().min()?,
        mean: sizes().sum::<u64>() as f64 / sizes().count() as f64,
        most: sizes().max()?,
    })
}

/// Lookups of each part of `rows` rows; `counts` falls, and rows beyond it have none.
fn sketch(counts: &[u64], rows: u64) -> Vec<u64> {
    let edge = |bar: usize| (rows as f64).powf(bar as f64 / (BARS - 1) as f64).round() as usize;
    let mut start = 0;
    let mut parts = Vec::with_capacity(BARS);
    for end in (0..BARS).map(edge) {
        // Small tables have less rows than there are bars.
        if end > start {
            let known = |row: usize| row.min(counts.len());
            parts.push(counts[known(start)..known(end)].iter().sum());
            start = end;
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sketches_have_a_bar_for_every_row_of_small_tables() {
        assert_eq!(sketch(&[7, 2, 1], 3), [7, 2, 1]);
        assert_eq!(sketch(&[5], 1), [5]);
        assert!(sketch(&[], 0).iter().all(|&lookups| lookups == 0));
    }

    #[test]
    fn sketches_of_large_tables_hold_every_lookup() {
        let counts: Vec<u64> = (1..=100_000u64).rev().collect();
        let parts = sketch(&counts, 100_000);
        assert_eq!(parts.len(), BARS);
        assert_eq!(parts.iter().sum::<u64>(), counts.iter().sum::<u64>());
        // All rows are about equal: the many rows at the end have most lookups.
        assert!(parts.is_sorted());
        let skewed: Vec<u64> = (1..=100_000u64)
            .map(|rank| 1_000_000_000 / (rank * rank))
            .collect();
        assert!(sketch(&skewed, 100_000).is_sorted_by(|a, b| a >= b));
    }
}
