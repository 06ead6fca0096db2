//! Samples that depend on their number alone, so that any reader can tell whether it got the right ones.
#![allow(dead_code, reason = "every test file uses a part of this")]
#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

use std::num::NonZeroU32;
use std::path::Path;

use recsys_data::packed::{Manifest, PackedWriter, Provenance, SourceFile, WriterOptions};
use recsys_data::vocabulary::Vocabulary;
use recsys_data::{Batch, Dataset, Result, Schema, SparseIds, Split, SplitRows, TableSchema};

/// splitmix64.
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A data set in memory whose sample `k` of split `s` is a function of `(s, k)`.
pub(crate) struct Numbered {
    pub(crate) schema: Schema,
    pub(crate) split: Split,
    pub(crate) len: u64,
}

pub(crate) fn schema(multi_hot: bool) -> Schema {
    let rows = [5, 1, 1000, 40];
    let tables = (0u8..).zip(rows).map(|(i, rows)| TableSchema {
        name: format!("C{}", i + 1),
        rows,
    });
    Schema {
        dense: ["I1", "I2", "I3"].map(String::from).to_vec(),
        tables: tables.collect(),
        multi_hot,
        sequence_length: None,
    }
}

/// One schema of every kind.
pub(crate) fn schemas() -> [Schema; 4] {
    [
        schema(false),
        schema(true),
        sequences(false),
        sequences(true),
    ]
}

/// The columns of [`schema`], at five positions.
pub(crate) fn sequences(multi_hot: bool) -> Schema {
    Schema {
        sequence_length: NonZeroU32::new(5),
        ..schema(multi_hot)
    }
}

impl Numbered {
    pub(crate) fn new(split: Split, len: u64, schema: &Schema) -> Self {
        Self {
            schema: schema.clone(),
            split,
            len,
        }
    }

    fn push(&self, sample: u64, into: &mut Batch) {
        let seed = mix(sample * 4 + self.split as u64);
        into.label
            .push(if seed.is_multiple_of(4) { 1.0 } else { 0.0 });
        into.dense.extend(
            (0..self.schema.dense_values() as u64).map(|i| (mix(seed ^ i) % 10_000) as f32 / 64.0),
        );
        let tables = std::iter::repeat_n(&self.schema.tables, self.schema.positions());
        for (t, table) in (0..).zip(tables.flatten()) {
            let bag = if self.schema.multi_hot {
                mix(seed + t) % 4
            } else {
                1
            };
            into.sparse
                .ids
                .extend((0..bag).map(|i| (mix(seed ^ (t << 8) ^ (i << 16)) % table.rows) as u32));
            if self.schema.multi_hot {
                into.sparse.offsets.push(into.sparse.ids.len() as u32);
            }
        }
    }
}

impl Dataset for Numbered {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn read(&self, samples: &[u64], into: &mut Batch) -> Result<()> {
        into.clear();
        if self.schema.multi_hot {
            into.sparse.offsets.push(0);
        }
        samples.iter().for_each(|sample| self.push(*sample, into));
        Ok(())
    }
}

/// One batch with the given samples.
pub(crate) fn batch(dataset: &dyn Dataset, samples: impl IntoIterator<Item = u64>) -> Batch {
    let samples: Vec<u64> = samples.into_iter().collect();
    let mut batch = Batch::default();
    dataset.read(&samples, &mut batch).unwrap();
    batch
}

/// Three samples of one dense feature and one table.
pub(crate) fn small_batch() -> (Schema, Batch) {
    let table = TableSchema {
        name: "C1".into(),
        rows: 10,
    };
    let schema = Schema {
        dense: vec!["I1".into()],
        tables: vec![table],
        ..Schema::default()
    };
    let sparse = SparseIds {
        ids: vec![0, 9, 3],
        offsets: vec![],
    };
    (
        schema,
        Batch {
            label: vec![0.0, 1.0, 0.0],
            dense: vec![0.5, 1.5, 2.5],
            sparse,
        },
    )
}

pub(crate) fn provenance() -> Provenance {
    Provenance {
        dataset: "numbered".into(),
        sources: vec![SourceFile {
            name: "numbers.txt".into(),
            bytes: 3,
            xxh3: "00000000000000ff".into(),
        }],
        options: serde_json::json!({ "seed": 1 }),
        report: serde_json::json!({ "skipped": 0 }),
    }
}

pub(crate) fn vocabulary(rows: u64) -> Vocabulary {
    let categories = (0..rows).map(|id| mix(id) as u32).collect();
    Vocabulary {
        categories,
        wide: None,
        counts: (0..rows).map(|id| 2 * (rows - id)).collect(),
        missing: Some(0),
        other: None,
    }
}

/// Writes numbered samples in batches of `batch_size`, with vocabularies.
pub(crate) fn write(
    out: &Path,
    rows: SplitRows,
    schema: &Schema,
    options: WriterOptions,
    batch_size: usize,
) -> Result<Manifest> {
    let mut writer = PackedWriter::create(out, schema.clone(), rows, options)?;
    for split in Split::ALL {
        let source = Numbered::new(split, rows.of(split), schema);
        for first in (0..source.len).step_by(batch_size) {
            writer.append(
                split,
                &batch(&source, first..source.len.min(first + batch_size as u64)),
            )?;
        }
    }
    for (table, column) in schema.tables.iter().enumerate() {
        writer.write_vocabulary(table, &vocabulary(column.rows))?;
    }
    writer.finish(provenance())
}
