//! Where each row goes: its split, and its place there.

use std::ops::Range;

use super::permutation::LegacyGenerator;
use super::{Randomize, SplitRule};
use crate::error::{Error, Result};
use crate::split::{Split, SplitRows};

/// The division of rows `0..rows` into splits.
pub(super) struct RowDivision {
    /// Split after split, in file order.
    parts: [(Split, Range<u64>); 3],
    /// Where training row `k` of the file is written, if the rows change places.
    train_positions: Option<Vec<u32>>,
}

/// Rows of the last of seven days: `q` of `q, r = divmod(rows, 7)`, since only the first `r` days hold one row more.
fn last_day(rows: u64) -> u64 {
    rows / 7
}

/// Rows of one day.
fn day_rows(rows: u64, day: u64) -> u64 {
    rows / 7 + u64::from(day < rows % 7)
}

impl RowDivision {
    /// # Errors
    /// More training rows than a shuffle can hold.
    pub(super) fn new(rule: SplitRule, rows: u64) -> Result<Self> {
        let train = rows - last_day(rows);
        let half = train + last_day(rows).div_ceil(2);
        let (second, third) = match rule {
            SplitRule::TimeOrdered => (Split::Validation, Split::Test),
            SplitRule::ReferenceDays { .. } => (Split::Test, Split::Validation),
        };
        let parts = [
            (Split::Train, 0..train),
            (second, train..half),
            (third, half..rows),
        ];
        let train_positions = match rule {
            SplitRule::TimeOrdered => None,
            SplitRule::ReferenceDays {
                randomize: Randomize::None,
                ..
            } => None,
            SplitRule::ReferenceDays {
                randomize: Randomize::Day,
                seed,
            } => {
                let days: Vec<u64> = (0..6).map(|day| day_rows(rows, day)).collect();
                Some(positions(&days, seed)?)
            }
            SplitRule::ReferenceDays {
                randomize: Randomize::Total,
                seed,
            } => Some(positions(&[train], seed)?),
        };
        Ok(Self {
            parts,
            train_positions,
        })
    }

    /// Rows of every split.
    pub(super) fn rows(&self) -> SplitRows {
        let mut rows = SplitRows::default();
        for (split, range) in &self.parts {
            let len = range.end - range.start;
            match split {
                Split::Train => rows.train = len,
                Split::Validation => rows.validation = len,
                Split::Test => rows.test = len,
            }
        }
        rows
    }

    /// Cuts rows `rows` at the borders of the splits.
    pub(super) fn cut(&self, rows: Range<u64>) -> impl Iterator<Item = (Split, Range<u64>)> + '_ {
        self.parts.iter().filter_map(move |(split, part)| {
            let range = rows.start.max(part.start)..rows.end.min(part.end);
            (range.start < range.end).then_some((*split, range))
        })
    }

    /// Where training rows are written, if not in file order.
    pub(super) fn train_positions(
        &self,
        rows: Range<u64>,
    ) -> Option<impl Iterator<Item = u64> + '_> {
        let positions = self.train_positions.as_ref()?;
        let positions = positions.get(rows.start as usize..rows.end as usize)?;
        Some(positions.iter().map(|&position| u64::from(position)))
    }
}

/// Inverts one permutation for each block of rows: output row `i` of a block is its row `permutation[i]`.
fn positions(blocks: &[u64], seed: u32) -> Result<Vec<u32>> {
    let rows: u64 = blocks.iter().sum();
    if rows > u64::from(u32::MAX) {
        return Err(Error::InvalidOption {
            option: "split",
            value: format!("shuffled, {rows} training rows"),
            allowed: "at most 4,294,967,295 rows to shuffle; keep the file order for more",
        });
    }
    let mut generator = LegacyGenerator::new(seed);
    let mut positions = vec![0; rows as usize];
    let mut first = 0;
    for &block in blocks {
        for (place, row) in generator.permutation(block as u32).into_iter().enumerate() {
            positions[first + row as usize] = (first + place) as u32;
        }
        first += block as usize;
    }
    Ok(positions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHUFFLED: [Randomize; 2] = [Randomize::Day, Randomize::Total];

    #[test]
    fn the_sample_file_and_the_full_file_are_cut_as_the_original_does() {
        for (rows, sizes) in [
            (7_200, [6_172, 514, 514]),
            (45_840_617, [39_291_958, 3_274_330, 3_274_329]),
        ] {
            let ours = RowDivision::new(SplitRule::TimeOrdered, rows)
                .unwrap()
                .rows();
            assert_eq!([ours.train, ours.validation, ours.test], sizes);
            let rule = SplitRule::ReferenceDays {
                randomize: Randomize::None,
                seed: 123,
            };
            let reference = RowDivision::new(rule, rows).unwrap().rows();
            assert_eq!(
                [reference.train, reference.test, reference.validation],
                sizes
            );
        }
    }

    #[test]
    fn shuffled_rows_land_where_numpy_takes_them_from() {
        // numpy.random.RandomState(123).permutation(10), which is what 11 rows leave to train.
        let permutation = [4, 0, 7, 5, 8, 3, 1, 6, 9, 2];
        let rule = SplitRule::ReferenceDays {
            randomize: Randomize::Total,
            seed: 123,
        };
        let division = RowDivision::new(rule, 11).unwrap();
        let positions: Vec<u64> = division.train_positions(0..10).unwrap().collect();
        for (place, row) in permutation.into_iter().enumerate() {
            assert_eq!(positions[row], place as u64);
        }
    }

    proptest! {
        #[test]
        fn every_row_goes_to_one_place(rows in 0u64..200, cut in 0u64..200) {
            let cut = cut.min(rows);
            for rule in SHUFFLED.map(|randomize| SplitRule::ReferenceDays { randomize, seed: 1 }).into_iter().chain([SplitRule::TimeOrdered]) {
                let division = RowDivision::new(rule, rows).unwrap();
                let sizes = division.rows();
                prop_assert_eq!(sizes.train + sizes.validation + sizes.test, rows);
                let cuts = [0..cut, cut..rows].map(|part| division.cut(part).map(|(_, range)| range.end - range.start).sum::<u64>());
                prop_assert_eq!(cuts, [cut, rows - cut]);
                if let Some(positions) = division.train_positions(0..sizes.train) {
                    let mut positions: Vec<u64> = positions.collect();
                    positions.sort_unstable();
                    prop_assert!(positions.into_iter().eq(0..sizes.train));
                }
            }
        }
    }
}
