//! Sequences in an `.npz` file of the original programs.
//!
//! Such a file is a zip archive of NumPy arrays (format: numpy.lib.format): `X_cat` integers `[3, n, positions]`, `X_int` floats
//! `[1, n, positions]`, `y` `[n]`. The three parts of `X_cat` are read side by side, each through a decoder of its own, so that
//! memory does not depend on `n`.

use std::path::Path;

use super::foreign_sequences::ForeignSequences;
use crate::error::Result;
use crate::numpy::Array;
use crate::text::entries_of_zip;

/// Samples read at a time.
const SAMPLES: usize = 1 << 12;

/// Reads all samples of a file, some at a time.
///
/// # Errors
/// A file that is no such archive or is damaged; an id that is negative, not whole or beyond 32 bits.
pub(super) fn read_npz(
    path: &Path,
    positions: usize,
    mut consume: impl FnMut(ForeignSequences) -> Result<()>,
) -> Result<()> {
    let places = entries_of_zip(path)?;
    let mut tables = Vec::new();
    for _ in 0..3 {
        tables.push(Array::in_archive(path, &places, "X_cat")?);
    }
    let mut dense = Array::in_archive(path, &places, "X_int")?;
    let mut labels = Array::in_archive(path, &places, "y")?;
    let &[samples] = labels.shape.as_slice() else {
        return Err(labels.damaged(format!("has shape {:?} instead of [samples]", labels.shape)));
    };
    tables[0].expect_shape(&[3, samples, positions as u64])?;
    dense.expect_shape(&[1, samples, positions as u64])?;
    for (table, array) in (0..).zip(&mut tables) {
        array.skip(table * samples * positions as u64)?;
    }
    for first in (0..samples).step_by(SAMPLES) {
        let count = (samples - first).min(SAMPLES as u64) as usize;
        let mut foreign = ForeignSequences {
            ids: vec![0; count * positions * 3],
            ..ForeignSequences::default()
        };
        for (table, array) in tables.iter_mut().enumerate() {
            let mut bad = None;
            for (place, value) in array.read(count * positions)?.enumerate() {
                let id = value as u32;
                if f64::from(id) != value {
                    bad.get_or_insert((place, value));
                }
                foreign.ids[place * 3 + table] = id;
            }
            if let Some((place, value)) = bad {
                let (sample, position) = (first + (place / positions) as u64, place % positions);
                return Err(array.damaged(format!(
                    "has {value} at [{table}, {sample}, {position}], which is no id from 0 to 4294967295"
                )));
            }
        }
        foreign.dense = dense.floats(count * positions, "no finite number", f32::is_finite)?;
        let is_label = |label: f32| (0.0..=1.0).contains(&label);
        foreign.label = labels.floats(count, "no label from 0 to 1", is_label)?;
        consume(foreign)?;
    }
    // The parts before the last one were read to its beginning by the decoder of the last one, too.
    if let Some(last) = tables.pop() {
        last.finish()?;
    }
    dense.finish()?;
    labels.finish().map(drop)
}
