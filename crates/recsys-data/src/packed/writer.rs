//! Writing a packed data set.

use std::collections::HashSet;
use std::path::Path;

use super::manifest::{Manifest, Provenance, Splits, VocabularyFile};
use super::output_folder::{OutputFolder, sync_folder};
use super::output_lock::OutputLock;
use super::shard_files::{ShardFiles, write_file};
use super::split_writer::SplitWriter;
use super::{MANIFEST_FILE, VOCABULARY_FOLDER, disk_space, xxh3_hex};
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::packed::error::Error as PackedError;
use crate::schema::Schema;
use crate::split::{Split, SplitRows};
use crate::vocabulary::Vocabulary;

/// How to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriterOptions {
    /// Replace a packed data set that lies at the target, once the new one is complete.
    pub force: bool,
    /// Samples per shard; the last shard of a split takes the rest.
    pub shard_rows: u64,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            force: false,
            shard_rows: 1 << 21,
        }
    }
}

/// Writes a packed data set into a temporary folder beside its target and gives it its name when it is complete.
///
/// Memory is O(one block of 512 samples) while appending; [`PackedWriter::scatter`] adds one bit per sample. Dropping the
/// writer without [`PackedWriter::finish`] removes what it wrote; what a killed process left is removed by the next writer
/// for the same target. After an error nothing more can be written.
#[derive(Debug)]
pub struct PackedWriter {
    folder: OutputFolder,
    files: ShardFiles,
    schema: Schema,
    splits: [SplitWriter; 3],
    vocabulary: Vec<(usize, VocabularyFile)>,
    failed: bool,
}

impl PackedWriter {
    /// Makes the temporary folder `.NAME.partial-PID` and reserves the disk space for `rows` samples.
    ///
    /// # Errors
    /// A target that holds files (with `force`: files other than a packed data set's) or that another writer works on, too little
    /// disk space, or a schema whose column names are not unique or not fit for file names.
    pub fn create(
        out: &Path,
        schema: Schema,
        rows: SplitRows,
        options: WriterOptions,
    ) -> Result<Self> {
        Self::create_locked(OutputLock::take(out)?, schema, rows, options)
    }

    /// As [`PackedWriter::create`], for a target whose lock was taken before.
    pub(crate) fn create_locked(
        lock: OutputLock,
        schema: Schema,
        rows: SplitRows,
        options: WriterOptions,
    ) -> Result<Self> {
        check_schema(&schema)?;
        let WriterOptions { force, shard_rows } = options;
        if shard_rows == 0 {
            let allowed = "at least one sample per shard";
            return Err(Error::InvalidOption {
                option: "shard rows",
                value: "0".into(),
                allowed,
            });
        }
        let folder = OutputFolder::create(lock, force)?;
        let needed = Split::ALL.iter().fold(0u64, |sum, &split| {
            sum.saturating_add(SplitWriter::needed(
                &schema,
                split,
                rows.of(split),
                shard_rows,
            ))
        });
        let available = disk_space::available(folder.path());
        if available.is_some_and(|available| available < needed) {
            let source = std::io::ErrorKind::StorageFull.into();
            return Err(Error::NoSpace {
                path: folder.target().into(),
                needed,
                available,
                source,
            });
        }
        let mut files = ShardFiles::new(folder.path());
        let mut split = |split| {
            SplitWriter::create(
                &mut files,
                &schema,
                split,
                rows.of(split),
                shard_rows,
                needed,
            )
        };
        let splits = [
            split(Split::Train)?,
            split(Split::Validation)?,
            split(Split::Test)?,
        ];
        Ok(Self {
            folder,
            files,
            schema,
            splits,
            vocabulary: Vec::new(),
            failed: false,
        })
    }

    /// The columns.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Adds samples to a split, behind those that came before.
    ///
    /// # Errors
    /// More samples than announced, a batch of another shape, an id beyond its table, a label outside 0 to 1, a dense value
    /// that is no finite number, or a failing write.
    pub fn append(&mut self, split: Split, batch: &Batch) -> Result<()> {
        self.check_usable()?;
        let Self {
            folder,
            files,
            schema,
            splits,
            ..
        } = self;
        let result = splits[split as usize].append(files, schema, batch, folder.target());
        self.failed = result.is_err();
        result
    }

