//! Where everything lies in a shard.

use super::header::{TensorEntry, encode_header};
use super::{BLOCK_SAMPLES, FORMAT, FORMAT_VERSION};
use crate::schema::Schema;
use crate::split::Split;

/// The shape of a shard. `checksums` and `offsets` come first, because eight-byte elements need the stricter alignment, and
/// `ids` last, because in multi-hot data its size is known only at the end.
#[derive(Debug, Clone)]
pub(super) struct ShardLayout {
    pub(super) split: Split,
    pub(super) shard: u64,
    pub(super) rows: u64,
    /// Extents of `dense` and `ids` within a sample: the positions of a sequence, then the columns.
    dense_shape: Vec<u64>,
    ids_shape: Vec<u64>,
    /// Dense values of a sample.
    pub(super) dense: u64,
    /// Bags of a sample.
    pub(super) bags: u64,
    pub(super) multi_hot: bool,
}

impl ShardLayout {
    pub(super) fn new(schema: &Schema, split: Split, shard: u64, rows: u64) -> Self {
        let shape = |columns: usize| -> Vec<u64> {
            let positions = schema.sequence_length.map(|length| u64::from(length.get()));
            positions.into_iter().chain([columns as u64]).collect()
        };
        Self {
            split,
            shard,
            rows,
            dense_shape: shape(schema.dense.len()),
            ids_shape: shape(schema.tables.len()),
            dense: schema.dense_values() as u64,
            bags: schema.bags() as u64,
            multi_hot: schema.multi_hot,
        }
    }

    /// Blocks of samples that have a checksum each.
    pub(super) fn blocks(&self) -> u64 {
        self.rows.div_ceil(BLOCK_SAMPLES)
    }

    /// Names of the tensors that `checksums` covers, in the order of its columns.
    pub(super) fn checked_tensors(&self) -> &'static [&'static str] {
        let all: &[&str] = &["label", "dense", "ids", "offsets"];
        if self.multi_hot { all } else { &all[..3] }
    }

    /// Number of ids in single-hot data.
    pub(super) fn single_hot_ids(&self) -> u64 {
        self.rows.saturating_mul(self.bags)
    }

    /// The tensors in file order, for `ids` ids in all.
    pub(super) fn tensors(&self, ids: u64) -> Vec<TensorEntry> {
        let of_samples = |shape: &[u64]| [&[self.rows], shape].concat();
        let checked = self.checked_tensors().len() as u64;
        let mut tensors = vec![TensorEntry {
            name: "checksums",
            dtype: "U64",
            shape: vec![self.blocks(), checked],
        }];
        if self.multi_hot {
            let offsets = self.single_hot_ids().saturating_add(1);
            tensors.push(TensorEntry {
                name: "offsets",
                dtype: "U64",
                shape: vec![offsets],
            });
        }
        tensors.push(TensorEntry {
            name: "label",
            dtype: "F32",
            shape: vec![self.rows],
        });
        tensors.push(TensorEntry {
            name: "dense",
            dtype: "F32",
            shape: of_samples(&self.dense_shape),
        });
        let shape = if self.multi_hot {
            vec![ids]
        } else {
            of_samples(&self.ids_shape)
        };
        tensors.push(TensorEntry {
            name: "ids",
            dtype: "U32",
            shape,
        });
        tensors
    }

    /// What the header says about the file itself.
    pub(super) fn metadata(&self) -> [(&'static str, String); 5] {
        [
            ("block", BLOCK_SAMPLES.to_string()),
            ("format", FORMAT.into()),
            ("shard", self.shard.to_string()),
            ("split", self.split.name().into()),
            ("version", FORMAT_VERSION.to_string()),
        ]
    }

    /// The header for `ids` ids in all. Its length does not depend on them, so that data can be written before it.
    pub(super) fn header(&self, ids: u64) -> Vec<u8> {
        // The longest number that a header can hold stands in for those that are not known yet.
        let longest = if self.multi_hot {
            u64::MAX
        } else {
            self.single_hot_ids()
        };
        let least = encode_header(&self.metadata(), &self.tensors(longest), 0).len();
        encode_header(&self.metadata(), &self.tensors(ids), least)
    }

    /// Where a tensor's data start in the file.
    pub(super) fn position(&self, name: &str) -> u64 {
        let header = self.header(0).len() as u64;
        self.tensors(0)
            .iter()
            .take_while(|tensor| tensor.name != name)
            .fold(header, |at, tensor| at.saturating_add(tensor.bytes()))
    }

    /// Size of the file for `ids` ids in all; saturates where it would not fit.
    pub(super) fn file_bytes(&self, ids: u64) -> u64 {
        let header = self.header(ids).len() as u64;
        self.tensors(ids)
            .iter()
            .fold(header, |bytes, tensor| bytes.saturating_add(tensor.bytes()))
    }
}
