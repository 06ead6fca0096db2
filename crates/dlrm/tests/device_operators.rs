//! The fused operators on tensors, and the network built from them, against the plain candle graph and finite differences. They
//! run on the CPU here; their kernels are tested against them in `kernel-tests`.

use candle_core::{Device, Tensor, Var};
use candle_nn::ops::sigmoid;
use dlrm::parts::dot_interaction;
use dlrm::{Dlrm, DlrmConfig, Interaction, Network, Output};
use proptest::prelude::*;
use recsys_model::{Activation, bias_activation};
use testing::{Rounding, values};

type TestResult = Result<(), Box<dyn std::error::Error>>;

fn var(shape: &[usize], seed: u64) -> candle_core::Result<Var> {
    Var::from_vec(values(shape.iter().product(), seed), shape, &Device::Cpu)
}

/// What summation in another order can change: some units in the last place of the largest value.
const ROUNDING: Rounding = Rounding {
    share: 2e-5,
    least: 1e-3,
};

fn close(found: &Tensor, expected: &Tensor, what: &str) -> TestResult {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let found = found.flatten_all()?.to_vec1::<f32>()?;
    let expected = expected.flatten_all()?.to_vec1::<f32>()?;
    Ok(testing::close(&found, &expected, ROUNDING, what)?)
}

/// Values and gradients of two functions of the same variables, weighted by a fixed tensor.
fn same(
    vars: &[&Var],
    found: impl Fn() -> Result<Tensor, Box<dyn std::error::Error>>,
    expected: impl Fn() -> Result<Tensor, Box<dyn std::error::Error>>,
) -> TestResult {
    let (found, expected) = (found()?, expected()?);
    close(&found, &expected, "output")?;
    let weights = values(found.elem_count(), 99);
    let weights = Tensor::from_vec(weights, found.shape(), &Device::Cpu)?;
    let found = (found * &weights)?.sum_all()?.backward()?;
    let expected = (expected * &weights)?.sum_all()?.backward()?;
    for (k, var) in vars.iter().enumerate() {
        match (found.get(var), expected.get(var)) {
            (Some(found), Some(expected)) => close(found, expected, &format!("gradient {k}"))?,
            _ => return Err(format!("no gradient of argument {k}").into()),
        }
    }
    Ok(())
}

/// The dot interaction from candle's own operators.
fn dot_graph(bottom: &Tensor, rows: &Tensor, with_self: bool) -> candle_core::Result<Tensor> {
    let features = Tensor::cat(&[&bottom.unsqueeze(1)?, rows], 1)?;
    let count = features.dim(1)?;
    let products = features.matmul(&features.t()?.contiguous()?)?;
    let row = |i: usize| (0..i + usize::from(with_self)).map(move |j| (i * count + j) as u32);
    let triangle: Vec<u32> = (0..count).flat_map(row).collect();
    let triangle = Tensor::new(triangle, bottom.device())?;
    let products = products.flatten_from(1)?.index_select(&triangle, 1)?;
    Tensor::cat(&[bottom, &products], 1)
}

fn layer_graph(x: &Tensor, bias: &Tensor, activation: Activation) -> candle_core::Result<Tensor> {
    let y = x.broadcast_add(bias)?;
    match activation {
        Activation::None => Ok(y),
        Activation::Relu => y.relu(),
        Activation::Sigmoid => sigmoid(&y),
    }
}

