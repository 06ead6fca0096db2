//! Which samples of an import go to which split.

use std::ops::Range;

use super::options::{ForeignCut, ForeignParts};
use crate::split::{Split, SplitRows};

/// Splits as ranges of all samples, in reading order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cuts([(Split, Range<u64>); 3]);

impl Cuts {
    /// `rows` are the samples of every file, in reading order.
    pub(super) fn new(parts: &ForeignParts, rows: &[u64]) -> Self {
        let all: u64 = rows.iter().sum();
        let (train, validation) = match parts {
            ForeignParts::Named {
                train, validation, ..
            } => {
                let (train, rest) = rows.split_at(train.len());
                let train: u64 = train.iter().sum();
                (train, train + rest[..validation.len()].iter().sum::<u64>())
            }
            ForeignParts::InOrder { cut, .. } => {
                let last = match cut {
                    ForeignCut::TimeOrdered => all / 7,
                    ForeignCut::LastFile => rows.last().copied().unwrap_or(0),
                };
                (all - last, all - last + last.div_ceil(2))
            }
        };
        Self([
            (Split::Train, 0..train),
            (Split::Validation, train..validation),
            (Split::Test, validation..all),
        ])
    }

    pub(super) fn rows(&self) -> SplitRows {
        let [train, validation, test] = self.0.each_ref().map(|(_, range)| range.end - range.start);
        SplitRows {
            train,
            validation,
            test,
        }
    }

    /// Cuts some samples at the borders of the splits; ranges count from the first of them.
    pub(super) fn cut(
        &self,
        samples: Range<u64>,
    ) -> impl Iterator<Item = (Split, Range<usize>)> + '_ {
        self.0.iter().filter_map(move |(split, part)| {
            let range = samples.start.max(part.start)..samples.end.min(part.end);
            let from_first = |sample: u64| (sample - samples.start) as usize;
            (range.start < range.end)
                .then(|| (*split, from_first(range.start)..from_first(range.end)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(parts: &ForeignParts, rows: &[u64]) -> [u64; 3] {
        let rows = Cuts::new(parts, rows).rows();
        [rows.train, rows.validation, rows.test]
    }

    #[test]
    fn files_and_days_are_cut_as_asked() {
        let files = |count| vec![std::path::PathBuf::new(); count];
        let named = ForeignParts::Named {
            train: files(2),
            validation: files(1),
            test: files(1),
        };
        assert_eq!(rows(&named, &[5, 6, 7, 8]), [11, 7, 8]);
        let in_order = |cut| ForeignParts::InOrder {
            files: files(2),
            cut,
        };
        assert_eq!(
            rows(&in_order(ForeignCut::TimeOrdered), &[7_000, 200]),
            [6_172, 514, 514]
        );
        assert_eq!(rows(&in_order(ForeignCut::LastFile), &[10, 5]), [10, 3, 2]);
        let cuts = Cuts::new(&in_order(ForeignCut::LastFile), &[10, 5]);
        let parts: Vec<_> = cuts.cut(8..14).collect();
        assert_eq!(
            parts,
            [
                (Split::Train, 0..2),
                (Split::Validation, 2..5),
                (Split::Test, 5..6)
            ]
        );
    }
}
