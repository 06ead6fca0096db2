//! The event log of Taobao users, and its way to a packed data set of behaviour sequences.
//!
//! An event is a line of five fields with a comma between neighbours: user, item, category, behaviour (`pv`, `cart`, `fav` or
//! `buy`), Unix time in seconds. There is no header. A sample is a window of a user's events in the order of time: a history,
//! then a candidate that followed it (label 1) or an item that the user never touched (label 0).

mod behaviour;
mod count_pass;
mod defect;
mod division;
mod encode;
mod error;
mod foreign_sequences;
mod history;
mod import;
mod npz;
mod options;
mod parse;
mod prepare;
mod reference;
mod report;
mod rules;
mod sequence_defect;
mod sequence_text;
mod store;
mod windows;
mod write_pass;

pub use behaviour::Behaviour;
pub use defect::{EventDefect, EventFieldDefect};
pub use error::Error;
pub use import::{ImportOptions, ImportReport, ImportTaobao, SequenceIds};
pub use options::{
    Duplicates, OutOfRange, PointsPerUser, PrepareOptions, SequenceRules, SequenceSplit,
    ShortHistory,
};
pub use parse::{RawEvent, parse_event, parse_events};
pub use prepare::PrepareTaobao;
pub use report::{PrepareReport, Spread};
pub use sequence_defect::SequenceDefect;

use crate::schema::Schema;

/// Fields of an event.
pub(crate) const FIELDS: [&str; 5] = ["user", "item", "category", "behaviour", "time"];
/// The categorical columns of a sample, in order.
pub(crate) const TABLES: [&str; 3] = ["user", "item", "category"];

/// The columns of a data set of sequences of `positions` positions; `rows` of the tables in order.
pub(crate) fn schema(positions: u32, rows: [u64; 3]) -> Schema {
    let table = |(name, rows): (&str, u64)| crate::schema::TableSchema {
        name: name.to_owned(),
        rows,
    };
    Schema {
        dense: vec!["position".to_owned()],
        tables: TABLES.into_iter().zip(rows).map(table).collect(),
        multi_hot: false,
        sequence_length: std::num::NonZeroU32::new(positions),
    }
}

/// The dense feature of every position: its number over the number of positions.
pub(crate) fn positions(count: usize) -> Vec<f32> {
    (0..count)
        .map(|place| place as f32 / count as f32)
        .collect()
}
