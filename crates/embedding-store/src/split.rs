//! The two sides of a store whose rows lie in two places, and the sides in host memory.

use std::fmt::Debug;
use std::ops::Range;

use candle_core::Tensor;
use rayon::prelude::*;
use recsys_device::{read_slice, write_slice};

use crate::arena::{Arena, RowPointers, SendPointer};
use crate::cold_rows::{ColdChunk, ColdRows};
use crate::cpu_store::CpuStore;
use crate::error::{Error, Result};
use crate::grouping::Grouping;
use crate::kernel::{Columns, Kernel, RowAt, prefetch};
use crate::layout::{PartKind, RowOf};
use crate::lookup::{RowSource, gather};
use crate::part_storage::PartStorage;
use crate::plan::Plan;
use crate::rounding::Rounding;
use crate::rule::{DenseRule, Rule, Step, step_elements, step_row};
use crate::store::EmbeddingStore;

/// Rows between the one that is copied and the one that is prefetched.
const PREFETCH_ROWS: usize = 16;
/// Rows that one thread copies sooner than others wake up.
const FEW_ROWS: usize = 4096;

/// Works on all chunks, on several threads where that pays.
fn for_each_chunk(rows: &ColdRows, f: impl Fn(&ColdChunk) + Send + Sync) {
    if rows.rows.len() <= FEW_ROWS {
        rows.chunks.iter().for_each(f);
    } else {
        rows.chunks.par_iter().for_each(f);
    }
}

/// What the hot side of a store does with rows that lie elsewhere; [`HotSide`](crate::HotSide) is
/// its public name.
pub trait HotOperations: EmbeddingStore {
    /// Cold rows of a batch, where lookups of this store can read them.
    type Staged: Send + Sync + Default + Debug;

    /// The rows of a part that are here.
    fn held(&self, part: usize) -> Range<u64>;

    /// How the weights of the rows that are here are rounded to bf16; as f32 they are not.
    fn rounding(&self) -> Option<Rounding> {
        None
    }

    /// Takes a batch's cold rows to the device, and what its lookups mean.
    ///
    /// # Errors
    /// A copy that fails.
    fn stage(&self, plan: &Plan, cold: &ColdRows, into: &mut Self::Staged) -> Result<()>;

    /// Takes those of a batch's cold rows to the device that have changed since.
    ///
    /// # Errors
    /// A copy that fails.
    fn stage_changed(&self, cold: &ColdRows, into: &mut Self::Staged) -> Result<()>;

    /// Whether cold rows can be moved where they are staged, so that the host need not wait for
    /// their gradients: the three methods below do what they say. Rows are then staged with their
    /// optimizer's state.
    fn moves_staged(&self) -> bool {
        false
    }

    /// As [`update_with`](Self::update_with), but moves the cold rows where they are staged, and
    /// requests their way back.
    ///
    /// # Errors
    /// A tensor operation that fails; without a definition of its own, always.
    fn move_staged(
        &mut self,
        plan: &Plan,
        cold: &ColdRows,
        staged: &mut Self::Staged,
        grad: &Tensor,
        step: Step,
    ) -> Result<()> {
        let _ = (plan, cold, staged, grad, step);
        Err(Error::SidesMismatch {
            problem: "the hot side does not move staged rows".into(),
        })
    }

    /// Copies rows that one batch has moved over those of another, which was staged before or from
    /// rows that have not come back: places among the rows of `from`, and behind these as many
    /// among those of `into`.
    ///
    /// # Errors
    /// A copy that fails.
    fn copy_staged(
        &self,
        from: &Self::Staged,
        into: &mut Self::Staged,
        pairs: &[u32],
    ) -> Result<()> {
        let _ = (from, into, pairs);
        Ok(())
    }

    /// Waits for the rows that a batch has moved, and writes them and their state into `cold`.
    ///
    /// # Errors
    /// A copy that fails.
    fn take_staged(&self, staged: &mut Self::Staged, cold: &mut ColdRows) -> Result<()> {
        let _ = (staged, cold);
        Ok(())
    }

    /// As [`EmbeddingStore::lookup`], with the plan's cold rows from elsewhere. Plan, rows and
    /// tensor are checked.
    ///
    /// # Errors
    /// A tensor operation that fails.
    fn lookup_with(
        &self,
        plan: &Plan,
        cold: &ColdRows,
        staged: &Self::Staged,
        into: &Tensor,
    ) -> Result<()>;

