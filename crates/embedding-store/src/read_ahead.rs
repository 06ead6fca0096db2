//! Reading mapped rows before they are used: the disk serves many reads side by side, while a
//! thread that touches a row which is not in memory waits for that one.

use rayon::prelude::*;

use crate::arena::Arena;
use crate::cold_rows::ColdRows;
use crate::cpu_store::CpuStore;
use crate::grouping::Grouping;
use crate::part_storage::PartStorage;

/// Bytes of a page, or a part of one where pages are larger.
const PAGE: usize = 4096;

impl CpuStore {
    /// Asks the system for the plan's rows and their state.
    pub(crate) fn read_ahead(&self, plan: &Grouping) {
        if !self.is_mapped() {
            return;
        }
        plan.chunks.par_iter().for_each(|chunk| {
            self.storage[chunk.part].read_ahead(&plan.rows[chunk.rows.clone()]);
        });
    }

    /// Asks the system for the listed rows and their state.
    pub(crate) fn read_ahead_cold(&self, rows: &ColdRows) {
        if !self.is_mapped() {
            return;
        }
        rows.chunks.par_iter().for_each(|chunk| {
            self.storage[chunk.part].read_ahead(&rows.rows[chunk.rows.clone()]);
        });
    }

    fn is_mapped(&self) -> bool {
        self.storage.iter().any(|part| part.weights.map().is_some())
    }
}

impl PartStorage {
    /// `rows` ascend and are in this part.
    fn read_ahead(&self, rows: &[u32]) {
        for (arena, _) in self.arenas() {
            ask_for(arena, self.first, rows);
        }
    }
}

/// Asks for every page of the rows once, neighbouring ones together. Best effort: without it,
/// everything works, slower.
fn ask_for(arena: &Arena, first: usize, rows: &[u32]) {
    let Some(map) = arena.map() else {
        return;
    };
    let row_bytes = arena.stride() * size_of::<f32>();
    let ask = |pages: std::ops::Range<usize>| {
        #[cfg(unix)]
        let _ = map.advise_range(
            memmap2::Advice::WillNeed,
            pages.start * PAGE,
            pages.len() * PAGE,
        );
    };
    let mut run = 0..0;
    for &row in rows {
        let start = (row as usize - first) * row_bytes;
        let pages = start / PAGE..(start + row_bytes).div_ceil(PAGE);
        if pages.start <= run.end && !run.is_empty() {
            run.end = run.end.max(pages.end);
            continue;
        }
        if !run.is_empty() {
            ask(run);
        }
        run = pages;
    }
    if !run.is_empty() {
        ask(run);
    }
}
