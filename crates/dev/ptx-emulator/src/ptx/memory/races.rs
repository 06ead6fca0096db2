//! Who touched what: accesses of two threads to the same memory, one of which writes, need an order.

use std::collections::HashMap;
use std::ops::Range;

use crate::ptx::error::FaultKind;

/// A thread of a block, where it is counted along the axes, the first one first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ptx) struct Thread {
    pub(in crate::ptx) index: u32,
}

impl Thread {
    pub(in crate::ptx) fn warp(self) -> usize {
        self.index as usize / 32
    }
}

/// What an access does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ptx) enum Touch {
    Read,
    Write,
    /// Reads and writes, and is ordered among its like.
    Atomic,
}

/// An access to a cell of shared memory.
#[derive(Debug, Clone, Copy, Default)]
struct Record {
    /// The interval between two barriers, counted from 1 over all blocks; 0 is none.
    interval: u32,
    /// The interval between two points where the thread's warp came together.
    warp_interval: u32,
    thread: u32,
}

/// The last accesses to a cell.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    writer: Record,
    /// Whether the write was atomic.
    atomic: bool,
    /// Two that read since: of different warps, if there are such.
    readers: [Record; 2],
    /// Whether no variable is here.
    gap: bool,
}

/// Finds accesses of a block's threads to shared memory that no barrier orders.
pub(in crate::ptx) struct SharedRaces {
    cells: Vec<Cell>,
    /// The logarithm of a cell's bytes.
    shift: u32,
    interval: u32,
    warp_intervals: Vec<u32>,
}

impl SharedRaces {
    /// Variables are in order, and no access is smaller than a granule.
    pub(super) fn new(variables: &[Range<u32>], granule: u32, threads: usize) -> Self {
        let gap = Cell {
            gap: true,
            ..Cell::default()
        };
        let mut cells = Vec::new();
        for variable in variables {
            cells.resize((variable.start / granule) as usize, gap);
            cells.resize(variable.end.div_ceil(granule) as usize, Cell::default());
        }
        Self {
            cells,
            shift: granule.trailing_zeros(),
            interval: 1,
            warp_intervals: vec![0; threads.div_ceil(32)],
        }
    }

    /// All threads of the block are here: what was before comes before what is behind.
    pub(in crate::ptx) fn barrier(&mut self) {
        self.interval = self.interval.wrapping_add(1);
        if self.interval == 0 {
            // Once in four billion barriers, what is remembered would seem new.
            for cell in &mut self.cells {
                let gap = cell.gap;
                *cell = Cell {
                    gap,
                    ..Cell::default()
                };
            }
            self.interval = 1;
        }
    }

    /// Threads of a warp are here.
    pub(in crate::ptx) fn warp_barrier(&mut self, warp: usize) {
        self.warp_intervals[warp] = self.warp_intervals[warp].wrapping_add(1);
    }

    /// Whether an access begins or ends where no variable is.
    pub(super) fn is_gap(&self, address: u64, bytes: u32) -> bool {
        let gap = |address: u64| self.cells[(address >> self.shift) as usize].gap;
        gap(address) || gap(address + u64::from(bytes) - 1)
    }

    fn conflicts(&self, record: Record, thread: Thread) -> bool {
        if record.interval != self.interval || record.thread == thread.index {
            return false;
        }
        let warp = thread.warp();
        record.thread as usize / 32 != warp || record.warp_interval == self.warp_intervals[warp]
    }

    #[inline(always)]
    pub(super) fn touch(
        &mut self,
        thread: Thread,
        address: u64,
        bytes: u32,
        touch: Touch,
    ) -> Result<(), FaultKind> {
        let first = address >> self.shift;
        let last = (address + u64::from(bytes) - 1) >> self.shift;
        for at in first..=last {
            self.touch_cell(thread, at, touch)?;
        }
        Ok(())
    }

