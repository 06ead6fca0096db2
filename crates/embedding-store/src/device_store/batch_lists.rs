//! A batch's plan as kernels read it.

use std::ops::Range;

use crate::cold_rows::ColdRows;
use crate::error::{Error, Result};
use crate::grouping::{Grouping, PIECE};
use crate::layout::{Class, Layout, PartKind, RowOf};

/// A row of more bags has its gradients summed by blocks of threads, piece by piece.
const LONG: usize = 32;
/// A row of more bags has the sums of its pieces added by a block too.
const SUMMED: usize = 16 * PIECE;
/// Rows are listed by how many bags they have, those of many first: threads side by side then have
/// about as many to add.
const SIZES: usize = 3 + LONG.ilog2() as usize;

/// 0 for the most bags, 1 for many, then by powers of two: 17 to 32, 9 to 16, …, 2, 1.
fn size_of_row(bags: usize) -> usize {
    if bags > LONG {
        return usize::from(bags <= SUMMED);
    }
    SIZES - 1 - bags.next_power_of_two().ilog2() as usize
}

/// Bags that a thread gathers, as in the kernel.
const GATHERED: u32 = 4;
/// Columns of a piece that a block sums, as in the kernel.
const PIECE_COLUMNS: usize = 32;

/// A batch's plan as `kernels/rows.cu` reads it: one list of numbers for all tables, copied to a
/// device in one piece.
///
/// Parts whose rows are equally wide, a *class*, share a matrix. A row's *address* in it is the
/// number of the stored row, counted over the class's parts; from the number of hot rows on, the
/// place of a cold row among the batch's.
///
/// Bags are numbered as pooled rows lie. Where all tables are plain, that is `sample · tables +
/// table`, so that kernels write and read `[batch, tables, dim]` as it is; otherwise `part ·
/// samples + sample`, part by part.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct BatchLists {
    numbers: Vec<u32>,
    classes: Vec<ClassLists>,
}

/// One class's lists, as ranges of [`BatchLists::numbers`].
#[doc(hidden)]
#[derive(Debug, Clone, Default)]
pub struct ClassLists {
    /// Floats a row.
    pub width: usize,
    /// Bags of all parts.
    pub bags: usize,
    /// Rows of the matrix.
    pub hot_rows: usize,
    /// Rows of the batch that are elsewhere.
    pub cold_rows: usize,
    /// The address of every lookup, bag by bag.
    pub addresses: Range<usize>,
    /// Where every bag starts in the addresses, `[bags + 1]`; empty where every bag has one lookup.
    pub offsets: Range<usize>,
    /// The addresses of the distinct rows, by about how many bags they have, those with many first.
    pub rows: Range<usize>,
    /// How many those are.
    pub long_rows: usize,
    /// How many of these, the first, have enough bags that the sums of their pieces are added
    /// ahead.
    pub summed_rows: usize,
    /// Where every distinct row's bags start, `[rows + 1]`.
    pub row_offsets: Range<usize>,
    /// The bags of every distinct row, in the order of the samples, as often as they name it.
    pub row_bags: Range<usize>,
    /// Where the pieces of every row of many bags start, `[long_rows + 1]`.
    pub row_pieces: Range<usize>,
    /// Where every piece starts among the rows' bags, `[pieces + 1]`.
    pub piece_starts: Range<usize>,
}

impl ClassLists {
    /// Blocks of that many threads that gather the class's bags; `vector` says that a thread has
    /// four columns.
    pub fn gather_blocks(&self, threads: u32, vector: bool) -> u32 {
        gather_blocks(self.bags, self.width, threads, vector)
    }

    /// Blocks of that many threads that update the class's rows.
    pub fn update_blocks(&self, threads: u32, vector: bool) -> u32 {
        blocks(self.rows.len(), self.width, threads, vector)
    }

    /// Pieces of all rows of many bags.
    pub fn pieces(&self) -> usize {
        self.piece_starts.len().saturating_sub(1)
    }

    /// Blocks that sum that many pieces of rows of many bags, or that many rows' sums of pieces.
    pub fn piece_blocks(&self, pieces: usize) -> u32 {
        (pieces * self.width.div_ceil(PIECE_COLUMNS)) as u32
    }
}

/// Blocks that gather that many bags.
pub(crate) fn gather_blocks(bags: usize, width: usize, threads: u32, vector: bool) -> u32 {
    blocks(bags, width, threads, vector).div_ceil(GATHERED)
}

