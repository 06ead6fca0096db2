//! Where the rows of one part lie in host memory.

use std::ops::Range;

use crate::arena::{Arena, ArenaError, zeros};
use crate::backing::OpenBacking;
use crate::error::Result;
use crate::initialization::RowGenerator;
use crate::kernel::{Columns, RowAt};
use crate::layout::{Part, PartKind, PartLayout, RowOf};
use crate::mapped::{Content, refused};
use crate::row_folder::RowFolder;
use crate::rule::RowOptimizer;

/// Memory of a part. That of a projection is transposed, `[dim_i, dim]`: all that is done with it
/// runs along `dim`.
#[derive(Debug)]
pub(crate) struct PartStorage {
    pub(crate) kind: PartKind,
    pub(crate) row_of: RowOf,
    /// The first row held.
    pub(crate) first: usize,
    pub(crate) weights: Arena,
    pub(crate) state: Option<Arena>,
}

/// Rows of a part as they are stored, and the floats of a row's weights and of its state: a
/// projection lies transposed, and is there wholly or not at all.
pub(crate) fn stored(part: &Part, placed: &PartLayout, held: &Range<u64>) -> (u64, [usize; 2]) {
    match placed.kind {
        PartKind::Rows(_) => (held.end - held.start, [part.dim, part.state_width]),
        PartKind::Projection => {
            let columns = if held.is_empty() { 0 } else { placed.rows };
            let state = if part.state_width > 0 {
                placed.width
            } else {
                0
            };
            (columns, [placed.width, state])
        }
    }
}

impl PartStorage {
    pub(crate) fn new(
        place: &OpenBacking,
        part: &Part,
        placed: &PartLayout,
        held: &Range<u64>,
        generator: RowGenerator,
        optimizer: &RowOptimizer,
    ) -> Result<Self> {
        let (rows, [width, state_width]) = stored(part, placed, held);
        let weights = match placed.kind {
            PartKind::Rows(_) => {
                let write = |row, into: &mut [f32]| generator.write(held.start + row, into);
                place.arena(part, Content::Weights, (rows, width), write)?
            }
            PartKind::Projection => {
                let floats = width.checked_mul(part.dim).ok_or(ArenaError::Overflow);
                let matrix = floats.and_then(zeros).map_err(|error| refused(part, error));
                let mut matrix = matrix?;
                for (row, into) in matrix.chunks_exact_mut(part.dim).enumerate() {
                    generator.write(row as u64, into);
                }
                let write = |column: u64, into: &mut [f32]| {
                    for (row, into) in into.iter_mut().enumerate() {
                        *into = matrix[row * part.dim + column as usize];
                    }
                };
                place.arena(part, Content::Weights, (rows, width), write)?
            }
        };
        let state = match state_width {
            0 => None,
            width => {
                Some(place.arena(
                    part,
                    Content::State,
                    (rows, width),
                    |_, state| match placed.kind {
                        PartKind::Rows(_) => optimizer.fresh_state(state),
                        PartKind::Projection => state.fill(optimizer.dense().fresh_state()),
                    },
                )?)
            }
        };
        Ok(Self::of(placed, held, weights, state))
    }

    pub(crate) fn open(
        folder: &RowFolder,
        part: &Part,
        placed: &PartLayout,
        held: &Range<u64>,
    ) -> Result<Self> {
        let (rows, [width, state_width]) = stored(part, placed, held);
        let weights = folder.map(part, Content::Weights, (rows, width))?;
        let state = match state_width {
            0 => None,
            width => Some(folder.map(part, Content::State, (rows, width))?),
        };
        Ok(Self::of(placed, held, weights, state))
    }

    fn of(placed: &PartLayout, held: &Range<u64>, weights: Arena, state: Option<Arena>) -> Self {
        let (row_of, first) = match placed.kind {
            // A range of rows that cannot be counted in usize cannot be kept either.
            PartKind::Rows(row_of) => (row_of, held.start as usize),
            PartKind::Projection => (RowOf::Id, 0),
        };
        Self {
            kind: placed.kind,
            row_of,
            first,
            weights,
            state,
        }
    }

    pub(crate) fn arenas(&self) -> impl Iterator<Item = (&Arena, Content)> {
        let weights = (&self.weights, Content::Weights);
        let state = self.state.iter().map(|state| (state, Content::State));
        std::iter::once(weights).chain(state)
    }

    /// Bytes of rows and state, of those in files or of all.
    pub(crate) fn bytes(&self, mapped: bool) -> u64 {
        let counted = self
            .arenas()
            .filter(|(arena, _)| !mapped || arena.map().is_some());
        counted.map(|(arena, _)| arena.bytes()).sum()
    }
}

impl PartStorage {
    /// The rows, addressed by their number in the whole part.
    #[inline(always)]
    pub(crate) fn columns(&self) -> Columns {
        let stride = self.weights.stride();
        Columns {
            base: self.weights.as_ptr().wrapping_sub(self.first * stride),
            stride,
        }
    }

    /// The rows' state, and its width.
    pub(crate) fn state_columns(&self) -> Option<(Columns, usize)> {
        self.state.as_ref().map(|state| {
            let stride = state.stride();
            let base = state.as_ptr().wrapping_sub(self.first * stride);
            (Columns { base, stride }, state.width())
        })
    }

    #[inline(always)]
    pub(crate) fn rows(&self) -> RowsOf {
        RowsOf {
            columns: self.columns(),
            row_of: self.row_of,
        }
    }
}

/// Rows that ids mean.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowsOf {
    pub(crate) columns: Columns,
    pub(crate) row_of: RowOf,
}

impl RowAt for RowsOf {
    #[inline(always)]
    fn row_at(self, _: usize, id: u32) -> *const f32 {
        self.columns.row(self.row_of.row(id))
    }
}
