//! Hot rows by access count.
//!
//! A hot set is a prefix of every table, so a row comes with all rows before it. Where counts fall from row to row, rows
//! can be taken one by one in the order of their counts. Where they do not (ids ranked on other samples than those counted,
//! or on more), a frequent row behind rare ones is worth no more than the mean of the run that it ends: every table is cut
//! into the runs of its *concave majorant*, the runs whose means fall, and each row counts as its run's mean. With falling
//! counts that is the count itself.
//!
//! Slopes of a concave path on integers are all different, so a table of `n` rows and `a` accesses has only
//! O((n·a)^(1/3)) runs: making them is one pass over the counts, and putting the runs of all tables in order takes no time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use rayon::prelude::*;

use crate::AccessCounts;

/// Consecutive rows of a table that are taken for equally frequent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) rows: u64,
    pub(crate) accesses: u64,
}

impl Run {
    /// Compares the means.
    fn mean_cmp(self, other: Self) -> Ordering {
        let left = u128::from(self.accesses) * u128::from(other.rows);
        left.cmp(&(u128::from(other.accesses) * u128::from(self.rows)))
    }
}

/// Adds a run behind falling ones, and unites runs until means fall again.
fn push(runs: &mut Vec<Run>, mut run: Run) {
    while let Some(last) = runs.last()
        && last.mean_cmp(run) != Ordering::Greater
    {
        run.rows += last.rows;
        run.accesses += last.accesses;
        runs.pop();
    }
    runs.push(run);
}

/// The runs of a table whose means fall, from its first row on.
pub(crate) fn runs(counts: &[u32]) -> Vec<Run> {
    const PART: usize = 1 << 20;
    let part = |counts: &[u32]| {
        let mut runs = Vec::new();
        for equal in counts.chunk_by(|a, b| a == b) {
            let rows = equal.len() as u64;
            push(
                &mut runs,
                Run {
                    rows,
                    accesses: rows * u64::from(equal[0]),
                },
            );
        }
        runs
    };
    let parts: Vec<Vec<Run>> = counts.par_chunks(PART).map(part).collect();
    let mut runs = Vec::new();
    for run in parts.into_iter().flatten() {
        push(&mut runs, run);
    }
    runs
}

/// What makes rows of different tables comparable.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Measure {
    /// Accesses.
    Accesses,
    /// Share of the accesses of the row's own table; rows at or below this share stay cold.
    ShareOfTable(f64),
}

/// The next run of a table.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    run: Run,
    /// What the accesses are divided by: the table's accesses, or 1.
    total: u64,
    table: usize,
    /// Its place in the table's list.
    place: usize,
}

impl Ord for Candidate {
    /// The larger one is taken first; of equals, that of the first table.
    fn cmp(&self, other: &Self) -> Ordering {
        let times = |run: Run, total: u64| u128::from(run.rows) * u128::from(total);
        let left = u128::from(self.run.accesses).checked_mul(times(other.run, other.total));
        let right = u128::from(other.run.accesses).checked_mul(times(self.run, self.total));
        let order = match (left, right) {
            (Some(left), Some(right)) => left.cmp(&right),
            // Beyond 2^128 the difference does not hang on the last bits.
            _ => self.share().total_cmp(&other.share()),
        };
        order.then(other.table.cmp(&self.table))
    }
}

impl Candidate {
    fn share(&self) -> f64 {
        self.run.accesses as f64 / self.run.rows as f64 / self.total.max(1) as f64
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}

/// The order in which rows are taken, for any budget.
#[derive(Debug, Clone)]
pub(crate) struct Frequency {
    start: Vec<u64>,
    runs: Vec<Vec<Run>>,
    totals: Vec<u64>,
    floor: f64,
}

impl Frequency {
    /// Takes rows behind the first `start` ones of every table.
    pub(crate) fn new(counts: &AccessCounts, start: &[u64], measure: Measure) -> Self {
        let all = 0..counts.tables();
        let runs = all.clone().into_par_iter().map(|table| {
            let first = start[table].min(counts.table(table).len() as u64);
            runs(&counts.table(table)[first as usize..])
        });
        let total = |table| match measure {
            Measure::Accesses => 1,
            Measure::ShareOfTable(_) => counts.accesses(table),
        };
        Self {
            start: start.to_vec(),
            runs: runs.collect(),
            totals: all.map(total).collect(),
            floor: match measure {
                Measure::Accesses => 0.0,
                Measure::ShareOfTable(share) => share,
            },
        }
    }

