//! Planted samples as raw Criteo text.

use std::io;
use std::ops::Range;

use rayon::prelude::*;

use super::planted::{Planted, PlantedSample};

/// Lines that one task formats.
const CHUNK: u64 = 8192;

/// See [`Planted::write_criteo_text`].
pub(crate) fn write(
    planted: &Planted,
    samples: Range<u64>,
    mut writer: impl io::Write,
) -> io::Result<()> {
    // Two chunks a thread: memory stays small, and no thread waits long for the slowest.
    let chunks = 2 * rayon::current_num_threads() as u64;
    let mut buffers: Vec<Vec<u8>> = vec![Vec::new(); chunks as usize];
    let mut first = samples.start;
    while first < samples.end {
        buffers.par_iter_mut().enumerate().for_each_init(
            PlantedSample::default,
            |row, (chunk, lines)| {
                let start = first.saturating_add(chunk as u64 * CHUNK).min(samples.end);
                let end = start.saturating_add(CHUNK).min(samples.end);
                lines.clear();
                for sample in start..end {
                    planted.sample(sample, row);
                    push_line(planted, row, lines);
                }
            },
        );
        for lines in &buffers {
            writer.write_all(lines)?;
        }
        first = first.saturating_add(chunks * CHUNK);
    }
    writer.flush()
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

fn push_decimal(value: i32, line: &mut Vec<u8>) {
    if value < 0 {
        line.push(b'-');
    }
    let mut digits = [0u8; 10];
    let mut first = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    line.extend_from_slice(&digits[first..]);
}

/// Eight lower-case digits.
fn push_hexadecimal(value: u32, line: &mut Vec<u8>) {
    let digits: [u8; 8] = std::array::from_fn(|digit| {
        b"0123456789abcdef"[(value >> (28 - 4 * digit)) as usize & 0xf]
    });
    line.extend_from_slice(&digits);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_standard_library_writes_them() {
        for value in [0, 7, 10, -1, 65_535, 1_000_000_000, i32::MAX, i32::MIN] {
            let mut line = Vec::new();
            push_decimal(value, &mut line);
            assert_eq!(line, value.to_string().as_bytes());
            line.clear();
            push_hexadecimal(value as u32, &mut line);
            assert_eq!(line, format!("{:08x}", value as u32).as_bytes());
        }
    }
}
