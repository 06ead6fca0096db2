//! The inputs as numbers: how deep each of them reaches into every table.

use recsys_data::{Dataset, IdBlock};

use crate::Result;
use crate::classify::cold_bits;
use crate::sample::Sample;
use crate::visit::visit_ids;

/// Hot rows of every table, with what they cost and bring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) rows: Vec<u32>,
    pub(super) bytes: u64,
    pub(super) inputs: u64,
}

/// For every input and table the rows that must be hot, `[inputs, tables]`: one more than the largest id, 0 without any.
///
/// Only these depths matter: rows between two of them come and go together. Equal inputs are one, with their number as weight.
#[derive(Debug, Clone)]
pub(super) struct InputMatrix {
    pub(super) tables: usize,
    pub(super) row_bytes: Vec<u64>,
    pub(super) depths: Vec<u32>,
    pub(super) weights: Vec<u32>,
    inputs: u64,
    unit: u64,
}

impl InputMatrix {
    pub(super) fn read(dataset: &dyn Dataset, sample: &Sample, row_bytes: &[u64]) -> Result<Self> {
        let tables = row_bytes.len();
        let positions = dataset.schema().positions();
        let chunks = sample.map_chunks(|numbers, scratch| {
            let mut depths = Vec::with_capacity(numbers.len() * tables);
            visit_ids(dataset, numbers, scratch, &mut |block| {
                push_depths(block, tables, positions, &mut depths);
                Ok(())
            })?;
            Ok(depths)
        })?;
        Ok(Self::new(
            chunks.concat(),
            sample.size() as usize,
            row_bytes,
        ))
    }

    /// A matrix of `inputs` rows.
    pub(super) fn new(depths: Vec<u32>, inputs: usize, row_bytes: &[u64]) -> Self {
        let tables = row_bytes.len();
        let row = |input: usize| &depths[input * tables..(input + 1) * tables];
        let mut order: Vec<usize> = (0..inputs).collect();
        order.sort_unstable_by(|&a, &b| row(a).cmp(row(b)));
        let mut distinct = Vec::with_capacity(depths.len());
        let mut weights = Vec::new();
        for equal in order.chunk_by(|&a, &b| row(a) == row(b)) {
            distinct.extend_from_slice(row(equal[0]));
            weights.push(equal.len() as u32);
        }
        let unit = row_bytes.iter().fold(0, |a, &b| gcd(a, b)).max(1);
        Self {
            tables,
            row_bytes: row_bytes.to_vec(),
            depths: distinct,
            weights,
            inputs: inputs as u64,
            unit,
        }
    }

    /// Number of inputs, equal ones counted each.
    pub(super) fn inputs(&self) -> u64 {
        self.inputs
    }

    /// What every number of bytes is a multiple of.
    pub(super) fn unit(&self) -> u64 {
        self.unit
    }

    /// The rows that an input needs.
    pub(super) fn input(&self, input: usize) -> &[u32] {
        &self.depths[input * self.tables..(input + 1) * self.tables]
    }

    pub(super) fn bytes(&self, rows: &[u32]) -> u64 {
        let each = rows.iter().zip(&self.row_bytes);
        each.map(|(&rows, bytes)| u64::from(rows) * bytes).sum()
    }

    /// Bytes that an input needs beyond those of `rows`.
    pub(super) fn extra_bytes(&self, input: usize, rows: &[u32]) -> u64 {
        let each = self.input(input).iter().zip(rows).zip(&self.row_bytes);
        each.map(|((&depth, &rows), bytes)| u64::from(depth.saturating_sub(rows)) * bytes)
            .sum()
    }

    /// Number of hot inputs.
    pub(super) fn hot_inputs(&self, rows: &[u32]) -> u64 {
        let mut hot = 0;
        self.for_each_hot(rows, |input| hot += u64::from(self.weights[input]));
        hot
    }

    /// Calls `work` for every input that is hot.
    pub(super) fn for_each_hot(&self, rows: &[u32], mut work: impl FnMut(usize)) {
        if self.tables == 0 {
            return (0..self.weights.len()).for_each(work);
        }
        for (block, depths) in self.depths.chunks(64 * self.tables).enumerate() {
            let mut bits = !cold_bits(rows, depths);
            let inputs = depths.len() / self.tables;
            bits &= u64::MAX >> (64 - inputs);
            while bits != 0 {
                work(block * 64 + bits.trailing_zeros() as usize);
                bits &= bits - 1;
            }
        }
    }

    /// A point that holds exactly `rows`.
    pub(super) fn point(&self, rows: Vec<u32>) -> Point {
        Point {
            bytes: self.bytes(&rows),
            inputs: self.hot_inputs(&rows),
            rows,
        }
    }

    /// The point of the rows that hot inputs need, which may be fewer than `rows`.
    pub(super) fn tight_point(&self, rows: &[u32]) -> Point {
        let (mut needed, mut inputs) = (vec![0; self.tables], 0);
        self.for_each_hot(rows, |input| {
            inputs += u64::from(self.weights[input]);
            raise(&mut needed, self.input(input));
        });
        Point {
            bytes: self.bytes(&needed),
            rows: needed,
            inputs,
        }
    }

    /// No hot row, and the inputs without any id.
    pub(super) fn nothing(&self) -> Point {
        self.point(vec![0; self.tables])
    }

    /// The rows of all inputs.
    pub(super) fn everything(&self) -> Point {
        self.tight_point(&vec![u32::MAX; self.tables])
    }
}

/// Raises every number to the other list's.
pub(super) fn raise(rows: &mut [u32], to: &[u32]) {
    for (rows, &to) in rows.iter_mut().zip(to) {
        *rows = (*rows).max(to);
    }
}

fn push_depths(block: IdBlock<'_>, tables: usize, positions: usize, depths: &mut Vec<u32>) {
    let start = depths.len();
    // The largest id of all has no depth in 32 bits; a set chosen here is judged on the ids themselves.
    let depth = |ids: &[u32]| ids.iter().max().map_or(0, |id| id.saturating_add(1));
    if block.offsets.is_empty() {
        depths.extend(block.ids.iter().map(|id| depth(&[*id])));
    } else {
        let bags = block.offsets.windows(2);
        depths.extend(bags.map(|ends| depth(&block.ids[ends[0] as usize..ends[1] as usize])));
    }
    if positions > 1 && tables > 0 {
        deepest_of_positions(depths, start, tables, positions);
    }
}

/// Replaces the depths of all positions of a sequence by the largest of every table.
fn deepest_of_positions(depths: &mut Vec<u32>, start: usize, tables: usize, positions: usize) {
    let mut end = start;
    for sequence in (start..depths.len()).step_by(tables * positions) {
        depths.copy_within(sequence..sequence + tables, end);
        for position in 1..positions {
            for table in 0..tables {
                let depth = depths[sequence + position * tables + table];
                depths[end + table] = depths[end + table].max(depth);
            }
        }
        end += tables;
    }
    depths.truncate(end);
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
