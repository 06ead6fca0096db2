//! What a preparation is asked to do.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::rank_on::RankOn;
use crate::text::BadRows;

/// How raw categories become ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Numbering {
    /// By frequency, see [`RankOn`]: 0 is the most frequent category of its table, ties in order of
    /// first appearance. A missing value is a category of its own.
    #[default]
    Rank,
    /// As the original programs do: in order of first appearance, the rows of every split counted. A missing value is
    /// the category `00000000`.
    Reference,
}

impl Numbering {
    /// What ranks are counted over, where ids are ranks.
    pub(crate) fn ranks_on(self, rank_on: RankOn) -> Option<RankOn> {
        (self == Self::Rank).then_some(rank_on)
    }
}

/// Which training rows change places, once and for all, under [`SplitRule::ReferenceDays`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Randomize {
    /// None: file order.
    None,
    /// Each day is shuffled by itself.
    Day,
    /// All training rows are shuffled; the default of the original programs.
    #[default]
    Total,
}

/// Which rows train, validate and test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "rule")]
#[non_exhaustive]
pub enum SplitRule {
    /// The first 6/7 of the rows train, the first half of the rest validates, the second half tests; all in file order.
    ///
    /// With `q, r = divmod(rows, 7)` the rest is the last `q` rows, as in the original's division into seven days.
    #[default]
    TimeOrdered,
    /// The rule of the original programs: seven days, six of them train, the first half of the last *tests* and the second
    /// validates.
    ReferenceDays {
        /// Which training rows change places.
        randomize: Randomize,
        /// Seed of NumPy's legacy generator; the original trainers set 123, its separate preprocessing sets none.
        seed: u32,
    },
}

/// What to read, how to number and split it, and where to write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrepareOptions {
    /// Raw text, plain, `.gz` or `.zst`; several files are read in this order as if they were one.
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
    /// What becomes of lines that are no rows.
    pub bad_rows: BadRows,
    /// Which rows train, validate and test.
    pub split: SplitRule,
    /// Whether an output folder that holds something is replaced.
    pub force: bool,
    /// Most rows of one output file.
    pub shard_rows: u64,
}

impl Default for PrepareOptions {
    fn default() -> Self {
        Self {
            raw: Vec::new(),
            out: PathBuf::new(),
            ids: Numbering::default(),
            rank_on: RankOn::default(),
            max_ind_range: None,
            min_count: 0,
            bad_rows: BadRows::default(),
            split: SplitRule::default(),
            force: false,
            shard_rows: 1 << 21,
        }
    }
}

impl PrepareOptions {
    /// Checks what can be checked without the files.
    ///
    /// # Errors
    /// A value that has no meaning.
    pub(crate) fn validate(&self) -> Result<()> {
        let invalid = |option, value: String, allowed| {
            Err(Error::InvalidOption {
                option,
                value,
                allowed,
            })
        };
        if self.raw.is_empty() {
            return invalid("raw", "[]".to_owned(), "at least one raw file");
        }
        if self.out.as_os_str().is_empty() {
            return invalid(
                "out",
                "\"\"".to_owned(),
                "the folder of the packed data set",
            );
        }
        if self.max_ind_range == Some(0) {
            return invalid(
                "max_ind_range",
                "0".to_owned(),
                "1 or more, or nothing to keep all values",
            );
        }
        if self.shard_rows == 0 {
            return invalid("shard_rows", "0".to_owned(), "1 or more rows");
        }
        Ok(())
    }

    /// The options that decide about the output, for its provenance; neither paths nor what changes no byte.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "ids": self.ids,
            "rank_on": self.ids.ranks_on(self.rank_on),
            "max_ind_range": self.max_ind_range,
            "min_count": self.min_count,
            "bad_rows": self.bad_rows,
            "split": self.split,
            "shard_rows": self.shard_rows,
        })
    }
}
