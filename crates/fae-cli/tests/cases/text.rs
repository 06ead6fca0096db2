//! Raw text of Criteo, and archives.

use serde_json::Value;

use crate::{Case, SMALL};

/// A number of a report that a command wrote as JSON.
fn report(case: &Case, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(case.out(name)).unwrap()).unwrap()
}

#[test]
fn case_02_no_dense_trains_on_embeddings_alone_real_data() {
    let Some(case) = Case::real_data("02-no-dense") else {
        return;
    };
    case.done("prepare table --mapping nodense.toml --raw base.csv --out OUT/x");
    let train = "train --data OUT/x --dim 4 --top-mlp 8-1 --threads 1 --epochs 2";
    let run = |more: &str, name: &str| {
        case.done(&format!("{train} {more} --json OUT/{name}"));
        let report = report(&case, name);
        report["epochs"][1]["test"]["log_loss"].as_f64().unwrap()
    };
    let log_loss = run("", "r.json");
    assert!(log_loss.is_finite());
    let variants = [
        "--bottom-mlp 1-8-4",
        "--bottom-mlp 0-8-4",
        "--placement cpu-device",
        "--placement mixed --budget 50%",
        "--checkpoint OUT/c --save-weights OUT/w.safetensors",
    ];
    for more in variants {
        assert_eq!(run(more, "other.json"), log_loss, "{more}");
    }
    case.done(&format!("{train} --placement fae --budget 50%"));
    let scored = |from: &str| case.done(&format!("evaluate --data OUT/x --split test {from}"));
    assert_eq!(
        scored("--weights OUT/w.safetensors --dim 4 --top-mlp 8-1"),
        scored("--checkpoint OUT/c")
    );
}

#[test]
fn case_03_unlabelled_rows_are_encoded_and_predicted_real_data() {
    let Some(case) = Case::real_data("03-unlabelled") else {
        return;
    };
    case.done("prepare criteo-kaggle --raw good.txt --out OUT/x");
    case.done(&format!(
        "train --data OUT/x {SMALL} --save-weights OUT/w.safetensors"
    ));
    let printed = case.done("encode criteo --raw unlabelled.txt --vocabulary OUT/x --out OUT/y");
    assert!(
        printed.contains("labels                   none"),
        "{printed}"
    );
    case.done("encode criteo --raw good.txt --vocabulary OUT/x --out OUT/labelled");
    let weights = format!("--weights OUT/w.safetensors {SMALL}");
    let predicted = |data: &str| {
        case.done(&format!(
            "evaluate --data OUT/{data} {weights} --predictions OUT/p.txt"
        ));
        std::fs::read_to_string(case.out("p.txt")).unwrap()
    };
    // The rows are those of good.txt without their labels.
    let lines = predicted("y");
    assert_eq!(lines, predicted("labelled"));
    let probabilities: Vec<f32> = lines.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(probabilities.len(), 60);
    assert!(probabilities.iter().all(|p| (0.0..=1.0).contains(p)));

    let no_labels = &["no labels"];
    case.refused(
        &format!("evaluate --data OUT/y {weights}"),
        &["--predictions"],
    );
    case.refused("train --data OUT/y", no_labels);
    case.refused("export npz --data OUT/y --out OUT/npz", no_labels);
    case.refused(
        "prepare criteo-kaggle --raw unlabelled.txt --out OUT/z",
        &["line 1", "39 fields", "fae encode criteo"],
    );
}

#[test]
fn case_11_archives_trailing_zeros_real_data() {
    let Some(case) = Case::real_data("11-archives") else {
        return;
    };
    for file in ["trailing_zeros.gz", "mac.zip"] {
        case.done(&format!(
            "prepare criteo-kaggle --raw {file} --out OUT/x --force --json OUT/r.json"
        ));
        assert_eq!(report(&case, "r.json")["rows"], 60, "{file}");
    }
    let refused = |file: &str, parts: &[&str]| {
        case.refused(
            &format!("prepare criteo-kaggle --raw {file} --out OUT/y"),
            parts,
        )
    };
    for file in ["dac.tar.gz", "one.tgz"] {
        refused(file, &[file, "gzip", "a tar archive", "unpack it"]);
    }
    refused(
        "good.txt.xz",
        &["good.txt.xz is an xz file", "decompress it"],
    );
    refused(
        "kaggle.zip",
        &["holds 3 files (dac/train.txt", "name the file"],
    );
    refused("multi_noeol.gz", &["multi_noeol.gz"]);
    let message = refused("missing.txt", &["missing.txt"]);
    assert_eq!(message.matches("No such file").count(), 1, "{message}");
}

