//! Hot sets as files, and the two data sets that they cut one into.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod support;

use std::path::Path;

use fae_profiler::{CountOptions, Error, HotSet, SelectOptions, Strategy};
use recsys_data::packed::PackedDataset;
use recsys_data::{Batch, Dataset, Split};
use support::{Memory, options};

fn ids(seed: u32) -> Vec<Vec<u32>> {
    let id = |k: u32, rows: u32| (k.wrapping_mul(2_654_435_761) >> 7) % (1 + (k ^ seed) % rows);
    (0..2000).map(|k| vec![id(k, 30), id(k + 9, 12)]).collect()
}

fn data(folder: &Path) -> PackedDataset {
    Memory::single_hot(&[30, 12], &ids(1)).pack(&folder.join("data"))
}

fn selected() -> SelectOptions {
    SelectOptions {
        count: CountOptions {
            sample: 0.25,
            seed: 4,
        },
        ..options(Strategy::Inputs, 400, &[16, 24])
    }
}

#[test]
fn a_saved_set_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    let path = folder.path().join("sets/hot.json");
    for strategy in [Strategy::Inputs, Strategy::Frequency, Strategy::Share(0.01)] {
        let set = HotSet::select(
            &data,
            &SelectOptions {
                strategy,
                ..selected()
            },
        )
        .unwrap();
        set.save(&path).unwrap();
        let loaded = HotSet::load(&path, &data).unwrap();
        assert_eq!(loaded, set);
        assert_eq!(loaded.hot_rows().len(), 2);
        assert!(loaded.estimate().is_some() && loaded.sampling().counted == 500);
        assert_eq!(loaded.results().inputs, 2000);
    }
    let names: Vec<_> = std::fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["hot.json"], "nothing else is left behind");
}

#[test]
fn another_data_set_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    let path = folder.path().join("hot.json");
    HotSet::select(&data, &selected())
        .unwrap()
        .save(&path)
        .unwrap();
    let cases: [(&str, Memory); 4] = [
        (
            "the number of tables is 2, here it is 1",
            Memory::single_hot(&[30], &[vec![0]]),
        ),
        (
            "the number of rows of table C2 is 12, here it is 13",
            Memory::single_hot(&[30, 13], &ids(1)),
        ),
        (
            "the number of training samples is 2000, here it is 1999",
            Memory::single_hot(&[30, 12], &ids(1)[1..]),
        ),
        (
            "the hash of the samples is",
            Memory::single_hot(&[30, 12], &ids(2)),
        ),
    ];
    for (number, (message, other)) in cases.into_iter().enumerate() {
        let other = other.pack(&folder.path().join(format!("other-{number}")));
        let error = HotSet::load(&path, &other).unwrap_err();
        assert!(matches!(error, Error::OtherDataset { .. }), "{error}");
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[test]
fn changes_by_hand_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    let path = folder.path().join("hot.json");
    let set = HotSet::select(&data, &selected()).unwrap();
    set.save(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let hot = |rows: u64| format!("\"hot_rows\": {rows}\n");
    let first = set.hot_rows()[0];
    let field = |name: &str, value: u64| format!("\"{name}\": {value}");
    let results = set.results();
    let cases = [
        (
            hot(first),
            hot(31),
            "the number of hot rows of table C1 is 31",
        ),
        (hot(first), hot(first - 1), "the number of hot bytes is"),
        (
            field("budget", 400),
            field("budget", 40),
            "at most the budget of 40",
        ),
        (
            field("seed", 4),
            field("seed", 5),
            "the checksum is that of other contents",
        ),
        (
            field("hot_inputs", results.hot_inputs),
            field("hot_inputs", 2001),
            "the number of hot inputs is 2001, at most 2000 expected",
        ),
        (
            field("inputs", 2000),
            field("inputs", 1000),
            "the number of inputs in `results` is 1000",
        ),
    ];
    for (old, new, message) in cases {
        assert!(text.contains(&old), "{old} in {text}");
        std::fs::write(&path, text.replacen(&old, &new, 1)).unwrap();
        let error = HotSet::load(&path, &data).unwrap_err();
        assert!(matches!(error, Error::Altered { .. }), "{error}");
        assert!(error.to_string().contains(message), "{error}");
    }
    let others = [
        (text.replace("fae-hot-set", "other"), "its `format` is not"),
        (text[..text.len() / 2].into(), "is no hot set"),
        (
            text.replace("\"budget\": 400", "\"budget\": -1"),
            "is no hot set",
        ),
        (
            text.replace("\"format_version\": 1", "\"format_version\": 2"),
            "is version 2 of the format",
        ),
    ];
    for (changed, message) in others {
        std::fs::write(&path, changed).unwrap();
        let error = HotSet::load(&path, &data).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(HotSet::load(&path, &data), Err(Error::Io { .. })));
}

#[test]
fn hot_and_cold_inputs_are_two_data_sets() {
    let folder = tempfile::tempdir().unwrap();
    for multi_hot in [false, true] {
        let mut source = Memory::single_hot(&[30, 12], &ids(1));
        if multi_hot {
            source.bags[7][0] = vec![1, 2, 29];
            source.bags[8][1].clear();
            source.schema.multi_hot = true;
        }
        let name = format!("data-{multi_hot}");
        let data = source.pack(&folder.path().join(&name));
        let set = HotSet::select(&data, &selected()).unwrap();
        let out = folder.path().join(format!("{name}-split"));
        let mut done = 0;
        let manifests = set
            .materialise(&data, &out, false, &mut |samples| done = samples)
            .unwrap();
        assert_eq!(
            (done, manifests[0].rows(Split::Train)),
            (2000, set.results().hot_inputs)
        );
        let read = |name: &str| {
            let data = PackedDataset::open(out.join(name)).unwrap();
            data.verify().unwrap();
            let split = data.split(Split::Train);
            let mut batch = Batch::default();
            split
                .read(&(0..split.len()).collect::<Vec<_>>(), &mut batch)
                .unwrap();
            batch
        };
        let partition = fae_profiler::Partition::classify(&source, set.hot_rows()).unwrap();
        let parts: [(&str, Vec<u64>); 2] = [
            ("hot", partition.iter_hot().collect()),
            ("cold", partition.iter_cold().collect()),
        ];
        for (name, numbers) in parts {
            let mut expected = Batch::default();
            source.read(&numbers, &mut expected).unwrap();
            assert_eq!(read(name), expected);
        }
        // Files are in the way, and are replaced on demand.
        assert!(set.materialise(&data, &out, false, &mut |_| ()).is_err());
        set.materialise(&data, &out, true, &mut |_| ()).unwrap();
    }
}