const ACTIVATIONS: [Activation; 3] = [Activation::None, Activation::Relu, Activation::Sigmoid];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_interaction_is_that_of_the_graph(
        batch in 1usize..6, tables in 1usize..30, dim in 1usize..80, with_self: bool,
    ) {
        let run = || -> TestResult {
            let (bottom, rows) = (var(&[batch, dim], 1)?, var(&[batch, tables, dim], 2)?);
            same(
                &[&bottom, &rows],
                || Ok(dot_interaction(&bottom, &rows, with_self)?),
                || Ok(dot_graph(&bottom, &rows, with_self)?),
            )
        };
        run().map_err(|error| TestCaseError::fail(error.to_string()))?;
    }

    #[test]
    fn bias_and_activation_are_those_of_the_graph(
        rows in 1usize..80, columns in 1usize..20, which in 0usize..3,
    ) {
        let activation = ACTIVATIONS[which];
        let run = || -> TestResult {
            let (x, bias) = (var(&[rows, columns], 1)?, var(&[columns], 2)?);
            same(
                &[&x, &bias],
                || Ok(bias_activation(&x, &bias, activation)?),
                || Ok(layer_graph(&x, &bias, activation)?),
            )
        };
        run().map_err(|error| TestCaseError::fail(error.to_string()))?;
    }

    #[test]
    fn the_layered_network_is_the_graph(
        tables in 1usize..9,
        dim in 1usize..20,
        bottom in prop::collection::vec(1usize..20, 1..4),
        top in prop::collection::vec(1usize..20, 1..4),
        which in 0usize..3,
        relu: bool,
        batch in 1usize..70,
    ) {
        let interaction = [
            Interaction::Dot { with_self: false },
            Interaction::Dot { with_self: true },
            Interaction::Cat,
        ][which];
        let config = DlrmConfig {
            tables,
            dim,
            bottom: bottom.into_iter().chain([dim]).collect(),
            top,
            interaction,
            output: if relu { Output::Relu } else { Output::Linear },
            ..DlrmConfig::default()
        };
        layered(config, batch).map_err(|error| TestCaseError::fail(error.to_string()))?;
    }
}

fn layered(config: DlrmConfig, batch: usize) -> TestResult {
    let features = config.bottom[0];
    let (tables, dim) = (config.tables, config.dim);
    let network = Network::new(config.clone())?;
    let model = Dlrm::new(config, 7, &Device::Cpu)?;
    let parameters = model.parameters();
    let (dense, rows) = (var(&[batch, features], 1)?, var(&[batch, tables, dim], 2)?);
    same(
        &[parameters, &dense, &rows],
        || Ok(network.forward_layers(parameters, &dense, &rows)?),
        || Ok(network.forward_graph(parameters, &dense, &rows)?),
    )
}

#[test]
fn the_kaggle_shape_and_more_tables_than_a_block_holds() -> TestResult {
    layered(DlrmConfig::default(), 70)?;
    let many = DlrmConfig {
        tables: 150,
        dim: 4,
        bottom: vec![3, 4],
        top: vec![2, 1],
        ..DlrmConfig::default()
    };
    layered(many, 3)
}

#[test]
fn untracked_arguments_give_an_untracked_output() -> TestResult {
    let config = DlrmConfig::default();
    let network = Network::new(config.clone())?;
    let model = Dlrm::new(config, 7, &Device::Cpu)?;
    let (dense, rows) = (var(&[3, 13], 1)?.detach(), var(&[3, 26, 16], 2)?.detach());
    let parameters = model.parameters().as_detached_tensor();
    let output = network.forward_layers(&parameters, &dense, &rows)?;
    assert!(!output.track_op());
    // And where only some are tracked, only they have gradients.
    let output = network.forward_layers(model.parameters(), &dense, &rows)?;
    let gradients = output.sum_all()?.backward()?;
    assert!(gradients.get(model.parameters()).is_some());
    assert!(gradients.get(&dense).is_none() && gradients.get(&rows).is_none());
    Ok(())
}

#[test]
fn views_are_taken_by_their_layout() -> TestResult {
    let (wide, turned) = (var(&[4, 10], 1)?, var(&[3, 4, 5], 2)?);
    let bottom = wide.narrow(1, 3, 5)?;
    let rows = turned.transpose(0, 1)?;
    same(
        &[&wide, &turned],
        || Ok(dot_interaction(&bottom, &rows, true)?),
        || Ok(dot_graph(&bottom, &rows, true)?),
    )?;
    let x = turned.narrow(0, 1, 1)?.squeeze(0)?.t()?;
    let bias = wide.narrow(0, 2, 1)?.squeeze(0)?.narrow(0, 1, 4)?;
    same(
        &[&wide, &turned],
        || Ok(bias_activation(&x, &bias, Activation::Sigmoid)?),
        || Ok(layer_graph(&x, &bias, Activation::Sigmoid)?),
    )
}