#[test]
fn case_17_days_are_read_by_their_numbers_real_data() {
    let Some(case) = Case::real_data("17-days") else {
        return;
    };
    let days = |order: &[u32]| {
        let names: Vec<String> = order.iter().map(|day| format!("day_{day}")).collect();
        names.join(" ")
    };
    let numbers: Vec<u32> = (0..12).collect();
    let shell = [0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9];
    let prepare = |raw: &[u32], out: &str| {
        let (days, out) = (days(raw), format!("--out OUT/{out} --json OUT/{out}.json"));
        let outcome = case.run(&format!("prepare criteo-terabyte --raw {days} {out}"));
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        let warned = outcome.stderr.contains("warning: numbered files");
        assert!(
            outcome.stdout.contains("day_11 validates and tests"),
            "{outcome:?}"
        );
        warned
    };
    assert!(prepare(&shell, "shell"));
    assert!(!prepare(&numbers, "numbers"));
    let manifest = |out: &str| std::fs::read(case.out(out).join("dataset.json")).unwrap();
    assert_eq!(manifest("shell"), manifest("numbers"));
    let report = report(&case, "shell.json");
    let last = &report["days"][11];
    assert_eq!(last["source"]["name"], "day_11");
    assert_eq!(last["splits"], serde_json::json!(["validation", "test"]));
    assert_eq!(report["days"][9]["source"]["name"], "day_9");

    let kaggle = case.run(&format!(
        "prepare criteo-kaggle --raw {} --out OUT/k",
        days(&shell)
    ));
    assert!(
        kaggle.stderr.contains("warning: numbered files"),
        "{kaggle:?}"
    );
    assert!(kaggle.stdout.contains("day_9 day_10 day_11"), "{kaggle:?}");
}

#[test]
fn case_21_messages_name_the_command_real_data() {
    let Some(case) = Case::real_data("21-messages") else {
        return;
    };
    let refused = |raw: &str, parts: &[&str]| {
        case.refused(
            &format!("prepare criteo-kaggle --raw {raw} --out OUT/x"),
            parts,
        )
    };
    refused(
        "commas.csv",
        &["line 1", "commas instead of TAB", "`fae prepare table`"],
    );
    refused(
        "header.txt",
        &["line 1", "names the columns", "`fae prepare table`"],
    );
    refused("html.txt", &["html.txt is a web page"]);
    refused("blank_end.txt", &["line 61", "the line is empty"]);
    refused("good.txt good.txt", &["good.txt is named twice"]);
    refused(
        "good.txt ./../21-messages/good.txt",
        &["named twice", "the same file as good.txt"],
    );
}

/// A case whose inputs are made in its folder of outputs.
fn made() -> Case {
    let outputs = tempfile::tempdir().unwrap();
    Case {
        inputs: outputs.path().to_path_buf(),
        outputs,
    }
}

#[test]
fn smaller_tables_train_everywhere_and_come_back_from_files() {
    let case = made();
    case.done("generate text --rows 2000 --scale 0.05 --out OUT/train.txt");
    case.done("prepare criteo-kaggle --raw OUT/train.txt --out OUT/x");
    let ways = [
        "--qr-collisions 4 --qr-threshold 20",
        "--qr-collisions 3 --qr-threshold 20 --qr-operation concat",
        "--md-temperature 0.5 --md-threshold 20 --md-round-dims",
    ];
    for way in ways {
        let model = format!("{SMALL} {way}");
        let train = |more: &str| {
            let words = "train --data OUT/x --optimizer adagrad --max-steps 6 --batch-size 128";
            case.done(&format!("{words} {model} --json OUT/r.json {more}"));
            report(&case, "r.json")["epochs"][0]["test"]["log_loss"].clone()
        };
        let files = "--checkpoint OUT/c --save-weights OUT/w.safetensors";
        let log_loss = train(files);
        case.done(&format!(
            "profile --data OUT/x --dim 4 --optimizer adagrad {way} --budget 30% \
             --strategy frequency --out OUT/h.json"
        ));
        for placement in [
            "cpu-device",
            "mixed --budget 30% --strategy frequency",
            "mixed --hot-set OUT/h.json",
        ] {
            assert_eq!(
                train(&format!("--placement {placement}")),
                log_loss,
                "{way} {placement}"
            );
        }
        train("--placement fae --budget 30% --strategy frequency");
        let scored = |from: &str| case.done(&format!("evaluate --data OUT/x {from}"));
        assert_eq!(
            scored("--checkpoint OUT/c"),
            scored(&format!("--weights OUT/w.safetensors {model}"))
        );
        case.refused(
            &format!("evaluate --data OUT/x --weights OUT/w.safetensors {SMALL}"),
            &["w.safetensors"],
        );
        std::fs::remove_dir_all(case.out("c")).unwrap();
    }
    case.refused(
        "train --data OUT/x --qr-threshold 9",
        &["--qr-threshold needs --qr-collisions"],
    );
}

/// A raw file under other names.
#[cfg(unix)]
#[test]
fn a_file_is_refused_twice_whatever_its_names() {
    let case = made();
    case.done("generate text --rows 50 --out OUT/good.txt");
    let good = case.out("good.txt");
    std::os::unix::fs::symlink(&good, case.out("link.txt")).unwrap();
    std::fs::hard_link(&good, case.out("hard.txt")).unwrap();
    for command in ["prepare criteo-kaggle", "prepare criteo-terabyte"] {
        for other in ["link.txt", "hard.txt", "good.txt"] {
            let words = format!("{command} --raw OUT/good.txt OUT/{other} --out OUT/x");
            case.refused(&words, &["named twice"]);
        }
    }
    case.done("prepare criteo-kaggle --raw OUT/good.txt --out OUT/x");
    let encode = "encode criteo --raw OUT/good.txt OUT/link.txt --vocabulary OUT/x --out OUT/y";
    case.refused(encode, &["named twice"]);
}
