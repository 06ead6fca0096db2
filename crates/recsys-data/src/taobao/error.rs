//! The errors of preparing events of users.

use std::path::PathBuf;

use super::{EventDefect, PrepareReport, SequenceDefect};

/// What can go wrong with preparing events of users.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A line of a raw file is no event.
    #[error("{path}, line {line}: {defect}; {}", defect.remedy(), path = path.display())]
    BadEvent {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        defect: EventDefect,
    },
    /// A line of the original's text is no sequence.
    #[error("{path}, line {line}: {defect}; such files are written by the original's taobao_prepare.py: restore the file", path = path.display())]
    BadSequence {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        defect: SequenceDefect,
    },
    /// An event occurs twice, and that is not allowed.
    #[error(
        "event {event} occurs twice: mend the files, keep such events with `Duplicates::Keep`, or leave them out with `BadRows::Skip`"
    )]
    DuplicateEvent {
        /// The event as a line of the raw file.
        event: String,
    },
    /// A user touched every item, so that no item is left for a negative sample.
    #[error(
        "user {user} touched all {items} items, so that there is no negative candidate: leave that user out, or add events of other users"
    )]
    NoNegative {
        /// The user as written in the raw files.
        user: u32,
        /// Distinct items of the data.
        items: u64,
    },
    /// No user has enough events for a sample.
    #[error(
        "no sample can be made: none of the {users} users has the {needed} events that one needs; pad short histories with \
         `ShortHistory::Pad`, or choose a smaller `history`",
        users = report.users
    )]
    NoWindows {
        /// Events that a user must have.
        needed: u64,
        /// What was counted.
        report: Box<PrepareReport>,
    },
    /// A table of events has more entries than there are numbers for them.
    #[error("the events have more than {most} different values of {table}: prepare them in parts")]
    TooManyDistinct {
        /// The column.
        table: &'static str,
        /// Most values.
        most: u64,
    },
}
