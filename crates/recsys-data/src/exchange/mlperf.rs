//! The MLPerf binary: 40 little-endian integers of 32 bits a sample: label, 13 dense values, 26 ids.

use std::path::{Path, PathBuf};

use super::foreign::{Columns, Foreign, ForeignReader};
use super::id_rows::{IdRows, NumberFiles, SAMPLES, columns};
use super::npz::check_counts;
use super::rules::DenseValues;
use crate::criteo::{DENSE_FEATURES, TABLES};
use crate::error::{Error, Result};
use crate::exchange::error::Error as ExchangeError;
use crate::packed::SourceFile;
use crate::text::{Source, stored_bytes};

/// Numbers of a sample.
pub(super) const NUMBERS: usize = 1 + DENSE_FEATURES + TABLES;
/// Bytes of a sample.
pub(super) const SAMPLE_BYTES: usize = 4 * NUMBERS;

pub(super) struct MlPerfFiles {
    columns: Columns,
    dense: DenseValues,
}

impl MlPerfFiles {
    pub(super) fn open(
        paths: &[PathBuf],
        counts: Option<Vec<u64>>,
        dense: DenseValues,
    ) -> Result<Self> {
        for path in paths {
            stored_bytes(path)?;
        }
        let tables = TABLES as u64;
        check_counts(counts.as_deref(), tables, &paths[0])?;
        Ok(Self {
            columns: columns(DENSE_FEATURES as u64, tables, counts.as_deref()),
            dense,
        })
    }
}

/// Checks samples of the MLPerf binary, as far as whole ones are there; returns how many there are. For tests that feed it any
/// bytes.
///
/// # Errors
/// A label other than 0 and 1, or a negative id.
#[doc(hidden)]
pub fn parse_mlperf(bytes: &[u8]) -> Result<usize> {
    let columns = columns(DENSE_FEATURES as u64, TABLES as u64, None);
    let foreign = check(bytes, Path::new("bytes"), 0, &columns, DenseValues::Log)?;
    Ok(foreign.label.len())
}

fn check(
    bytes: &[u8],
    path: &Path,
    first: u64,
    columns: &Columns,
    rule: DenseValues,
) -> Result<Foreign> {
    let samples = bytes.as_chunks::<SAMPLE_BYTES>().0;
    let part = |from: usize, to: usize| {
        let width = to - from;
        (0..samples.len() * width).map(move |at| {
            let sample = &samples[at / width];
            let number = sample[4 * (from + at % width)..].first_chunk::<4>();
            f64::from(i32::from_le_bytes(number.copied().unwrap_or_default()))
        })
    };
    let label = |sample: &[u8; SAMPLE_BYTES]| {
        let bytes = sample.first_chunk::<4>().copied().unwrap_or_default();
        f64::from(i32::from_le_bytes(bytes))
    };
    let rows = IdRows {
        files: NumberFiles::one(path),
        first,
        columns,
        rule,
    };
    let labels = samples.iter().map(label);
    let mut foreign = rows.dense(labels, part(1, 1 + DENSE_FEATURES))?;
    foreign.tables = rows.ids(part(1 + DENSE_FEATURES, NUMBERS))?;
    Ok(foreign)
}

impl ForeignReader for MlPerfFiles {
    fn columns(&self) -> &Columns {
        &self.columns
    }

    fn read(
        &self,
        path: &Path,
        consume: &mut dyn FnMut(Foreign) -> Result<()>,
    ) -> Result<Vec<SourceFile>> {
        let mut source = Source::open(path)?;
        let mut bytes = vec![0; SAMPLES * SAMPLE_BYTES];
        let mut number = 0;
        loop {
            let before = source.bytes_read();
            let filled = source.fill(&mut bytes, number)?;
            if !filled.is_multiple_of(SAMPLE_BYTES) {
                let size = number * SAMPLE_BYTES as u64 + filled as u64;
                return Err(Error::Exchange(ExchangeError::BadForeignFile {
                    path: path.to_path_buf(),
                    problem: format!(
                        "has {size} bytes, which are no whole number of samples of {SAMPLE_BYTES} bytes: it is cut off or \
                         no MLPerf binary"
                    ),
                }));
            }
            if filled == 0 {
                return Ok(vec![source.identity()]);
            }
            let mut foreign = check(&bytes[..filled], path, number, &self.columns, self.dense)?;
            number += foreign.label.len() as u64;
            foreign.stored_bytes = source.bytes_read() - before;
            consume(foreign)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_samples_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..700), zero: bool) {
            let bytes: Vec<u8> = if zero { bytes.iter().map(|_| 0).collect() } else { bytes };
            if let Ok(samples) = parse_mlperf(&bytes) {
                prop_assert_eq!(samples, bytes.len() / SAMPLE_BYTES);
            } else {
                prop_assert!(!zero);
            }
        }
    }
}
