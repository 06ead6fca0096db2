//! Planted samples as raw Criteo text.

use std::io;
use std::ops::Range;

use super::planted::{Planted, PlantedSample};
use super::text::{push_decimal, push_hexadecimal, write_chunks};

/// Criteo lines that one task formats.
const CHUNK: u64 = 8192;

impl Planted {
    /// Writes samples as raw Criteo text, one line each: label, dense integers and categories as
    /// eight hexadecimal digits, separated by TABs; missing values are empty. Reading it back gives
    /// the values of the data set, with the ids numbered anew.
    ///
    /// Lines are formatted in parallel and written in order; the same bytes come out whatever the
    /// number of threads.
    ///
    /// # Errors
    /// Those of `writer`.
    pub fn write_criteo_text(&self, samples: Range<u64>, writer: impl io::Write) -> io::Result<()> {
        write_chunks(
            samples,
            CHUNK,
            writer,
            |row: &mut PlantedSample, samples, lines| {
                for sample in samples {
                    self.sample(sample, row);
                    push_line(self, row, lines);
                }
            },
        )
    }
}

fn push_line(planted: &Planted, row: &PlantedSample, line: &mut Vec<u8>) {
    line.push(b'0' + u8::from(row.click));
    for (feature, &level) in row.levels.iter().enumerate() {
        line.push(b'\t');
        if let Some(value) = planted.raw_dense(feature, level) {
            push_decimal(value, line);
        }
    }
    for (table, &id) in row.ids.iter().enumerate() {
        line.push(b'\t');
        if let Some(value) = planted.raw_category(table, id) {
            push_hexadecimal(value, line);
        }
    }
    line.push(b'\n');
}
