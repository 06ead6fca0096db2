//! A batch for the kernels of `rows.cu`, and the store that says what must come out.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "shared by test binaries that each use some of it; a test that cannot go on fails"
)]

use std::ops::{Deref, DerefMut};
use std::ptr::{null, null_mut};

use embedding_store::kernel_input::{BatchLists, ClassLists};
use embedding_store::{
    CpuStore, EmbeddingStore, Ids, Optimizer, Plan, Rows, StoreOptions, TableSpec,
};
use kernel_tests::Launch;

/// A kernel that moves rows, as they are stored.
pub type UpdateKernel<Stored> = unsafe extern "C" fn(
    weights: *mut Stored,
    state: *mut f32,
    hot_rows: u32,
    gradients: *const f32,
    addresses: *const u32,
    offsets: *const u32,
    bags: *const u32,
    rows: u32,
    long_rows: u32,
    summed_rows: u32,
    row_pieces: *const u32,
    piece_sums: *const f32,
    cold_gradients: *mut f32,
    cold_weights: *mut f32,
    cold_state: *mut f32,
    width: u32,
    vector: u32,
    rate: f32,
    epsilon: f32,
    key: u64,
);

/// Declares kernels of that type.
macro_rules! update_kernels {
    ($stored:ty: $($name:ident)*) => {
        unsafe extern "C" {
            $(fn $name(
                weights: *mut $stored,
                state: *mut f32,
                hot_rows: u32,
                gradients: *const f32,
                addresses: *const u32,
                offsets: *const u32,
                bags: *const u32,
                rows: u32,
                long_rows: u32,
                summed_rows: u32,
                row_pieces: *const u32,
                piece_sums: *const f32,
                cold_gradients: *mut f32,
                cold_weights: *mut f32,
                cold_state: *mut f32,
                width: u32,
                vector: u32,
                rate: f32,
                epsilon: f32,
                key: u64,
            );)*
        }
    };
}

unsafe extern "C" {
    fn rows_sum_pieces(
        gradients: *const f32,
        bags: *const u32,
        starts: *const u32,
        sums: *mut f32,
        width: u32,
        vector: u32,
    );
}

/// What becomes of cold rows: where the sums of their gradients go, or copies that are moved with their state.
pub enum Cold<'a> {
    Gradients(&'a mut Aligned),
    Copies(&'a mut Aligned, &'a mut Aligned),
}

/// Plain tables, a batch, and which rows are hot.
#[derive(Debug, Clone)]
pub struct Case {
    pub rows: Vec<u64>,
    pub hot_rows: Vec<u32>,
    pub dim: usize,
    pub optimizer: Optimizer,
    pub batch: usize,
    pub ids: Vec<u32>,
    pub offsets: Vec<u32>,
}

/// The kernels' view of a case before its step.
pub struct Step {
    pub case: Case,
    pub store: CpuStore,
    pub plan: Plan,
    pub lists: BatchLists,
}

impl Case {
    /// Ids drawn by a fixed sequence, small ones more often; with `longest`, bags of none to so many.
    pub fn drawn(
        dim: usize,
        optimizer: Optimizer,
        rows: &[u64],
        batch: usize,
        longest: Option<u32>,
    ) -> Self {
        let mut numbers = Numbers(dim as u64 * 7919 + batch as u64);
        let (mut ids, mut offsets) = (Vec::new(), vec![0]);
        for bag in 0..batch * rows.len() {
            for _ in 0..longest.map_or(1, |longest| numbers.below(longest + 1)) {
                let below = rows[bag % rows.len()] as u32 >> (numbers.below(3) * 2);
                ids.push(numbers.below(below.max(1)));
            }
            offsets.push(ids.len() as u32);
        }
        if longest.is_none() {
            offsets.clear();
        }
        Self {
            rows: rows.to_vec(),
            hot_rows: rows.iter().map(|&rows| rows as u32).collect(),
            dim,
            optimizer,
            batch,
            ids,
            offsets,
        }
    }

    /// Only the first of every table's rows are hot.
    pub fn split(mut self, hot_rows: impl Fn(u64) -> u32) -> Self {
        self.hot_rows = self.rows.iter().map(|&rows| hot_rows(rows)).collect();
        self
    }

    pub fn begin(self) -> Step {
        let tables = self.rows.iter().map(|&rows| TableSpec::full(rows));
        let options = StoreOptions {
            dim: self.dim,
            optimizer: self.optimizer.into(),
            seed: 5,
            ..StoreOptions::default()
        };
        let store = CpuStore::new(tables.collect(), options).unwrap();
        let planner = store.planner().with_slots();
        let mut plan = Plan::default();
        let ids = Ids {
            batch: self.batch,
            ids: &self.ids,
            offsets: &self.offsets,
        };
        planner.plan(ids, &mut plan).unwrap();
        let lists = planner.batch_lists(&plan, &self.hot_rows).unwrap();
        Step {
            case: self,
            store,
            plan,
            lists,
        }
    }
}

impl Step {
    pub fn lists(&self) -> &ClassLists {
        &self.lists.classes()[0]
    }

    pub fn numbers(&self, range: &std::ops::Range<usize>) -> *const u32 {
        self.lists.numbers()[range.clone()].as_ptr()
    }

    /// All tables' hot rows behind each other, and their state.
    pub fn hot(&self) -> Rows {
        let mut all = Rows::default();
        for (part, &hot) in self.case.hot_rows.iter().enumerate() {
            append(
                &mut all,
                self.store.export(part, 0..u64::from(hot)).unwrap(),
            );
        }
        all
    }

