//! Data sets from outside that do not keep their word: errors, never a panic.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

use std::num::NonZeroU32;

use fae_profiler::{
    AccessCounts, CountOptions, Error, HotCounts, HotEstimate, LengthSweep, Partition,
    SelectOptions, Selector, Strategy,
};
use proptest::prelude::*;
use recsys_data::{Batch, Dataset, IdBlock, Schema, TableSchema};

/// Shows the same block, whatever is read.
#[derive(Debug, Clone)]
struct Shows {
    schema: Schema,
    samples: usize,
    ids: Vec<u32>,
    offsets: Vec<u32>,
}

impl Dataset for Shows {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn len(&self) -> u64 {
        2
    }

    fn read(&self, samples: &[u64], into: &mut Batch) -> recsys_data::Result<()> {
        into.clear();
        into.label.resize(samples.len(), 0.0);
        into.sparse.ids.extend(&self.ids);
        into.sparse.offsets.extend(&self.offsets);
        Ok(())
    }

    fn visit_ids(
        &self,
        _: &[u64],
        _: &mut Batch,
        visit: &mut dyn FnMut(IdBlock<'_>),
    ) -> recsys_data::Result<()> {
        visit(IdBlock {
            samples: self.samples,
            ids: &self.ids,
            offsets: &self.offsets,
        });
        Ok(())
    }
}

/// Two tables of four rows.
fn shows(samples: usize, ids: &[u32], offsets: &[u32]) -> Shows {
    let table = |name: &str| TableSchema {
        name: name.into(),
        rows: 4,
    };
    Shows {
        schema: Schema {
            tables: vec![table("a"), table("b")],
            ..Schema::default()
        },
        samples,
        ids: ids.to_vec(),
        offsets: offsets.to_vec(),
    }
}

/// What every reader of ids makes of a data set.
fn outcomes(data: &Shows) -> Vec<Result<(), Error>> {
    let tables = data.schema.tables.len();
    let hot = vec![2; tables];
    let mut outcomes = vec![
        AccessCounts::count(data, &CountOptions::default()).map(drop),
        HotCounts::count(data, &hot).map(drop),
        HotEstimate::new(data, &hot, &CountOptions::default(), 0.9).map(drop),
        Partition::classify(data, &hot).map(drop),
    ];
    for strategy in [Strategy::Frequency, Strategy::SHARE, Strategy::Inputs] {
        let options = SelectOptions {
            bytes_per_row: vec![8; tables],
            ..SelectOptions::default()
        };
        // Counts made elsewhere, so that selecting is the first to read.
        let counts = AccessCounts::from_tables(vec![vec![3, 2, 1, 0]; tables]);
        let selector = Selector::with_counts(data, &options, counts);
        outcomes.push(selector.and_then(|mut selector| selector.select(strategy, 24).map(drop)));
    }
    outcomes
}

#[test]
fn short_ids_short_offsets_and_wrong_samples_are_errors() {
    for (samples, ids, offsets) in [
        (2, &[0, 1, 2][..], &[][..]),
        (2, &[0, 1, 2, 3, 0], &[]),
        (2, &[], &[]),
        (2, &[0, 1, 2, 3], &[0, 1, 2, 3]),
        (2, &[0, 1, 2, 3], &[0, 1, 2, 3, 5]),
        (2, &[0, 1, 2, 3], &[0, 3, 1, 2, 4]),
        (2, &[0, 1, 2, 3], &[0]),
        (1, &[0, 1], &[]),
        (3, &[0, 1, 2, 3, 0, 1], &[]),
        (usize::MAX, &[0, 1, 2, 3], &[]),
    ] {
        for (which, outcome) in outcomes(&shows(samples, ids, offsets))
            .into_iter()
            .enumerate()
        {
            let faulty = matches!(
                outcome,
                Err(Error::FaultyDataset { .. } | Error::DescendingOffsets)
            );
            assert!(faulty, "{samples} {ids:?} {offsets:?} {which}: {outcome:?}");
        }
    }
    for outcome in outcomes(&shows(2, &[0, 1, 2, 3], &[])) {
        outcome.unwrap();
    }
    for outcome in outcomes(&shows(2, &[7, 0, 1, 2, 3], &[1, 2, 2, 3, 5])) {
        outcome.unwrap();
    }
}

#[test]
fn no_tables_but_offsets_are_an_error() {
    let mut data = shows(2, &[0, 1], &[0, 1, 2]);
    data.schema.tables.clear();
    for outcome in outcomes(&data) {
        assert!(
            matches!(outcome, Err(Error::FaultyDataset { .. })),
            "{outcome:?}"
        );
    }
}

#[test]
fn sequences_of_four_billion_positions_are_an_error() {
    let mut data = shows(2, &[0, 1, 2, 3], &[]);
    data.schema.sequence_length = NonZeroU32::new(u32::MAX);
    for outcome in outcomes(&data) {
        assert!(
            matches!(outcome, Err(Error::TooManyBags { .. })),
            "{outcome:?}"
        );
    }
    assert!(LengthSweep::lengths(u32::MAX as usize).len() < 100);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_a_data_set_shows_nothing_panics(
        tables in 0usize..3,
        positions in 0u32..4,
        samples in prop_oneof![0usize..4, Just(usize::MAX)],
        ids in proptest::collection::vec(prop_oneof![0u32..5, Just(u32::MAX)], 0..12),
        offsets in proptest::collection::vec(prop_oneof![0u32..13, Just(u32::MAX)], 0..14),
    ) {
        let mut data = shows(samples, &ids, &offsets);
        data.schema.tables.truncate(tables);
        data.schema.sequence_length = NonZeroU32::new(positions);
        outcomes(&data);
    }
}
