//! The network of a price: source → inputs → rows → sink.
//!
//! Rows between two depths that matter are one *segment*. An input needs the first `d` segments of a table, for every table.
//! A chain of segments would make paths as long as tables are deep, so the segments of a table form a Fenwick tree: node
//! `prefix(d)` stands for the first `d` segments and leads to `range(d)`, the last `d & -d` of them, and to `prefix(d - (d &
//! -d))`; a range leads to the ranges that it is made of. Every path has a logarithmic number of arcs, and there are three
//! arcs a segment at most.

use super::matrix::{InputMatrix, Point, raise};
use super::min_cut::MinCut;

/// The inputs and rows between two points.
#[derive(Debug)]
pub(super) struct Network {
    inputs: Vec<u32>,
    low: Vec<u32>,
    source: Vec<i64>,
    sink: Vec<i64>,
    cut: MinCut,
}

/// The segments of one table: depths above that of the low point, ascending, and the number of the first node.
struct Segments {
    depths: Vec<u32>,
    first_node: u32,
}

impl Network {
    /// The network of `inputs`, where the rows of `low` cost nothing more.
    pub(super) fn new(matrix: &InputMatrix, inputs: Vec<u32>, low: &[u32]) -> Self {
        let mut nodes = inputs.len() as u32;
        let mut tables = Vec::with_capacity(matrix.tables);
        for (table, &low) in low.iter().enumerate() {
            let depth = |&input: &u32| matrix.input(input as usize)[table];
            let mut depths: Vec<u32> = inputs.iter().map(depth).filter(|&d| d > low).collect();
            depths.sort_unstable();
            depths.dedup();
            let segments = depths.len() as u32;
            tables.push(Segments {
                depths,
                first_node: nodes,
            });
            nodes += 2 * segments;
        }
        let mut sink = vec![0; nodes as usize];
        let mut arcs = Vec::with_capacity(inputs.len() * matrix.tables / 2 + 3 * nodes as usize);
        for (table, segments) in tables.iter().enumerate() {
            let count = segments.depths.len() as u32;
            let prefix = |d: u32| segments.first_node + 2 * (d - 1);
            let range = |d: u32| prefix(d) + 1;
            let mut before = low[table];
            let bytes = (matrix.row_bytes[table] / matrix.unit()) as i64;
            for (d, &depth) in (1..=count).zip(&segments.depths) {
                sink[range(d) as usize] = i64::from(depth - before) * bytes;
                before = depth;
                let size = d & d.wrapping_neg();
                arcs.push((prefix(d), range(d)));
                if d > size {
                    arcs.push((prefix(d), prefix(d - size)));
                }
                let mut part = d - 1;
                while part > d - size {
                    arcs.push((range(d), range(part)));
                    part -= part & part.wrapping_neg();
                }
            }
            for (node, &input) in inputs.iter().enumerate() {
                let depth = matrix.input(input as usize)[table];
                if depth > low[table] {
                    let d = segments.depths.partition_point(|&other| other < depth) as u32 + 1;
                    arcs.push((node as u32, prefix(d)));
                }
            }
        }
        let mut source = vec![0; nodes as usize];
        for (source, &input) in source.iter_mut().zip(&inputs) {
            *source = i64::from(matrix.weights[input as usize]);
        }
        Self {
            inputs,
            low: low.to_vec(),
            source,
            sink,
            cut: MinCut::new(nodes as usize, &arcs),
        }
    }

    /// The rows of the best closure where `inputs` hot inputs are worth as much as `units` units of bytes.
    pub(super) fn best_rows(&mut self, matrix: &InputMatrix, inputs: u64, units: u64) -> Vec<u32> {
        let source: Vec<i64> = self.source.iter().map(|w| w * units as i64).collect();
        let sink: Vec<i64> = self.sink.iter().map(|cost| cost * inputs as i64).collect();
        let chosen = self.cut.solve(&source, &sink);
        let mut rows = self.low.clone();
        for (&input, chosen) in self.inputs.iter().zip(chosen) {
            if chosen {
                raise(&mut rows, matrix.input(input as usize));
            }
        }
        rows
    }
}

/// The point between two others, above their chord, that is farthest from it; `None` where there is none.
pub(super) fn between(
    matrix: &InputMatrix,
    candidates: impl Iterator<Item = u32>,
    low: &Point,
    high: &Point,
) -> Option<Point> {
    let units = (high.bytes - low.bytes) / matrix.unit();
    let inputs = high.inputs - low.inputs;
    if units == 0 || inputs == 0 {
        return None;
    }
    // Inputs that the low point has already, or that the high one does not have, cannot change sides.
    let open = |&input: &u32| {
        let depths = matrix.input(input as usize);
        let within = |rows: &[u32]| depths.iter().zip(rows).all(|(depth, rows)| depth <= rows);
        within(&high.rows) && !within(&low.rows)
    };
    let open: Vec<u32> = candidates.filter(open).collect();
    let rows = Network::new(matrix, open, &low.rows).best_rows(matrix, inputs, units);
    let point = matrix.tight_point(&rows);
    let gained = u128::from(point.inputs.saturating_sub(low.inputs)) * u128::from(units);
    let paid =
        u128::from(point.bytes.saturating_sub(low.bytes) / matrix.unit()) * u128::from(inputs);
    (gained > paid).then_some(point)
}