/// Blocks that have a thread for one or four columns of every row, as the kernels divide them.
pub(crate) fn blocks(rows: usize, width: usize, threads: u32, vector: bool) -> u32 {
    let vectors = if vector { width / 4 } else { width };
    let side_by_side = (threads as usize / vectors.max(1)).max(1);
    rows.div_ceil(side_by_side) as u32
}

/// One part in its class.
struct PartAddresses<'a> {
    part: usize,
    table: usize,
    row_of: RowOf,
    /// The row of every lookup among the distinct ones.
    slots: &'a [u32],
    /// Stored rows in the matrix, and the address of the first.
    hot: u32,
    first_hot: u32,
    /// Distinct hot rows, and the address of the first cold one.
    hot_slots: u32,
    first_cold: u32,
}

impl PartAddresses<'_> {
    fn address(&self, row: u32, slot: impl FnOnce() -> u32) -> u32 {
        if row < self.hot {
            self.first_hot + row
        } else {
            self.first_cold + (slot() - self.hot_slots)
        }
    }
}

impl BatchLists {
    /// All numbers.
    pub fn numbers(&self) -> &[u32] {
        &self.numbers
    }

    /// One for each width, in ascending order.
    pub fn classes(&self) -> &[ClassLists] {
        &self.classes
    }

    /// Makes the lists of some samples in the memory of others; the rows to update are listed for a
    /// whole batch alone.
    pub(crate) fn fill(
        &mut self,
        layout: &Layout,
        plan: &Grouping,
        cold: &ColdRows,
        hot_rows: &[u32],
        samples: Range<usize>,
    ) -> Result<()> {
        self.numbers.clear();
        self.classes.clear();
        for class in &layout.classes {
            let (places, mut lists) = places(layout, class, plan, cold, hot_rows)?;
            lists.bags = count("bags", places.len() as u64 * samples.len() as u64)?;
            let number = BagNumbers {
                plain: layout.is_one_class(),
                parts: places.len(),
                samples: samples.clone(),
            };
            self.list_lookups(layout, plan, &places, &number, &mut lists)?;
            if samples == (0..plan.batch) {
                self.list_rows(plan, &places, &number, &mut lists);
            }
            self.classes.push(lists);
        }
        Ok(())
    }

