//! Every recorded case passes through the training step.

use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor, safetensors};
use fae_run::parity::{Outcome, ReplayOptions, replay};
use trainer::Placement;

#[test]
fn real_data_every_case_passes_on_every_placement() {
    let Some(shared) = std::env::var_os("RECSYS_SHARED") else {
        println!("skipped: set RECSYS_SHARED to the folder that holds `golden`");
        return;
    };
    let golden = PathBuf::from(shared).join("golden");
    let mut cases = 0;
    for entry in std::fs::read_dir(&golden).unwrap() {
        let case = entry.unwrap().path();
        if !case.join("case.json").exists() {
            continue;
        }
        for placement in Placement::ALL {
            for hot_share in [0.0, 0.3, 1.0] {
                let options = ReplayOptions {
                    placement,
                    hot_share,
                    ..ReplayOptions::default()
                };
                let outcome = replay(&case, &options).unwrap();
                assert!(
                    matches!(outcome, Outcome::Pass(_)),
                    "{} on {placement}, {hot_share} hot: {outcome:?}",
                    case.display()
                );
            }
        }
        cases += 1;
    }
    assert!(cases >= 9, "{cases} cases in {}", golden.display());
}

#[test]
fn a_folder_without_a_case_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = replay(folder.path(), &ReplayOptions::default()).unwrap_err();
    assert!(
        format!("{error:#}").contains("is no parity case: cannot read"),
        "{error:#}"
    );
}

/// A case without steps: what is read is what is expected.
#[test]
fn a_wide_mixed_dimension_table_may_have_either_name() {
    let case = r#"{
        "model": "dlrm", "embedding_dim": 2, "table_rows": [9, 8], "bottom_mlp": [1, 2], "top_mlp": [1],
        "interaction": "dot", "loss": "bce", "optimizer": "sgd", "learning_rate": 0.1, "batch_size": 4, "steps": 0,
        "embedding": {"kind": "md", "threshold": 5, "dims": [2, 1]}
    }"#;
    let zeros = |shape: &[usize], kind| Tensor::zeros(shape, kind, &Device::Cpu).unwrap();
    for wide in ["emb_l.0.weight", "emb_l.0.embs.weight"] {
        let folder = tempfile::tempdir().unwrap();
        let weights = [
            (wide, vec![9, 2]),
            ("emb_l.1.embs.weight", vec![8, 1]),
            ("emb_l.1.proj.weight", vec![2, 1]),
            ("bot_l.0.weight", vec![2, 1]),
            ("bot_l.0.bias", vec![2]),
            ("top_l.0.weight", vec![1, 5]),
            ("top_l.0.bias", vec![1]),
        ];
        let mut init = HashMap::new();
        let mut expected = HashMap::from([("loss".to_owned(), zeros(&[0], DType::F32))]);
        for (name, shape) in weights {
            let weight = Tensor::rand(-1f32, 1.0, shape, &Device::Cpu).unwrap();
            expected.insert(format!("final/{name}"), weight.clone());
            init.insert(name.to_owned(), weight);
        }
        let batches = HashMap::from([
            ("label", zeros(&[0, 4], DType::F32)),
            ("dense", zeros(&[0, 4, 1], DType::F32)),
            ("sparse", zeros(&[0, 4, 2, 1], DType::I64)),
        ]);
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("case.json"), case).unwrap();
        safetensors::save(&init, path("init.safetensors")).unwrap();
        safetensors::save(&batches, path("batches.safetensors")).unwrap();
        safetensors::save(&expected, path("expected.safetensors")).unwrap();
        let outcome = replay(folder.path(), &ReplayOptions::default()).unwrap();
        assert!(matches!(outcome, Outcome::Pass(_)), "{wide}: {outcome:?}");
    }
}
