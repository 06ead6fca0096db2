#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

use proptest::prelude::*;

use super::any_rows::AnyRows;
use super::hull::Hull;
use super::matrix::InputMatrix;
use super::search;

/// Most hot inputs over all sets within a budget, by trying them all.
fn best_by_trial(matrix: &InputMatrix, budget: u64) -> u64 {
    let deepest = matrix.everything().rows;
    let mut rows = vec![0; matrix.tables];
    let mut best = 0;
    loop {
        if matrix.bytes(&rows) <= budget {
            best = best.max(matrix.hot_inputs(&rows));
        }
        let Some(table) = (0..matrix.tables).find(|&table| rows[table] < deepest[table]) else {
            return best;
        };
        rows[table] += 1;
        rows[..table].fill(0);
    }
}

/// Best hot inputs at a price, by trying them all: `inputs * scale - bytes * price`.
fn best_profit(matrix: &InputMatrix, scale: u64, price: u64) -> i128 {
    let everything = matrix.everything();
    (0..=everything.bytes)
        .map(|budget| {
            i128::from(best_by_trial(matrix, budget)) * i128::from(scale)
                - i128::from(budget) * i128::from(price)
        })
        .max()
        .unwrap_or(0)
}

fn instances() -> impl Strategy<Value = InputMatrix> {
    (1usize..4, 1usize..9).prop_flat_map(|(tables, inputs)| {
        let depths = prop::collection::vec(0u32..5, tables * inputs);
        let row_bytes = prop::collection::vec(1u64..4, tables);
        (depths, row_bytes)
            .prop_map(move |(depths, row_bytes)| InputMatrix::new(depths, inputs, &row_bytes))
    })
}

proptest! {
    #[test]
    fn corners_are_optimal_and_the_chord_is_a_bound(matrix in instances()) {
        let everything = matrix.everything();
        let mut hull = Hull::new(matrix.nothing(), everything.clone());
        for budget in 0..=everything.bytes + 1 {
            let best = best_by_trial(&matrix, budget);
            let (low, high) = hull.edge(&matrix, budget);
            prop_assert!(low.bytes <= budget);
            prop_assert_eq!(low.inputs, best_by_trial(&matrix, low.bytes));
            if let Some(high) = high {
                prop_assert!(high.bytes > budget);
                prop_assert_eq!(high.inputs, best_by_trial(&matrix, high.bytes));
                let (bytes, inputs) = (high.bytes - low.bytes, high.inputs - low.inputs);
                prop_assert!((best - low.inputs) * bytes <= (budget - low.bytes) * inputs);
                // Nothing lies above the edge.
                let profit = i128::from(low.inputs) * i128::from(bytes) - i128::from(low.bytes) * i128::from(inputs);
                prop_assert_eq!(profit, best_profit(&matrix, bytes, inputs));
                let (low, high) = search::affordable_edge(&matrix, budget, low, high);
                prop_assert!(low.bytes <= budget && low.inputs <= best);
                let Some(high) = high else {
                    prop_assert_eq!(low.inputs, best);
                    continue;
                };
                let (bytes, inputs) = (high.bytes - low.bytes, high.inputs - low.inputs);
                prop_assert!((best - low.inputs) * bytes <= (budget - low.bytes) * inputs);
                let found = search::search(&matrix, budget, &low, &high, &[]);
                prop_assert!(found.bytes <= budget && found.inputs <= best && found.inputs >= low.inputs);
                prop_assert_eq!(found.inputs, matrix.hot_inputs(&found.rows));
            } else {
                prop_assert_eq!(low.inputs, best);
            }
        }
    }
}

#[test]
fn inputs_without_ids_are_hot_for_nothing() {
    let matrix = InputMatrix::new(vec![0, 0, 0, 0, 3, 1], 3, &[8, 8]);
    assert_eq!(matrix.nothing().inputs, 2);
    assert_eq!(matrix.everything().inputs, 3);
    assert_eq!((matrix.everything().bytes, matrix.unit()), (32, 8));
    let none = InputMatrix::new(Vec::new(), 0, &[8, 8]);
    assert_eq!(none.everything(), none.nothing());
}

/// Rows of two tables, in inputs of up to four.
fn sparse_inputs() -> impl Strategy<Value = (Vec<Vec<(u32, u32)>>, Vec<u64>)> {
    let rows = prop::collection::btree_set((0u32..2, 0u32..4), 0..4);
    let inputs = prop::collection::vec(rows.prop_map(|rows| rows.into_iter().collect()), 1..8);
    (inputs, prop::collection::vec(1u64..4, 2))
}

proptest! {
    #[test]
    fn no_set_of_rows_beats_the_bound((inputs, row_bytes) in sparse_inputs()) {
        let any_rows = AnyRows::new(inputs.clone(), &row_bytes, 1);
        // Every set of the eight rows.
        let of = |set: u32, (table, id): (u32, u32)| set >> (4 * table + id) & 1 == 1;
        let sets: Vec<(u64, u64)> = (0..1u32 << 8)
            .map(|set| {
                let bytes = (0..2).flat_map(|table| (0..4).map(move |id| (table, id)))
                    .filter(|&row| of(set, row))
                    .map(|(table, _)| row_bytes[table as usize])
                    .sum();
                let hot = |input: &&Vec<(u32, u32)>| input.iter().all(|&row| of(set, row));
                (bytes, inputs.iter().filter(hot).count() as u64)
            })
            .collect();
        for budget in 0..=4 * row_bytes.iter().sum::<u64>() {
            let best = sets.iter().filter(|(bytes, _)| *bytes <= budget).map(|(_, hot)| *hot).max();
            let bound = any_rows.bound(budget);
            let best = best.unwrap_or(0);
            prop_assert!(best as f64 <= bound + 1e-9, "{budget}: {best}, {bound}");
            prop_assert!(bound <= inputs.len() as f64 + 1.0);
        }
        prop_assert_eq!(any_rows.bound(u64::MAX), inputs.len() as f64);
    }
}
