//! What a plan means on the device: numbers of rows, as tensors.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{Device, Tensor};

use super::DeviceStore;
#[cfg(feature = "cuda")]
use super::batch_lists::BatchLists;
#[cfg(feature = "cuda")]
use super::cuda::DeviceLists;
use crate::cold_rows::ColdRows;
use crate::error::Result;
use crate::grouping::PIECE;
use crate::layout::Composition;
use crate::plan::Plan;

/// The numbers that lookup and update of a batch select rows by.
///
/// The *working rows* of a class are the distinct hot rows of its parts, then the cold ones, part
/// by part.
#[derive(Debug)]
pub(super) struct Index {
    serial: u64,
    /// One for each of the layout's classes; none where kernels read `lists` instead.
    pub(super) classes: Vec<ClassIndex>,
    /// For each table that is projected and has an empty bag: 1 for every sample whose bag is not,
    /// `[samples, 1]`.
    pub(super) filled: Vec<Option<Tensor>>,
    #[cfg(feature = "cuda")]
    pub(super) lists: Option<DeviceLists>,
}

#[derive(Debug)]
pub(super) struct ClassIndex {
    /// Rows of the class's matrix, `[hot]`; none without hot rows.
    pub(super) hot: Option<Tensor>,
    pub(super) hot_rows: usize,
    pub(super) cold_rows: usize,
    /// The working row of every lookup, part by part, `[lookups]`; none without lookups.
    pub(super) working: Option<Tensor>,
    /// Which bag, `part · samples + sample`, a lookup is in, `[lookups]`; none where every bag has
    /// one lookup.
    pub(super) bags: Option<Tensor>,
    /// Where a row has more lookups than are added one after the other.
    pub(super) pieces: Option<Pieces>,
}

/// Which lookups are added one after the other.
#[derive(Debug)]
pub(super) struct Pieces {
    /// The piece of every lookup, `[lookups]`.
    pub(super) of_lookup: Tensor,
    /// The working row of every piece, `[pieces]`.
    pub(super) rows: Tensor,
}

/// Pieces of lookups of the same working row, in their order; none where every row is one piece.
fn pieces(working: &[u32], device: &Device) -> Result<Option<Pieces>> {
    let rows = working.iter().max().map_or(0, |&row| row as usize + 1);
    let mut seen = vec![0usize; rows];
    working.iter().for_each(|&row| seen[row as usize] += 1);
    if seen.iter().all(|&count| count <= PIECE) {
        return Ok(None);
    }
    let (mut latest, mut of_piece) = (vec![0; rows], Vec::new());
    seen.fill(0);
    let of_lookup = working.iter().map(|&row| {
        let (seen, latest) = (&mut seen[row as usize], &mut latest[row as usize]);
        if seen.is_multiple_of(PIECE) {
            *latest = of_piece.len() as u32;
            of_piece.push(row);
        }
        *seen += 1;
        *latest
    });
    let of_lookup: Vec<u32> = of_lookup.collect();
    Ok(Some(Pieces {
        of_lookup: Tensor::new(of_lookup, device)?,
        rows: Tensor::new(of_piece, device)?,
    }))
}

/// Plans whose indices are made ahead.
const COMING: usize = 4;

impl Index {
    pub(super) fn is_of(&self, plan: &Plan) -> bool {
        self.serial == plan.grouping.serial
    }
}

impl DeviceStore {
    /// The index of a whole batch, made once for its lookup and its update.
    pub(super) fn index(&self, plan: &Plan, cold: &ColdRows) -> Result<Arc<Index>> {
        let mut kept = self.index.lock().unwrap_or_else(|lock| lock.into_inner());
        let mut ready = kept.iter().chain(&self.coming);
        let ready = ready.find(|index| index.is_of(plan)).cloned();
        let index = match ready {
            Some(index) => index,
            None => Arc::new(self.index_samples(plan, cold, 0..plan.batch())?),
        };
        // The other's memory on the device is given back after this one's copy was requested, so
        // that it waits for no work.
        *kept = Some(Arc::clone(&index));
        Ok(index)
    }

    /// Makes the index of a coming plan.
    pub(super) fn index_ahead(&mut self, plan: &Plan) -> Result<()> {
        if self.coming.iter().any(|index| index.is_of(plan)) {
            return Ok(());
        }
        let cold = self.no_cold_rows(plan);
        let index = self.index_samples(plan, &cold, 0..plan.batch())?;
        if self.coming.len() >= COMING {
            self.coming.pop_front();
        }
        self.coming.push_back(Arc::new(index));
        Ok(())
    }

