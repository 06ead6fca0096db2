//! Reading a packed data set.

use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::access::Access;
use super::layout::ShardLayout;
use super::manifest::{Manifest, VocabularyFile};
use super::shard::{Shard, check_length};
use super::{MANIFEST_FILE, xxh3_hex};
use crate::batch::Batch;
use crate::dataset::{Dataset, IdBlock};
use crate::error::{Error, Result};
use crate::input_file::open_regular;
use crate::packed::error::Error as PackedError;
use crate::schema::{Schema, TableSchema};
use crate::split::Split;
use crate::vocabulary::Vocabulary;

/// A packed data set on disk, memory-mapped. Cheap to clone.
///
/// Opening reads the manifest, the headers and the checksums (0.03% of the data) and compares them with the manifest. Each
/// block of 512 samples is checked once, by whoever reads it first: its checksums, the range of its ids, and that labels and
/// dense values are numbers.
///
/// The files must not be changed while they are open. A file that was truncated is noticed at the
/// next read, by its length; where that happens while samples are being copied, the system ends the
/// process by SIGBUS. Writing a new data set over an open one with
/// [`PackedWriter`](crate::packed::PackedWriter) is safe, because it replaces the folder and never
/// the contents of a file.
#[derive(Debug, Clone)]
pub struct PackedDataset {
    contents: Arc<Contents>,
}

#[derive(Debug)]
struct Contents {
    folder: PathBuf,
    manifest: Manifest,
    shards: [Vec<Shard>; 3],
    access: [Access; 3],
}

impl PackedDataset {
    /// Opens the data set in a folder.
    ///
    /// # Errors
    /// A folder that is missing or holds no packed data set of this version, and files that are missing, truncated, swapped
    /// or altered.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref().to_path_buf();
        let manifest = Manifest::read(&folder)?;
        let open = |split: Split| -> Result<Vec<Shard>> {
            let mut first_sample = 0;
            let mut shards = Vec::new();
            for (number, entry) in manifest.splits.of(split).shards.iter().enumerate() {
                let layout = ShardLayout::new(&manifest.schema, split, number as u64, entry.rows);
                shards.push(Shard::open(&folder, entry, layout, first_sample)?);
                first_sample += entry.rows;
            }
            Ok(shards)
        };
        let shards = [
            open(Split::Train)?,
            open(Split::Validation)?,
            open(Split::Test)?,
        ];
        Ok(Self {
            contents: Arc::new(Contents {
                folder,
                manifest,
                shards,
                access: Default::default(),
            }),
        })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.contents.folder
    }

    /// What is in the data set and where it came from.
    pub fn manifest(&self) -> &Manifest {
        &self.contents.manifest
    }

    /// The checksum of the manifest, which covers every other file: 16 hexadecimal digits that no other data set has.
    ///
    /// # Errors
    /// A manifest that cannot be read any more, or was altered.
    pub fn manifest_xxh3(&self) -> Result<String> {
        Manifest::read_checksum(&self.contents.folder)
    }

    /// Whether the samples have labels, as `fae encode` makes them of rows that have none.
    pub fn has_labels(&self) -> bool {
        self.contents.manifest.has_labels()
    }

    /// Whether a path is that of a file of this data set, which nothing must be written over.
    pub fn has_file(&self, path: &Path) -> bool {
        let Ok(path) = path.canonicalize() else {
            return false;
        };
        let names = self.manifest().file_names().chain([MANIFEST_FILE]);
        let mut files = names.map(|name| self.folder().join(name).canonicalize());
        files.any(|file| file.is_ok_and(|file| file == path))
    }

    /// The columns.
    pub fn schema(&self) -> &Schema {
        &self.contents.manifest.schema
    }

    /// The samples of a split.
    pub fn split(&self, split: Split) -> PackedSplit {
        PackedSplit {
            contents: self.contents.clone(),
            split,
        }
    }

    /// Checks every block of every shard and every vocabulary, in parallel, and reports the first error in file order.
    ///
    /// # Errors
    /// The first damaged block, value out of range or altered vocabulary.
    pub fn verify(&self) -> Result<()> {
        let schema = self.schema();
        for shard in self.contents.shards.iter().flatten() {
            let failed = (0..shard.blocks())
                .into_par_iter()
                .find_map_first(|block| shard.verify(block, schema).err());
            failed.map_or(Ok(()), Err)?;
        }
        (0..schema.tables.len()).try_for_each(|table| self.vocabulary(table).map(drop))
    }

    /// The vocabulary of a table, by its place in the schema; `None` where the data set was written without one.
    ///
    /// # Errors
    /// A vocabulary file that is missing or altered.
    pub fn vocabulary(&self, table: usize) -> Result<Option<Vocabulary>> {
        let Some(column) = self.schema().tables.get(table) else {
            return Ok(None);
        };
        let Some(entry) = self
            .manifest()
            .vocabulary
            .iter()
            .find(|entry| entry.table == column.name)
        else {
            return Ok(None);
        };
        read_vocabulary(&self.contents.folder, entry, column).map(Some)
    }

    /// What the ids of every table stand for, as a hash: that of the table's vocabulary, `None`
    /// where there is none and ids are what they were in the files.
    ///
    /// Weights fit data sets of equal hashes: the same row is of the same category.
    pub fn ids_xxh3(&self) -> Vec<Option<String>> {
        let vocabularies = &self.manifest().vocabulary;
        let hash = |table: &TableSchema| {
            let mut entries = vocabularies.iter();
            let entry = entries.find(|entry| entry.table == table.name)?;
            Some(entry.xxh3.clone())
        };
        self.schema().tables.iter().map(hash).collect()
    }
}

