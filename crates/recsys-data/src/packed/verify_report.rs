//! What a check of a packed data set found.

use serde::Serialize;

use super::SourceFile;
use crate::error::Error;
use crate::packed::error::Error as PackedError;
use crate::split::{Split, SplitRows};

/// Something wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Defect {
    /// What is wrong.
    pub problem: String,
    /// Tensor or column; `None` where the whole file is meant.
    pub column: Option<String>,
    /// Numbers of the first and the last affected sample of the split; `None` where it is not about samples.
    pub samples: Option<(u64, u64)>,
}

impl Defect {
    /// A defect of a whole file.
    pub(super) fn of_file(problem: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            column: None,
            samples: None,
        }
    }

    /// What an error says, without the file and the remedy, which the report names once.
    pub(super) fn of_error(error: &Error) -> Self {
        let (problem, column, samples) = match error {
            Error::Packed(PackedError::DamagedBlock {
                tensor,
                first,
                last,
                ..
            }) => (
                "does not match its checksum".to_owned(),
                Some((*tensor).to_owned()),
                Some((*first, *last)),
            ),
            Error::Packed(PackedError::BadValue {
                sample,
                column,
                value,
                allowed,
                ..
            }) => (
                format!("{value} is not allowed ({allowed})"),
                Some(column.clone()),
                Some((*sample, *sample)),
            ),
            Error::Packed(PackedError::FileSize {
                expected, found, ..
            }) => (
                format!("{found} bytes instead of {expected}: it was truncated or replaced"),
                None,
                None,
            ),
            Error::Packed(PackedError::WrongShard {
                expected, found, ..
            }) => (
                format!("it holds {found} instead of {expected}: files were swapped"),
                None,
                None,
            ),
            Error::Packed(PackedError::Altered { part, .. }) => {
                (format!("{part} does not match its checksum"), None, None)
            }
            Error::Packed(PackedError::Manifest { source, .. }) => {
                (format!("no manifest: {source}"), None, None)
            }
            Error::Io { action, source, .. } => (format!("{action}: {source}"), None, None),
            other => (other.to_string(), None, None),
        };
        Self {
            problem,
            column,
            samples,
        }
    }

    /// Takes in a defect of the same kind right behind this one; `false` where it is another.
    fn extend(&mut self, next: &Self) -> bool {
        let (Some((_, last)), Some((first, end))) = (&mut self.samples, next.samples) else {
            return false;
        };
        if last.checked_add(1) != Some(first)
            || self.column != next.column
            || self.problem != next.problem
        {
            return false;
        }
        *last = end;
        true
    }
}

/// What a file of a data set is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "content")]
pub enum FileContent {
    /// `dataset.json`.
    Manifest,
    /// Samples.
    Shard {
        /// The split that they belong to.
        split: Split,
        /// How many.
        samples: u64,
        /// Those with label 1; 0 where the file cannot be read.
        positives: u64,
    },
    /// The raw categories of a table.
    Vocabulary {
        /// The table.
        table: String,
        /// Its rows.
        rows: u64,
    },
}

/// What was found in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FileReport {
    /// Name in the data set's folder.
    pub file: String,
    /// What it is for.
    #[serde(flatten)]
    pub content: FileContent,
    /// Size on disk; 0 where there is no such file.
    pub bytes: u64,
    /// Defects in the order of the samples; neighbouring blocks of one tensor are one.
    pub defects: Vec<Defect>,
    /// Defects that were found beyond those listed.
    pub more: u64,
}

impl FileReport {
    pub(super) fn new(file: &str, content: FileContent, bytes: u64) -> Self {
        Self {
            file: file.to_owned(),
            content,
            bytes,
            defects: Vec::new(),
            more: 0,
        }
    }

    /// Whether nothing is wrong with the file.
    pub fn is_sound(&self) -> bool {
        self.defects.is_empty()
    }

    /// Adds a defect, unless `most` are listed already.
    pub(super) fn add(&mut self, defect: Defect, most: usize) {
        // Tensors are damaged side by side, so the one to extend need not be the last of the list.
        let tail = self.defects.iter_mut().rev().take(8);
        for before in tail {
            if before.extend(&defect) {
                return;
            }
        }
        if self.defects.len() < most {
            self.defects.push(defect);
        } else {
            self.more += 1;
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct VerifyReport {
    /// What the data set is called in its manifest; empty where that cannot be read.
    pub dataset: String,
    /// Samples of every split, by the manifest.
    pub rows: SplitRows,
    /// Every file of the manifest and the manifest itself.
    pub files: Vec<FileReport>,
    /// Files in the folder that the manifest does not know. They are never read.
    pub unlisted: Vec<String>,
    /// The raw files of which the data set can be made anew.
    pub sources: Vec<SourceFile>,
    /// Bytes of the files that were compared.
    pub bytes: u64,
    /// Time taken, in seconds.
    pub seconds: f64,
}

impl VerifyReport {
    /// Whether there is no defect. Files that the manifest does not know are none.
    pub fn is_sound(&self) -> bool {
        self.files.iter().all(FileReport::is_sound)
    }

    /// Number of defects, those that are not listed counted.
    pub fn defects(&self) -> u64 {
        let of_file = |file: &FileReport| file.defects.len() as u64 + file.more;
        self.files.iter().map(of_file).sum()
    }

    /// Bytes compared in a second.
    pub fn bytes_per_second(&self) -> f64 {
        self.bytes as f64 / self.seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(tensor: &str, first: u64, last: u64) -> Defect {
        Defect {
            problem: "does not match its checksum".into(),
            column: Some(tensor.into()),
            samples: Some((first, last)),
        }
    }

    #[test]
    fn neighbouring_blocks_are_one_defect_and_the_list_is_bounded() {
        let mut file = FileReport::new("a", FileContent::Manifest, 0);
        for first in [0, 512, 1024, 4096] {
            file.add(block("label", first, first + 511), 3);
            file.add(block("ids", first, first + 511), 3);
        }
        assert_eq!(
            file.defects,
            [
                block("label", 0, 1535),
                block("ids", 0, 1535),
                block("label", 4096, 4607)
            ]
        );
        assert_eq!(file.more, 1);
    }
}
