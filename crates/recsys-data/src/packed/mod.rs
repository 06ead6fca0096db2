//! The packed format: a folder with `dataset.json`, memory-mapped shards and vocabularies (docs/data.md).

mod access;
mod block;
pub(crate) mod disk_space;
mod error;
mod header;
mod layout;
mod manifest;
mod output_folder;
mod output_lock;
mod reader;
mod shard;
mod shard_files;
mod shard_writer;
mod source_file;
mod split_writer;
mod verify;
mod verify_report;
mod writer;

pub use error::Error;
pub use manifest::{Manifest, Provenance, ShardFile, SplitFiles, Splits, VocabularyFile};
pub use reader::{PackedDataset, PackedSplit};
pub use source_file::SourceFile;
pub use verify::Verify;
pub use verify_report::{Defect, FileContent, FileReport, VerifyReport};
pub use writer::{PackedWriter, WriterOptions};

pub(crate) use header::{TensorEntry, encode_header};
pub(crate) use output_folder::{OutputFolder, check_target, publish, sync_folder};
pub(crate) use output_lock::{OutputLock, sibling};
pub(crate) use shard_writer::{ShardPlace, ShardWriter};
pub(crate) use writer::write_manifest;

/// Name of the format, in the manifest and in every shard's header.
pub(crate) const FORMAT: &str = "recsys-packed";
/// The version that this release reads and writes.
pub(crate) const FORMAT_VERSION: u64 = 1;
/// Samples per checksum: a block of the Criteo shape is 80 KiB, which hashes in microseconds when a shuffled epoch first
/// touches it, and checksums are 0.03% of the file.
pub(crate) const BLOCK_SAMPLES: u64 = 512;
/// Name of the manifest in its folder.
pub(crate) const MANIFEST_FILE: &str = "dataset.json";
/// Name of the folder of vocabularies.
pub(crate) const VOCABULARY_FOLDER: &str = "vocabulary";

/// xxh3 (64 bits) in the form that the manifest holds: 16 hexadecimal digits.
pub(crate) fn xxh3_hex(bytes: &[u8]) -> String {
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(bytes))
}
