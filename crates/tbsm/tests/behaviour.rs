//! What the operator and the engine promise beside their values.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor, Var};
use dlrm::DlrmConfig;
use tbsm::{Error, Inner, Mechanism, Network, Pass, SequenceLayer, Tbsm, TbsmConfig};
use testing::residues;

type TestResult = std::result::Result<(), Box<dyn std::error::Error>>;

/// Three positions of one dense feature and two tables of dimension 4.
fn config() -> TbsmConfig {
    TbsmConfig {
        tower: DlrmConfig {
            tables: 2,
            dim: 4,
            bottom: vec![1, 4],
            top: vec![6, 5],
            ..TbsmConfig::default().tower
        },
        history: 2,
        head: vec![6, 1],
        ..TbsmConfig::default()
    }
}

fn with(sequence: SequenceLayer) -> TbsmConfig {
    TbsmConfig {
        sequence,
        ..TbsmConfig::default()
    }
}

fn three_heads() -> SequenceLayer {
    SequenceLayer::Tsl {
        heads: 3,
        inner: Inner::Ind,
        mechanism: Mechanism::Mlp,
        mlp: vec![9],
        sequential: true,
    }
}

fn inputs(batch: usize) -> candle_core::Result<(Tensor, Var)> {
    let dense = Tensor::from_vec(residues(batch * 3, 1), (batch, 3, 1), &Device::Cpu)?;
    let rows = Var::from_vec(residues(batch * 24, 2), (batch, 3, 2, 4), &Device::Cpu)?;
    Ok((dense, rows))
}

