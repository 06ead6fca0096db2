//! The cold rows of one batch, in host memory.

use std::ops::Range;

use crate::grouping::Grouping;
use crate::layout::{Layout, PartKind};
use crate::rows::Rows;

/// Rows of one task.
const ROWS_A_TASK: usize = 512;

/// The cold rows that one plan touches, and their gradients: what crosses between the two sides of
/// a [`HotCold`](crate::HotCold).
///
/// Rows lie without gaps, part by part, those of equal width together.
#[derive(Debug, Default)]
pub struct ColdRows {
    /// The plan's number; 0 for none.
    pub(crate) serial: u64,
    /// One entry per part.
    pub(crate) parts: Vec<ColdPart>,
    /// Row numbers as parts store them, ascending within a part.
    pub(crate) rows: Vec<u32>,
    /// Pieces for tasks.
    pub(crate) chunks: Vec<ColdChunk>,
    pub(crate) weights: AlignedFloats,
    /// Of the optimizer, where it goes along: `[rows, state width]`.
    pub(crate) state: AlignedFloats,
    pub(crate) grads: AlignedFloats,
    /// Which of `rows` the last repair changed, each after its part.
    pub(crate) changed: Vec<(u32, u32)>,
}

/// Where a part's cold rows are.
#[derive(Debug, Clone, Default)]
pub(crate) struct ColdPart {
    /// In `ColdRows::rows`.
    pub(crate) rows: Range<usize>,
    /// Distinct rows of the plan that come before the first cold one.
    pub(crate) first_slot: usize,
    /// First float.
    pub(crate) start: usize,
    pub(crate) width: usize,
}

/// Some cold rows of one part.
#[derive(Debug, Clone)]
pub(crate) struct ColdChunk {
    pub(crate) part: usize,
    /// In `ColdRows::rows`.
    pub(crate) rows: Range<usize>,
}

impl ColdRows {
    /// Lists the plan's rows that are not below `hot`, one number of stored rows for each part.
    /// Neither weights nor gradients are there yet.
    pub(crate) fn list(&mut self, plan: &Grouping, layout: &Layout, hot: &[u32]) {
        let floats = self.count(plan, layout, hot);
        self.weights.set_len(floats);
        self.grads.set_len(floats);
    }

    /// The same without room for weights and gradients; returns how many floats either has.
    pub(crate) fn count(&mut self, plan: &Grouping, layout: &Layout, hot: &[u32]) -> usize {
        self.serial = plan.serial;
        self.parts.clear();
        self.parts.resize(layout.parts.len(), ColdPart::default());
        self.rows.clear();
        self.chunks.clear();
        self.changed.clear();
        let mut floats = 0;
        let projections =
            (0..layout.parts.len()).filter(|&part| layout.parts[part].kind == PartKind::Projection);
        let by_class = layout.classes.iter().flat_map(|class| class.parts.iter());
        for part in by_class.copied().chain(projections) {
            let placed = &layout.parts[part];
            let first = self.rows.len();
            let mut first_slot = 0;
            if placed.kind != PartKind::Projection {
                let rows = plan.rows_of(part);
                first_slot = rows.partition_point(|&row| row < hot[part]);
                self.rows.extend_from_slice(&rows[first_slot..]);
            } else if hot[part] == 0 && plan.needs_projection(part) {
                // A projection is one float a column wide at least, so its rows can be counted.
                self.rows.extend(0..placed.rows as u32);
            }
            let rows = first..self.rows.len();
            self.parts[part] = ColdPart {
                rows: rows.clone(),
                first_slot,
                start: floats,
                width: placed.width,
            };
            floats += rows.len() * placed.width;
            let chunk = |start: usize| ColdChunk {
                part,
                rows: start..rows.end.min(start + ROWS_A_TASK),
            };
            self.chunks
                .extend(rows.clone().step_by(ROWS_A_TASK).map(chunk));
        }
        floats
    }

    /// Makes room for a state of that many floats a row.
    pub(crate) fn add_state(&mut self, width: usize) {
        self.state.set_len(self.rows.len() * width);
    }