    /// Puts sample `i` of the batch into row `positions[i]` of a split. Every row must come exactly once, in any order. Only for
    /// single-hot data, and not together with [`PackedWriter::append`] in the same split.
    ///
    /// # Errors
    /// As [`PackedWriter::append`]; a row beyond the split, or one that came before.
    pub fn scatter(&mut self, split: Split, positions: &[u64], batch: &Batch) -> Result<()> {
        self.check_usable()?;
        let Self {
            folder,
            files,
            schema,
            splits,
            ..
        } = self;
        let result =
            splits[split as usize].scatter(files, schema, positions, batch, folder.target());
        self.failed = result.is_err();
        result
    }

    /// Writes the vocabulary of a table, by its place in the schema.
    ///
    /// # Errors
    /// A vocabulary that does not have one category for every row of its table, a table written before, or a failing write.
    pub fn write_vocabulary(&mut self, table: usize, vocabulary: &Vocabulary) -> Result<()> {
        let Some(column) = self.schema.tables.get(table) else {
            let allowed = "the place of a table in the schema";
            return Err(Error::InvalidOption {
                option: "table of the vocabulary",
                value: table.to_string(),
                allowed,
            });
        };
        vocabulary.check(column)?;
        let folder = self.folder.path().join(VOCABULARY_FOLDER);
        std::fs::create_dir_all(&folder).map_err(Error::io("cannot create", &folder))?;
        let file = format!("{VOCABULARY_FOLDER}/{}.safetensors", column.name);
        let bytes = vocabulary.to_bytes();
        write_file(&self.folder.path().join(&file), &bytes)?;
        let (size, xxh3) = (bytes.len() as u64, xxh3_hex(&bytes));
        self.vocabulary.push((
            table,
            VocabularyFile {
                table: column.name.clone(),
                file,
                bytes: size,
                xxh3,
            },
        ));
        Ok(())
    }

    /// Completes the files, makes them durable, writes the manifest and gives the folder its name.
    ///
    /// # Errors
    /// Fewer samples than announced, or a failing write; then the target is as it was before.
    pub fn finish(self, provenance: Provenance) -> Result<Manifest> {
        self.check_usable()?;
        let Self {
            folder,
            mut files,
            schema,
            splits,
            mut vocabulary,
            ..
        } = self;
        let mut done = Splits::default();
        for (split, writer) in Split::ALL.into_iter().zip(splits) {
            *done.of_mut(split) = writer.finish(&mut files)?;
        }
        if !vocabulary.is_empty() {
            sync_folder(&folder.path().join(VOCABULARY_FOLDER))?;
        }
        vocabulary.sort_by_key(|(table, _)| *table);
        let vocabulary = vocabulary.into_iter().map(|(_, file)| file).collect();
        let manifest = write_manifest(folder.path(), schema, done, vocabulary, provenance)?;
        folder.publish()?;
        Ok(manifest)
    }

    fn check_usable(&self) -> Result<()> {
        if self.failed {
            Err(Error::Packed(PackedError::WriterFailed {
                path: self.folder.target().into(),
            }))
        } else {
            Ok(())
        }
    }
}

/// Writes the manifest of a complete data set into its folder.
pub(crate) fn write_manifest(
    folder: &Path,
    schema: Schema,
    splits: Splits,
    vocabulary: Vec<VocabularyFile>,
    provenance: Provenance,
) -> Result<Manifest> {
    let manifest = Manifest::new(schema, splits, vocabulary, provenance);
    let path = folder.join(MANIFEST_FILE);
    let text = manifest.to_text().map_err(|source| {
        Error::Packed(PackedError::Manifest {
            path: path.clone(),
            source,
        })
    })?;
    write_file(&path, text.as_bytes())?;
    Ok(manifest)
}

/// Column names must be unique, and names of tables are file names as well.
fn check_schema(schema: &Schema) -> Result<()> {
    let mut seen = HashSet::new();
    let tables = schema.tables.iter().map(|table| (&table.name, true));
    for (name, is_table) in schema.dense.iter().map(|name| (name, false)).chain(tables) {
        let fit = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        let problem = if name.is_empty() {
            "is empty"
        } else if !seen.insert(name) {
            "is used twice"
        } else if is_table && (name.starts_with('.') || name.len() > 200 || !name.chars().all(fit))
        {
            "is not fit for a file name: use letters, digits, '_', '-' and '.'"
        } else {
            continue;
        };
        return Err(Error::Packed(PackedError::ColumnName {
            name: name.clone(),
            problem,
        }));
    }
    Ok(())
}
