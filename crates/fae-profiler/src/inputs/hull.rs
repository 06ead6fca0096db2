//! The corners of the concave curve of hot inputs over bytes, found as they are asked for.

use super::matrix::{InputMatrix, Point};
use super::network::between;

/// Known corners by ascending bytes, and for every edge between two of them whether nothing lies above it.
#[derive(Debug)]
pub(super) struct Hull {
    corners: Vec<Point>,
    final_edges: Vec<bool>,
}

impl Hull {
    pub(super) fn new(nothing: Point, everything: Point) -> Self {
        if nothing.bytes == everything.bytes {
            return Self {
                corners: vec![nothing],
                final_edges: Vec::new(),
            };
        }
        Self {
            corners: vec![nothing, everything],
            final_edges: vec![false],
        }
    }

    /// The last corner within a budget and the first one beyond, if there is one.
    pub(super) fn edge(&mut self, matrix: &InputMatrix, budget: u64) -> (Point, Option<Point>) {
        loop {
            // The first corner costs nothing.
            let after = self
                .corners
                .partition_point(|corner| corner.bytes <= budget);
            let low = &self.corners[after - 1];
            let Some(high) = self.corners.get(after) else {
                return (low.clone(), None);
            };
            let point = if self.final_edges[after - 1] {
                None
            } else {
                between(matrix, 0..matrix.weights.len() as u32, low, high)
            };
            match point {
                Some(point) => {
                    self.corners.insert(after, point);
                    self.final_edges.insert(after, false);
                }
                None => {
                    self.final_edges[after - 1] = true;
                    return (low.clone(), Some(high.clone()));
                }
            }
        }
    }
}
