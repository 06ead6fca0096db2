//! `dataset.json`: what is in a packed data set and where it came from.

use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::source_file::SourceFile;
use super::{FORMAT, FORMAT_VERSION, MANIFEST_FILE, xxh3_hex};
use crate::error::{Error, Result};
use crate::input_file::read_regular;
use crate::packed::error::Error as PackedError;
use crate::schema::Schema;
use crate::split::Split;

/// Where a data set came from. Holds no time and no path, so that the same input gives the same bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Name of the data set, for instance "criteo-kaggle".
    pub dataset: String,
    /// The raw files, in the order in which they were read.
    pub sources: Vec<SourceFile>,
    /// The options that the samples depend on.
    pub options: Value,
    /// What the preparation counted: categories, skipped rows and the like.
    pub report: Value,
}

impl Provenance {
    /// The options of the preparation that read the raw files: those of the data set that this one
    /// was made of, where it was.
    pub fn first_options(&self) -> &Value {
        let mut options = &self.options;
        while options["of"].is_object() {
            options = &options["of"];
        }
        options
    }
}

/// A shard in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ShardFile {
    /// File name in the data set's folder.
    pub file: String,
    /// Number of samples.
    pub rows: u64,
    /// Size of the file.
    pub bytes: u64,
    /// xxh3 of the header, its length field included.
    pub header_xxh3: String,
    /// xxh3 of the tensor `checksums`, which in turn covers every other tensor.
    pub checksums_xxh3: String,
}

/// The shards of one split, in sample order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SplitFiles {
    /// Number of samples.
    pub rows: u64,
    /// The shards; none where the split is empty.
    pub shards: Vec<ShardFile>,
}

/// The shards of every split.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Splits {
    /// [`Split::Train`].
    pub train: SplitFiles,
    /// [`Split::Validation`].
    pub validation: SplitFiles,
    /// [`Split::Test`].
    pub test: SplitFiles,
}

impl Splits {
    /// The shards of one split.
    pub fn of(&self, split: Split) -> &SplitFiles {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
            Split::Test => &self.test,
        }
    }

    pub(crate) fn of_mut(&mut self, split: Split) -> &mut SplitFiles {
        match split {
            Split::Train => &mut self.train,
            Split::Validation => &mut self.validation,
            Split::Test => &mut self.test,
        }
    }
}

/// A vocabulary in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VocabularyFile {
    /// Name of the table's column.
    pub table: String,
    /// File name, relative to the data set's folder.
    pub file: String,
    /// Size of the file.
    pub bytes: u64,
    /// xxh3 of the whole file.
    pub xxh3: String,
}

/// The contents of `dataset.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Manifest {
    /// Always "recsys-packed".
    pub format: String,
    /// Version of the format; this release reads and writes version 1.
    pub format_version: u64,
    /// Version of the release that wrote the data set.
    pub tool_version: String,
    /// The columns.
    pub schema: Schema,
    /// Samples and shards of every split.
    pub splits: Splits,
    /// Vocabularies, in table order; tables without one are left out.
    pub vocabulary: Vec<VocabularyFile>,
    /// Where the samples came from.
    pub provenance: Provenance,
}

/// What comes after the checksum, the last value of the file.
const END: &str = "\"\n}\n";
/// What comes before it.
const CHECKSUM_KEY: &str = ",\n  \"xxh3\": \"";

impl Manifest {
    pub(super) fn new(
        schema: Schema,
        splits: Splits,
        vocabulary: Vec<VocabularyFile>,
        provenance: Provenance,
    ) -> Self {
        Self {
            format: FORMAT.into(),
            format_version: FORMAT_VERSION,
            tool_version: env!("CARGO_PKG_VERSION").into(),
            schema,
            splits,
            vocabulary,
            provenance,
        }
    }

