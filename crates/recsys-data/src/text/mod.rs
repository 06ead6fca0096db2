//! Raw text files: opened, cut into pieces at line ends, read in parallel, and what is said about lines that are no rows.

mod chunk;
mod error;
mod format;
mod input;
mod line_defect;
mod lines;
mod members;
mod order;
mod pipeline;
mod skip_log;
mod zip_entry;

pub(crate) use chunk::{Chunk, Chunks};
pub use error::Error;
pub(crate) use error::first_names;
pub(crate) use input::{
    Source, check_contents, check_output, folder_bytes, identity, stored_bytes,
};
pub use line_defect::{FieldDefect, LineDefect};
pub(crate) use lines::for_each_line;
pub use order::by_number;
pub(crate) use pipeline::read_all;
pub use skip_log::{BadRows, SkippedRows};
pub(crate) use skip_log::{SkipLog, header_hint, shorten};
pub(crate) use zip_entry::{ZipEntry, ZipPlace, entries_of_zip};

/// A longer line is no row: it is refused, or skipped, without being held in memory.
pub(crate) const MAX_LINE: usize = 1 << 20;
