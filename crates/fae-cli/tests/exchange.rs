//! `export` and the imports of `prepare` as users run them.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod programs;

use std::path::{Path, PathBuf};

use programs::command;
use recsys_data::generate::{Planted, PlantedOptions};
use recsys_data::packed::PackedDataset;

/// Runs a program; returns its exit code and what it says on standard error.
fn run(program: &str, words: &[&str], paths: &[(&str, &Path)]) -> (Option<i32>, String) {
    let mut command = command(program);
    command.args(words);
    for (option, path) in paths {
        command.arg(option).arg(path);
    }
    let output = command.output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

fn done(program: &str, words: &[&str], paths: &[(&str, &Path)]) {
    let (code, message) = run(program, words, paths);
    assert_eq!(code, Some(0), "{message}");
}

fn packed(folder: &Path) -> PathBuf {
    let planted = Planted::new(PlantedOptions::default().with_scale(0.1)).unwrap();
    let (raw, out) = (folder.join("train.txt"), folder.join("packed"));
    let file = std::fs::File::create(&raw).unwrap();
    planted
        .write_criteo_text(0..3_000, std::io::BufWriter::new(file))
        .unwrap();
    done(
        "prepare",
        &["criteo-kaggle"],
        &[("--raw", &raw), ("--out", &out)],
    );
    out
}

/// Every shard with its name.
fn shards(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let data = PackedDataset::open(folder).unwrap();
    let splits = &data.manifest().splits;
    let files = [&splits.train, &splits.validation, &splits.test];
    let names = files
        .iter()
        .flat_map(|files| &files.shards)
        .map(|shard| shard.file.clone());
    names
        .map(|name| (name.clone(), std::fs::read(folder.join(name)).unwrap()))
        .collect()
}

#[test]
fn what_export_writes_import_reads() {
    let folder = tempfile::tempdir().unwrap();
    let data = packed(folder.path());
    for (format, train, validation, test) in [
        ("npz", "train.npz", "validation.npz", "test.npz"),
        (
            "mlperf",
            "terabyte_processed_train.bin",
            "terabyte_processed_val.bin",
            "terabyte_processed_test.bin",
        ),
        ("torchrec", "train", "validation", "test"),
    ] {
        let (files, back) = (
            folder.path().join(format),
            folder.path().join(format!("back-{format}")),
        );
        let json = folder.path().join("report.json");
        let format_words: &[&str] = match format {
            "npz" => &["npz", "--layout", "splits"],
            "mlperf" => &["mlperf"],
            _ => &["torchrec"],
        };
        done(
            "export",
            format_words,
            &[("--data", &data), ("--out", &files), ("--json", &json)],
        );
        assert!(
            std::fs::read_to_string(&json)
                .unwrap()
                .contains("\"rows\": 3000")
        );
        let splits = [
            ("--train", train),
            ("--validation", validation),
            ("--test", test),
        ];
        let splits = splits.map(|(option, name)| (option, files.join(name)));
        let mut paths: Vec<(&str, &Path)> = splits
            .iter()
            .map(|(option, path)| (*option, path.as_path()))
            .collect();
        paths.push(("--out", &back));
        done("import", &[format], &paths);
        assert_eq!(shards(&back), shards(&data), "{format}");
    }
    let again = folder.path().join("again");
    done(
        "prepare",
        &["packed"],
        &[("--data", &data), ("--out", &again)],
    );
    assert_eq!(shards(&again), shards(&data));
}

#[test]
fn bad_usage_and_bad_input_are_exit_code_two() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let (code, message) = run("import", &["npz"], &[("--out", &out)]);
    assert_eq!(code, Some(2));
    assert!(message.contains("--raw"), "{message}");
    let file = folder.path().join("half.bin");
    std::fs::write(&file, [0; 80]).unwrap();
    let (code, message) = run("import", &["mlperf"], &[("--raw", &file), ("--out", &out)]);
    assert_eq!(code, Some(2));
    assert!(
        message.contains("half.bin has 80 bytes") && message.trim().lines().count() == 1,
        "{message}"
    );
    let (code, message) = run(
        "export",
        &["npz"],
        &[("--data", folder.path()), ("--out", &out)],
    );
    assert_eq!(code, Some(2));
    assert!(message.contains("is not a packed data set"), "{message}");
    assert!(!out.exists());
}