fn flat(tensor: Option<&Tensor>) -> candle_core::Result<Vec<f32>> {
    match tensor {
        Some(tensor) => tensor.flatten_all()?.to_vec1(),
        None => candle_core::bail!("no gradient"),
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() -> TestResult {
    let others = [
        three_heads(),
        SequenceLayer::Mha { heads: 2 },
        SequenceLayer::Rnn { layers: 2 },
    ];
    let configs = std::iter::once(TbsmConfig::default()).chain(others.map(with));
    for (config, batch) in configs.flat_map(|config| [1, 100, 1_100].map(|b| (config.clone(), b))) {
        let model = Tbsm::new(config, 1, &Device::Cpu)?;
        let network = model.network();
        let parameters = model.parameters().to_vec1::<f32>()?;
        let (dense, rows) = (residues(batch * 21, 4), residues(batch * 21 * 48, 5));
        let weights = residues(batch, 6);
        let run = |threads: usize| -> std::result::Result<
            Vec<Vec<u32>>,
            Box<dyn std::error::Error + Send + Sync>,
        > {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()?;
            pool.install(|| {
                let mut pass = Pass::default();
                let (mut output, mut rows_grad) = (vec![0.0; batch], vec![0.0; rows.len()]);
                network.forward(&parameters, &dense, &rows, &mut pass, &mut output)?;
                network.backward(
                    &parameters,
                    &dense,
                    &rows,
                    &weights,
                    &mut pass,
                    &mut rows_grad,
                    None,
                )?;
                let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                let mut all = vec![bits(&output), bits(&rows_grad)];
                all.extend(pass.gradients().map(bits));
                Ok(all)
            })
        };
        let one = run(1).map_err(|e| e.to_string())?;
        for threads in [2, 3] {
            let many = run(threads).map_err(|e| e.to_string())?;
            assert!(
                many == one,
                "{threads} threads, batch {batch}: {:?}",
                model.config()
            );
        }
    }
    Ok(())
}

/// In the original, these parameters are made anew in every forward pass and never trained.
#[test]
fn a_step_changes_every_parameter_of_attention_and_lstm() -> TestResult {
    for sequence in [
        SequenceLayer::Mha { heads: 2 },
        SequenceLayer::Rnn { layers: 3 },
    ] {
        let model = Tbsm::new(with(sequence), 1, &Device::Cpu)?;
        let batch = 12;
        let dense = Tensor::from_vec(residues(batch * 21, 1), (batch, 21, 1), &Device::Cpu)?;
        let rows = Tensor::from_vec(
            residues(batch * 21 * 48, 2),
            (batch, 21, 3, 16),
            &Device::Cpu,
        )?;
        let before = model.named_parameters()?;
        let logits = model.forward(&dense, &rows)?;
        assert_eq!(
            logits.to_vec1::<f32>()?,
            model.forward(&dense, &rows)?.to_vec1::<f32>()?
        );
        let gradients = logits.sqr()?.mean_all()?.backward()?;
        let gradient = gradients.get(model.parameters()).ok_or("no gradient")?;
        let values = gradient.to_vec1::<f32>()?;
        for spec in model.config().parameters()? {
            let of_layer = ["ams", "rnn"]
                .iter()
                .any(|prefix| spec.name.starts_with(prefix));
            if !of_layer {
                continue;
            }
            // A bias of the keys shifts all of a head's scores alike, which softmax does not see.
            let width = spec.shape[0] / 3;
            let skip = match spec.name.ends_with("in_proj_bias") {
                true => width..2 * width,
                false => 0..0,
            };
            let grads = values[spec.range.clone()].iter().enumerate();
            let moved = grads
                .filter(|(k, g)| !skip.contains(k) && **g != 0.0)
                .count();
            assert!(2 * moved > spec.range.len(), "{}: {moved}", spec.name);
        }
        let step = (gradient * -0.1)?;
        model
            .parameters()
            .set(&(model.parameters().as_tensor() + step)?.detach())?;
        for ((name, old), (_, new)) in before.iter().zip(model.named_parameters()?) {
            if name.starts_with("ams") || name.starts_with("rnn") {
                assert_ne!(flat(Some(old))?, flat(Some(&new))?, "{name}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_pass_serves_one_network_after_the_other() -> TestResult {
    let configs = [
        TbsmConfig::default(),
        config(),
        with(three_heads()),
        with(SequenceLayer::Mha { heads: 3 }),
        with(SequenceLayer::Rnn { layers: 2 }),
        TbsmConfig {
            normalise: false,
            ..config()
        },
        with(SequenceLayer::Mha { heads: 1 }),
        TbsmConfig::default(),
    ];
    let mut shared = Pass::default();
    for config in configs {
        let model = Tbsm::new(config.clone(), 1, &Device::Cpu)?;
        let parameters = model.parameters().to_vec1::<f32>()?;
        let (batch, tower) = (37, &config.tower);
        let count = batch * config.positions();
        let dense = residues(count * tower.bottom[0], 1);
        let rows = residues(count * tower.tables * tower.dim, 2);
        let slope = residues(batch, 3);
        let run = |pass: &mut Pass| -> tbsm::Result<Vec<Vec<f32>>> {
            let (mut output, mut rows_grad) = (vec![0.0; batch], vec![0.0; rows.len()]);
            let network = model.network();
            network.forward(&parameters, &dense, &rows, pass, &mut output)?;
            network.backward(
                &parameters,
                &dense,
                &rows,
                &slope,
                pass,
                &mut rows_grad,
                None,
            )?;
            let gradients = pass.gradients().map(<[f32]>::to_vec);
            Ok([output, rows_grad].into_iter().chain(gradients).collect())
        };
        assert!(
            run(&mut shared)? == run(&mut Pass::default())?,
            "{config:?}"
        );
    }
    Ok(())
}

#[test]
fn a_second_forward_before_backward_disturbs_nothing() -> TestResult {
    let model = Tbsm::new(config(), 1, &Device::Cpu)?;
    let (dense, rows) = inputs(40)?;
    let alone = model.forward(&dense, &rows)?.sqr()?.sum_all()?.backward()?;
    let first = model.forward(&dense, &rows)?;
    let (other_dense, other_rows) = inputs(64)?;
    let second = model.forward(&(other_dense * 3.0)?, &other_rows)?;
    let between = first.sqr()?.sum_all()?.backward()?;
    second.sum_all()?.backward()?;
    assert_eq!(
        flat(alone.get(model.parameters()))?,
        flat(between.get(model.parameters()))?
    );
    assert_eq!(flat(alone.get(&rows))?, flat(between.get(&rows))?);
    Ok(())
}

#[test]
fn strided_inputs_are_fine() -> TestResult {
    let model = Tbsm::new(config(), 1, &Device::Cpu)?;
    let (dense, rows) = inputs(20)?;
    let strided_dense = dense.transpose(0, 1)?.contiguous()?.transpose(0, 1)?;
    let strided_rows = rows.transpose(0, 2)?.contiguous()?.transpose(0, 2)?;
    assert_eq!(
        model
            .forward(&strided_dense, &strided_rows)?
            .to_vec1::<f32>()?,
        model.forward(&dense, &rows)?.to_vec1::<f32>()?
    );
    Ok(())
}

#[test]
fn positions_of_zeros_stay_finite() -> TestResult {
    // Biases that no ReLU lets through: every tower output is zero, and so is every length.
    let model = Tbsm::new(config(), 1, &Device::Cpu)?;
    let mut named: HashMap<String, Tensor> = model.named_parameters()?.into_iter().collect();
    for name in ["dlrm.top_l.2.weight", "dlrm.top_l.2.bias"] {
        let old = named.get(name).ok_or("no such weight")?;
        named.insert(name.to_owned(), old.abs()?.neg()?);
    }
    model.load_named(&named)?;
    let (dense, rows) = inputs(9)?;
    for logits in [
        model.forward(&dense, &rows)?,
        model.forward_graph(&dense, &rows)?,
    ] {
        let gradients = logits.sqr()?.sum_all()?.backward()?;
        let found = flat(gradients.get(model.parameters()))?;
        assert!(found.iter().all(|g| g.is_finite()) && found.iter().any(|&g| g != 0.0));
        assert!(flat(gradients.get(&rows))?.iter().all(|&g| g == 0.0));
    }
    Ok(())
}

#[test]
fn slices_of_the_wrong_length_are_named() -> TestResult {
    let network = Network::new(config())?;
    let parameters = vec![0.0; network.parameter_count()];
    let (dense, rows) = (vec![0.0; 3 * 5], vec![0.0; 24 * 5]);
    let mut pass = Pass::default();
    let mut output = vec![0.0; 5];
    let message = |result: tbsm::Result<()>| {
        result
            .err()
            .map_or("no error".to_owned(), |error| error.to_string())
    };

    let short = message(network.forward(&parameters[1..], &dense, &rows, &mut pass, &mut output));
    assert!(
        short.contains("parameters has") && short.contains(&network.parameter_count().to_string()),
        "{short}"
    );
    let ragged = network.forward(&parameters, &dense[1..], &rows, &mut pass, &mut output);
    assert!(
        matches!(
            ragged,
            Err(Error::RaggedDense {
                found: 14,
                positions: 3,
                features: 1
            })
        ),
        "{ragged:?}"
    );
    let rows_error =
        message(network.forward(&parameters, &dense, &rows[1..], &mut pass, &mut output));
    assert!(
        rows_error.contains("[batch 5, positions 3, tables 2, dim 4]")
            && rows_error.contains("119"),
        "{rows_error}"
    );
    let output_error =
        message(network.forward(&parameters, &dense, &rows, &mut pass, &mut output[1..]));
    assert!(output_error.contains("output has 4"), "{output_error}");
    let empty = network.forward(&parameters, &[], &[], &mut pass, &mut []);
    assert!(matches!(
        empty,
        Err(Error::Model(recsys_model::Error::EmptyBatch))
    ));

    let mut rows_grad = vec![0.0; rows.len()];
    let grads = vec![1.0; 5];
    let early = network.backward(
        &parameters,
        &dense,
        &rows,
        &grads,
        &mut pass,
        &mut rows_grad,
        None,
    );
    assert!(
        matches!(
            early,
            Err(Error::Model(recsys_model::Error::NoForward {
                batch: 5,
                forward: None
            }))
        ),
        "{early:?}"
    );
    network.forward(&parameters, &dense, &rows, &mut pass, &mut output)?;
    let other = network.backward(
        &parameters,
        &dense[..6],
        &rows[..48],
        &grads[..2],
        &mut pass,
        &mut rows_grad[..48],
        None,
    );
    assert!(
        matches!(
            other,
            Err(Error::Model(recsys_model::Error::NoForward {
                batch: 2,
                forward: Some(5)
            }))
        ),
        "{other:?}"
    );
    let dense_grad = &mut [0.0; 3];
    let wrong = network.backward(
        &parameters,
        &dense,
        &rows,
        &grads,
        &mut pass,
        &mut rows_grad,
        Some(dense_grad),
    );
    assert!(message(wrong).contains("dense_grad has 3"));
    Ok(())
}

#[test]
fn tensors_that_do_not_fit_are_named() -> TestResult {
    let model = Tbsm::new(config(), 1, &Device::Cpu)?;
    let (dense, rows) = inputs(4)?;
    let message = |dense: &Tensor, rows: &Tensor| match model.forward(dense, rows) {
        Ok(_) => "no error".to_owned(),
        Err(error) => error.to_string(),
    };
    let long = Tensor::zeros((4, 4, 1), DType::F32, &Device::Cpu)?;
    let error = message(&long, &rows);
    assert!(
        error.contains("[4, 4, 1]") && error.contains("positions 3"),
        "{error}"
    );
    let error = message(&dense.narrow(0, 0, 3)?, &rows);
    assert!(
        error.contains("[4, 3, 2, 4]") && error.contains("batch 3"),
        "{error}"
    );
    let error = message(&dense.to_dtype(DType::F64)?, &rows);
    assert!(error.contains("dense holds f64"), "{error}");
    assert!(message(&dense.narrow(0, 0, 0)?, &rows).contains("empty"));
    let wrong = TbsmConfig {
        history: 0,
        ..config()
    };
    assert!(matches!(
        Tbsm::new(wrong, 1, &Device::Cpu),
        Err(Error::ZeroExtent { .. })
    ));
    Ok(())
}

#[test]
fn named_parameters_go_out_and_come_back() -> TestResult {
    let others = [
        three_heads(),
        SequenceLayer::Mha { heads: 2 },
        SequenceLayer::Rnn { layers: 2 },
    ];
    for config in others.map(with).into_iter().chain([config()]) {
        let from = Tbsm::new(config.clone(), 1, &Device::Cpu)?;
        let to = Tbsm::new(config, 2, &Device::Cpu)?;
        let named: HashMap<String, Tensor> = from.named_parameters()?.into_iter().collect();
        to.load_named(&named)?;
        assert_eq!(flat(Some(from.parameters()))?, flat(Some(to.parameters()))?);
    }
    let model = Tbsm::new(config(), 1, &Device::Cpu)?;
    let mut named: HashMap<String, Tensor> = model.named_parameters()?.into_iter().collect();
    let weight = named.remove("mlps.0.0.weight").ok_or("no such weight")?;
    named.insert("mlps.0.0.wieght".to_owned(), weight.clone());
    let error = model
        .load_named(&named)
        .err()
        .ok_or("no error")?
        .to_string();
    assert!(
        error.contains("missing [\"mlps.0.0.weight\"], unknown [\"mlps.0.0.wieght\"]"),
        "{error}"
    );
    named.remove("mlps.0.0.wieght");
    named.insert("mlps.0.0.weight".to_owned(), weight.t()?);
    let error = model
        .load_named(&named)
        .err()
        .ok_or("no error")?
        .to_string();
    assert!(
        error.contains("[10, 6]") && error.contains("[6, 10]"),
        "{error}"
    );
    Ok(())
}

#[test]
fn a_configuration_survives_json() -> TestResult {
    for sequence in [
        three_heads(),
        SequenceLayer::Mha { heads: 2 },
        SequenceLayer::Rnn { layers: 2 },
    ] {
        let config = with(sequence);
        let text = serde_json::to_string(&config)?;
        assert_eq!(serde_json::from_str::<TbsmConfig>(&text)?, config);
    }
    let text = serde_json::to_string(&TbsmConfig::default().sequence)?;
    assert_eq!(
        text,
        r#"{"tsl":{"heads":1,"inner":"def","mechanism":"mlp","mlp":[15,15],"sequential":false}}"#
    );
    Ok(())
}
