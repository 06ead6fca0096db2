//! The `generate` program as users run it: what it writes opens, and what is there stays.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod programs;

use std::path::Path;

use programs::command;
use recsys_data::generate::{PlantedSequences, PlantedSequencesOptions};
use recsys_data::packed::PackedDataset;
use recsys_data::{Batch, Dataset, Split};

/// Exit code, standard output and standard error.
fn run(arguments: &[&str], out: &Path) -> (Option<i32>, String, String) {
    let output = command("generate")
        .args(arguments)
        .arg("--out")
        .arg(out)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn sequences_are_a_packed_data_set_of_the_planted_samples() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("sequences");
    let arguments = [
        "sequences",
        "--rows",
        "14000",
        "--history",
        "9",
        "--scale",
        "0.1",
    ];
    let (code, message, error) = run(&arguments, &out);
    assert_eq!(code, Some(0), "{error}");
    let data = PackedDataset::open(&out).unwrap();
    data.verify().unwrap();
    let options = &data.manifest().provenance.options;
    let options: PlantedSequencesOptions = serde_json::from_value(options.clone()).unwrap();
    assert_eq!((options.samples, options.history), (14_000, 9));
    let planted = PlantedSequences::new(options).unwrap();
    let best = planted.best_auc(13_000..14_000).unwrap();
    assert!(message.contains(&format!("{best:.4}")), "{message}");
    let read = |data: &dyn Dataset, samples: &[u64]| {
        let mut batch = Batch::default();
        data.read(samples, &mut batch).unwrap();
        batch
    };
    for (split, first) in [
        (Split::Train, 0),
        (Split::Validation, 12_000),
        (Split::Test, 13_000),
    ] {
        let part = data.split(split);
        assert_eq!(part.schema(), planted.schema());
        assert_eq!(
            read(&part, &[0, 999]),
            read(&planted, &[first, first + 999])
        );
    }
}

#[test]
fn events_are_counted_and_a_file_is_replaced_only_on_demand() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("UserBehavior.csv");
    let events = |count, more: &[&str]| {
        let arguments = ["events", "--scale", "0.1", "--events", count];
        run(&[&arguments[..], more].concat(), &out)
    };
    let lines = || std::fs::read_to_string(&out).unwrap().lines().count();
    let (code, message, error) = events("5000", &[]);
    assert_eq!(code, Some(0), "{error}");
    assert!(message.starts_with("5000 events, "), "{message}");
    assert_eq!(lines(), 5_000);
    let (code, _, error) = events("6000", &[]);
    assert_eq!(code, Some(2));
    assert!(error.contains("--force"), "{error}");
    assert_eq!(lines(), 5_000);
    let (code, _, error) = events("6000", &["--force"]);
    assert_eq!(code, Some(0), "{error}");
    assert_eq!(lines(), 6_000);
    let (code, _, error) = events("6000", &["--force", "--drift", "1.5"]);
    assert_eq!(code, Some(2));
    assert!(error.contains("drift is 1.5; allowed: 0 to 1"), "{error}");
    assert_eq!(folder.path().read_dir().unwrap().count(), 1);
}
