//! What a preparation by days is asked to do.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::criteo::error::Error as CriteoError;
use crate::criteo::options::Numbering;
use crate::error::{Error, Result};
use crate::rank_on::RankOn;
use crate::text::BadRows;

/// Which rows of the last day validate and which test; all days before it train.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DaySplit {
    /// The first half validates, the second tests.
    #[default]
    TimeOrdered,
    /// The first half tests, the second validates, as in the original programs.
    Reference,
}

/// What to read, how to number and split it, where to write it, and in how much memory.
#[derive(Debug, Clone, PartialEq)]
pub struct TerabyteOptions {
    /// Raw text, plain, `.gz`, `.zst` or `.zip`: one file a day, in the order of time.
    pub raw: Vec<PathBuf>,
    /// Folder of the packed data set.
    pub out: PathBuf,
    /// How raw categories become ids.
    pub ids: Numbering,
    /// Over which rows ranks are counted.
    pub rank_on: RankOn,
    /// Replaces every category by its value modulo this number before anything is counted.
    pub max_ind_range: Option<u64>,
    /// Categories that occur less often than this share one id in their table; 0 and 1 change nothing. The missing category
    /// keeps its own id.
    pub min_count: u64,
    /// Share of the rows with label 0 that is left out, of every day, in `[0, 1)`.
    pub sub_sample: f64,
    /// Seed of the choice of those rows.
    pub sub_sample_seed: u64,
    /// What becomes of lines that are no rows.
    pub bad_rows: BadRows,
    /// Which rows of the last day validate and which test.
    pub split: DaySplit,
    /// Most rows of one output file.
    pub shard_rows: u64,
    /// Bytes of memory to work in; changes no byte of the output.
    pub memory: u64,
    /// Whether an output folder that holds something is replaced.
    pub force: bool,
    /// Whether an interrupted preparation for the same output folder is discarded instead of continued.
    pub restart: bool,
}

impl Default for TerabyteOptions {
    fn default() -> Self {
        Self {
            raw: Vec::new(),
            out: PathBuf::new(),
            ids: Numbering::default(),
            rank_on: RankOn::default(),
            max_ind_range: None,
            min_count: 0,
            sub_sample: 0.0,
            sub_sample_seed: 0,
            bad_rows: BadRows::default(),
            split: DaySplit::default(),
            shard_rows: 1 << 21,
            memory: 4 << 30,
            force: false,
            restart: false,
        }
    }
}

impl TerabyteOptions {
    /// Checks what can be checked without the files.
    ///
    /// # Errors
    /// A value that has no meaning.
    pub(super) fn validate(&self) -> Result<()> {
        let invalid = |option, value: String, allowed| {
            Err(Error::InvalidOption {
                option,
                value,
                allowed,
            })
        };
        match &self.raw[..] {
            [] => return invalid("raw", "[]".to_owned(), "the raw files of two days or more"),
            [path] => return Err(Error::Criteo(CriteoError::OneDay { path: path.clone() })),
            _ => {}
        }
        if self.out.as_os_str().is_empty() {
            let allowed = "the folder of the packed data set";
            return invalid("out", "\"\"".to_owned(), allowed);
        }
        if self.max_ind_range == Some(0) {
            let allowed = "1 or more, or nothing to keep all values";
            return invalid("max_ind_range", "0".to_owned(), allowed);
        }
        if self.shard_rows == 0 {
            return invalid("shard_rows", "0".to_owned(), "1 or more rows");
        }
        if !(0.0..1.0).contains(&self.sub_sample) {
            let allowed = "a share from 0 to less than 1";
            return invalid("sub_sample", self.sub_sample.to_string(), allowed);
        }
        Ok(())
    }

    /// The options that decide about the output, for its provenance; neither paths nor what changes no byte.
    pub(super) fn to_json(&self) -> serde_json::Value {
        json!({
            "ids": self.ids,
            "rank_on": self.ids.ranks_on(self.rank_on),
            "max_ind_range": self.max_ind_range,
            "min_count": self.min_count,
            "sub_sample": self.sub_sample,
            "sub_sample_seed": self.sub_sample_seed,
            "bad_rows": self.bad_rows,
            "split": self.split,
            "shard_rows": self.shard_rows,
        })
    }
}

/// Sizes that tests make small, so that little data are cut as much data are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Rows of a block of columns.
    pub(super) block_rows: usize,
    /// Most slots of a table of counts, a power of two, whatever the memory.
    pub(super) count_slots: usize,
    /// Most categories of a partition.
    pub(super) partition: usize,
    /// Most bytes of dictionaries at a time, whatever the memory.
    pub(super) dictionary_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // No multiple of a cache's period, so that the columns of a row do not fall on one cache line.
            block_rows: 60_000,
            count_slots: usize::MAX,
            partition: 1 << 21,
            dictionary_bytes: u64::MAX,
        }
    }
}
