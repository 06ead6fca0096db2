//! What the operator and the engine promise beside their values.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor, Var};
use dlrm::{Dlrm, DlrmConfig, Error, Network, Pass};
use testing::residues;

type TestResult = std::result::Result<(), Box<dyn std::error::Error>>;

fn config() -> DlrmConfig {
    DlrmConfig {
        tables: 3,
        dim: 4,
        bottom: vec![2, 8, 4],
        top: vec![6, 1],
        ..DlrmConfig::default()
    }
}

fn inputs(batch: usize) -> candle_core::Result<(Tensor, Var)> {
    let dense = Tensor::from_vec(residues(batch * 2, 1), (batch, 2), &Device::Cpu)?;
    let rows = Var::from_vec(residues(batch * 12, 2), (batch, 3, 4), &Device::Cpu)?;
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
    let config = DlrmConfig::default();
    let network = Network::new(config.clone())?;
    for batch in [1, 100, 1_100] {
        let parameters: Vec<f32> = residues(network.parameter_count(), 3)
            .iter()
            .map(|v| v * 0.1)
            .collect();
        let (dense, rows) = (residues(batch * 13, 4), residues(batch * 26 * 16, 5));
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
            assert_eq!(
                run(threads).map_err(|e| e.to_string())?,
                one,
                "{threads} threads, batch {batch}"
            );
        }
    }
    Ok(())
}