/// Reads a vocabulary and compares it with the manifest and the table.
pub(super) fn read_vocabulary(
    folder: &Path,
    entry: &VocabularyFile,
    column: &TableSchema,
) -> Result<Vocabulary> {
    let path = folder.join(&entry.file);
    let file = open_regular(&path).map_err(Error::io("cannot read", &path))?;
    // Before it is read: a file of another length may have any.
    check_length(&file, &path, entry.bytes)?;
    let mut bytes = Vec::new();
    let read = (&file).read_to_end(&mut bytes);
    read.map_err(Error::io("cannot read", &path))?;
    if xxh3_hex(&bytes) != entry.xxh3 {
        return Err(Error::Packed(PackedError::Altered {
            path,
            part: "the file",
        }));
    }
    let Some(vocabulary) = Vocabulary::from_bytes(&bytes) else {
        return Err(Error::Packed(PackedError::Altered {
            path,
            part: "a tensor's shape",
        }));
    };
    vocabulary.check(column)?;
    Ok(vocabulary)
}

/// One split of a [`PackedDataset`]. Cheap to clone; reading copies samples out of the memory map and allocates nothing
/// once the batch has its size.
#[derive(Debug, Clone)]
pub struct PackedSplit {
    contents: Arc<Contents>,
    split: Split,
}

impl PackedSplit {
    /// Which split this is.
    pub fn split(&self) -> Split {
        self.split
    }

    /// The shard that holds a sample of this split.
    fn shard_of(&self, sample: u64) -> Result<&Shard> {
        let shards = &self.contents.shards[self.split as usize];
        let after = shards.partition_point(|shard| shard.first_sample() <= sample);
        let shard = after.checked_sub(1).map(|at| &shards[at]);
        let shard = shard.filter(|shard| sample - shard.first_sample() < shard.rows());
        shard.ok_or(Error::SampleOutOfRange {
            sample,
            len: self.len(),
        })
    }

    /// Calls `work` with every run of consecutive samples that lie in one shard, as rows of that
    /// shard. The first run of every shard finds out whether its file was truncated meanwhile.
    fn for_each_run(
        &self,
        samples: &[u64],
        mut work: impl FnMut(&Shard, Range<u64>) -> Result<()>,
    ) -> Result<()> {
        let mut rest = samples;
        let reading = self.contents.access[self.split as usize].begin();
        while let Some(run) = leading_run(rest) {
            let shard = self.shard_of(run.start)?;
            let first = shard.first_sample();
            let rows = run.start - first..(run.end - first).min(shard.rows());
            rest = &rest[(rows.end - rows.start) as usize..];
            shard.check_whole(reading)?;
            work(shard, rows)?;
        }
        Ok(())
    }
}