#[test]
fn gradients_equal_finite_differences() -> TestResult {
    let (bottom, rows) = (values(2 * 5, 1), values(2 * 3 * 5, 2));
    for with_self in [false, true] {
        let output = |bottom: &[f32], rows: &[f32]| -> candle_core::Result<Vec<f32>> {
            let bottom = Tensor::from_slice(bottom, (2, 5), &Device::Cpu)?;
            let rows = Tensor::from_slice(rows, (2, 3, 5), &Device::Cpu)?;
            dot_interaction(&bottom, &rows, with_self)?
                .flatten_all()?
                .to_vec1()
        };
        let weights = values(output(&bottom, &rows)?.len(), 3);
        let loss = |bottom: &[f32], rows: &[f32]| -> candle_core::Result<f64> {
            let terms = output(bottom, rows)?.into_iter().zip(&weights);
            Ok(terms.map(|(o, w)| f64::from(o) * f64::from(*w)).sum())
        };
        let vars = [
            Var::from_slice(&bottom, (2, 5), &Device::Cpu)?,
            Var::from_slice(&rows, (2, 3, 5), &Device::Cpu)?,
        ];
        let found = dot_interaction(&vars[0], &vars[1], with_self)?;
        let weighted = Tensor::from_slice(&weights, found.shape(), &Device::Cpu)?;
        let gradients = (found * weighted)?.sum_all()?.backward()?;
        for (which, var) in vars.iter().enumerate() {
            let Some(gradient) = gradients.get(var) else {
                return Err("no gradient".into());
            };
            for (k, found) in gradient.flatten_all()?.to_vec1::<f32>()?.iter().enumerate() {
                let moved = |step: f32| {
                    let mut arguments = [bottom.clone(), rows.clone()];
                    arguments[which][k] += step;
                    loss(&arguments[0], &arguments[1])
                };
                // A form of second degree: a difference of both sides has no error but rounding.
                let slope = (moved(0.25)? - moved(-0.25)?) / 0.5;
                assert!(
                    (slope - f64::from(*found)).abs() < 1e-4,
                    "{which} {k}: {found} {slope}"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn not_a_number_passes_relu_and_zero_has_no_slope() -> TestResult {
    let x = Var::new(&[[f32::NAN, -1.0, 0.0, 2.0]], &Device::Cpu)?;
    let bias = Tensor::zeros(4, candle_core::DType::F32, &Device::Cpu)?;
    let y = bias_activation(&x, &bias, Activation::Relu)?;
    let gradients = y.sum_all()?.backward()?;
    let y = y.flatten_all()?.to_vec1::<f32>()?;
    assert!(y[0].is_nan() && y[1..] == [0.0, 0.0, 2.0]);
    let gradient = gradients.get(&x).ok_or("no gradient")?;
    assert_eq!(
        gradient.flatten_all()?.to_vec1::<f32>()?,
        [1.0, 0.0, 0.0, 1.0]
    );
    Ok(())
}

#[test]
fn shapes_that_do_not_fit_are_refused() -> TestResult {
    let (x, bias) = (var(&[4, 3], 1)?, var(&[4], 2)?);
    let error = bias_activation(&x, &bias, Activation::None);
    assert!(error.is_err_and(|error| error.to_string().contains("[4]")));
    let (bottom, rows) = (var(&[2, 3], 1)?, var(&[2, 4, 5], 2)?);
    let error = dot_interaction(&bottom, &rows, false);
    assert!(error.is_err_and(|error| error.to_string().contains("[2, 4, 5]")));
    Ok(())
}
