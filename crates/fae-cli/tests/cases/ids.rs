//! Models, and data sets whose ids are others.

use crate::{Case, SMALL};

#[test]
fn case_06_encode_other_dense_real_data() {
    let Some(case) = Case::real_data("06-encode-other-dense") else {
        return;
    };
    let encode = "encode criteo --raw good.txt --vocabulary OUT/x --out OUT/y";
    case.done("prepare table --mapping kaggle_nolog.toml --raw kaggle_id.csv --out OUT/x");
    case.refused(encode, &["its dense values are not ln(max(x, 0) + 1)"]);
    // With the logarithm the samples are those of Criteo's own rows.
    case.done("prepare table --mapping kaggle_id.toml --raw kaggle_id.csv --out OUT/x --force");
    case.done(encode);

    let text = std::fs::read_to_string(case.inputs.join("kaggle_id.toml")).unwrap();
    let mapping = case.out("text.toml");
    std::fs::write(&mapping, text.replace("\"hex\"", "\"text\"")).unwrap();
    case.done("prepare table --mapping OUT/text.toml --raw kaggle_id.csv --out OUT/x --force");
    let encode = encode.replace("OUT/y", "OUT/z");
    case.refused(
        &encode,
        &["its categories are not Criteo's hexadecimal ones"],
    );
}

#[test]
fn case_06_encode_torchrec_real_data() {
    let Some(case) = Case::real_data("06-encode-other-dense") else {
        return;
    };
    let encode = "encode criteo --raw good.txt --vocabulary OUT/t --out OUT/y --unseen hash";
    case.done("prepare criteo-kaggle --raw good.txt --out OUT/x");
    case.done("export torchrec --data OUT/x --out OUT/npy");
    let raw = case.out("npy").join("train").display().to_string();
    case.done(&format!("import torchrec --raw {raw} --out OUT/t"));
    case.refused(encode, &["its dense values are not ln(max(x, 0) + 1)"]);
}

/// AUC and log loss of a split's line.
fn scores(stdout: &str) -> (f64, f64) {
    let line = stdout
        .lines()
        .find(|line| line.starts_with("train"))
        .unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |word: &str| word.parse::<f64>().ok();
    let numbers: Vec<f64> = words.iter().filter_map(|word| number(word)).collect();
    (numbers[0], numbers[1])
}

#[test]
fn case_07_evaluate_other_ids_real_data() {
    let Some(case) = Case::real_data("07-evaluate-other-ids") else {
        return;
    };
    case.done("prepare criteo-kaggle --raw rev.txt --out OUT/x");
    case.done("prepare criteo-kaggle --raw good.txt --rank-on all --out OUT/good");
    // The file is of a release that did not write what its rows are of.
    let evaluate = format!("evaluate --data OUT/x --weights k.safetensors {SMALL} --split train");
    let outcome = case.run(&evaluate);
    assert!(
        outcome.stderr.contains("does not say which categories"),
        "{outcome:?}"
    );
    let translated = case.done(&format!("{evaluate} --ids-of OUT/good"));
    let (auc, log_loss) = scores(&translated);
    assert!(
        (auc - 0.5452).abs() < 1e-4 && (log_loss - 0.7166).abs() < 1e-4,
        "{translated}"
    );
}

#[test]
fn case_07_weights_and_checkpoints_know_their_ids_real_data() {
    let Some(case) = Case::real_data("07-evaluate-other-ids") else {
        return;
    };
    case.done("prepare criteo-kaggle --raw rev.txt --out OUT/x");
    case.done("prepare criteo-kaggle --raw good.txt --out OUT/good");
    case.done(&format!(
        "train --data OUT/good {SMALL} --save-weights OUT/k.safetensors --checkpoint OUT/c"
    ));
    let known = format!("evaluate --data OUT/good --weights OUT/k.safetensors {SMALL}");
    let outcome = case.run(&known);
    assert_eq!((outcome.code, &outcome.stderr[..]), (Some(0), ""));
    let mut translated = Vec::new();
    for from in [
        format!("--weights OUT/k.safetensors {SMALL}"),
        "--checkpoint OUT/c".into(),
    ] {
        let evaluate = format!("evaluate --data OUT/x --split train {from}");
        case.refused(&evaluate, &["are under other ids", "table C", "--ids-of"]);
        let wrong = format!("{evaluate} --ids-of OUT/x");
        case.refused(&wrong, &["are not under the ids of"]);
        translated.push(case.done(&format!("{evaluate} --ids-of OUT/good")));
    }
    assert_eq!(translated[0], translated[1]);
    let train = format!("train --data OUT/x {SMALL} --load-weights OUT/k.safetensors");
    case.refused(&train, &["are under other ids", "--ids-of"]);
}
