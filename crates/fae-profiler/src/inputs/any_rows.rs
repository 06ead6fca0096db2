//! What no set of rows exceeds, of whatever ranks they are.
//!
//! The same closure as for hot sets, with every row on its own: an input leads to its rows, a row
//! costs its bytes. There is no set to build from it, only the corners on both sides of a budget,
//! and their chord.

use recsys_data::{Dataset, IdBlock};

use super::min_cut::MinCut;
use crate::Result;
use crate::sample::Sample;
use crate::visit::visit_ids;

/// The distinct rows of every input; equal inputs are one, with their number as weight.
#[derive(Debug)]
pub(super) struct AnyRows {
    /// Where each input's rows begin, `[inputs + 1]`.
    ends: Vec<usize>,
    /// Rows by number.
    rows: Vec<u32>,
    weights: Vec<u64>,
    /// Units of bytes of every row.
    cost: Vec<u64>,
    unit: u64,
}

/// Some inputs, and all their rows.
#[derive(Debug, Clone)]
struct Corner {
    units: u64,
    inputs: u64,
}

impl AnyRows {
    /// Reads the inputs of a sample; costs are multiples of `unit`.
    pub(super) fn read(
        dataset: &dyn Dataset,
        sample: &Sample,
        row_bytes: &[u64],
        unit: u64,
    ) -> Result<Self> {
        let tables = row_bytes.len();
        let positions = dataset.schema().positions();
        let chunks = sample.map_chunks(|numbers, scratch| {
            let mut inputs = Vec::with_capacity(numbers.len());
            visit_ids(dataset, numbers, scratch, &mut |block| {
                push_rows(block, tables, positions, &mut inputs);
                Ok(())
            })?;
            Ok(inputs)
        })?;
        let inputs = chunks.into_iter().flatten().collect();
        Ok(Self::new(inputs, row_bytes, unit))
    }

    /// Inputs as lists of (table, id), without one twice.
    pub(super) fn new(mut inputs: Vec<Vec<(u32, u32)>>, row_bytes: &[u64], unit: u64) -> Self {
        inputs.sort_unstable();
        let mut known: Vec<(u32, u32)> = inputs.concat();
        known.sort_unstable();
        known.dedup();
        let mut of = Self {
            ends: vec![0],
            rows: Vec::new(),
            weights: Vec::new(),
            cost: known
                .iter()
                .map(|&(table, _)| row_bytes[table as usize] / unit)
                .collect(),
            unit,
        };
        for equal in inputs.chunk_by(|a, b| a == b) {
            let number = |row| known.partition_point(|other| other < row) as u32;
            of.rows.extend(equal[0].iter().map(number));
            of.ends.push(of.rows.len());
            of.weights.push(equal.len() as u64);
        }
        of
    }

    fn rows_of(&self, input: u32) -> &[u32] {
        &self.rows[self.ends[input as usize]..self.ends[input as usize + 1]]
    }

    /// Hot inputs that no set of rows within a budget exceeds.
    pub(super) fn bound(&self, budget: u64) -> f64 {
        let budget = budget / self.unit;
        let cost = |rows: &[u32]| rows.iter().map(|&row| self.cost[row as usize]).sum::<u64>();
        // No set within the budget holds an input that needs more for itself.
        let mut open: Vec<u32> = (0..self.weights.len() as u32)
            .filter(|&input| cost(self.rows_of(input)) <= budget)
            .collect();
        let mut bought = vec![false; self.cost.len()];
        let mut low = Corner {
            units: 0,
            inputs: 0,
        };
        let mut high = self.with(&low, &open, &bought);
        while high.units > budget {
            let slope = (high.inputs - low.inputs) as f64 / (high.units - low.units) as f64;
            // The line of this slope through a point, at the budget.
            let line =
                |point: &Corner| point.inputs as f64 + slope * (budget as f64 - point.units as f64);
            let Some((inside, corner)) = self.best_between(&open, &bought, &low, &high) else {
                return line(&low);
            };
            // No set lies above the line through the farthest corner; another cut would lower it by
            // less than an input.
            if line(&corner) < line(&low) + 1.0 {
                return line(&corner);
            }
            if corner.units > budget {
                (high, open) = (corner, inside);
                continue;
            }
            let rows = inside.iter().flat_map(|&input| self.rows_of(input));
            rows.for_each(|&row| bought[row as usize] = true);
            // Both lists are ascending.
            let mut left = inside.iter().peekable();
            open.retain(|input| left.next_if_eq(&input).is_none());
            low = corner;
        }
        high.inputs as f64
    }

