//! The lists that device kernels read say what the ids say.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use cases::{Batch, Case, case};
use embedding_store::{
    CpuStore, EmbeddingStore, Encoding, Error, Plan, StoreOptions, TableSpec, hot_ranges,
};
use proptest::prelude::*;

mod cases;

/// The rows of a part that a sample looks up, by what encodings mean.
fn rows_of(case: &Case, batch: &Batch, part: &embedding_store::Part, sample: usize) -> Vec<u32> {
    let bag = sample * case.tables.len() + part.table;
    let range = match batch.offsets.is_empty() {
        true => bag..bag + 1,
        false => batch.offsets[bag] as usize..batch.offsets[bag + 1] as usize,
    };
    let ids = batch.ids[range].iter();
    match case.tables[part.table].encoding {
        Encoding::QuotientRemainder { collisions, .. } if part.name.ends_with("_q") => {
            ids.map(|id| id / collisions as u32).collect()
        }
        Encoding::QuotientRemainder { collisions, .. } => {
            ids.map(|id| id % collisions as u32).collect()
        }
        _ => ids.copied().collect(),
    }
}

fn check(case: &Case, batch: &Batch) {
    let store = case.plain();
    let planner = store.planner().with_slots();
    let mut plan = Plan::default();
    planner.plan(batch.ids(), &mut plan).unwrap();
    let hot = hot_ranges(&case.tables, &case.options, &case.hot_rows).unwrap();
    let hot: Vec<u32> = hot.iter().map(|hot| hot.end as u32).collect();
    let lists = planner.batch_lists(&plan, &hot).unwrap();

    let mut widths = BTreeMap::<usize, Vec<usize>>::new();
    for (index, part) in store.parts().iter().enumerate() {
        if !part.name.contains("proj") {
            widths.entry(part.dim).or_default().push(index);
        }
    }
    let plain = case.tables.iter().all(|table| match table.encoding {
        Encoding::Full => true,
        Encoding::MixedDimension { dim } => dim == case.options.dim,
        Encoding::QuotientRemainder { .. } => false,
    });
    assert_eq!(lists.classes().len(), widths.len());
    for (class, (width, parts)) in lists.classes().iter().zip(widths) {
        let hot_rows: u32 = parts.iter().map(|&part| hot[part]).sum();
        let (mut first_hot, mut first_cold) = (0, hot_rows);
        let mut bags = vec![Vec::new(); parts.len() * batch.size];
        let mut rows = BTreeMap::<u32, Vec<u32>>::new();
        for (position, &part) in parts.iter().enumerate() {
            let of_sample = |sample| rows_of(case, batch, &store.parts()[part], sample);
            let cold: BTreeSet<u32> = (0..batch.size)
                .flat_map(of_sample)
                .filter(|&row| row >= hot[part])
                .collect();
            for sample in 0..batch.size {
                let bag = if plain {
                    sample * parts.len() + position
                } else {
                    position * batch.size + sample
                };
                for row in of_sample(sample) {
                    let address = match cold.iter().position(|&cold| cold == row) {
                        Some(place) => first_cold + place as u32,
                        None => first_hot + row,
                    };
                    bags[bag].push(address);
                    rows.entry(address).or_default().push(bag as u32);
                }
            }
            first_hot += hot[part];
            first_cold += cold.len() as u32;
        }
        assert_eq!(
            (class.width, class.bags, class.hot_rows, class.cold_rows),
            (
                width,
                bags.len(),
                hot_rows as usize,
                (first_cold - hot_rows) as usize
            )
        );
        let numbers = |range: &Range<usize>| &lists.numbers()[range.clone()];
        let between = |ends: &[u32], list: &[u32], index: usize| {
            list[ends[index] as usize..ends[index + 1] as usize].to_vec()
        };
        let (addresses, offsets) = (numbers(&class.addresses), numbers(&class.offsets));
        for (bag, expected) in bags.iter().enumerate() {
            if batch.offsets.is_empty() {
                assert_eq!(expected, &[addresses[bag]]);
            } else {
                assert_eq!(expected, &between(offsets, addresses, bag));
            }
        }
        let distinct = numbers(&class.rows);
        assert_eq!(distinct.len(), rows.len());
        for (index, address) in distinct.iter().enumerate() {
            let list = between(numbers(&class.row_offsets), numbers(&class.row_bags), index);
            assert_eq!(Some(&list), rows.get(address));
            assert_eq!(list.len() > 32, index < class.long_rows);
            assert_eq!(list.len() > 2048, index < class.summed_rows);
        }
        // Of rows of many bags, pieces of 128.
        let (mut starts, mut of_rows) = (Vec::new(), vec![0]);
        for row in numbers(&class.row_offsets)[..=class.long_rows].windows(2) {
            starts.extend((row[0]..row[1]).step_by(128));
            of_rows.push(starts.len() as u32);
        }
        starts.push(numbers(&class.row_offsets)[class.long_rows]);
        assert_eq!(numbers(&class.piece_starts), starts);
        assert_eq!(numbers(&class.row_pieces), of_rows);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn lists_are_those_of_the_ids(case in case()) {
        for batch in &case.batches {
            check(&case, batch);
        }
    }
}

#[test]
fn rows_of_many_bags_come_first() {
    let case = Case {
        tables: vec![TableSpec::full(3), TableSpec::full(70)],
        options: StoreOptions::default(),
        hot_rows: vec![1, 40],
        batches: Vec::new(),
    };
    let ids = (0..70).flat_map(|sample| [sample % 2 * 2, sample]);
    let batch = Batch {
        size: 70,
        ids: ids.collect(),
        offsets: Vec::new(),
    };
    check(&case, &batch);
}

#[test]
fn a_row_of_many_bags_has_pieces() {
    let case = Case {
        tables: vec![TableSpec::full(2)],
        options: StoreOptions::default(),
        hot_rows: vec![1],
        batches: Vec::new(),
    };
    for size in [128, 129, 400, 2000, 3072, 3073, 7000] {
        let ids = (0..size as u32).map(|sample| u32::from(sample % 3 == 0));
        let batch = Batch {
            size,
            ids: ids.collect(),
            offsets: Vec::new(),
        };
        check(&case, &batch);
    }
}

#[test]
fn impossible_lists_are_refused() {
    let store = CpuStore::new(vec![TableSpec::full(3)], StoreOptions::default()).unwrap();
    let (planner, mut plan) = (store.planner(), Plan::default());
    let batch = Batch {
        size: 1,
        ids: vec![2],
        offsets: Vec::new(),
    };
    planner.plan(batch.ids(), &mut plan).unwrap();
    assert!(matches!(
        planner.batch_lists(&plan, &[3]),
        Err(Error::PlanWithoutSlots)
    ));
    assert!(matches!(
        planner.batch_lists(&plan, &[]),
        Err(Error::RangesCount { got: 0, parts: 1 })
    ));
    assert!(matches!(
        planner.batch_lists(&Plan::default(), &[3]),
        Err(Error::EmptyPlan)
    ));
}
