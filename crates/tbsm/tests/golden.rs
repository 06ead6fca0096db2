//! The parity cases: what PyTorch computes, step by step, from given weights on given batches.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use dlrm::{DlrmConfig, Interaction, Output};
use tbsm::{Inner, Mechanism, Pass, SequenceLayer, Tbsm, TbsmConfig};

type TestResult<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn number(case: &serde_json::Value, key: &str) -> TestResult<usize> {
    Ok(case[key].as_u64().ok_or(format!("no {key}"))? as usize)
}

fn widths(case: &serde_json::Value, key: &str) -> TestResult<Vec<usize>> {
    Ok(serde_json::from_value(case[key].clone())?)
}

fn config(case: &serde_json::Value) -> TestResult<TbsmConfig> {
    let with_self = case["interact_self"].as_bool().ok_or("interact_self")?;
    Ok(TbsmConfig {
        tower: DlrmConfig {
            tables: widths(case, "table_rows")?.len(),
            dim: number(case, "embedding_dim")?,
            bottom: widths(case, "bottom_mlp")?,
            top: widths(case, "top_mlp")?,
            interaction: match case["interaction"] == "cat" {
                true => Interaction::Cat,
                false => Interaction::Dot { with_self },
            },
            output: Output::Relu,
            ..DlrmConfig::default()
        },
        history: number(case, "ts_length")?,
        normalise: case["tsl_proj"].as_bool().ok_or("tsl_proj")?,
        sequence: SequenceLayer::Tsl {
            heads: number(case, "tsl_heads")?,
            inner: serde_json::from_value::<Inner>(case["tsl_inner"].clone())?,
            mechanism: serde_json::from_value::<Mechanism>(case["tsl_mechanism"].clone())?,
            mlp: widths(case, "tsl_mlp")?,
            sequential: case["tsl_sequential"].as_bool().ok_or("tsl_sequential")?,
        },
        head: widths(case, "final_mlp")?,
    })
}

fn floats(tensors: &HashMap<String, Tensor>, name: &str) -> TestResult<Vec<f32>> {
    let tensor = tensors.get(name).ok_or(format!("no {name}"))?;
    Ok(tensor.flatten_all()?.to_vec1()?)
}