    /// Hot rows of every table within a budget, which the rows before the start are part of. Rows never seen stay cold.
    /// Where a table's next row does not fit, the other tables go on.
    pub(crate) fn fill(&self, row_bytes: &[u64], budget: u64) -> Vec<u64> {
        let mut hot_rows = self.start.clone();
        let mut left = budget.saturating_sub(bytes_of(&hot_rows, row_bytes));
        let candidate = |table: usize, place: usize| {
            let run = *self.runs[table].get(place)?;
            let total = self.totals[table];
            let candidate = Candidate {
                run,
                total,
                table,
                place,
            };
            (run.accesses > 0 && candidate.share() > self.floor).then_some(candidate)
        };
        let first = (0..self.runs.len()).filter_map(|table| candidate(table, 0));
        let mut next: BinaryHeap<Candidate> = first.collect();
        while let Some(Candidate {
            run, table, place, ..
        }) = next.pop()
        {
            let fit = run.rows.min(left / row_bytes[table].max(1));
            hot_rows[table] += fit;
            left -= fit * row_bytes[table];
            if fit == run.rows {
                next.extend(candidate(table, place + 1));
            }
        }
        hot_rows
    }
}

/// Bytes of the first `hot_rows` rows of every table; saturates where they would not fit.
pub(crate) fn bytes_of(hot_rows: &[u64], row_bytes: &[u64]) -> u64 {
    hot_rows
        .iter()
        .zip(row_bytes)
        .fold(0u64, |sum, (&rows, &bytes)| {
            sum.saturating_add(rows.saturating_mul(bytes))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(tables: &[&[u32]], row_bytes: &[u64], budget: u64) -> Vec<u64> {
        let counts = AccessCounts::from_tables(tables.iter().map(|table| table.to_vec()).collect());
        Frequency::new(&counts, &vec![0; tables.len()], Measure::Accesses).fill(row_bytes, budget)
    }

    #[test]
    fn rows_are_taken_by_count_and_ties_by_table() {
        let tables: [&[u32]; 2] = [&[9, 4, 4, 1, 0], &[7, 4, 1]];
        let order = [
            [0, 0],
            [1, 0],
            [1, 1],
            [2, 1],
            [3, 1],
            [3, 2],
            [4, 2],
            [4, 3],
            [4, 3],
        ];
        for (budget, expected) in order.iter().enumerate() {
            assert_eq!(
                fill(&tables, &[1, 1], budget as u64),
                expected,
                "budget {budget}"
            );
        }
    }

    #[test]
    fn a_frequent_row_behind_rare_ones_is_worth_the_mean_of_its_run() {
        // The run of the second table has mean 4: behind the 5, before the 3.
        let tables: [&[u32]; 2] = [&[5, 3], &[0, 2, 10, 1]];
        assert_eq!(fill(&tables, &[1, 1], 1), [1, 0]);
        assert_eq!(fill(&tables, &[1, 1], 4), [1, 3]);
        assert_eq!(fill(&tables, &[1, 1], 5), [2, 3]);
        assert_eq!(fill(&tables, &[1, 1], 100), [2, 4]);
    }

    #[test]
    fn where_a_row_does_not_fit_the_other_tables_go_on() {
        let tables: [&[u32]; 2] = [&[9, 8, 7], &[3, 2, 1]];
        assert_eq!(fill(&tables, &[10, 3], 17), [1, 2]);
        assert_eq!(fill(&tables, &[100, 3], 17), [0, 3]);
    }

    #[test]
    fn parts_of_a_long_table_join_without_a_seam() {
        let counts: Vec<u32> = (0..3_000_000u32)
            .map(|id| 3_000_000 / (id + 1) + id % 2)
            .collect();
        let mut whole = Vec::new();
        for &count in &counts {
            push(
                &mut whole,
                Run {
                    rows: 1,
                    accesses: u64::from(count),
                },
            );
        }
        assert_eq!(runs(&counts), whole);
        assert!(whole.len() < 50_000, "{} runs", whole.len());
    }
}