    fn list_lookups(
        &mut self,
        layout: &Layout,
        plan: &Grouping,
        places: &[PartAddresses<'_>],
        number: &BagNumbers,
        lists: &mut ClassLists,
    ) -> Result<()> {
        let tables = layout.tables.len();
        let single_hot = plan.offsets.is_empty();
        let numbers = &mut self.numbers;
        let start = numbers.len();
        let mut starts = Vec::new();
        if !single_hot {
            starts.reserve(lists.bags + 1);
        }
        number.for_each(|position, sample| {
            if !single_hot {
                // Too many are refused below.
                starts.push((numbers.len() - start) as u32);
            }
            let place = &places[position];
            let bag = plan.lookups_of(sample * tables + place.table);
            for (lookup, &id) in (bag.first..).zip(bag.ids) {
                numbers.push(place.address(place.row_of.row(id), || place.slots[lookup]));
            }
        });
        let lookups = count("lookups", (numbers.len() - start) as u64)?;
        lists.addresses = start..start + lookups;
        if !single_hot {
            starts.push(lookups as u32);
            numbers.extend(starts);
        }
        lists.offsets = start + lookups..numbers.len();
        Ok(())
    }

    fn list_rows(
        &mut self,
        plan: &Grouping,
        places: &[PartAddresses<'_>],
        number: &BagNumbers,
        lists: &mut ClassLists,
    ) {
        let rows: usize = places
            .iter()
            .map(|place| plan.rows_of(place.part).len())
            .sum();
        let start = self.numbers.len();
        lists.rows = start..start + rows;
        lists.row_offsets = lists.rows.end..lists.rows.end + rows + 1;
        // Every lookup is in one row's list.
        lists.row_bags = lists.row_offsets.end..lists.row_offsets.end + lists.addresses.len();
        self.numbers.resize(lists.row_bags.end, 0);
        let (addresses, rest) = self.numbers[start..].split_at_mut(rows);
        let (offsets, bags) = rest.split_at_mut(rows + 1);
        // Where the next row of a size goes, and its bags.
        let mut next = [(0, 0); SIZES];
        for place in places {
            let part = &plan.parts[place.part];
            for index in part.rows.clone() {
                let samples = plan.samples_of(part, index).len();
                let (rows, bags) = &mut next[size_of_row(samples)];
                (*rows, *bags) = (*rows + 1, *bags + samples);
            }
        }
        lists.summed_rows = next[0].0;
        lists.long_rows = next[0].0 + next[1].0;
        let mut first = (0, 0);
        for size in &mut next {
            let (rows, bags) = std::mem::replace(size, first);
            first = (first.0 + rows, first.1 + bags);
        }
        for (position, place) in places.iter().enumerate() {
            let part = &plan.parts[place.part];
            for (slot, index) in part.rows.clone().enumerate() {
                let samples = plan.samples_of(part, index);
                let (row, bag) = &mut next[size_of_row(samples.len())];
                addresses[*row] = place.address(plan.rows[index], || slot as u32);
                for (into, &sample) in bags[*bag..].iter_mut().zip(samples) {
                    *into = number.of(position, sample as usize) as u32;
                }
                (*row, *bag) = (*row + 1, *bag + samples.len());
                offsets[*row] = *bag as u32;
            }
        }
        self.list_pieces(lists);
    }

    fn list_pieces(&mut self, lists: &mut ClassLists) {
        let start = self.numbers.len();
        let (long_rows, mut pieces) = (lists.long_rows, 0);
        for row in 0..=long_rows {
            self.numbers.push(pieces);
            if row < long_rows {
                let [begin, end] = [0, 1].map(|k| self.numbers[lists.row_offsets.start + row + k]);
                pieces += (end - begin).div_ceil(PIECE as u32);
            }
        }
        let starts = self.numbers.len();
        for row in 0..long_rows {
            let [begin, end] = [0, 1].map(|k| self.numbers[lists.row_offsets.start + row + k]);
            self.numbers.extend((begin..end).step_by(PIECE));
        }
        // The bags of these rows come first.
        let end = self.numbers[lists.row_offsets.start + long_rows];
        self.numbers.push(end);
        lists.row_pieces = start..starts;
        lists.piece_starts = starts..self.numbers.len();
    }
}

/// Where the parts of a class lie.
fn places<'a>(
    layout: &Layout,
    class: &Class,
    plan: &'a Grouping,
    cold: &ColdRows,
    hot_rows: &[u32],
) -> Result<(Vec<PartAddresses<'a>>, ClassLists)> {
    let hot: u64 = class
        .parts
        .iter()
        .map(|&part| u64::from(hot_rows[part]))
        .sum();
    let cold_rows: usize = class
        .parts
        .iter()
        .map(|&part| cold.parts[part].rows.len())
        .sum();
    count("rows", hot + cold_rows as u64)?;
    let (mut first_hot, mut first_cold) = (0, hot as u32);
    let mut places = Vec::with_capacity(class.parts.len());
    for &part in &class.parts {
        let placed = &layout.parts[part];
        // A class has no projections.
        let PartKind::Rows(row_of) = placed.kind else {
            continue;
        };
        places.push(PartAddresses {
            part,
            table: placed.table,
            row_of,
            slots: plan.slots_of(part - layout.tables[placed.table].first),
            hot: hot_rows[part],
            first_hot,
            hot_slots: cold.parts[part].first_slot as u32,
            first_cold,
        });
        first_hot += hot_rows[part];
        first_cold += cold.parts[part].rows.len() as u32;
    }
    let lists = ClassLists {
        width: class.width,
        hot_rows: hot as usize,
        cold_rows,
        ..ClassLists::default()
    };
    Ok((places, lists))
}

/// How the bags of a class are numbered.
struct BagNumbers {
    plain: bool,
    parts: usize,
    samples: Range<usize>,
}

impl BagNumbers {
    fn of(&self, position: usize, sample: usize) -> usize {
        let sample = sample - self.samples.start;
        if self.plain {
            sample * self.parts + position
        } else {
            position * self.samples.len() + sample
        }
    }

    /// All bags in the order of their numbers, as part of the class and sample.
    fn for_each(&self, mut f: impl FnMut(usize, usize)) {
        if self.plain {
            for sample in self.samples.clone() {
                (0..self.parts).for_each(|position| f(position, sample));
            }
        } else {
            for position in 0..self.parts {
                self.samples.clone().for_each(|sample| f(position, sample));
            }
        }
    }
}

/// A number that 32 bits hold, as kernels count.
fn count(what: &'static str, count: u64) -> Result<usize> {
    match u32::try_from(count) {
        Ok(count) => Ok(count as usize),
        Err(_) => Err(Error::BatchTooLarge {
            what,
            count: count.into(),
        }),
    }
}