    #[inline(always)]
    fn touch_cell(&mut self, thread: Thread, at: u64, touch: Touch) -> Result<(), FaultKind> {
        let cell = self.cells[at as usize];
        let write = touch != Touch::Read;
        let race = |record: Record, other_wrote| FaultKind::SharedRace {
            address: at << self.shift,
            write,
            // The launch knows the block's shape.
            other: [record.thread, 0, 0],
            other_wrote,
        };
        let both_atomic = touch == Touch::Atomic && cell.atomic;
        if !both_atomic && self.conflicts(cell.writer, thread) {
            return Err(race(cell.writer, true));
        }
        let record = Record {
            interval: self.interval,
            warp_interval: self.warp_intervals[thread.warp()],
            thread: thread.index,
        };
        if write {
            for reader in cell.readers {
                if self.conflicts(reader, thread) {
                    return Err(race(reader, false));
                }
            }
            let cell = &mut self.cells[at as usize];
            cell.writer = record;
            cell.atomic = touch == Touch::Atomic;
            return Ok(());
        }
        let [a, b] = cell.readers;
        let stale = |reader: Record| reader.interval != self.interval;
        let same_warp = |reader: Record| reader.thread / 32 == thread.index / 32;
        let older = |reader: Record| {
            reader.thread == thread.index
                || (same_warp(reader) && reader.warp_interval != record.warp_interval)
        };
        let place = if stale(a) || older(a) {
            0
        } else if stale(b) || older(b) || (!same_warp(a) && a.thread / 32 == b.thread / 32) {
            1
        } else {
            return Ok(());
        };
        self.cells[at as usize].readers[place] = record;
        Ok(())
    }
}

/// The blocks that touched a cell of global memory last.
#[derive(Debug, Clone, Copy, Default)]
struct Blocks {
    /// The number of a block plus 1; 0 is none.
    writer: u32,
    atomic: bool,
    /// The first that read, and the last other one.
    readers: [u32; 2],
}

/// Cells that are looked for together.
const PAGE: u64 = 1024;

/// Finds blocks that touch what another block of the launch writes.
pub(super) struct GlobalRaces {
    /// Where the cells of a page are in `cells`.
    pages: HashMap<u64, usize>,
    /// The page that was touched last, and where its cells are.
    last: (u64, usize),
    cells: Vec<Blocks>,
    /// The logarithm of a cell's bytes.
    shift: u32,
    /// Those that ran, in their order.
    blocks: Vec<[u32; 3]>,
}

impl GlobalRaces {
    /// No access is smaller than a granule.
    pub(super) fn new(granule: u32) -> Self {
        Self {
            pages: HashMap::new(),
            last: (u64::MAX, 0),
            cells: Vec::new(),
            shift: granule.trailing_zeros(),
            blocks: Vec::new(),
        }
    }

    pub(super) fn block(&mut self, block: [u32; 3]) {
        self.blocks.push(block);
    }

    fn page(&mut self, page: u64) -> usize {
        if self.last.0 != page {
            let next = self.cells.len();
            let start = *self.pages.entry(page).or_insert(next);
            if start == next {
                self.cells.resize(next + PAGE as usize, Blocks::default());
            }
            self.last = (page, start);
        }
        self.last.1
    }

    pub(super) fn touch(
        &mut self,
        address: u64,
        bytes: u32,
        touch: Touch,
    ) -> Result<(), FaultKind> {
        let now = self.blocks.len() as u32;
        let first = address >> self.shift;
        let last = (address + u64::from(bytes) - 1) >> self.shift;
        for at in first..=last {
            let start = self.page(at / PAGE);
            let cell = &mut self.cells[start + (at % PAGE) as usize];
            let race = |block: u32, other_wrote| FaultKind::GlobalRace {
                address: at << self.shift,
                write: touch != Touch::Read,
                other: self.blocks[block as usize - 1],
                other_wrote,
            };
            let both_atomic = touch == Touch::Atomic && cell.atomic;
            if cell.writer != 0 && cell.writer != now && !both_atomic {
                return Err(race(cell.writer, true));
            }
            if touch == Touch::Read {
                if !cell.readers.contains(&now) {
                    cell.readers[usize::from(cell.readers[0] != 0)] = now;
                }
            } else {
                let other = cell
                    .readers
                    .iter()
                    .find(|&&reader| reader != 0 && reader != now);
                if let Some(&other) = other {
                    return Err(race(other, false));
                }
                cell.writer = now;
                cell.atomic = touch == Touch::Atomic;
            }
        }
        Ok(())
    }
}
