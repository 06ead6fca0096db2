//! Good sets between two corners of the hull: cut, grow and exchange.

use rayon::prelude::*;

use super::matrix::{InputMatrix, Point, raise};
use super::network::between;

/// The best set found within a budget from the corners on both sides of it and from other sets within it.
pub(super) fn search(
    matrix: &InputMatrix,
    budget: u64,
    low: &Point,
    high: &Point,
    starts: &[Vec<u64>],
) -> Point {
    let search = Search { matrix, budget };
    let mut best = better(search.grow(low.clone()), search.refine(low));
    best = better(best, search.grow(search.cut(high, budget)));
    for start in starts {
        let rows: Vec<u32> = start
            .iter()
            .map(|&rows| u32::try_from(rows).unwrap_or(u32::MAX))
            .collect();
        let point = matrix.tight_point(&rows);
        if point.bytes <= budget {
            best = better(best, search.grow(point));
        }
    }
    loop {
        let before = best.inputs;
        best = search.exchange(best);
        best = search.rebuild(best);
        if best.inputs == before {
            return best;
        }
    }
}

/// The edge across a budget of the hull without the inputs that need more than the budget for themselves, which no set within
/// it holds: never above the edge of the whole hull. `low` and `high` are the latter's ends.
pub(super) fn affordable_edge(
    matrix: &InputMatrix,
    budget: u64,
    low: Point,
    high: Point,
) -> (Point, Option<Point>) {
    let affordable = |&input: &u32| matrix.bytes(matrix.input(input as usize)) <= budget;
    let inputs: Vec<u32> = (0..matrix.weights.len() as u32)
        .filter(affordable)
        .collect();
    if inputs.len() == matrix.weights.len() {
        return (low, Some(high));
    }
    edge_across(matrix, budget, &inputs, low)
}

/// The edge across a budget of the hull of some inputs, given a corner within the budget.
fn edge_across(
    matrix: &InputMatrix,
    budget: u64,
    inputs: &[u32],
    low: Point,
) -> (Point, Option<Point>) {
    let mut rows = low.rows.clone();
    for &input in inputs {
        raise(&mut rows, matrix.input(input as usize));
    }
    let (mut low, mut high) = (low, matrix.tight_point(&rows));
    if high.bytes <= budget {
        return (high, None);
    }
    while let Some(point) = between(matrix, inputs.iter().copied(), &low, &high) {
        if point.bytes <= budget {
            low = point;
        } else {
            high = point;
        }
    }
    (low, Some(high))
}

/// The one with more hot inputs; of equals, the smaller one; of equals, the first.
fn better(a: Point, b: Point) -> Point {
    if (b.inputs, a.bytes) > (a.inputs, b.bytes) {
        b
    } else {
        a
    }
}

struct Search<'a> {
    matrix: &'a InputMatrix,
    budget: u64,
}

