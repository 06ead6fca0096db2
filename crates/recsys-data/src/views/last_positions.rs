//! Sequences with a shorter history.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::batch::Batch;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::schema::Schema;

/// The last positions of every sequence of a data set: the candidate, and as much of the history before it.
#[derive(Clone)]
pub struct LastPositions {
    dataset: Arc<dyn Dataset>,
    schema: Schema,
}

impl LastPositions {
    /// The last `positions` positions.
    ///
    /// # Errors
    /// No sequences, or shorter ones.
    pub fn new(dataset: Arc<dyn Dataset>, positions: NonZeroU32) -> Result<Self> {
        let length = dataset.schema().sequence_length;
        if length.is_none_or(|length| positions > length) {
            let length = length.map_or(0, NonZeroU32::get);
            return Err(Error::SequenceTooShort {
                positions: positions.get(),
                length,
            });
        }
        let schema = Schema {
            sequence_length: Some(positions),
            ..dataset.schema().clone()
        };
        Ok(Self { dataset, schema })
    }
}

/// Removes all but the last `kept` of every `whole` values.
fn keep_last<T: Copy>(values: &mut Vec<T>, whole: usize, kept: usize) {
    if whole == 0 {
        return;
    }
    let samples = values.len() / whole;
    for sample in 0..samples {
        let end = (sample + 1) * whole;
        values.copy_within(end - kept..end, sample * kept);
    }
    values.truncate(samples * kept);
}

impl Dataset for LastPositions {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn len(&self) -> u64 {
        self.dataset.len()
    }

    fn read_ahead(&self, samples: &[u64]) {
        self.dataset.read_ahead(samples);
    }

    fn read(&self, samples: &[u64], into: &mut Batch) -> Result<()> {
        self.dataset.read(samples, into)?;
        let whole = self.dataset.schema();
        // It may come from outside of this crate.
        into.check(whole)?;
        if into.len() != samples.len() {
            return Err(Error::BatchShape {
                what: "samples",
                found: into.len(),
                expected: samples.len(),
            });
        }
        keep_last(
            &mut into.dense,
            whole.dense_values(),
            self.schema.dense_values(),
        );
        let (bags, kept) = (whole.bags(), self.schema.bags());
        let sparse = &mut into.sparse;
        if sparse.is_single_hot() {
            keep_last(&mut sparse.ids, bags, kept);
            return Ok(());
        }
        let (mut ids, mut offsets) = (0, 1);
        for sample in 0..samples.len() {
            for bag in (sample + 1) * bags - kept..(sample + 1) * bags {
                let range = sparse.offsets[bag] as usize..sparse.offsets[bag + 1] as usize;
                let length = range.len();
                sparse.ids.copy_within(range, ids);
                ids += length;
                // Written no later than it was read: a kept bag moves to the front.
                sparse.offsets[offsets] = ids as u32;
                offsets += 1;
            }
        }
        sparse.ids.truncate(ids);
        sparse.offsets.truncate(offsets);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

    use super::*;
    use crate::batch::SparseIds;
    use crate::schema::TableSchema;

    /// Two sequences of three positions, one dense feature, two tables.
    struct Two(Schema, Batch);

    impl Dataset for Two {
        fn schema(&self) -> &Schema {
            &self.0
        }

        fn len(&self) -> u64 {
            2
        }

        fn read(&self, _: &[u64], into: &mut Batch) -> Result<()> {
            into.clone_from(&self.1);
            Ok(())
        }
    }

    fn two(multi_hot: bool) -> Arc<dyn Dataset> {
        let table = |name: &str| TableSchema {
            name: name.into(),
            rows: 100,
        };
        let schema = Schema {
            dense: vec!["t".into()],
            tables: vec![table("item"), table("category")],
            multi_hot,
            sequence_length: NonZeroU32::new(3),
        };
        let sparse = match multi_hot {
            false => SparseIds {
                ids: (0..12).collect(),
                offsets: vec![],
            },
            true => SparseIds {
                ids: (0..15).collect(),
                offsets: vec![0, 2, 2, 3, 5, 5, 6, 7, 9, 9, 12, 14, 15],
            },
        };
        Arc::new(Two(
            schema,
            Batch {
                label: vec![0.0, 1.0],
                dense: vec![0.0, 0.1, 0.2, 0.0, 0.1, 0.2],
                sparse,
            },
        ))
    }

    #[test]
    fn the_last_positions_are_kept() {
        let kept = |multi_hot, positions| {
            let view = LastPositions::new(two(multi_hot), NonZeroU32::new(positions).unwrap());
            let view = view.unwrap();
            assert_eq!(view.schema().positions(), positions as usize);
            let mut batch = Batch::default();
            view.read(&[0, 1], &mut batch).unwrap();
            batch
        };
        let one = kept(false, 2);
        assert_eq!(one.dense, [0.1, 0.2, 0.1, 0.2]);
        assert_eq!(one.sparse.ids, [2, 3, 4, 5, 8, 9, 10, 11]);
        assert_eq!(kept(false, 1).sparse.ids, [4, 5, 10, 11]);
        assert_eq!(kept(false, 3).sparse.ids, (0..12).collect::<Vec<_>>());
        let many = kept(true, 2).sparse;
        let bags: Vec<&[u32]> = (0..8).map(|bag| many.bag(bag)).collect();
        let expected: [&[u32]; 8] = [
            &[2],
            &[3, 4],
            &[],
            &[5],
            &[],
            &[9, 10, 11],
            &[12, 13],
            &[14],
        ];
        assert_eq!(bags, expected);
        assert_eq!(kept(true, 3).sparse.ids, (0..15).collect::<Vec<_>>());
    }

    #[test]
    fn a_data_set_that_gives_too_little_is_an_error() {
        for (multi_hot, shorten) in [
            (
                false,
                (|batch| _ = batch.sparse.ids.pop()) as fn(&mut Batch),
            ),
            (false, |batch| _ = batch.dense.pop()),
            (false, |batch| _ = batch.label.pop()),
            (true, |batch| _ = batch.sparse.offsets.pop()),
            (true, |batch| batch.sparse.offsets[5] = u32::MAX),
        ] {
            let whole = two(multi_hot);
            let mut batch = Batch::default();
            whole.read(&[0, 1], &mut batch).unwrap();
            shorten(&mut batch);
            let faulty = Arc::new(Two(whole.schema().clone(), batch));
            let view = LastPositions::new(faulty, NonZeroU32::MIN).unwrap();
            let outcome = view.read(&[0, 1], &mut Batch::default());
            assert!(
                matches!(outcome, Err(Error::BatchShape { .. })),
                "{outcome:?}"
            );
        }
    }

    #[test]
    fn more_positions_than_there_are_is_an_error() {
        let error = LastPositions::new(two(false), NonZeroU32::new(4).unwrap());
        let error = error.err().unwrap().to_string();
        assert!(error.contains('4') && error.contains('3'), "{error}");
    }
}
