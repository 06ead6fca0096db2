//! The parity cases: what PyTorch predicts before the first step, from given weights.

use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use dlrm::{Dlrm, DlrmConfig, Interaction};

type TestResult<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn widths(value: &serde_json::Value) -> TestResult<Vec<usize>> {
    Ok(serde_json::from_value(value.clone())?)
}

/// Largest difference between the model's and the recorded predictions, by the operator and by the graph.
fn differences(folder: &std::path::Path) -> TestResult<[f32; 2]> {
    let case: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("case.json"))?)?;
    let load = |name: &str| candle_core::safetensors::load(folder.join(name), &Device::Cpu);
    let (init, batches, expected) = (
        load("init.safetensors")?,
        load("batches.safetensors")?,
        load("expected.safetensors")?,
    );
    let with_self = case["interact_self"].as_bool().unwrap_or(false);
    let tables = case["table_rows"].as_array().map_or(0, Vec::len);
    let config = DlrmConfig {
        tables,
        dim: case["embedding_dim"].as_u64().ok_or("embedding_dim")? as usize,
        bottom: widths(&case["bottom_mlp"])?,
        top: widths(&case["top_mlp"])?,
        interaction: if case["interaction"] == "cat" {
            Interaction::Cat
        } else {
            Interaction::Dot { with_self }
        },
        ..DlrmConfig::default()
    };
    let model = Dlrm::new(config, 0, &Device::Cpu)?;
    let dense_part: HashMap<String, Tensor> = init
        .iter()
        .filter(|(name, _)| !name.starts_with("emb_l"))
        .map(|(n, t)| (n.clone(), t.clone()))
        .collect();
    model.load_named(&dense_part)?;

    let first = |name: &str| -> TestResult<Tensor> {
        Ok(batches.get(name).ok_or("no such tensor")?.get(0)?)
    };
    let (dense, sparse) = (first("dense")?, first("sparse")?.to_dtype(DType::I64)?);
    let (batch, _, lookups) = sparse.dims3()?;
    let mut rows = Vec::new();
    for table in 0..tables {
        let weight = init
            .get(&format!("emb_l.{table}.weight"))
            .ok_or("not a case with full tables")?;
        let ids = sparse.narrow(1, table, 1)?.flatten_all()?;
        rows.push(
            weight
                .index_select(&ids, 0)?
                .reshape((batch, lookups, ()))?
                .sum(1)?,
        );
    }
    let rows = Tensor::stack(&rows, 1)?;
    let expected = expected
        .get("prediction_before")
        .ok_or("no prediction")?
        .flatten_all()?;
    let difference = |logits: Tensor| -> TestResult<f32> {
        let ones = logits.neg()?.exp()?.affine(1.0, 1.0)?;
        Ok((ones.recip()? - &expected)?
            .abs()?
            .max_all()?
            .to_scalar::<f32>()?)
    };
    Ok([
        difference(model.forward(&dense, &rows)?)?,
        difference(model.forward_graph(&dense, &rows)?)?,
    ])
}

#[test]
fn real_data_predictions_are_those_of_pytorch() -> TestResult<()> {
    let Some(shared) = std::env::var_os("RECSYS_SHARED") else {
        eprintln!(
            "skipped: RECSYS_SHARED is not set, so there are no parity cases to compare with"
        );
        return Ok(());
    };
    for name in ["dlrm_dot", "dlrm_kaggle", "dlrm_multi_hot_self"] {
        let found = differences(&PathBuf::from(&shared).join("golden").join(name))?;
        assert!(
            found.iter().all(|&d| d < 1e-6),
            "{name}: predictions differ by {found:?}"
        );
    }
    Ok(())
}
