//! The rows of tables in files.

use std::ops::Range;

use embedding_store::{EmbeddingStore, Part, Rows};

use crate::tensor_file::FLOATS_AT_ONCE;
use crate::tensor_source::TensorSource;
use crate::{Error, Model, Result, Trainer};

/// How many rows tables may have in a file, compared with those of the store that takes them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TableRows {
    /// As many as in the store.
    #[default]
    Exact,
    /// As many or fewer: the store's tables have grown since. New ids stand behind the old ones,
    /// so the file's rows are the first of a table. The others keep their weights, and their
    /// optimizer state starts afresh.
    ///
    /// A quotient-remainder table grows under the number of collisions that it was saved with,
    /// and a mixed-dimension table under its width: rows of quotients and of ids may be fewer in
    /// the file, remainders and projections must be those of the store.
    Grown,
}

/// Name of a part's weights in a file.
pub(crate) fn rows_name<M: Model, S: EmbeddingStore>(
    trainer: &Trainer<M, S>,
    part: &Part,
) -> String {
    format!("{}{}", trainer.model().table_prefix(), part.name)
}

/// Name of the optimizer state of the tensor of that name.
pub(crate) fn state_name(weights: &str) -> String {
    format!("{weights}.state")
}

/// All rows of a part in pieces that are in memory at once.
pub(crate) fn pieces(part: &Part) -> impl Iterator<Item = Range<u64>> + use<> {
    pieces_of(part, 0..part.rows)
}

/// Some rows of a part in such pieces.
fn pieces_of(part: &Part, rows: Range<u64>) -> impl Iterator<Item = Range<u64>> + use<> {
    let at_once = (FLOATS_AT_ONCE / part.dim.max(part.state_width).max(1)).max(1) as u64;
    let end = rows.end;
    rows.step_by(at_once as usize)
        .map(move |first| first..(first + at_once).min(end))
}

/// That a file has the store's rows, or the first of them where `rows` allows it, and their
/// optimizer state where that is wanted. Returns how many rows of each part the file has.
pub(crate) fn check_rows<M: Model, S: EmbeddingStore>(
    file: &dyn TensorSource,
    trainer: &Trainer<M, S>,
    rows: TableRows,
    with_state: bool,
) -> Result<Vec<u64>> {
    let parts = trainer.store().parts();
    let mut counts = vec![0; parts.len()];
    // Of a table with several parts, the first has rows of ids or of quotients. The others come
    // before it here: where they differ, the encoding does, and that is what to tell.
    for grows in [false, true] {
        for (index, part) in parts.iter().enumerate() {
            let is_first = index == 0 || parts[index - 1].table != part.table;
            if is_first == grows {
                counts[index] = check_part(file, trainer, part, rows, grows, with_state)?;
            }
        }
    }
    Ok(counts)
}

/// [`check_rows`] of one part, whose rows become more where its table grows.
fn check_part<M: Model, S: EmbeddingStore>(
    file: &dyn TensorSource,
    trainer: &Trainer<M, S>,
    part: &Part,
    rows: TableRows,
    grows: bool,
    with_state: bool,
) -> Result<u64> {
    let name = rows_name(trainer, part);
    let found = file.find(&name).and_then(|stored| stored.rows_of(part.dim));
    let found = found.unwrap_or(part.rows);
    let refused = |remedy| Error::WeightRows {
        path: file.path().into(),
        name: name.clone(),
        found,
        expected: part.rows,
        remedy,
    };
    match rows {
        _ if found == part.rows => {}
        _ if !grows => {
            return Err(refused(
                "give the table the encoding that it was saved with: remainders and projections \
                 do not grow with it",
            ));
        }
        _ if found > part.rows => {
            return Err(refused(
                "make the store with at least as many rows as its tables were saved with",
            ));
        }
        TableRows::Exact => {
            return Err(refused(
                "if the table has grown since, load with `TableRows::Grown`, which \
                 `load_weights_with` and `Checkpoint::load_with_state` take",
            ));
        }
        TableRows::Grown => {}
    }
    file.check(&name, &[found, part.dim as u64])?;
    if with_state && part.state_width > 0 {
        file.check(&state_name(&name), &[found, part.state_width as u64])?;
    }
    Ok(found)
}

/// Reads the rows of a file that was checked; `counts` is what [`check_rows`] answered. Returns
/// how many rows of the store the file does not have.
pub(crate) fn read_rows<M: Model, S: EmbeddingStore>(
    file: &mut dyn TensorSource,
    trainer: &mut Trainer<M, S>,
    counts: &[u64],
    with_state: bool,
) -> Result<u64> {
    let mut absent = 0;
    let parts = trainer.store().parts().to_vec();
    for (index, (part, &count)) in parts.iter().zip(counts).enumerate() {
        let name = rows_name(trainer, part);
        let state_width = if with_state { part.state_width } else { 0 };
        for rows in pieces_of(part, 0..count) {
            let count = (rows.end - rows.start) as usize;
            let state = match state_width {
                0 => Vec::new(),
                width => file.read(&state_name(&name), rows.start * width as u64, count * width)?,
            };
            let piece = Rows {
                dim: part.dim,
                weights: file.read(&name, rows.start * part.dim as u64, count * part.dim)?,
                state,
            };
            trainer.store_mut().import(index, rows.start, &piece)?;
        }
        absent += part.rows - count;
        if part.state_width > 0 {
            let mut fresh = vec![0.0; part.state_width];
            trainer.store().optimizer().fresh_state(&mut fresh);
            for rows in pieces_of(part, count..part.rows) {
                let mut piece = trainer.store().export(index, rows.clone())?;
                // Those of a new store are not written again: they may lie in files, or nowhere.
                let mut states = piece.state.chunks_exact(part.state_width);
                if !states.all(|state| state == fresh) {
                    piece.state.clear();
                    trainer.store_mut().import(index, rows.start, &piece)?;
                }
            }
        }
    }
    Ok(absent)
}
