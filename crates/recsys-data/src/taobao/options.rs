//! What a preparation of events is asked to do.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::rank_on::RankOn;
use crate::text::BadRows;

/// By which rules samples are made of a user's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum SequenceRules {
    /// Every window gives a positive sample, whose candidate is the event after the history, and a negative one with the same
    /// history, whose candidate is an item that the user never touched.
    #[default]
    Windows,
    /// Those of the original programs: a sequence of the last 200 events for each user, windows drawn from it, test users by the
    /// time of their last event. Its random draws are replaced by seeded ones.
    Reference,
}

/// How samples are divided; always so that no sample is in two parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SequenceSplit {
    /// The last windows of every user test, those before them validate, the others train.
    #[default]
    WithinUser,
    /// Some users test, some validate, the others train.
    User,
    /// Windows whose candidate came after a point in time, the same for all users.
    Time,
}

/// How many windows a user gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PointsPerUser {
    /// All, where all users together have at most [`PointsPerUser::AUTO`] windows, and else at most 10, as in the original.
    #[default]
    Auto,
    /// All.
    All,
    /// At most this many, drawn with the seed.
    Most(u32),
}

impl PointsPerUser {
    /// The most windows up to which [`PointsPerUser::Auto`] takes all.
    pub const AUTO: u64 = 1 << 20;
    /// Windows of a user beyond that; the original's `--points-per-user`.
    pub(crate) const REFERENCE: u32 = 10;
}

/// What becomes of users with less events than a history and a candidate need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ShortHistory {
    /// Windows with a whole history only.
    #[default]
    Skip,
    /// Every event after the first is a candidate; what its history lacks is filled from the left with padding, id 0 of the
    /// tables of items and categories.
    Pad,
}

/// What becomes of events outside the days that the data are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum OutOfRange {
    /// They are counted and kept.
    #[default]
    Keep,
    /// They are bad rows.
    Bad,
}

/// What becomes of an event that occurred before: the same user, item, behaviour and second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Duplicates {
    /// They are counted and kept.
    #[default]
    Keep,
    /// They are bad rows.
    Bad,
}

/// What to read, how to make samples of it, and where to write them.
#[derive(Debug, Clone, PartialEq)]
pub struct PrepareOptions {
    /// Raw text, plain, `.gz`, `.zst` or a `.zip` with one file; several files are read in this order as if they were one.
    pub raw: Vec<PathBuf>,
    /// Folder of the packed data set.
    pub out: PathBuf,
    /// Over which samples ids are ranked: the positions of all training samples are counted, which
    /// takes a pass of its own, or the events of the files.
    pub rank_on: RankOn,
    /// By which rules samples are made.
    pub rules: SequenceRules,
    /// Events of a history; a sample has one position more. The rules of the original have 20.
    pub history: u32,
    /// How many windows a user gives.
    pub points_per_user: PointsPerUser,
    /// How samples are divided.
    pub split: SequenceSplit,
    /// Share of validation.
    pub validation: f64,
    /// Share of the test.
    pub test: f64,
    /// What becomes of short histories.
    pub short_history: ShortHistory,
    /// What becomes of lines that are no events.
    pub bad_rows: BadRows,
    /// What becomes of events outside `from..until`.
    pub out_of_range: OutOfRange,
    /// First second that the data are of; 25 November 2017 in China.
    pub from: i32,
    /// The second after the last one; 4 December 2017 in China.
    pub until: i32,
    /// What becomes of events that occur twice.
    pub duplicates: Duplicates,
    /// With the rules of the original: most users that train; its script reads 690,000.
    pub train_users: u64,
    /// Seed of all draws.
    pub seed: u64,
    /// Bytes of events that may be held in memory; more go to temporary files beside the output.
    pub memory: u64,
    /// Whether an output folder that holds something is replaced.
    pub force: bool,
    /// Most samples of one output file.
    pub shard_rows: u64,
}

impl Default for PrepareOptions {
    fn default() -> Self {
        Self {
            raw: Vec::new(),
            out: PathBuf::new(),
            rank_on: RankOn::default(),
            rules: SequenceRules::default(),
            history: 20,
            points_per_user: PointsPerUser::default(),
            split: SequenceSplit::default(),
            validation: 0.0,
            test: 0.2,
            short_history: ShortHistory::default(),
            bad_rows: BadRows::default(),
            out_of_range: OutOfRange::default(),
            from: 1_511_539_200,
            until: 1_512_316_800,
            duplicates: Duplicates::default(),
            train_users: 690_000,
            seed: 0,
            memory: 2 << 30,
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
        let reference = self.rules == SequenceRules::Reference;
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
        if !(1..=1000).contains(&self.history) {
            return invalid("ts_length", self.history.to_string(), "1 to 1000 events");
        }
        if reference && self.history != 20 {
            return invalid(
                "ts_length",
                self.history.to_string(),
                "20, under the rules of the original",
            );
        }
        if self.points_per_user == PointsPerUser::Most(0) {
            return invalid(
                "points_per_user",
                "0".to_owned(),
                "1 or more windows, or all",
            );
        }
        if reference && self.points_per_user == PointsPerUser::All {
            return invalid(
                "points_per_user",
                "all".to_owned(),
                "a number, under the rules of the original",
            );
        }
        if reference && self.split != SequenceSplit::default() {
            return invalid(
                "split",
                format!("{:?}", self.split),
                "the default, under the rules of the original, which say who tests",
            );
        }
        let share = |share: f64| (0.0..1.0).contains(&share);
        if !share(self.validation) {
            return invalid("validation", self.validation.to_string(), "0 to below 1");
        }
        if !share(self.test) {
            return invalid("test", self.test.to_string(), "0 to below 1");
        }
        if !share(self.validation + self.test) {
            return invalid(
                "validation and test",
                (self.validation + self.test).to_string(),
                "together below 1",
            );
        }
        if self.from >= self.until {
            return invalid(
                "from",
                self.from.to_string(),
                "a second before the end of the range",
            );
        }
        if self.train_users == 0 {
            return invalid("train_users", "0".to_owned(), "1 or more users");
        }
        if self.memory < 1 << 20 {
            return invalid("memory", self.memory.to_string(), "1 MiB or more");
        }
        if self.shard_rows == 0 {
            return invalid("shard_rows", "0".to_owned(), "1 or more samples");
        }
        Ok(())
    }

    /// Positions of a sample.
    pub(crate) fn positions(&self) -> usize {
        self.history as usize + 1
    }

    /// Whether samples may hold padding.
    pub(crate) fn pads(&self) -> bool {
        self.rules == SequenceRules::Reference || self.short_history == ShortHistory::Pad
    }

    /// The options that decide about the output, for its provenance; neither paths nor what changes no byte.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "rank_on": self.rank_on,
            "rules": self.rules,
            "history": self.history,
            "points_per_user": self.points_per_user,
            "split": self.split,
            "validation": self.validation,
            "test": self.test,
            "short_history": self.short_history,
            "bad_rows": self.bad_rows,
            "out_of_range": self.out_of_range,
            "from": self.from,
            "until": self.until,
            "duplicates": self.duplicates,
            "train_users": self.train_users,
            "seed": self.seed,
            "shard_rows": self.shard_rows,
        })
    }
}