    /// As [`EmbeddingStore::update`], for the rows that are here; the gradients of the others are
    /// written into `cold`. Plan, rows and tensor are checked.
    ///
    /// # Errors
    /// A tensor operation that fails.
    fn update_with(
        &mut self,
        plan: &Plan,
        cold: &mut ColdRows,
        staged: &Self::Staged,
        grad: &Tensor,
        step: Step,
    ) -> Result<()>;

    /// As [`EmbeddingStore::lookup`], for some of the samples; `into` is `[samples, tables, dim]`.
    ///
    /// # Errors
    /// As [`EmbeddingStore::lookup`].
    fn lookup_samples(&self, plan: &Plan, samples: Range<usize>, into: &Tensor) -> Result<()>;

    /// Copies any rows of a part, `[rows, dim]` and `[rows, state width]`, into the two buffers.
    ///
    /// # Errors
    /// A copy that fails.
    fn read_rows(
        &self,
        part: usize,
        rows: &[u32],
        weights: &mut Vec<f32>,
        state: &mut Vec<f32>,
    ) -> Result<()>;

    /// Overwrites any rows of a part, in the form of [`read_rows`](Self::read_rows).
    ///
    /// # Errors
    /// A copy that fails.
    fn write_rows(
        &mut self,
        part: usize,
        rows: &[u32],
        weights: &[f32],
        state: &[f32],
    ) -> Result<()>;
}

/// What the cold side does with the rows of a batch; [`ColdSide`](crate::ColdSide) is its public
/// name.
pub trait ColdOperations: EmbeddingStore {
    /// The rows of a part that are here.
    fn held(&self, part: usize) -> Range<u64>;

    /// Copies the weights of the listed rows, and their state where there is room for it.
    fn read(&self, rows: &mut ColdRows);

    /// Overwrites the listed rows and their state.
    fn write(&mut self, rows: &ColdRows);

    /// Copies the weights of those of the listed rows again that have changed since.
    fn read_changed(&self, rows: &mut ColdRows);

    /// Moves the listed rows along their gradients.
    fn apply(&mut self, rows: &ColdRows, step: Step);
}

/// Rows of which the first of every part lie in one store and the others, as far as a plan touches
/// them, in a buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SplitRows<'a> {
    hot: &'a CpuStore,
    cold: &'a ColdRows,
    /// One for each part, laid out once for all bags.
    parts: &'a [SplitPart<'a>],
}

impl<'a> SplitRows<'a> {
    /// `cold` lists the rows of this plan that the store does not hold, and the plan has slots.
    pub(crate) fn parts(
        hot: &CpuStore,
        cold: &'a ColdRows,
        plan: &'a Grouping,
    ) -> Vec<SplitPart<'a>> {
        debug_assert_eq!(cold.serial, plan.serial);
        let weights = cold.weights.as_slice().as_ptr();
        let part = |index: usize| {
            let storage = &hot.storage[index];
            let placed = &hot.layout.parts[index];
            let from = &cold.parts[index];
            SplitPart {
                row_of: storage.row_of,
                hot: storage.columns(),
                // Rows of a part are counted in 32 bits.
                hot_rows: hot.held[index].end as u32,
                cold: Columns {
                    base: weights
                        .wrapping_add(from.start)
                        .wrapping_sub(from.first_slot * from.width),
                    stride: from.width,
                },
                slots: match placed.kind {
                    PartKind::Projection => &[],
                    PartKind::Rows(_) => {
                        plan.slots_of(index - hot.layout.tables[placed.table].first)
                    }
                },
            }
        };
        (0..hot.storage.len()).map(part).collect()
    }

    /// `parts` are those of this store and these rows.
    pub(crate) fn new(hot: &'a CpuStore, cold: &'a ColdRows, parts: &'a [SplitPart<'a>]) -> Self {
        Self { hot, cold, parts }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct SplitPart<'a> {
    row_of: RowOf,
    hot: Columns,
    hot_rows: u32,
    /// As if the part's distinct hot rows lay before the cold ones.
    cold: Columns,
    slots: &'a [u32],
}

impl RowAt for SplitPart<'_> {
    #[inline(always)]
    fn row_at(self, lookup: usize, id: u32) -> *const f32 {
        let row = self.row_of.row(id);
        if row < self.hot_rows {
            self.hot.row(row)
        } else {
            self.cold.row(self.slots[lookup])
        }
    }
}

impl<'a> RowSource<'a> for SplitRows<'a> {
    type Rows = SplitPart<'a>;

    #[inline(always)]
    fn rows(self, part: usize) -> SplitPart<'a> {
        self.parts[part]
    }

    #[inline(always)]
    fn projection(self, part: usize, row: usize) -> &'a [f32] {
        let hot = &self.hot.storage[part].weights;
        if hot.rows() > 0 {
            return hot.row(row);
        }
        let cold = &self.cold.parts[part];
        &self.cold.weights.as_slice()[cold.start + row * cold.width..][..cold.width]
    }
}

