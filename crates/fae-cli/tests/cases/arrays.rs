//! Arrays and weights of other programs.

use super::{Case, SMALL};

#[test]
fn case_01_fortran_npz_real_data() {
    let Some(case) = Case::real_data("01-fortran-npz") else {
        return;
    };
    let names = [
        "kaggleAdDisplayChallenge_processed.npz",
        "same-in-C-order.npz",
    ];
    for (number, name) in names.into_iter().enumerate() {
        let printed = case.done(&format!("import npz --raw {name} --out OUT/{number}"));
        assert!(printed.contains("462   in 26 tables"), "{printed}");
    }
    let shards = |folder: &str| {
        let files = case.out(folder).read_dir().unwrap();
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.retain(|file| {
            file.extension()
                .is_some_and(|ending| ending == "safetensors")
        });
        files.sort();
        assert!(!files.is_empty());
        let bytes = files.iter().map(|file| std::fs::read(file).unwrap());
        bytes.collect::<Vec<_>>()
    };
    assert!(shards("0") == shards("1"));
}

#[test]
fn case_10_weights_real_data() {
    let Some(case) = Case::real_data("10-weights") else {
        return;
    };
    // The files are of ids that were ranked over all rows.
    case.done("prepare criteo-kaggle --raw good.txt --rank-on all --out OUT/x");
    let evaluate =
        |file: &str| format!("evaluate --data OUT/x --weights {file} {SMALL} --split train");
    let same = [
        "dlrm.pt",
        "legacy.pt",
        "half.pt",
        "model_state_dict.pt",
        "whole_module.pt",
    ];
    for file in same {
        let printed = case.done(&evaluate(file));
        assert!(printed.contains("0.8167"), "{file}: {printed}");
    }
    // Other weights, the same under the names of DistributedDataParallel.
    let printed = case.done(&evaluate("ddp.safetensors"));
    assert!(printed.contains("0.7586"), "{printed}");
    case.refused(&evaluate("text.pt"), &["text.pt is a pointer of Git LFS"]);
    // What is exported is read again, in PyTorch's names for the first file alone.
    for form in ["reference", "state-dict"] {
        case.done(&format!(
            "export weights --weights legacy.pt --out OUT/{form}.pt --form {form}"
        ));
        let printed = case.done(&evaluate(&format!("OUT/{form}.pt")));
        assert!(printed.contains("0.8167"), "{form}: {printed}");
    }
    case.done("export weights --weights dlrm.pt --out OUT/t.pt --form torchrec");
    let parts = ["`bot_l.0.weight` is missing", "sparse_arch"];
    case.refused(&evaluate("OUT/t.pt"), &parts);
}

#[test]
fn case_13_torchrec_inf_real_data() {
    let Some(case) = Case::real_data("13-torchrec-inf") else {
        return;
    };
    case.refused(
        "import torchrec --raw t_neginf --out OUT/x",
        &["t_neginf_dense.npy, sample 0, column I6: -inf"],
    );
}

#[test]
fn case_14_npz_types_real_data() {
    let Some(case) = Case::real_data("14-npz-types") else {
        return;
    };
    for name in ["cat_u4", "xcat_t", "y_b1", "y_i1"] {
        let printed = case.done(&format!("import npz --raw {name}.npz --out OUT/{name}"));
        assert!(printed.contains("348   in 26 tables"), "{name}: {printed}");
    }
    let printed = case.done("import torchrec --raw t_boollabel --out OUT/t");
    assert!(printed.contains("348   in 26 tables"), "{printed}");
}

#[test]
fn case_15_multi_hot_real_data() {
    let Some(case) = Case::real_data("15-multi-hot") else {
        return;
    };
    let printed = case.done("import torchrec --raw day_23 --out OUT/x");
    assert!(printed.contains("348   in 26 tables"), "{printed}");
    let printed = case.done("inspect OUT/x");
    assert!(printed.contains("3 to 3 ids a bag"), "{printed}");
}

#[test]
fn case_22_hostile_pt_real_data() {
    let Some(case) = Case::real_data("22-hostile-pt") else {
        return;
    };
    let line = format!("0{}{}\n", "\t1".repeat(13), "\tab".repeat(26));
    std::fs::write(case.out("raw.txt"), line.repeat(14)).unwrap();
    case.done("prepare criteo-kaggle --raw OUT/raw.txt --out OUT/x");
    for name in [
        "memo_laughs_40.pt",
        "none_bomb.pt",
        "rebuild_no_args.pt",
        "storage_short.pt",
    ] {
        let words = format!("evaluate --data OUT/x --weights {name} {SMALL} --split train");
        let message = case.refused(&words, &[name]);
        assert_eq!(message.trim().lines().count(), 1, "{message}");
    }
}