    /// The text of `dataset.json`. Its last field is the xxh3 of all bytes before that field's value.
    pub(super) fn to_text(&self) -> std::result::Result<String, serde_json::Error> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.truncate(text.trim_end_matches('}').trim_end().len());
        text.push_str(CHECKSUM_KEY);
        text.push_str(&xxh3_hex(text.as_bytes()));
        text.push_str(END);
        Ok(text)
    }

    /// Reads `dataset.json` of a folder.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(MANIFEST_FILE);
        let bytes = match read_regular(&path) {
            Ok(bytes) => bytes,
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
                let exists = folder.is_dir();
                return Err(Error::Packed(PackedError::NotPacked {
                    path: folder.into(),
                    reason: if exists {
                        "it holds no dataset.json"
                    } else {
                        "there is no such folder"
                    },
                }));
            }
            Err(source) => {
                return Err(Error::Io {
                    action: "cannot read",
                    path,
                    source,
                });
            }
        };
        let value: Value = serde_json::from_slice(&bytes).map_err(|source| {
            Error::Packed(PackedError::Manifest {
                path: path.clone(),
                source,
            })
        })?;
        if value["format"] != FORMAT {
            return Err(Error::Packed(PackedError::NotPacked {
                path: folder.into(),
                reason: "its dataset.json is of another format",
            }));
        }
        let found = &value["format_version"];
        if found != FORMAT_VERSION {
            return Err(Error::Packed(PackedError::FormatVersion {
                path,
                found: found.to_string(),
                supported: FORMAT_VERSION,
            }));
        }
        let checked = bytes
            .strip_suffix(END.as_bytes())
            .and_then(|text| text.split_last_chunk::<16>());
        if checked.is_none_or(|(text, found)| xxh3_hex(text).as_bytes() != found) {
            return Err(Error::Packed(PackedError::Altered {
                path,
                part: "the file",
            }));
        }
        let manifest: Self = serde_json::from_value(value).map_err(|source| {
            Error::Packed(PackedError::Manifest {
                path: path.clone(),
                source,
            })
        })?;
        if !manifest.adds_up() {
            return Err(Error::Packed(PackedError::Altered {
                path,
                part: "the number of rows",
            }));
        }
        if let Some(name) = manifest.outside() {
            let name = name.to_owned();
            return Err(Error::Packed(PackedError::Outside { path, name }));
        }
        Ok(manifest)
    }

    /// A file that would lie outside of the folder.
    pub(super) fn outside(&self) -> Option<&str> {
        let is_inside = |name: &&str| {
            let mut parts = Path::new(name).components().peekable();
            parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
        };
        self.file_names().find(|name| !is_inside(name))
    }

    /// The other files of the data set, relative to its folder.
    pub(super) fn file_names(&self) -> impl Iterator<Item = &str> {
        let shards = Split::ALL.map(|split| &self.splits.of(split).shards);
        let shards = shards.into_iter().flatten().map(|shard| &shard.file);
        let files = shards.chain(self.vocabulary.iter().map(|entry| &entry.file));
        files.map(String::as_str)
    }

    /// The checksum of a folder's manifest, which in turn covers everything else: the identity of the data set.
    pub(super) fn read_checksum(folder: &Path) -> Result<String> {
        let path = folder.join(MANIFEST_FILE);
        let bytes = read_regular(&path).map_err(Error::io("cannot read", &path))?;
        let checked = bytes
            .strip_suffix(END.as_bytes())
            .and_then(|text| text.split_last_chunk::<16>());
        let checked = checked.filter(|(text, found)| xxh3_hex(text).as_bytes() == *found);
        let Some((_, checksum)) = checked else {
            return Err(Error::Packed(PackedError::Altered {
                path,
                part: "the file",
            }));
        };
        Ok(String::from_utf8_lossy(checksum).into_owned())
    }

    /// Whether the samples of every split are those of its shards.
    pub(super) fn adds_up(&self) -> bool {
        Split::ALL.into_iter().all(|split| {
            let files = self.splits.of(split);
            let sum = files
                .shards
                .iter()
                .try_fold(0u64, |sum, shard| sum.checked_add(shard.rows));
            sum == Some(files.rows)
        })
    }

    /// Whether the samples have labels; where they have none, those in the shards say nothing.
    pub fn has_labels(&self) -> bool {
        self.provenance.options["labels"] != Value::Bool(false)
    }

    /// Number of samples of a split.
    pub fn rows(&self, split: Split) -> u64 {
        self.splits.of(split).rows
    }
}