impl HotOperations for CpuStore {
    /// Host memory is where they are.
    type Staged = ();

    fn held(&self, part: usize) -> Range<u64> {
        self.held.get(part).cloned().unwrap_or_default()
    }

    fn stage(&self, _: &Plan, _: &ColdRows, _: &mut ()) -> Result<()> {
        Ok(())
    }

    fn stage_changed(&self, _: &ColdRows, _: &mut ()) -> Result<()> {
        Ok(())
    }

    fn lookup_with(&self, plan: &Plan, cold: &ColdRows, _: &(), into: &Tensor) -> Result<()> {
        let parts = SplitRows::parts(self, cold, &plan.grouping);
        let source = SplitRows::new(self, cold, &parts);
        write_slice(into, |into| {
            let samples = 0..plan.batch();
            gather(
                self.level,
                &self.layout,
                self.dim,
                source,
                &plan.grouping,
                samples,
                into,
            );
        })?;
        Ok(())
    }

    fn update_with(
        &mut self,
        plan: &Plan,
        cold: &mut ColdRows,
        _: &(),
        grad: &Tensor,
        step: Step,
    ) -> Result<()> {
        read_slice(grad, |grad| {
            self.scatter(&plan.grouping, grad, step, Some(cold));
        })?;
        Ok(())
    }

    fn lookup_samples(&self, plan: &Plan, samples: Range<usize>, into: &Tensor) -> Result<()> {
        self.check_samples(plan, &samples, into)?;
        write_slice(into, |into| {
            gather(
                self.level,
                &self.layout,
                self.dim,
                self,
                &plan.grouping,
                samples,
                into,
            );
        })?;
        Ok(())
    }

    fn read_rows(
        &self,
        part: usize,
        rows: &[u32],
        weights: &mut Vec<f32>,
        state: &mut Vec<f32>,
    ) -> Result<()> {
        self.read_any(part, rows, weights, state)
    }

    fn write_rows(
        &mut self,
        part: usize,
        rows: &[u32],
        weights: &[f32],
        state: &[f32],
    ) -> Result<()> {
        self.write_any(part, rows, weights, state)
    }
}

impl ColdOperations for CpuStore {
    fn held(&self, part: usize) -> Range<u64> {
        self.held.get(part).cloned().unwrap_or_default()
    }

    fn read(&self, rows: &mut ColdRows) {
        self.read_ahead_cold(rows);
        let into = SendPointer(rows.weights.as_mut_slice().as_mut_ptr());
        let with_state = !rows.state.as_slice().is_empty();
        let state = SendPointer(rows.state.as_mut_slice().as_mut_ptr());
        let rows = &*rows;
        for_each_chunk(rows, |chunk| {
            let storage = &self.storage[chunk.part];
            // SAFETY: every listed row has its own floats in the buffers, and is in one chunk.
            let into = unsafe { into.get().add(rows.at(chunk.part, chunk.rows.start)) };
            self.level.run(CopyRows {
                from: storage.columns(),
                rows: &rows.rows[chunk.rows.clone()],
                width: rows.parts[chunk.part].width,
                into,
            });
            if let (true, Some((from, width))) = (with_state, storage.state_columns()) {
                // SAFETY: as above.
                let into = unsafe { state.get().add(chunk.rows.start * width) };
                self.level.run(CopyRows {
                    from,
                    rows: &rows.rows[chunk.rows.clone()],
                    width,
                    into,
                });
            }
        });
    }

    fn write(&mut self, rows: &ColdRows) {
        let this = &*self;
        for_each_chunk(rows, |chunk| {
            let storage = &this.storage[chunk.part];
            let write = |into: &Arena, from: &[f32]| {
                let (width, into) = (into.width(), RowPointers::new(into, storage.first));
                let listed = &rows.rows[chunk.rows.clone()];
                for (index, (&row, from)) in listed.iter().zip(from.chunks_exact(width)).enumerate()
                {
                    if let Some(&ahead) = listed.get(index + PREFETCH_ROWS) {
                        prefetch(into.at(ahead as usize), width);
                    }
                    // SAFETY: listed rows lie in their part, are distinct, and every one is in one
                    // chunk; `write` holds the store exclusively.
                    unsafe {
                        std::ptr::copy_nonoverlapping(from.as_ptr(), into.at(row as usize), width);
                    }
                }
            };
            let weights = &rows.weights.as_slice()[rows.at(chunk.part, chunk.rows.start)..];
            write(&storage.weights, weights);
            if let Some(state) = &storage.state {
                let first = chunk.rows.start * state.width();
                write(state, &rows.state.as_slice()[first..]);
            }
        });
    }

