//! The bytes of a block of samples as they lie in a shard, and the check of their values.

use crate::batch::Batch;
use crate::error::Error;
use crate::packed::error::Error as PackedError;
use crate::schema::Schema;
use crate::split::Split;

/// Little-endian floats.
pub(super) fn floats(bytes: &[u8]) -> impl ExactSizeIterator<Item = f32> + '_ {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
}

/// Little-endian ids.
pub(super) fn ids(bytes: &[u8]) -> impl ExactSizeIterator<Item = u32> + '_ {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|bytes| u32::from_le_bytes(*bytes))
}

/// Little-endian ids as they lie in memory; `None` where the processor would read them otherwise.
pub(super) fn ids_in_place(bytes: &[u8]) -> Option<&[u32]> {
    if cfg!(target_endian = "big") {
        return None;
    }
    // SAFETY: every pattern of four bytes is a valid u32.
    let (before, ids, after) = unsafe { bytes.align_to::<u32>() };
    (before.is_empty() && after.is_empty()).then_some(ids)
}

/// Little-endian offsets and checksums.
pub(super) fn longs(bytes: &[u8]) -> impl DoubleEndedIterator<Item = u64> + Clone + '_ {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|bytes| u64::from_le_bytes(*bytes))
}

/// Samples in the form of the file, borrowed from a memory map or from a [`BlockBuffer`].
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockBytes<'a> {
    pub(super) label: &'a [u8],
    pub(super) dense: &'a [u8],
    pub(super) ids: &'a [u8],
    /// One more than there are bags; empty in single-hot data.
    pub(super) offsets: &'a [u8],
}

/// A value that no data set may hold.
#[derive(Debug)]
pub(super) struct BadValue {
    sample: usize,
    column: String,
    value: String,
    allowed: String,
}

impl BadValue {
    fn new(
        sample: usize,
        column: &str,
        value: impl ToString,
        allowed: impl ToString,
    ) -> Option<Self> {
        Some(Self {
            sample,
            column: column.into(),
            value: value.to_string(),
            allowed: allowed.to_string(),
        })
    }

    /// The error for a value found in `path`, where sample `k` of the block is sample `number(k)` of the split.
    pub(super) fn into_error(
        self,
        path: &std::path::Path,
        split: Split,
        number: impl Fn(usize) -> u64,
    ) -> Error {
        let Self {
            sample,
            column,
            value,
            allowed,
        } = self;
        Error::Packed(PackedError::BadValue {
            path: path.into(),
            split,
            sample: number(sample),
            column,
            value,
            allowed,
        })
    }
}