/// Largest distances from the recorded run, as shares of what a case allows: of a step's loss, of a final weight, and of
/// a prediction before the first step (by the plain graph).
fn distances(folder: &Path) -> TestResult<[f64; 3]> {
    let case: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("case.json"))?)?;
    let load = |name: &str| candle_core::safetensors::load(folder.join(name), &Device::Cpu);
    let (init, batches, expected) = (
        load("init.safetensors")?,
        load("batches.safetensors")?,
        load("expected.safetensors")?,
    );
    let config = config(&case)?;
    let (batch, steps) = (number(&case, "batch_size")?, number(&case, "steps")?);
    let rate = case["learning_rate"].as_f64().ok_or("learning_rate")? as f32;
    let (tables, dim) = (config.tower.tables, config.tower.dim);
    let positions = batch * config.positions();
    let model = Tbsm::new(config, 0, &Device::Cpu)?;
    let table_name = |table: usize| format!("dlrm.emb_l.{table}.weight");
    let mut embedding = Vec::new();
    for table in 0..tables {
        embedding.push(floats(&init, &table_name(table))?);
    }
    let dense_part: HashMap<String, Tensor> = init
        .iter()
        .filter(|(name, _)| !name.starts_with("dlrm.emb_l"))
        .map(|(name, tensor)| (name.clone(), tensor.clone()))
        .collect();
    model.load_named(&dense_part)?;

    let mut parameters = model.parameters().to_vec1::<f32>()?;
    let (dense, label) = (floats(&batches, "dense")?, floats(&batches, "label")?);
    let ids = batches.get("sparse").ok_or("no sparse")?;
    let ids = ids.to_dtype(DType::I64)?.flatten_all()?.to_vec1::<i64>()?;
    let losses = floats(&expected, "loss")?;
    let mut pass = Pass::default();
    let (mut logits, mut rows_grad) = (vec![0.0; batch], vec![0.0; positions * tables * dim]);
    let mut worst = [0.0f64; 3];
    for step in 0..steps {
        let dense = &dense[step * dense.len() / steps..(step + 1) * dense.len() / steps];
        let ids = &ids[step * positions * tables..(step + 1) * positions * tables];
        let label = &label[step * batch..(step + 1) * batch];
        // `[batch, positions, tables]`: the table alternates fastest.
        let place = |(k, &id): (usize, &i64)| (k % tables, id as usize * dim);
        let rows: Vec<f32> = ids
            .iter()
            .enumerate()
            .flat_map(|item| {
                let (table, at) = place(item);
                embedding[table][at..at + dim].to_vec()
            })
            .collect();
        if step == 0 {
            let shape = (batch, positions / batch, ());
            let dense = Tensor::from_slice(dense, dense.len(), &Device::Cpu)?.reshape(shape)?;
            let shape = (batch, positions / batch, tables, dim);
            let rows = Tensor::from_slice(&rows, shape, &Device::Cpu)?;
            let plain = model.forward_graph(&dense, &rows)?.to_vec1::<f32>()?;
            let predictions = floats(&expected, "prediction_before")?;
            for (logit, prediction) in plain.iter().zip(predictions) {
                let difference = 1.0 / (1.0 + (-logit).exp()) - prediction;
                worst[2] = worst[2].max(f64::from(difference.abs()) / 1e-6);
            }
        }
        model
            .network()
            .forward(&parameters, dense, &rows, &mut pass, &mut logits)?;
        let loss: f64 = logits
            .iter()
            .zip(label)
            .map(|(&z, &y)| {
                let (z, y) = (f64::from(z), f64::from(y));
                z.max(0.0) - z * y + (-z.abs()).exp().ln_1p()
            })
            .sum::<f64>()
            / batch as f64;
        let recorded = f64::from(losses[step]);
        worst[0] = worst[0].max((loss - recorded).abs() / (1e-5 * recorded));
        let slope: Vec<f32> = logits
            .iter()
            .zip(label)
            .map(|(&z, &y)| (1.0 / (1.0 + (-z).exp()) - y) / batch as f32)
            .collect();
        model.network().backward(
            &parameters,
            dense,
            &rows,
            &slope,
            &mut pass,
            &mut rows_grad,
            None,
        )?;
        for gradients in pass.gradients() {
            for (parameter, gradient) in parameters.iter_mut().zip(gradients) {
                *parameter -= rate * gradient;
            }
        }
        for (item, grad) in ids.iter().enumerate().zip(rows_grad.chunks_exact(dim)) {
            let (table, at) = place(item);
            for (value, grad) in embedding[table][at..at + dim].iter_mut().zip(grad) {
                *value -= rate * grad;
            }
        }
    }

    let count = parameters.len();
    model
        .parameters()
        .set(&Tensor::from_vec(parameters, count, &Device::Cpu)?)?;
    let mut weights: HashMap<String, Vec<f32>> = HashMap::new();
    for (name, tensor) in model.named_parameters()? {
        weights.insert(name, tensor.flatten_all()?.to_vec1()?);
    }
    for (table, values) in embedding.into_iter().enumerate() {
        weights.insert(table_name(table), values);
    }
    assert_eq!(weights.len(), init.len());
    for (name, found) in &weights {
        let recorded = floats(&expected, &format!("final/{name}"))?;
        assert_eq!(found.len(), recorded.len(), "{name}");
        for (found, recorded) in found.iter().zip(&recorded) {
            let allowed = 1e-5 + 1e-4 * f64::from(recorded.abs());
            worst[1] = worst[1].max(f64::from((found - recorded).abs()) / allowed);
        }
    }
    Ok(worst)
}

#[test]
fn real_data_runs_are_those_of_pytorch() -> TestResult<()> {
    let Some(shared) = std::env::var_os("RECSYS_SHARED") else {
        eprintln!(
            "skipped: RECSYS_SHARED is not set, so there are no parity cases to compare with"
        );
        return Ok(());
    };
    for name in ["tbsm_def", "tbsm_ind_3_heads"] {
        let found = distances(&Path::new(&shared).join("golden").join(name))?;
        assert!(
            found.iter().all(|&share| share < 1.0),
            "{name}: loss, weights and predictions are off by {found:?} of what is allowed"
        );
    }
    Ok(())
}
