//! `verify`, `inspect` and `encode` as users run them.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod programs;

use std::path::Path;

use programs::command;
use recsys_data::generate::{Planted, PlantedOptions};

/// Exit code, standard output and standard error of a program.
fn run(program: &str, arguments: &[&str], folder: &Path) -> (Option<i32>, String, String) {
    let output = command(program)
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Raw rows and the data set made of the first of them, in a folder.
fn prepared() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let planted = Planted::new(PlantedOptions::default().with_scale(0.1)).unwrap();
    for (name, rows) in [("train.txt", 0..1_400), ("new.txt", 1_400..1_700)] {
        let file = std::fs::File::create(folder.path().join(name)).unwrap();
        planted
            .write_criteo_text(rows, std::io::BufWriter::new(file))
            .unwrap();
    }
    let arguments = ["criteo-kaggle", "--raw", "train.txt", "--out", "packed"];
    let (code, _, error) = run("prepare", &arguments, folder.path());
    assert_eq!(code, Some(0), "{error}");
    folder
}

#[test]
fn verify_tells_sound_from_damaged_by_its_exit_code() {
    let folder = prepared();
    let (code, text, error) = run("verify", &["packed"], folder.path());
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert!(
        text.contains("all sound") && text.contains("26 vocabularies"),
        "{text}"
    );

    let shard = folder.path().join("packed/test-00000.safetensors");
    let mut bytes = std::fs::read(&shard).unwrap();
    *bytes.last_mut().unwrap() ^= 0x80;
    std::fs::write(&shard, bytes).unwrap();
    let arguments = ["packed", "--json", "report.json"];
    let (code, text, error) = run("verify", &arguments, folder.path());
    assert_eq!((code, error.as_str()), (Some(1), ""));
    for part in [
        "DAMAGED",
        "test-00000.safetensors",
        "sample 99, `C26`",
        "train.txt (",
        "--force",
    ] {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
    let report = std::fs::read(folder.path().join("report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(report["data"][0]["sound"], false);

    let (code, text, error) = run("verify", &["nowhere", "packed"], folder.path());
    assert_eq!(code, Some(2), "{text}");
    assert!(
        error.contains("nowhere is not a packed data set") && text.contains("DAMAGED"),
        "{error}"
    );
}

#[test]
fn inspect_shows_columns_tables_and_raw_rows_in_narrow_lines() {
    let folder = prepared();
    let arguments = ["packed", "--rows", "2", "--json", "look.json"];
    let (code, text, error) = run("inspect", &arguments, folder.path());
    assert_eq!((code, error.as_str()), (Some(0), ""));
    let raw = std::fs::read_to_string(folder.path().join("train.txt")).unwrap();
    for field in raw
        .lines()
        .take(2)
        .flat_map(|line| line.split('\t').skip(14))
    {
        assert!(
            text.contains(if field.is_empty() { "-" } else { field }),
            "{field}\n{text}"
        );
    }
    for part in [
        "made from",
        "train.txt",
        "1,200",
        "C26",
        "head→tail",
        "sample 1, label",
    ] {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
    let widest = text.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(120), "{widest:?}\n{text}");
    let look = std::fs::read(folder.path().join("look.json")).unwrap();
    let look: serde_json::Value = serde_json::from_slice(&look).unwrap();
    assert_eq!(look["tables"].as_array().unwrap().len(), 26);

    let (code, _, error) = run("inspect", &["."], folder.path());
    assert_eq!(code, Some(2));
    assert!(error.contains("holds no dataset.json"), "{error}");
}

#[test]
fn encode_makes_a_data_set_for_the_same_model() {
    let folder = prepared();
    let encode = |more: &[&str]| {
        let arguments = [
            "criteo",
            "--raw",
            "new.txt",
            "--vocabulary",
            "packed",
            "--out",
            "new",
        ];
        run("encode", &[&arguments, more].concat(), folder.path())
    };
    let (code, text, error) = encode(&["--unseen", "error"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(
        error.contains("new.txt, line ") && error.contains("not in the vocabulary"),
        "{error}"
    );
    assert!(!folder.path().join("new").exists());
    let (code, text, error) = encode(&["--unseen", "hash", "--json", "encoded.json"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(
        text.contains("300   all in test") && text.contains("unseen"),
        "{text}"
    );
    let (code, text, _) = run("verify", &["new", "packed"], folder.path());
    assert_eq!(code, Some(0), "{text}");
    let (code, text, _) = run("inspect", &["new"], folder.path());
    assert_eq!(code, Some(0));
    assert!(
        text.contains("lookups counted over all 300 samples of test"),
        "{text}"
    );
}
