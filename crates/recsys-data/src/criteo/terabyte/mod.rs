//! Click logs by days that outgrow the memory: text is parsed once into columns on disk, from which tables are counted, numbered and
//! encoded one part after the other. What is complete is kept in a work folder and not done again after an interruption.
//!
//! parse: text → columns · count: columns → runs → partitions → vocabulary and dictionaries · write: columns and dictionaries → shards

mod budget;
mod columns;
mod count_stage;
mod days;
mod dictionary;
mod disk;
mod encode_stage;
mod merge;
mod meter;
mod numbering;
mod options;
mod parse_stage;
mod positional;
mod prepare;
mod report;
mod splits;
mod sub_sample;
mod tally;
mod tasks;
mod vocabulary_writer;
mod work_folder;
mod write_stage;

#[cfg(test)]
mod tests;

pub use options::{DaySplit, TerabyteOptions};
pub use prepare::PrepareTerabyte;
pub use report::{DayReport, Resumed, TerabyteReport};

use options::Limits;

/// "C1" to "C26".
fn table_name(table: usize) -> String {
    super::field_name(1 + super::DENSE_FEATURES + table)
}

/// Asks the processor for an element that will be used soon.
#[inline(always)]
fn prefetch<T>(elements: &[T], place: usize) {
    debug_assert!(place < elements.len());
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing as far as the program can tell, and `place` is an element of the slice.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(elements.as_ptr().add(place).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (elements, place);
}