impl Search<'_> {
    /// Takes away tails of tables until a budget is kept: each time the tail that frees most bytes per input lost.
    fn cut(&self, from: &Point, budget: u64) -> Point {
        let matrix = self.matrix;
        let mut hot = Vec::new();
        matrix.for_each_hot(&from.rows, |input| hot.push(input as u32));
        let mut alive = vec![true; matrix.weights.len()];
        let mut orders: Vec<Vec<u32>> = (0..matrix.tables)
            .into_par_iter()
            .map(|table| {
                let mut order = hot.clone();
                order.sort_by_key(|&input| std::cmp::Reverse(matrix.input(input as usize)[table]));
                order
            })
            .collect();
        let mut rows = from.rows.clone();
        loop {
            let bytes = matrix.bytes(&rows);
            if bytes <= budget {
                return matrix.tight_point(&rows);
            }
            let excess = bytes - budget;
            let best = orders
                .par_iter_mut()
                .enumerate()
                .filter_map(|(table, order)| {
                    order.retain(|&input| alive[input as usize]);
                    let tail = best_tail(matrix, table, rows[table], order, excess)?;
                    Some((tail, table))
                });
            let best = best.reduce_with(|a, b| if b.0.beats(&a.0) { b } else { a });
            let Some((tail, table)) = best else {
                return matrix.nothing();
            };
            rows[table] = tail.rows;
            for &input in &orders[table] {
                if matrix.input(input as usize)[table] <= tail.rows {
                    break;
                }
                alive[input as usize] = false;
            }
        }
    }

    /// Adds what fits: each time the step that brings most inputs per byte, a step being all rows of one input or a longer
    /// prefix of one table for the inputs that lack nothing else.
    fn grow(&self, from: Point) -> Point {
        let matrix = self.matrix;
        let mut point = from;
        let mut open: Vec<u32> = (0..matrix.weights.len() as u32).collect();
        loop {
            let left = self.budget - point.bytes;
            let rows = &point.rows;
            let extras: Vec<(u32, u64)> = open
                .par_iter()
                .map(|&input| (input, matrix.extra_bytes(input as usize, rows)))
                .filter(|&(_, extra)| extra > 0 && extra <= left)
                .collect();
            // What does not fit now will not fit later.
            open.clear();
            open.extend(extras.iter().map(|(input, _)| input));
            let Some(step) = self.best_step(rows, &extras) else {
                return point;
            };
            point = matrix.tight_point(&step);
        }
    }

    fn best_step(&self, rows: &[u32], extras: &[(u32, u64)]) -> Option<Vec<u32>> {
        let matrix = self.matrix;
        let gain = |input: u32| u64::from(matrix.weights[input as usize]);
        // (inputs, bytes, rows)
        let mut best: Option<(u64, u64, Vec<u32>)> = None;
        let mut offer = |inputs: u64, bytes: u64, make: &dyn Fn() -> Vec<u32>| {
            let better = best.as_ref().is_none_or(|(most, cost, _)| {
                u128::from(inputs) * u128::from(*cost) > u128::from(*most) * u128::from(bytes)
            });
            if better {
                best = Some((inputs, bytes, make()));
            }
        };
        let mut alone: Vec<Vec<(u64, u32)>> = vec![Vec::new(); matrix.tables];
        for &(input, extra) in extras {
            let raised = || {
                let mut raised = rows.to_vec();
                raise(&mut raised, matrix.input(input as usize));
                raised
            };
            offer(gain(input), extra, &raised);
            let depths = matrix.input(input as usize);
            let mut lacking = (0..matrix.tables).filter(|&table| depths[table] > rows[table]);
            if let (Some(table), None) = (lacking.next(), lacking.next()) {
                alone[table].push((extra, input));
            }
        }
        for (table, list) in alone.iter_mut().enumerate() {
            list.sort_unstable();
            let mut inputs = 0;
            for (at, &(extra, input)) in list.iter().enumerate() {
                inputs += gain(input);
                if list.get(at + 1).is_none_or(|&(next, _)| next > extra) {
                    let raised = || {
                        let mut raised = rows.to_vec();
                        raised[table] = matrix.input(input as usize)[table];
                        raised
                    };
                    offer(inputs, extra, &raised);
                }
            }
        }
        best.map(|(_, _, rows)| rows)
    }

    /// The hull of what can be added to a set: inputs that do not fit beside it are left out, which makes new corners
    /// below the budget. Goes on from the last one, as long as there is one.
    fn refine(&self, base: &Point) -> Point {
        let matrix = self.matrix;
        let (mut base, mut best) = (base.clone(), base.clone());
        loop {
            let left = self.budget - base.bytes;
            let fits: Vec<u32> = (0..matrix.weights.len() as u32)
                .filter(|&input| matrix.extra_bytes(input as usize, &base.rows) <= left)
                .collect();
            let (low, high) = edge_across(matrix, self.budget, &fits, base.clone());
            let Some(high) = high else {
                return better(best, low);
            };
            best = better(best, self.grow(self.cut(&high, self.budget)));
            if low.bytes == base.bytes {
                return better(best, self.grow(low));
            }
            base = low;
        }
    }

    /// Moves bytes from one table to another as long as that helps.
    fn exchange(&self, from: Point) -> Point {
        let matrix = self.matrix;
        let mut best = from;
        let mut amount = self.budget / 4;
        while amount >= matrix.unit() {
            let moves = matrix.tables * matrix.tables;
            let trial = |pair: usize| {
                let (giver, taker) = (pair / matrix.tables, pair % matrix.tables);
                let rows = self.moved(&best, giver, taker, amount)?;
                let inputs = matrix.hot_inputs(&rows);
                (inputs > best.inputs).then_some((inputs, std::cmp::Reverse(pair), rows))
            };
            let found = (0..moves).into_par_iter().filter_map(trial).max();
            match found {
                Some((_, _, rows)) => best = self.grow(matrix.tight_point(&rows)),
                None => amount /= 2,
            }
        }
        best
    }

    /// `amount` bytes of the giver's rows, and all that is free, for the taker.
    fn moved(&self, from: &Point, giver: usize, taker: usize, amount: u64) -> Option<Vec<u32>> {
        let row_bytes = &self.matrix.row_bytes;
        let given = amount.div_ceil(row_bytes[giver]);
        if giver == taker || given > u64::from(from.rows[giver]) {
            return None;
        }
        let free = self.budget - from.bytes + given * row_bytes[giver];
        let taken = free / row_bytes[taker];
        let mut rows = from.rows.clone();
        rows[giver] -= given as u32;
        rows[taker] = rows[taker].saturating_add(u32::try_from(taken).unwrap_or(u32::MAX));
        (taken > 0).then_some(rows)
    }

    /// Takes away a part of the set, cheapest tails first, and fills it again from the hull of what fits.
    fn rebuild(&self, from: Point) -> Point {
        let mut best = from;
        for percent in [2, 5, 10, 20, 40] {
            let kept = self.cut(&best, self.budget / 100 * (100 - percent));
            best = better(best, self.refine(&kept));
        }
        best
    }
}

/// The end of a table that could go.
#[derive(Debug, Clone, Copy)]
struct Tail {
    /// Rows left.
    rows: u32,
    /// Bytes that count: more than are to be freed bring nothing.
    freed: u64,
    lost: u64,
}

impl Tail {
    fn beats(&self, other: &Self) -> bool {
        u128::from(self.freed) * u128::from(other.lost)
            > u128::from(other.freed) * u128::from(self.lost)
    }
}

/// The tail of a table that frees most bytes per input lost; `order` holds the hot inputs, the deepest first.
fn best_tail(
    matrix: &InputMatrix,
    table: usize,
    rows: u32,
    order: &[u32],
    excess: u64,
) -> Option<Tail> {
    let depth = |at: usize| {
        let input = order.get(at).copied();
        input.map_or(0, |input| matrix.input(input as usize)[table])
    };
    let mut best: Option<Tail> = None;
    let (mut at, mut lost) = (0, 0);
    let mut left = depth(0);
    loop {
        // Cutting down to the next depth loses all inputs that reach below it.
        let freed = u64::from(rows - left) * matrix.row_bytes[table];
        let tail = Tail {
            rows: left,
            freed: freed.min(excess),
            lost,
        };
        if freed > 0 && best.is_none_or(|best| tail.beats(&best)) {
            best = Some(tail);
        }
        if freed >= excess || at == order.len() {
            return best;
        }
        let current = left;
        while at < order.len() && depth(at) == current {
            lost += u64::from(matrix.weights[order[at] as usize]);
            at += 1;
        }
        left = depth(at);
    }
}