    /// The batch's cold rows, and their state.
    pub fn cold(&self) -> Rows {
        let mut all = Rows::default();
        for (part, &hot) in self.case.hot_rows.iter().enumerate() {
            for &row in self.plan.rows_of(part).iter().filter(|&&row| row >= hot) {
                let row = u64::from(row);
                append(&mut all, self.store.export(part, row..row + 1).unwrap());
            }
        }
        all
    }

    /// Moves the hot rows along gradients of the bags, and the cold ones or the sums of theirs.
    pub fn update<Stored>(
        &self,
        kernel: UpdateKernel<Stored>,
        (weights, state): (*mut Stored, &mut Aligned),
        gradients: &Aligned,
        cold: Cold<'_>,
        key: u64,
        (threads, vector): (u32, bool),
    ) {
        let (lists, vector) = (self.lists(), u32::from(vector));
        let mut sums = Aligned::from(vec![f32::NAN; lists.pieces() * lists.width].as_slice());
        let bags = self.numbers(&lists.row_bags);
        let (width, all) = (lists.width as u32, sums.as_mut_ptr());
        for (pieces, from, bags, starts) in [
            (
                lists.pieces(),
                gradients.as_ptr(),
                bags,
                &lists.piece_starts,
            ),
            (
                lists.summed_rows,
                all.cast_const(),
                null(),
                &lists.row_pieces,
            ),
        ] {
            launch(lists.piece_blocks(pieces), threads).run(|| {
                // SAFETY: the arguments are those of the kernel, as long as it reads and writes them.
                unsafe { rows_sum_pieces(from, bags, self.numbers(starts), all, width, vector) };
            });
        }
        let (cold_gradients, cold_weights, cold_state) = match cold {
            Cold::Gradients(sums) => (sums.as_mut_ptr(), null_mut(), null_mut()),
            Cold::Copies(weights, state) => (null_mut(), weights.as_mut_ptr(), state.as_mut_ptr()),
        };
        launch(lists.update_blocks(threads, vector != 0), threads).run(|| {
            // SAFETY: the arguments are those of the kernel, as long as it reads and writes them.
            unsafe {
                kernel(
                    weights,
                    state.as_mut_ptr(),
                    lists.hot_rows as u32,
                    gradients.as_ptr(),
                    self.numbers(&lists.rows),
                    self.numbers(&lists.row_offsets),
                    bags,
                    lists.rows.len() as u32,
                    lists.long_rows as u32,
                    lists.summed_rows as u32,
                    self.numbers(&lists.row_pieces),
                    sums.as_ptr(),
                    cold_gradients,
                    cold_weights,
                    cold_state,
                    lists.width as u32,
                    vector,
                    RATE,
                    epsilon(self.case.optimizer),
                    key,
                );
            }
        });
    }

    pub fn lookup(&self) -> Vec<f32> {
        let mut rows = vec![f32::NAN; self.floats()];
        self.store.lookup_slice(&self.plan, &mut rows).unwrap();
        rows
    }

    pub fn floats(&self) -> usize {
        self.case.batch * self.case.rows.len() * self.case.dim
    }

    /// Gradients of both signs and very different sizes, zeros of both signs among them.
    pub fn gradients(&self) -> Aligned {
        let mut numbers = Numbers(self.floats() as u64);
        let mut draw = || {
            let x = numbers.below(2001) as f32 / 1000.0 - 1.0;
            match numbers.below(8) {
                0 => -0.0,
                1 => 0.0,
                2 => x * 1e-4,
                3 => x * 50.0,
                _ => x,
            }
        };
        (0..self.floats())
            .map(|_| draw())
            .collect::<Vec<_>>()
            .as_slice()
            .into()
    }
}

fn append(all: &mut Rows, some: Rows) {
    all.weights.extend(some.weights);
    all.state.extend(some.state);
}

/// A fixed sequence of numbers.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn below(&mut self, end: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(end)) as u32
    }
}

/// Floats that start at a multiple of 16 bytes, as memory of a device does at 256.
#[derive(Debug, Clone)]
pub struct Aligned {
    fours: Vec<Four>,
    len: usize,
}

#[derive(Debug, Clone, Copy)]
#[repr(align(16))]
struct Four([f32; 4]);

impl From<&[f32]> for Aligned {
    fn from(floats: &[f32]) -> Self {
        let mut aligned = Self {
            fours: vec![Four([f32::NAN; 4]); floats.len().div_ceil(4)],
            len: floats.len(),
        };
        aligned.copy_from_slice(floats);
        aligned
    }
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: a `Four` is four floats without padding, and there are enough of them.
        unsafe { std::slice::from_raw_parts(self.fours.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.fours.as_mut_ptr().cast(), self.len) }
    }
}

pub fn bits(floats: &[f32]) -> Vec<u32> {
    floats.iter().map(|x| x.to_bits()).collect()
}

pub fn launch(blocks: u32, threads: u32) -> Launch {
    Launch {
        blocks,
        threads,
        shared_bytes: 0,
    }
}

/// Rate and ε of an optimizer.
pub const RATE: f32 = 0.1;

pub fn epsilon(optimizer: Optimizer) -> f32 {
    optimizer.epsilon() as f32
}

pub const OPTIMIZERS: [Optimizer; 3] = [
    Optimizer::Sgd,
    Optimizer::Adagrad {
        epsilon: 1e-3,
        initial_accumulator: 0.1,
    },
    Optimizer::RowwiseAdagrad {
        epsilon: 1e-3,
        initial_accumulator: 0.1,
    },
];
