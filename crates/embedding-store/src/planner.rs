//! Grouping a batch's ids by row.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cold_rows::ColdRows;
use crate::device_store::batch_lists::BatchLists;
use crate::encoding::TableSpec;
use crate::error::{Error, Result};
use crate::grouping::{Chunk, Grouping, PartPlan, SortBuffers};
use crate::layout::{Layout, PartKind, RowOf};
use crate::plan::{DevicePlan, Plan};
use crate::rule::RowOptimizer;

/// Rows plus samples of a chunk: enough that starting a task costs nothing, few enough that 20
/// tables make many.
const CHUNK_WORK: usize = 1024;

/// The ids of a batch, as [`Batch`](https://docs.rs/recsys-data) holds them.
#[derive(Debug, Clone, Copy)]
pub struct Ids<'a> {
    /// Number of samples.
    pub batch: usize,
    /// Ids, bag by bag; bag `sample * tables + table`. Single-hot: `[batch, tables]`.
    pub ids: &'a [u32],
    /// Where each bag starts in `ids`, `[batch * tables + 1]`; empty where every bag holds exactly
    /// one id.
    pub offsets: &'a [u32],
}

/// Makes plans for a store's tables; clones are cheap and work on any thread, while the store is
/// being used.
#[derive(Debug, Clone)]
pub struct Planner {
    layout: Arc<Layout>,
    slots: bool,
    lists: Option<Lists>,
}

/// For which device a plan has lists.
#[derive(Debug, Clone)]
struct Lists {
    /// Rows of every part that are there.
    hot_rows: Arc<[u32]>,
    /// The same for batches that touch others; without it these have no lists.
    otherwise: Option<Arc<[u32]>>,
}

/// The number of the next plan.
static SERIAL: AtomicU64 = AtomicU64::new(1);

impl Planner {
    /// Makes plans for tables whose looked-up rows have `dim` floats: for stores that are written
    /// outside of this crate, or ahead of a store. The stores of this crate take its plans if it
    /// was told to make them [`with_slots`](Self::with_slots); on a device, those of their own
    /// planner cost less.
    ///
    /// # Errors
    /// No tables, a dimension of 0, or a table with impossible settings.
    pub fn new(tables: Vec<TableSpec>, dim: usize) -> Result<Self> {
        let (layout, _) = Layout::new(tables, dim, &RowOptimizer::default())?;
        Ok(Self::of(Arc::new(layout)))
    }

    /// That a plan was filled by a planner for the same tables: what a store checks before it
    /// trusts the plan's rows.
    ///
    /// # Errors
    /// A plan that is empty or for other tables.
    pub fn check(&self, plan: &Plan) -> Result<()> {
        plan.grouping.check(&self.layout)
    }

    pub(crate) fn of(layout: Arc<Layout>) -> Self {
        Self {
            layout,
            slots: false,
            lists: None,
        }
    }

    pub(crate) fn layout(&self) -> Arc<Layout> {
        Arc::clone(&self.layout)
    }

    /// Also notes which distinct row every lookup means, for stores whose rows lie in more than one
    /// place.
    pub fn with_slots(mut self) -> Self {
        self.slots = true;
        self
    }

    /// Also makes what kernels read of a plan that touches no rows but those of a device that has
    /// as many of every part.
    pub(crate) fn with_lists(mut self, hot_rows: Arc<[u32]>) -> Self {
        self.lists = Some(Lists {
            hot_rows,
            otherwise: None,
        });
        self.with_slots()
    }

    /// The same for all other plans, where this planner makes lists: for a device that has that
    /// many rows.
    pub(crate) fn with_lists_otherwise(mut self, hot_rows: Arc<[u32]>) -> Self {
        if let Some(lists) = &mut self.lists {
            lists.otherwise = Some(hot_rows);
        }
        self
    }

