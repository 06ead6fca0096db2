//! Rows of a part in a memory-mapped file.

use std::fs::File;
use std::path::Path;

use memmap2::MmapMut;

use crate::arena::{Arena, ArenaError, Shape};
use crate::error::{Error, Result};
use crate::layout::Part;

/// What an arena's floats are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Content {
    Weights,
    State,
}

impl Content {
    /// The file in a store's folder.
    pub(crate) fn file_name(self, part: &Part) -> String {
        match self {
            Self::Weights => format!("{}.weights", part.name),
            Self::State => format!("{}.state", part.name),
        }
    }
}

/// Why an arena could not be made, said of its part.
pub(crate) fn refused(part: &Part, error: ArenaError) -> Error {
    match error {
        ArenaError::Overflow => Error::SizeOverflow {
            name: part.name.clone(),
            rows: part.rows,
            dim: part.dim,
        },
        ArenaError::OutOfMemory { bytes } => Error::Allocation {
            name: part.name.clone(),
            bytes,
        },
    }
}

/// Maps a file of rows, which has the size of the shape.
pub(crate) fn map_rows(path: &Path, file: &File, shape: Shape) -> Result<Arena> {
    // SAFETY: this process alone has a scratch file, and the files of a folder are locked against
    // other stores. That nobody else changes them is a condition in the documentation of
    // `CpuStore::open`.
    let map = unsafe { MmapMut::map_mut(file) }.map_err(Error::io("cannot map", path))?;
    // Rows are read one here and one there: what lies around them would only take the place of
    // others. Best effort.
    #[cfg(unix)]
    let _ = map.advise(memmap2::Advice::Random);
    let found = map.len() as u64;
    Arena::mapped(map, shape).ok_or_else(|| Error::RowFileSize {
        path: path.into(),
        expected: shape.bytes as u64,
        found,
    })
}
