//! How few rows serve most lookups.

use std::fmt;

use rayon::prelude::*;
use recsys_data::Schema;
use serde::{Deserialize, Serialize};

use crate::AccessCounts;

/// Shares of the rows, in per cent, at which curves are taken.
const PERCENT: [f64; 17] = [
    0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 80.0, 100.0,
];

/// The skew of one table, or of all together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SkewCurve {
    /// Name of the table.
    pub table: String,
    /// Its rows.
    pub rows: u64,
    /// Rows that were accessed at least once.
    pub seen_rows: u64,
    /// All accesses.
    pub accesses: u64,
    /// (share of the rows in per cent, share of the accesses that the most frequent ones of that number serve in per cent);
    /// numbers of rows are rounded up.
    pub points: Vec<(f64, f64)>,
}

impl SkewCurve {
    /// The curve of rows given as (count, rows) by falling count.
    fn new(table: &str, runs: &[(u32, u64)]) -> Self {
        let rows: u64 = runs.iter().map(|run| run.1).sum();
        let accesses: u64 = runs
            .iter()
            .map(|&(count, rows)| u64::from(count) * rows)
            .sum();
        let served = |percent: f64| {
            let mut left = ((rows as f64 * percent / 100.0).ceil() as u64).min(rows);
            let mut served = 0;
            for &(count, rows) in runs {
                let taken = left.min(rows);
                served += taken * u64::from(count);
                left -= taken;
            }
            100.0 * served as f64 / accesses.max(1) as f64
        };
        Self {
            table: table.into(),
            rows,
            seen_rows: runs.iter().filter(|run| run.0 > 0).map(|run| run.1).sum(),
            accesses,
            points: PERCENT
                .into_iter()
                .map(|percent| (percent, served(percent)))
                .collect(),
        }
    }

    /// Share of the accesses, in per cent, that this share of the rows serves; one of those at which the curve was taken.
    fn served(&self, percent: f64) -> f64 {
        let point = self.points.iter().find(|point| point.0 >= percent);
        point.map_or(100.0, |point| point.1)
    }
}

/// The skew of all tables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AccessSkew {
    /// Samples counted.
    pub samples: u64,
    /// The rows of all tables taken together.
    pub all: SkewCurve,
    /// Every table.
    pub tables: Vec<SkewCurve>,
}

impl AccessSkew {
    /// The skew of the tables of a schema.
    pub fn new(schema: &Schema, counts: &AccessCounts) -> Self {
        let runs: Vec<Vec<(u32, u64)>> = (0..counts.tables())
            .into_par_iter()
            .map(|table| runs(counts.table(table)))
            .collect();
        let mut all: Vec<(u32, u64)> = runs.iter().flatten().copied().collect();
        all.sort_unstable_by_key(|run| std::cmp::Reverse(run.0));
        let tables = schema.tables.iter().zip(&runs);
        Self {
            samples: counts.samples(),
            all: SkewCurve::new("all tables", &all),
            tables: tables
                .map(|(table, runs)| SkewCurve::new(&table.name, runs))
                .collect(),
        }
    }

    /// A line for each table and point.
    pub fn to_csv(&self) -> String {
        let mut csv = String::from("table,rows,seen_rows,accesses,rows_percent,accesses_percent\n");
        for curve in self.tables.iter().chain([&self.all]) {
            let SkewCurve {
                table,
                rows,
                seen_rows,
                accesses,
                ..
            } = curve;
            for (percent, served) in &curve.points {
                csv += &format!("{table},{rows},{seen_rows},{accesses},{percent},{served:.4}\n");
            }
        }
        csv
    }
}

impl fmt::Display for AccessSkew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<12} {:>12} {:>12} {:>14}   share of accesses that the top rows serve",
            "table", "rows", "seen", "accesses"
        )?;
        writeln!(
            f,
            "{:<53} {:>8} {:>8} {:>8} {:>8}",
            "", "0.1%", "1%", "5%", "10%"
        )?;
        for curve in self.tables.iter().chain([&self.all]) {
            let share = |percent| format!("{:.1}%", curve.served(percent));
            writeln!(
                f,
                "{:<12} {:>12} {:>12} {:>14} {:>8} {:>8} {:>8} {:>8}",
                curve.table,
                curve.rows,
                curve.seen_rows,
                curve.accesses,
                share(0.1),
                share(1.0),
                share(5.0),
                share(10.0)
            )?;
        }
        Ok(())
    }
}

/// Rows of each count as (count, rows), by falling count. Small counts, which are almost all, need no sorting.
fn runs(counts: &[u32]) -> Vec<(u32, u64)> {
    const SMALL: usize = 1 << 16;
    let mut small = vec![0u64; SMALL.min(counts.iter().max().map_or(0, |&max| max as usize + 1))];
    let mut large = Vec::new();
    for &count in counts {
        match small.get_mut(count as usize) {
            Some(rows) => *rows += 1,
            None => large.push(count),
        }
    }
    large.sort_unstable_by_key(|&count| std::cmp::Reverse(count));
    let large = large
        .chunk_by(|a, b| a == b)
        .map(|run| (run[0], run.len() as u64));
    let small = small
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, rows)| **rows > 0);
    large
        .chain(small.map(|(count, &rows)| (count as u32, rows)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_take_the_most_frequent_rows_wherever_they_are() {
        let mut counts = vec![1u32; 90];
        counts.extend([100_000, 7, 7, 7, 7, 7, 7, 7, 7, 7]);
        let curve = SkewCurve::new("t", &runs(&counts));
        assert_eq!(
            (curve.rows, curve.seen_rows, curve.accesses),
            (100, 100, 100_153)
        );
        assert_eq!(curve.served(1.0), 100.0 * 100_000.0 / 100_153.0);
        assert_eq!(curve.served(10.0), 100.0 * 100_063.0 / 100_153.0);
        assert_eq!(curve.served(100.0), 100.0);
        assert_eq!(SkewCurve::new("t", &runs(&[])).served(1.0), 0.0);
    }
}
