//! Small data sets in memory.

#![allow(dead_code, reason = "every test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

use std::num::NonZeroU32;
use std::path::Path;

use recsys_data::packed::{PackedDataset, PackedWriter, Provenance, WriterOptions};
use recsys_data::{Batch, Dataset, Result, Schema, SparseIds, Split, SplitRows, TableSchema};

/// Samples that lie in memory.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    pub(crate) schema: Schema,
    /// For every sample the ids of every table, position after position.
    pub(crate) bags: Vec<Vec<Vec<u32>>>,
}

impl Memory {
    /// Samples with any number of ids; single-hot where every bag has one.
    pub(crate) fn new(rows: &[u64], bags: Vec<Vec<Vec<u32>>>) -> Self {
        let multi_hot = bags.iter().flatten().any(|bag| bag.len() != 1);
        let table = |(number, &rows): (usize, &u64)| TableSchema {
            name: format!("C{}", number + 1),
            rows,
        };
        let schema = Schema {
            dense: vec!["I1".into()],
            tables: rows.iter().enumerate().map(table).collect(),
            multi_hot,
            sequence_length: None,
        };
        Self { schema, bags }
    }

    /// The samples as the positions of sequences; those that fill no sequence are left out.
    pub(crate) fn into_sequences(mut self, positions: u32) -> Self {
        self.schema.sequence_length = NonZeroU32::new(positions);
        let sequences = self.bags.chunks_exact(positions as usize);
        self.bags = sequences.map(<[_]>::concat).collect();
        self
    }

    /// Samples with one id for every table.
    pub(crate) fn single_hot(rows: &[u64], ids: &[Vec<u32>]) -> Self {
        let bags = |ids: &Vec<u32>| ids.iter().map(|&id| vec![id]).collect();
        Self::new(rows, ids.iter().map(bags).collect())
    }

    /// Whether every id of a sample is below its table's number, as the definition says it.
    pub(crate) fn is_hot(&self, sample: usize, hot_rows: &[u64]) -> bool {
        let bags = self.bags[sample].iter().zip(hot_rows.iter().cycle());
        bags.flat_map(|(bag, hot)| bag.iter().map(move |&id| u64::from(id) < *hot))
            .all(|hot| hot)
    }

    /// The same samples as the training split of a packed data set.
    pub(crate) fn pack(&self, folder: &Path) -> PackedDataset {
        let rows = SplitRows {
            train: self.len(),
            ..SplitRows::default()
        };
        let options = WriterOptions {
            shard_rows: 700,
            ..WriterOptions::default()
        };
        let mut writer = PackedWriter::create(folder, self.schema.clone(), rows, options).unwrap();
        let mut batch = Batch::default();
        self.read(&(0..self.len()).collect::<Vec<_>>(), &mut batch)
            .unwrap();
        writer.append(Split::Train, &batch).unwrap();
        let provenance = Provenance {
            dataset: "memory".into(),
            ..Provenance::default()
        };
        writer.finish(provenance).unwrap();
        PackedDataset::open(folder).unwrap()
    }
}

impl Dataset for Memory {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn len(&self) -> u64 {
        self.bags.len() as u64
    }

    fn read(&self, samples: &[u64], into: &mut Batch) -> Result<()> {
        into.clear();
        let SparseIds { ids, offsets } = &mut into.sparse;
        if self.schema.multi_hot {
            offsets.push(0);
        }
        for &sample in samples {
            into.label.push((sample % 2) as f32);
            let positions = self.schema.positions();
            into.dense
                .extend(std::iter::repeat_n(sample as f32, positions));
            for bag in &self.bags[sample as usize] {
                ids.extend(bag);
                if self.schema.multi_hot {
                    offsets.push(ids.len() as u32);
                }
            }
        }
        Ok(())
    }
}

/// Runs `work` on a pool of that many threads.
pub(crate) fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    pool.build().unwrap().install(work)
}

/// Options for rows of these bytes.
pub(crate) fn options(
    strategy: fae_profiler::Strategy,
    budget: u64,
    bytes_per_row: &[u64],
) -> fae_profiler::SelectOptions {
    fae_profiler::SelectOptions {
        strategy,
        budget,
        bytes_per_row: bytes_per_row.to_vec(),
        ..Default::default()
    }
}
