//! The raw text of the Criteo click logs, and its way to a packed data set.
//!
//! A row is a line of 40 fields with one TAB between neighbours: the label (0 or 1), 13 integers, 26 categories in
//! hexadecimal. There is no header; an empty field is a missing value.

mod count_pass;
mod defect;
mod encode;
mod encode_report;
mod encode_rows;
mod error;
mod line_form;
mod number;
mod options;
mod parse;
mod permutation;
mod prepare;
mod report;
mod row_encoder;
mod split;
mod terabyte;
mod unseen;
mod write_pass;

pub use defect::{RowDefect, RowFieldDefect};
pub(crate) use encode::logarithm;
pub use encode_report::{EncodeReport, UnseenReport};
pub use encode_rows::{EncodeCriteo, EncodeOptions};
pub use error::Error;
pub use options::{Numbering, PrepareOptions, Randomize, SplitRule};
pub use parse::{RawRow, parse_row, parse_rows};
pub use prepare::PrepareCriteo;
pub use report::{PassReport, PrepareReport, SplitReport};
pub use row_encoder::{EncodedRow, RowEncoder};
pub use terabyte::{
    DayReport, DaySplit, PrepareTerabyte, Resumed, TerabyteOptions, TerabyteReport,
};
pub use unseen::{Unseen, UnseenCategory};

/// Dense features of a Criteo row, I1 to I13.
pub const DENSE_FEATURES: usize = 13;
/// Categorical features of a Criteo row, C1 to C26.
pub const TABLES: usize = 26;
/// Fields of a Criteo row.
pub(crate) const FIELDS: usize = 1 + DENSE_FEATURES + TABLES;

/// "label", "I1" to "I13", "C1" to "C26": the name of a field, counted from 0.
pub(crate) fn field_name(field: usize) -> String {
    match field {
        0 => "label".to_owned(),
        1..=DENSE_FEATURES => format!("I{field}"),
        _ => format!("C{}", field - DENSE_FEATURES),
    }
}