/// The longest run of consecutive samples at the start of a list.
fn leading_run(samples: &[u64]) -> Option<Range<u64>> {
    let first = *samples.first()?;
    let length = samples
        .iter()
        .zip(first..)
        .take_while(|(sample, expected)| *sample == expected)
        .count();
    Some(first..first.saturating_add(length as u64))
}

impl Dataset for PackedSplit {
    fn schema(&self) -> &Schema {
        &self.contents.manifest.schema
    }

    fn len(&self) -> u64 {
        self.contents.manifest.rows(self.split)
    }

    fn read(&self, samples: &[u64], into: &mut Batch) -> Result<()> {
        let schema = self.schema();
        into.clear();
        if schema.multi_hot {
            into.sparse.offsets.push(0);
        }
        let access = &self.contents.access[self.split as usize];
        access.read(|| self.for_each_run(samples, |shard, rows| shard.read(rows, schema, into)))
    }

    fn read_ahead(&self, samples: &[u64]) {
        let scattered = !samples.is_sorted();
        let access = &self.contents.access[self.split as usize];
        if access.turns(scattered) {
            for shard in &self.contents.shards[self.split as usize] {
                shard.advise(scattered);
            }
        }
        if scattered && access.asks() {
            // A sample that does not exist ends the list; reading it will say so.
            let _ = self.for_each_run(samples, |shard, rows| {
                shard.read_ahead(rows);
                Ok(())
            });
        }
    }

    fn visit_ids(
        &self,
        samples: &[u64],
        scratch: &mut Batch,
        visit: &mut dyn FnMut(IdBlock<'_>),
    ) -> Result<()> {
        let schema = self.schema();
        self.for_each_run(samples, |shard, rows| {
            shard.visit_ids(rows, schema, &mut scratch.sparse, visit)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

    use super::*;
    use crate::generate::{RandomData, RandomDataOptions};
    use crate::packed::manifest::Provenance;
    use crate::packed::writer::{PackedWriter, WriterOptions};
    use crate::split::SplitRows;

    #[test]
    fn asking_for_samples_changes_none_of_them() {
        for fixed_lookups in [false, true] {
            let random = RandomData::new(RandomDataOptions {
                samples: 1500,
                lookups: if fixed_lookups { 1 } else { 5 },
                fixed_lookups,
                ..RandomDataOptions::default()
            });
            let (random, folder) = (random.unwrap(), tempfile::tempdir().unwrap());
            let out = folder.path().join("data");
            let rows = SplitRows {
                train: 1500,
                ..SplitRows::default()
            };
            let options = WriterOptions {
                shard_rows: 700,
                ..WriterOptions::default()
            };
            let schema = random.schema().clone();
            let mut writer = PackedWriter::create(&out, schema, rows, options).unwrap();
            let mut batch = Batch::default();
            random
                .read(&(0..1500).collect::<Vec<_>>(), &mut batch)
                .unwrap();
            writer.append(Split::Train, &batch).unwrap();
            writer.finish(Provenance::default()).unwrap();
            let packed = PackedDataset::open(&out).unwrap().split(Split::Train);
            packed.contents.access[Split::Train as usize].waited();
            // Blocks that nobody checked, then checked ones; in order; beyond the end.
            let scattered = [1499, 3, 700, 699, 698, 699, 1400];
            for samples in [&scattered[..], &scattered, &[1, 2, 9], &[7, 1500, 2]] {
                packed.read_ahead(samples);
                let read = packed.read(samples, &mut batch);
                let mut expected = Batch::default();
                match random.read(samples, &mut expected) {
                    Ok(()) => assert!(read.is_ok() && batch == expected),
                    Err(_) => assert!(matches!(
                        read,
                        Err(Error::SampleOutOfRange { sample: 1500, .. })
                    )),
                }
            }
        }
    }
}