impl BlockBytes<'_> {
    /// The xxh3 of every tensor's bytes, in the order of the columns of `checksums`.
    pub(super) fn checksums(&self, multi_hot: bool) -> impl Iterator<Item = u64> + '_ {
        let tensors = [self.label, self.dense, self.ids, self.offsets];
        tensors
            .into_iter()
            .take(if multi_hot { 4 } else { 3 })
            .map(xxhash_rust::xxh3::xxh3_64)
    }

    /// The first value that is out of its range: a label outside 0 to 1, a dense value that is no finite number, an id
    /// beyond its table. The passes over good data have no branches, so that they keep up with hashing.
    pub(super) fn bad_value(&self, schema: &Schema) -> Option<BadValue> {
        let good = |label: f32| (0.0..=1.0).contains(&label);
        if !floats(self.label).fold(true, |all, label| all & good(label)) {
            let (sample, label) = floats(self.label)
                .enumerate()
                .find(|(_, label)| !good(*label))?;
            return BadValue::new(sample, "label", label, "0 to 1");
        }
        if !floats(self.dense).fold(true, |all, value| all & value.is_finite()) {
            let (at, value) = floats(self.dense)
                .enumerate()
                .find(|(_, value)| !value.is_finite())?;
            return BadValue::new(
                at / schema.dense_values(),
                &schema.dense[at % schema.dense.len()],
                value,
                "a finite number",
            );
        }
        if self.offsets.is_empty() {
            self.bad_single_hot_id(schema)
        } else {
            self.bad_multi_hot_id(schema)
        }
    }

    fn bad_single_hot_id(&self, schema: &Schema) -> Option<BadValue> {
        let tables = &schema.tables;
        if tables.is_empty() {
            return None;
        }
        for (position, row) in self.ids.chunks_exact(4 * tables.len()).enumerate() {
            let beyond =
                |(id, table): (u32, &crate::schema::TableSchema)| u64::from(id) >= table.rows;
            if ids(row)
                .zip(tables)
                .fold(false, |any, pair| any | beyond(pair))
            {
                let (id, table) = ids(row).zip(tables).find(|pair| beyond(*pair))?;
                let sample = position / schema.positions();
                return BadValue::new(sample, &table.name, id, allowed_ids(table.rows));
            }
        }
        None
    }

    fn bad_multi_hot_id(&self, schema: &Schema) -> Option<BadValue> {
        let tables = schema.tables.len();
        let first = longs(self.offsets).next()?;
        let (mut all, mut position) = (ids(self.ids), first);
        for (bag, end) in longs(self.offsets).skip(1).enumerate() {
            let (sample, table) = (bag / schema.bags(), &schema.tables[bag % tables]);
            let last = first + (self.ids.len() / 4) as u64;
            if end < position || end > last {
                return BadValue::new(sample, "offsets", end, format!("{position} to {last}"));
            }
            for id in all.by_ref().take((end - position) as usize) {
                if u64::from(id) >= table.rows {
                    return BadValue::new(sample, &table.name, id, allowed_ids(table.rows));
                }
            }
            position = end;
        }
        None
    }
}

fn allowed_ids(rows: u64) -> String {
    match rows.checked_sub(1) {
        Some(last) => format!("ids 0 to {last}"),
        None => "no id: the table has no rows".into(),
    }
}

/// Samples on their way to a shard.
#[derive(Debug, Default)]
pub(super) struct BlockBuffer {
    pub(super) samples: usize,
    label: Vec<u8>,
    dense: Vec<u8>,
    ids: Vec<u8>,
    offsets: Vec<u8>,
    last_offset: u64,
}

impl BlockBuffer {
    /// Forgets the samples. Offsets of the next ones start at `first_offset`.
    pub(super) fn restart(&mut self, first_offset: u64, multi_hot: bool) {
        self.samples = 0;
        for bytes in [
            &mut self.label,
            &mut self.dense,
            &mut self.ids,
            &mut self.offsets,
        ] {
            bytes.clear();
        }
        self.last_offset = first_offset;
        if multi_hot {
            self.offsets.extend(first_offset.to_le_bytes());
        }
    }

    /// Where the ids of the samples end in the shard.
    pub(super) fn last_offset(&self) -> u64 {
        self.last_offset
    }

    /// Adds samples `range` of a batch that [`Batch::check`] accepted.
    pub(super) fn push(&mut self, batch: &Batch, range: std::ops::Range<usize>, schema: &Schema) {
        let (dense, bags) = (schema.dense_values(), schema.bags());
        self.samples += range.len();
        self.label.extend(
            batch.label[range.clone()]
                .iter()
                .flat_map(|value| value.to_le_bytes()),
        );
        let values = &batch.dense[range.start * dense..range.end * dense];
        self.dense
            .extend(values.iter().flat_map(|value| value.to_le_bytes()));
        let bags = range.start * bags..range.end * bags;
        let sparse = &batch.sparse;
        let range = if sparse.is_single_hot() {
            bags.clone()
        } else {
            sparse.offsets[bags.start] as usize..sparse.offsets[bags.end] as usize
        };
        self.ids
            .extend(sparse.ids[range].iter().flat_map(|id| id.to_le_bytes()));
        if schema.multi_hot {
            for bag in bags {
                self.last_offset += sparse.bag(bag).len() as u64;
                self.offsets.extend(self.last_offset.to_le_bytes());
            }
        }
    }

    /// What was pushed.
    pub(super) fn bytes(&self) -> BlockBytes<'_> {
        BlockBytes {
            label: &self.label,
            dense: &self.dense,
            ids: &self.ids,
            offsets: &self.offsets,
        }
    }
}
