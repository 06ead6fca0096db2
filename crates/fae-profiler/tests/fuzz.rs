//! No hot-set file makes its reader panic or take much memory, and a changed one is noticed.
//!
//! `RECSYS_FUZZ_SECONDS=60 cargo test --release -p fae-profiler --test fuzz -- --nocapture` tries new inputs for a minute.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod support;

use fae_profiler::{HotSet, Strategy};
use recsys_data::packed::PackedDataset;
use support::{Memory, options};
use testing::fuzzing::Target;
use xxhash_rust::xxh3::xxh3_64;

#[global_allocator]
static ALLOCATOR: testing::Counting = testing::Counting;

/// The text of a hot set with the checksum that belongs to it.
fn sealed(text: &[u8]) -> Vec<u8> {
    const KEY: &[u8] = b"\"xxh3\": \"";
    let at = text.windows(KEY.len()).rposition(|window| window == KEY);
    let Some(at) = at else {
        return text.to_vec();
    };
    let text = &text[..at + KEY.len()];
    let end = format!("{:016x}\"\n}}\n", xxh3_64(text));
    [text, end.as_bytes()].concat()
}

#[test]
fn changed_hot_sets_are_refused_or_read_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hot.json");
    let ids: Vec<Vec<u32>> = (0..200).map(|k| vec![k * k % 30, k % 12]).collect();
    let data = Memory::single_hot(&[30, 12], &ids).pack(&folder.path().join("data"));
    let set = |strategy| {
        let set = HotSet::select(&data, &options(strategy, 400, &[16, 24])).unwrap();
        set.save(&path).unwrap();
        (set, std::fs::read(&path).unwrap())
    };
    let sets = [set(Strategy::Inputs), set(Strategy::Frequency)];
    let seeds: Vec<Vec<u8>> = sets.iter().map(|(_, text)| text.clone()).collect();
    let load = |text: &[u8], data: &PackedDataset| {
        std::fs::write(&path, text).unwrap();
        match HotSet::load(&path, data) {
            Ok(set) => Some(set),
            Err(error) => {
                assert!(error.to_string().contains("hot.json"), "{error}");
                None
            }
        }
    };
    testing::fuzzing::run(&mut [
        Target {
            name: "hot set",
            seeds: seeds.clone(),
            executions: 2_000,
            check: Box::new(|text| {
                let read = load(text, &data);
                let known = |read: &HotSet| sets.iter().any(|(set, _)| set == read);
                assert!(read.as_ref().is_none_or(known), "a change passed");
                read.is_some()
            }),
        },
        Target {
            name: "hot set, checksum fits",
            seeds,
            executions: 2_000,
            check: Box::new(|text| {
                let Some(set) = load(&sealed(text), &data) else {
                    return false;
                };
                set.save(&path).unwrap();
                assert_eq!(HotSet::load(&path, &data).unwrap(), set);
                true
            }),
        },
    ]);
}