    /// The index of some samples' lookups; working rows are those of the whole batch.
    pub(super) fn index_samples(
        &self,
        plan: &Plan,
        cold: &ColdRows,
        samples: Range<usize>,
    ) -> Result<Index> {
        let filled = self.filled_bags(plan, &samples)?;
        #[cfg(feature = "cuda")]
        if let (Device::Cuda(device), Some(transfers)) = (&self.device, &self.transfers) {
            let made;
            let lists = match plan.lists(&self.layout, &self.hot_rows) {
                Some(lists) if samples == (0..plan.batch()) => lists,
                _ => {
                    let mut lists = BatchLists::default();
                    lists.fill(&self.layout, &plan.grouping, cold, &self.hot_rows, samples)?;
                    made = lists;
                    &made
                }
            };
            return Ok(Index {
                serial: plan.grouping.serial,
                classes: Vec::new(),
                filled,
                lists: Some(DeviceLists::upload(device, transfers, lists)?),
            });
        }
        let classes = self
            .layout
            .classes
            .iter()
            .map(|class| self.class_index(&class.parts, plan, cold, &samples))
            .collect::<Result<_>>()?;
        Ok(Index {
            serial: plan.grouping.serial,
            classes,
            filled,
            #[cfg(feature = "cuda")]
            lists: None,
        })
    }

    fn filled_bags(&self, plan: &Plan, samples: &Range<usize>) -> Result<Vec<Option<Tensor>>> {
        let tables = self.layout.tables.len();
        let filled = self
            .layout
            .tables
            .iter()
            .enumerate()
            .map(|(table, placed)| {
                let projected = matches!(placed.composition, Composition::Projected { .. });
                if !projected || plan.grouping.offsets.is_empty() || samples.is_empty() {
                    return Ok(None);
                }
                let filled = samples
                    .clone()
                    .map(|sample| !plan.grouping.bag(sample * tables + table).is_empty());
                let filled: Vec<u8> = filled.map(u8::from).collect();
                if !filled.contains(&0) {
                    return Ok(None);
                }
                Ok(Some(Tensor::from_vec(
                    filled,
                    (samples.len(), 1),
                    &self.device,
                )?))
            });
        filled.collect()
    }

    fn class_index(
        &self,
        parts: &[usize],
        plan: &Plan,
        cold: &ColdRows,
        samples: &Range<usize>,
    ) -> Result<ClassIndex> {
        let mut hot = Vec::new();
        for &part in parts {
            let rows = &plan.rows_of(part)[..cold.parts[part].first_slot];
            hot.extend(rows.iter().map(|row| self.first_rows[part] + row));
        }
        let cold_rows = parts.iter().map(|&part| cold.parts[part].rows.len()).sum();
        let (mut working, mut bags) = (Vec::new(), Vec::new());
        let (mut first_hot, mut first_cold) = (0, hot.len());
        let tables = self.layout.tables.len();
        for (position, &part) in parts.iter().enumerate() {
            let table = self.layout.parts[part].table;
            let slots = plan
                .grouping
                .slots_of(part - self.layout.tables[table].first);
            let hot_slots = cold.parts[part].first_slot;
            for sample in samples.clone() {
                let bag = plan.grouping.lookups_of(sample * tables + table);
                for &slot in &slots[bag.first..bag.first + bag.ids.len()] {
                    let slot = slot as usize;
                    let row = if slot < hot_slots {
                        first_hot + slot
                    } else {
                        first_cold + slot - hot_slots
                    };
                    working.push(row as u32);
                    bags.push((position * samples.len() + sample - samples.start) as u32);
                }
            }
            first_hot += hot_slots;
            first_cold += cold.parts[part].rows.len();
        }
        let hot_rows = hot.len();
        let single_hot = plan.grouping.offsets.is_empty();
        Ok(ClassIndex {
            hot: numbers(hot, &self.device)?,
            hot_rows,
            cold_rows,
            pieces: pieces(&working, &self.device)?,
            working: numbers(working, &self.device)?,
            bags: if single_hot {
                None
            } else {
                numbers(bags, &self.device)?
            },
        })
    }
}

/// Numbers on the device; none for none, because not every device has empty tensors.
pub(super) fn numbers(numbers: Vec<u32>, device: &Device) -> Result<Option<Tensor>> {
    if numbers.is_empty() {
        return Ok(None);
    }
    let count = numbers.len();
    Ok(Some(Tensor::from_vec(numbers, count, device)?))
}