    /// The rows that another batch touches too: their places among the other's, and behind these
    /// their places here.
    pub(crate) fn pairs(&self, other: &Self) -> Vec<u32> {
        let (mut theirs, mut here) = (Vec::new(), Vec::new());
        for (own, part) in self.parts.iter().zip(&other.parts) {
            let mut at = part.rows.start;
            for place in own.rows.clone() {
                while at < part.rows.end && other.rows[at] < self.rows[place] {
                    at += 1;
                }
                if at < part.rows.end && other.rows[at] == self.rows[place] {
                    theirs.push(at as u32);
                    here.push(place as u32);
                }
            }
        }
        theirs.extend(here);
        theirs
    }

    /// Writes the listed ones of some rows of a part over what was exported of them.
    pub(crate) fn overlay(&self, part: usize, rows: Range<u64>, into: &mut Rows) {
        let ColdPart {
            rows: listed,
            width,
            ..
        } = &self.parts[part];
        let (weights, state) = (self.weights.as_slice(), self.state.as_slice());
        let state_width = state.len() / self.rows.len().max(1);
        for place in listed.clone() {
            let row = u64::from(self.rows[place]);
            if rows.contains(&row) {
                let (at, from) = ((row - rows.start) as usize, self.at(part, place));
                into.weights[at * width..][..*width].copy_from_slice(&weights[from..][..*width]);
                into.state[at * state_width..][..state_width]
                    .copy_from_slice(&state[place * state_width..][..state_width]);
            }
        }
    }

    /// Finds the rows that another batch touches too, and notes them in `changed`.
    pub(crate) fn find_changed(&mut self, updated: &Self) {
        self.changed.clear();
        for (part, (own, other)) in self.parts.iter().zip(&updated.parts).enumerate() {
            let (mine, theirs) = (
                &self.rows[own.rows.clone()],
                &updated.rows[other.rows.clone()],
            );
            let mut at = 0;
            for (index, &row) in mine.iter().enumerate() {
                while at < theirs.len() && theirs[at] < row {
                    at += 1;
                }
                if theirs.get(at) == Some(&row) {
                    let place = (own.rows.start + index) as u32;
                    self.changed.push((part as u32, place));
                }
            }
        }
    }

    /// Where the floats of one of `rows`, of that part, start.
    #[inline(always)]
    pub(crate) fn at(&self, part: usize, index: usize) -> usize {
        let part = &self.parts[part];
        part.start + (index - part.rows.start) * part.width
    }

    /// Bytes of all rows' weights, or of their gradients; with the state, where it goes along.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.weights.as_slice()) + size_of_val(self.state.as_slice())
    }

    /// Bytes of the rows that the last repair changed.
    pub(crate) fn changed_bytes(&self) -> usize {
        let width = |&(part, _): &(u32, u32)| self.parts[part as usize].width;
        self.changed.iter().map(width).sum::<usize>() * size_of::<f32>()
    }

    /// The weights of all rows of one width.
    pub(crate) fn class(&self, parts: &[usize]) -> Range<usize> {
        match (parts.first(), parts.last()) {
            (Some(&first), Some(&last)) => {
                let last = &self.parts[last];
                self.parts[first].start..last.start + last.rows.len() * last.width
            }
            _ => 0..0,
        }
    }

    /// The floats of one part.
    pub(crate) fn floats_of(&self, part: usize) -> Range<usize> {
        let part = &self.parts[part];
        part.start..part.start + part.rows.len() * part.width
    }
}

/// A reused buffer whose first float starts a cache line.
#[derive(Debug, Default)]
pub(crate) struct AlignedFloats {
    lines: Vec<Line>,
    len: usize,
}

#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line(#[expect(dead_code, reason = "reached by pointers to floats")] [f32; 16]);

impl AlignedFloats {
    /// Keeps what was there, as far as it fits, and adds zeros.
    pub(crate) fn set_len(&mut self, len: usize) {
        let lines = len.div_ceil(16);
        if lines > self.lines.len() {
            self.lines.resize(lines, Line([0.0; 16]));
        }
        self.len = len;
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        // SAFETY: a line is sixteen floats without padding.
        let floats = unsafe {
            std::slice::from_raw_parts(self.lines.as_ptr().cast::<f32>(), self.lines.len() * 16)
        };
        &floats[..self.len]
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        let len = self.len;
        // SAFETY: a line is sixteen floats without padding, and the borrow is exclusive.
        let floats = unsafe {
            std::slice::from_raw_parts_mut(
                self.lines.as_mut_ptr().cast::<f32>(),
                self.lines.len() * 16,
            )
        };
        &mut floats[..len]
    }
}