    /// Checks ids and offsets, and groups them by row, in time proportional to the number of ids.
    ///
    /// # Errors
    /// An id that is not below its table's rows, single-hot ids of another number than samples
    /// times tables, or offsets that do not start at 0, fall, or do not end at the number of ids.
    /// The plan is empty then.
    pub fn plan(&self, ids: Ids<'_>, into: &mut Plan) -> Result<()> {
        into.clear();
        let filled = self.fill(ids, &mut into.grouping);
        let filled = filled.and_then(|()| self.list(&into.grouping, &mut into.device));
        match filled {
            Ok(()) => {
                into.grouping.layout = Some(Arc::clone(&self.layout));
                into.grouping.serial = SERIAL.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => into.clear(),
        }
        filled
    }

    /// The lists of a plan with slots, where the first `hot_rows` of every part are on the device.
    ///
    /// # Errors
    /// A plan for other tables or without slots, and more bags, lookups or rows than 32 bits count.
    #[doc(hidden)]
    pub fn batch_lists(&self, plan: &Plan, hot_rows: &[u32]) -> Result<BatchLists> {
        let layout = &self.layout;
        if hot_rows.len() != layout.parts.len() {
            return Err(Error::RangesCount {
                got: hot_rows.len(),
                parts: layout.parts.len(),
            });
        }
        let batch = &plan.grouping;
        batch.check(layout)?;
        batch.check_slots()?;
        let mut cold = ColdRows::default();
        cold.list(batch, layout, hot_rows);
        let mut lists = BatchLists::default();
        lists.fill(layout, batch, &cold, hot_rows, 0..batch.batch)?;
        Ok(lists)
    }

    /// Makes the lists for a device, where it is told to.
    fn list(&self, batch: &Grouping, device: &mut DevicePlan) -> Result<()> {
        let Some(Lists {
            hot_rows,
            otherwise,
        }) = &self.lists
        else {
            return Ok(());
        };
        let DevicePlan { lists, cold, .. } = &mut *device;
        let mut of = Some(hot_rows);
        if cold.count(batch, &self.layout, hot_rows) > 0 {
            of = otherwise.as_ref();
            if let Some(others) = of.filter(|others| *others != hot_rows) {
                cold.count(batch, &self.layout, others);
            }
        }
        let listed = match of {
            Some(rows) => lists.fill(&self.layout, batch, cold, rows, 0..batch.batch),
            None => Ok(()),
        };
        device.hot_rows = of.cloned().unwrap_or_default();
        listed
    }

    fn fill(&self, ids: Ids<'_>, into: &mut Grouping) -> Result<()> {
        self.check_shape(ids)?;
        into.batch = ids.batch;
        into.ids.extend_from_slice(ids.ids);
        into.offsets.extend_from_slice(ids.offsets);
        for (table, spec) in self.layout.specs.iter().enumerate() {
            self.check_ids(table, spec.rows, ids)?;
        }
        for (index, part) in self.layout.parts.iter().enumerate() {
            let rows = into.rows.len()..into.rows.len();
            into.parts.push(PartPlan {
                rows,
                first_sample: into.samples.len(),
            });
            if let PartKind::Rows(row_of) = part.kind {
                let largest = self.collect(part.table, row_of, ids, &mut into.sort);
                sort(&mut into.sort, largest);
                if self.slots {
                    let part_of_table = index - self.layout.tables[part.table].first;
                    self.note_slots(part_of_table, into);
                }
                group(into, index);
            }
        }
        Ok(())
    }

    fn check_shape(
        &self,
        Ids {
            batch,
            ids,
            offsets,
        }: Ids<'_>,
    ) -> Result<()> {
        let tables = self.layout.specs.len();
        let bags = batch as u128 * tables as u128;
        for (what, count) in [("bags", bags), ("ids", ids.len() as u128)] {
            if count > u128::from(u32::MAX) {
                return Err(Error::BatchTooLarge { what, count });
            }
        }
        let bags = bags as usize;
        if offsets.is_empty() {
            if ids.len() != bags {
                return Err(Error::IdCount {
                    ids: ids.len(),
                    batch,
                    tables,
                });
            }
            return Ok(());
        }
        if offsets.len() != bags + 1 {
            return Err(Error::OffsetCount {
                offsets: offsets.len(),
                batch,
                tables,
            });
        }
        let invalid = |bag: usize| Error::InvalidOffsets {
            sample: bag / tables,
            table: bag % tables,
            start: offsets[bag],
            end: offsets[(bag + 1).min(bags)],
            ids: ids.len(),
        };
        if offsets[0] != 0 {
            return Err(invalid(0));
        }
        for (bag, pair) in offsets.windows(2).enumerate() {
            if pair[0] > pair[1] || pair[1] as usize > ids.len() {
                return Err(invalid(bag));
            }
        }
        if offsets[bags] as usize != ids.len() {
            return Err(invalid(bags.saturating_sub(1)));
        }
        Ok(())
    }

    fn check_ids(&self, table: usize, rows: u64, ids: Ids<'_>) -> Result<()> {
        for sample in 0..ids.batch {
            for &id in self.bag(ids, sample, table) {
                if u64::from(id) >= rows {
                    return Err(Error::IdOutOfRange {
                        sample,
                        table,
                        id,
                        rows,
                    });
                }
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn bag<'a>(&self, ids: Ids<'a>, sample: usize, table: usize) -> &'a [u32] {
        let bag = sample * self.layout.specs.len() + table;
        if ids.offsets.is_empty() {
            &ids.ids[bag..=bag]
        } else {
            &ids.ids[ids.offsets[bag] as usize..ids.offsets[bag + 1] as usize]
        }
    }

    /// Writes the keys of a part, sample by sample, and returns the largest row.
    fn collect(&self, table: usize, row_of: RowOf, ids: Ids<'_>, sort: &mut SortBuffers) -> u32 {
        sort.keys.clear();
        let mut largest = 0;
        if self.slots {
            let tables = self.layout.specs.len();
            sort.sample_of.resize(ids.ids.len(), 0);
            for sample in 0..ids.batch {
                let bag = sample * tables + table;
                let first = ids.offsets.get(bag).map_or(bag, |&first| first as usize);
                for (lookup, &id) in (first..).zip(self.bag(ids, sample, table)) {
                    let row = row_of.row(id);
                    largest = largest.max(row);
                    sort.keys.push(u64::from(row) << 32 | lookup as u64);
                    sort.sample_of[lookup] = sample as u32;
                }
            }
            return largest;
        }
        if ids.offsets.is_empty() {
            let of_table = ids.ids.iter().skip(table).step_by(self.layout.specs.len());
            sort.keys.resize(ids.batch, 0);
            for ((sample, key), &id) in (0u64..).zip(&mut sort.keys).zip(of_table) {
                let row = row_of.row(id);
                largest = largest.max(row);
                *key = u64::from(row) << 32 | sample;
            }
            return largest;
        }
        for sample in 0..ids.batch {
            for &id in self.bag(ids, sample, table) {
                let row = row_of.row(id);
                largest = largest.max(row);
                sort.keys.push(u64::from(row) << 32 | sample as u64);
            }
        }
        largest
    }

    /// Notes the slots of the sorted keys' lookups, and turns the keys into those of samples.
    fn note_slots(&self, part_of_table: usize, plan: &mut Grouping) {
        let first = part_of_table * plan.ids.len();
        if plan.slots.len() < first + plan.ids.len() {
            plan.slots.resize(first + plan.ids.len(), 0);
        }
        let slots = &mut plan.slots[first..];
        let (mut slot, mut previous) = (0u32, None);
        for key in &mut plan.sort.keys {
            let (row, lookup) = ((*key >> 32) as u32, *key as u32 as usize);
            slot += u32::from(previous.is_some_and(|previous| previous != row));
            previous = Some(row);
            slots[lookup] = slot;
            *key = u64::from(row) << 32 | u64::from(plan.sort.sample_of[lookup]);
        }
    }
}

/// Sorts the keys by row; keys of one row stay in their order, which is that of the samples. A
/// radix sort from the least significant digit, with digits about as wide as the number of keys
/// makes worth while.
fn sort(buffers: &mut SortBuffers, largest: u32) {
    let SortBuffers {
        keys,
        other,
        counts,
        ..
    } = buffers;
    if keys.len() < 2 {
        return;
    }
    let bits = u32::BITS - largest.leading_zeros();
    let widest = (keys.len().ilog2()).clamp(4, 12);
    let passes = bits.div_ceil(widest);
    if passes == 0 {
        return;
    }
    let width = bits.div_ceil(passes);
    let mask = (1u64 << width) - 1;
    let digit = |key: u64, pass: u32| (key >> (32 + pass * width) & mask) as usize;
    // The digits of all passes are counted together.
    counts.clear();
    counts.resize((passes as usize) << width, 0);
    for &key in keys.iter() {
        for (pass, counts) in (0..passes).zip(counts.chunks_exact_mut(1 << width)) {
            counts[digit(key, pass)] += 1;
        }
    }
    other.resize(keys.len(), 0);
    for (pass, counts) in (0..passes).zip(counts.chunks_exact_mut(1 << width)) {
        let mut start = 0;
        for count in counts.iter_mut() {
            start += std::mem::replace(count, start);
        }
        for &key in keys.iter() {
            let slot = &mut counts[digit(key, pass)];
            other[*slot as usize] = key;
            *slot += 1;
        }
        std::mem::swap(keys, other);
    }
}

/// Turns the sorted keys of a part into rows, ends and samples, and cuts them into chunks.
fn group(plan: &mut Grouping, part: usize) {
    let first_row = plan.rows.len();
    let first_sample = plan.samples.len();
    plan.samples
        .extend(plan.sort.keys.iter().map(|&key| key as u32));
    // Whether a key has the row of the one before cannot be foretold, so nothing branches on it:
    // the entry of the current row is written again with every key.
    let keys = plan.sort.keys.as_slice();
    for list in [&mut plan.rows, &mut plan.ends] {
        list.resize(first_row + keys.len(), 0);
    }
    let (rows, ends) = (&mut plan.rows[first_row..], &mut plan.ends[first_row..]);
    let mut previous = keys.first().map_or(0, |key| key >> 32);
    let mut current = 0;
    for (end, &key) in (1u32..).zip(keys) {
        let row = key >> 32;
        current += usize::from(row != previous);
        (rows[current], ends[current]) = (row as u32, end);
        previous = row;
    }
    let distinct = current + usize::from(!keys.is_empty());
    for list in [&mut plan.rows, &mut plan.ends] {
        list.truncate(first_row + distinct);
    }
    plan.parts[part] = PartPlan {
        rows: first_row..plan.rows.len(),
        first_sample,
    };
    let (mut start, mut work, mut position) = (first_row, 0, 0);
    for row in first_row..plan.rows.len() {
        let end = plan.ends[row] as usize;
        work += 1 + end - position;
        position = end;
        if work >= CHUNK_WORK || row + 1 == plan.rows.len() {
            plan.chunks.push(Chunk {
                part,
                rows: start..row + 1,
            });
            (start, work) = (row + 1, 0);
        }
    }
}