    /// A corner and more inputs, whose rows are paid unless they were before.
    fn with(&self, corner: &Corner, inputs: &[u32], bought: &[bool]) -> Corner {
        let mut paid = bought.to_vec();
        let mut sum = corner.clone();
        for &input in inputs {
            sum.inputs += self.weights[input as usize];
            for &row in self.rows_of(input) {
                if !std::mem::replace(&mut paid[row as usize], true) {
                    sum.units += self.cost[row as usize];
                }
            }
        }
        sum
    }

    /// The open inputs that make a corner above the chord between two others, farthest from it, and
    /// that corner; `None` where there is none.
    fn best_between(
        &self,
        open: &[u32],
        bought: &[bool],
        low: &Corner,
        high: &Corner,
    ) -> Option<(Vec<u32>, Corner)> {
        const NONE: u32 = u32::MAX;
        let (units, inputs) = (high.units - low.units, high.inputs - low.inputs);
        let (open, profits, uses) = self.profitable(open, bought, units, inputs);
        let mut node_of = vec![NONE; self.cost.len()];
        let mut source = profits;
        let mut arcs = Vec::new();
        let mut costs = Vec::new();
        for (node, &input) in (0u32..).zip(&open) {
            let shared = |row: &&u32| !bought[**row as usize] && uses[**row as usize] > 1;
            for &row in self.rows_of(input).iter().filter(shared) {
                let number = &mut node_of[row as usize];
                if *number == NONE {
                    *number = (open.len() + costs.len()) as u32;
                    costs.push((self.cost[row as usize] * inputs) as i64);
                }
                arcs.push((node, *number));
            }
        }
        let mut sink = vec![0; open.len()];
        sink.append(&mut costs);
        source.resize(sink.len(), 0);
        let chosen = MinCut::new(sink.len(), &arcs).solve(&source, &sink);
        let chosen = open.iter().zip(chosen).filter(|&(_, chosen)| chosen);
        let inside: Vec<u32> = chosen.map(|(&input, _)| input).collect();
        let corner = self.with(low, &inside, bought);
        let gained = u128::from(corner.inputs - low.inputs) * u128::from(units);
        let paid = u128::from(corner.units - low.units) * u128::from(inputs);
        (gained > paid).then_some((inside, corner))
    }

    /// The open inputs that are worth more than the rows that they alone need, with what is left of
    /// that, and in how many of them each row is. Most rows of real data are in one input, and need
    /// no node of the network.
    fn profitable(
        &self,
        open: &[u32],
        bought: &[bool],
        units: u64,
        inputs: u64,
    ) -> (Vec<u32>, Vec<i64>, Vec<u32>) {
        let mut open = open.to_vec();
        loop {
            let mut uses = vec![0u32; self.cost.len()];
            let rows = open.iter().flat_map(|&input| self.rows_of(input));
            rows.for_each(|&row| uses[row as usize] += 1);
            let profit = |&input: &u32| {
                let own = |row: &&u32| !bought[**row as usize] && uses[**row as usize] == 1;
                let own = self.rows_of(input).iter().filter(own);
                let paid: u64 = own.map(|&row| self.cost[row as usize] * inputs).sum();
                (self.weights[input as usize] * units) as i64 - paid as i64
            };
            let profits: Vec<i64> = open.iter().map(profit).collect();
            let before = open.len();
            let mut each = profits.iter();
            open.retain(|_| each.next().is_some_and(|&profit| profit > 0));
            // Without the others, more rows are needed by one input alone.
            if open.len() == before {
                return (open, profits, uses);
            }
        }
    }
}

fn push_rows(
    block: IdBlock<'_>,
    tables: usize,
    positions: usize,
    inputs: &mut Vec<Vec<(u32, u32)>>,
) {
    let bags = tables * positions;
    for sample in 0..block.samples {
        let ids = |bag: usize| match block.offsets.is_empty() {
            true => &block.ids[bag..=bag],
            false => &block.ids[block.offsets[bag] as usize..block.offsets[bag + 1] as usize],
        };
        let mut rows: Vec<(u32, u32)> = (0..bags)
            .flat_map(|bag| {
                let table = (bag % tables) as u32;
                let ids = ids(sample * bags + bag).iter();
                ids.map(move |&id| (table, id))
            })
            .collect();
        rows.sort_unstable();
        rows.dedup();
        inputs.push(rows);
    }
}