#[test]
fn a_second_forward_before_backward_disturbs_nothing() -> TestResult {
    let model = Dlrm::new(config(), 1, &Device::Cpu)?;
    let (dense, rows) = inputs(40)?;
    let alone = model.forward(&dense, &rows)?.sqr()?.sum_all()?.backward()?;
    let first = model.forward(&dense, &rows)?;
    let (other_dense, other_rows) = inputs(64)?;
    let second = model.forward(&(other_dense * 3.0)?, &other_rows)?;
    let dropped = model.forward(&dense, &rows)?;
    drop(dropped);
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
fn a_graph_may_be_walked_twice() -> TestResult {
    let model = Dlrm::new(config(), 1, &Device::Cpu)?;
    let (dense, rows) = inputs(40)?;
    let loss = model.forward(&dense, &rows)?.sqr()?.sum_all()?;
    let (first, second) = (loss.backward()?, loss.backward()?);
    assert_eq!(
        flat(first.get(model.parameters()))?,
        flat(second.get(model.parameters()))?
    );
    Ok(())
}

#[test]
fn two_uses_in_one_graph_add_up() -> TestResult {
    let model = Dlrm::new(config(), 1, &Device::Cpu)?;
    let (dense, rows) = inputs(10)?;
    let both = (model.forward(&dense, &rows)? + model.forward(&(&dense * 2.0)?, &rows)?)?;
    let both = both.sum_all()?.backward()?;
    let plain =
        (model.forward_graph(&dense, &rows)? + model.forward_graph(&(&dense * 2.0)?, &rows)?)?;
    let plain = plain.sum_all()?.backward()?;
    for (a, b) in flat(both.get(&rows))?.iter().zip(flat(plain.get(&rows))?) {
        assert!((a - b).abs() < 1e-4, "{a} {b}");
    }
    Ok(())
}

#[test]
fn strided_inputs_and_gradients_are_fine() -> TestResult {
    let config = DlrmConfig {
        top: vec![6, 3],
        ..config()
    };
    let model = Dlrm::new(config, 1, &Device::Cpu)?;
    let (dense, rows) = inputs(20)?;
    let strided_dense = dense.t()?.contiguous()?.t()?;
    let strided_rows = rows.transpose(0, 1)?.contiguous()?.transpose(0, 1)?;
    let weights = Tensor::from_vec(residues(60, 9), (3, 20), &Device::Cpu)?;
    // The transposition after the operator hands it a strided gradient.
    let run = |dense: &Tensor, rows: &Tensor| -> TestResultOf<Tensor> {
        let output = model.forward(dense, rows)?.t()?;
        let gradients = (output * &weights)?.sum_all()?.backward()?;
        gradients
            .get(model.parameters())
            .cloned()
            .ok_or_else(|| "no gradient".into())
    };
    let expected = {
        let output = model.forward_graph(&dense, &rows)?.t()?;
        let gradients = (output * &weights)?.sum_all()?.backward()?;
        flat(gradients.get(model.parameters()))?
    };
    for found in [run(&dense, &rows)?, run(&strided_dense, &strided_rows)?] {
        for (f, e) in flat(Some(&found))?.iter().zip(&expected) {
            assert!((f - e).abs() < 1e-4, "{f} {e}");
        }
    }
    Ok(())
}

type TestResultOf<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[test]
fn slices_of_the_wrong_length_are_named() -> TestResult {
    let network = Network::new(config())?;
    let parameters = vec![0.0; network.parameter_count()];
    let (dense, rows) = (vec![0.0; 2 * 5], vec![0.0; 12 * 5]);
    let mut pass = Pass::default();
    let mut output = vec![0.0; 5];
    let message = |result: dlrm::Result<()>| {
        result
            .err()
            .map_or("no error".to_owned(), |error| error.to_string())
    };

    let short = message(network.forward(&parameters[1..], &dense, &rows, &mut pass, &mut output));
    assert!(
        short.contains("parameters has") && short.contains(&network.parameter_count().to_string()),
        "{short}"
    );
    let ragged = message(network.forward(&parameters, &dense[1..], &rows, &mut pass, &mut output));
    assert!(
        ragged.contains("9 values") && ragged.contains("multiple of the 2"),
        "{ragged}"
    );
    let rows_error =
        message(network.forward(&parameters, &dense, &rows[1..], &mut pass, &mut output));
    assert!(
        rows_error.contains("[batch 5, tables 3, dim 4]") && rows_error.contains("59"),
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
    let (few_dense, few_rows) = (&dense[..4], &rows[..24]);
    let other = network.backward(
        &parameters,
        few_dense,
        few_rows,
        &grads[..2],
        &mut pass,
        &mut rows_grad[..24],
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
    let model = Dlrm::new(config(), 1, &Device::Cpu)?;
    let (dense, rows) = inputs(4)?;
    let message = |dense: &Tensor, rows: &Tensor| match model.forward(dense, rows) {
        Ok(_) => "no error".to_owned(),
        Err(error) => error.to_string(),
    };
    let wide = Tensor::zeros((4, 3), DType::F32, &Device::Cpu)?;
    let error = message(&wide, &rows);
    assert!(
        error.contains("[4, 3]") && error.contains("dense features 2"),
        "{error}"
    );
    let error = message(&dense.narrow(0, 0, 3)?, &rows);
    assert!(
        error.contains("[4, 3, 4]") && error.contains("batch 3"),
        "{error}"
    );
    let error = message(&dense.to_dtype(DType::F64)?, &rows);
    assert!(error.contains("dense holds f64"), "{error}");
    assert!(message(&dense.narrow(0, 0, 0)?, &rows).contains("empty"));
    assert!(matches!(
        Dlrm::new(DlrmConfig { dim: 5, ..config() }, 1, &Device::Cpu),
        Err(Error::BottomWidth { .. })
    ));
    Ok(())
}

#[test]
fn named_parameters_go_out_and_come_back() -> TestResult {
    let (from, to) = (
        Dlrm::new(config(), 1, &Device::Cpu)?,
        Dlrm::new(config(), 2, &Device::Cpu)?,
    );
    let mut named: HashMap<String, Tensor> = from.named_parameters()?.into_iter().collect();
    to.load_named(&named)?;
    assert_eq!(flat(Some(from.parameters()))?, flat(Some(to.parameters()))?);

    let weight = named.remove("top_l.0.weight").ok_or("no such weight")?;
    named.insert("top_l.0.wieght".to_owned(), weight.clone());
    let error = to.load_named(&named).err().ok_or("no error")?.to_string();
    assert!(
        error.contains("missing [\"top_l.0.weight\"], unknown [\"top_l.0.wieght\"]"),
        "{error}"
    );
    named.remove("top_l.0.wieght");
    named.insert("top_l.0.weight".to_owned(), weight.t()?);
    let error = to.load_named(&named).err().ok_or("no error")?.to_string();
    assert!(
        error.contains("[10, 6]") && error.contains("[6, 10]"),
        "{error}"
    );
    Ok(())
}