    fn read_changed(&self, rows: &mut ColdRows) {
        for &(part, place) in &rows.changed {
            let (part, place) = (part as usize, place as usize);
            let (start, width) = (rows.at(part, place), rows.parts[part].width);
            let storage = &self.storage[part];
            let row = storage
                .weights
                .row(rows.rows[place] as usize - storage.first);
            rows.weights.as_mut_slice()[start..start + width].copy_from_slice(row);
        }
    }

    fn apply(&mut self, rows: &ColdRows, step: Step) {
        let this = &*self;
        for_each_chunk(rows, |chunk| {
            let placed = &this.layout.parts[chunk.part];
            let rule = match placed.kind {
                PartKind::Rows(_) => {
                    let rule = this.optimizer.rule(placed.table, step);
                    rule.map(PartRule::Rows)
                }
                PartKind::Projection => {
                    let rule = this.optimizer.projection_rule(placed.table, step);
                    rule.map(PartRule::Projection)
                }
            };
            let Some(rule) = rule else {
                return;
            };
            this.level.run(ApplyRows {
                storage: &this.storage[chunk.part],
                rows: &rows.rows[chunk.rows.clone()],
                grads: &rows.grads.as_slice()[rows.at(chunk.part, chunk.rows.start)..],
                rule,
            });
        });
    }
}

/// Copies rows of one part behind each other.
struct CopyRows<'a> {
    from: Columns,
    rows: &'a [u32],
    width: usize,
    into: *mut f32,
}

impl Kernel for CopyRows<'_> {
    #[inline(always)]
    fn run(self) {
        match self.width {
            16 => self.copy::<16>(),
            32 => self.copy::<32>(),
            64 => self.copy::<64>(),
            _ => self.copy::<0>(),
        }
    }
}

impl CopyRows<'_> {
    #[inline(always)]
    fn copy<const WIDTH: usize>(self) {
        let width = if WIDTH == 0 { self.width } else { WIDTH };
        for (index, &row) in self.rows.iter().enumerate() {
            if let Some(&ahead) = self.rows.get(index + PREFETCH_ROWS) {
                prefetch(self.from.row(ahead), width);
            }
            // SAFETY: rows that are listed for a store lie in its part, are as wide as the
            // buffer's, and the buffer has room for all of the chunk.
            unsafe {
                std::ptr::copy_nonoverlapping(
                    self.from.row(row),
                    self.into.add(index * width),
                    width,
                );
            }
        }
    }
}

/// Moves rows of one part along gradients that lie behind each other.
struct ApplyRows<'a> {
    storage: &'a PartStorage,
    rows: &'a [u32],
    grads: &'a [f32],
    rule: PartRule<'a>,
}

/// The rule of a part.
#[derive(Clone, Copy)]
enum PartRule<'a> {
    Rows(Rule<'a>),
    Projection(DenseRule),
}

impl Kernel for ApplyRows<'_> {
    #[inline(always)]
    fn run(self) {
        let storage = self.storage;
        let width = storage.weights.width();
        let weights = RowPointers::new(&storage.weights, storage.first);
        let state = storage
            .state
            .as_ref()
            .map(|state| (RowPointers::new(state, storage.first), state.width()));
        let grads = self.grads.chunks_exact(width);
        for (index, (&row, grad)) in self.rows.iter().zip(grads).enumerate() {
            if let Some(&ahead) = self.rows.get(index + PREFETCH_ROWS) {
                prefetch(weights.at(ahead as usize), width);
                if let Some((state, width)) = state {
                    prefetch(state.at(ahead as usize), width);
                }
            }
            // SAFETY: listed rows lie in their part, are distinct, and every one is in one chunk;
            // `apply` holds the store exclusively.
            let (weights, state) = unsafe {
                (
                    std::slice::from_raw_parts_mut(weights.at(row as usize), width),
                    state.map_or(&mut [][..], |(state, width)| {
                        std::slice::from_raw_parts_mut(state.at(row as usize), width)
                    }),
                )
            };
            match self.rule {
                PartRule::Rows(rule) => step_row(rule, grad, weights, state),
                PartRule::Projection(rule) => step_elements(rule, grad, weights, state),
            }
        }
    }
}
