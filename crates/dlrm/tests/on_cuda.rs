//! On an NVIDIA device, where there is one: the operators give the CPU's numbers bit for bit, the model the engine's up to the
//! order of the sums in its products. Elsewhere the tests say that they are skipped.
#![cfg(feature = "cuda")]

use candle_core::{Device, Tensor, Var};
use dlrm::parts::dot_interaction;
use dlrm::{Dlrm, DlrmConfig, Interaction, Output};
use recsys_model::{Activation, bias_activation};
use testing::values;

type TestResult = Result<(), Box<dyn std::error::Error>>;

fn device() -> Option<Device> {
    match Device::new_cuda_with_stream(0) {
        Ok(device) => Some(device),
        Err(error) => {
            eprintln!("skipped: no NVIDIA device: {error}");
            None
        }
    }
}

fn flat(tensor: &Tensor) -> candle_core::Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1()
}

/// The value of a function of variables of some shapes, and its gradients.
fn run(
    device: &Device,
    shapes: &[&[usize]],
    function: impl Fn(&[Var]) -> candle_core::Result<Tensor>,
) -> candle_core::Result<Vec<Vec<f32>>> {
    let mut vars = Vec::new();
    for (k, shape) in shapes.iter().enumerate() {
        let values = values(shape.iter().product(), k as u64);
        vars.push(Var::from_vec(values, *shape, device)?);
    }
    let output = function(&vars)?;
    let weights = values(output.elem_count(), 99);
    let weights = Tensor::from_vec(weights, output.shape(), device)?;
    let gradients = (&output * weights)?.sum_all()?.backward()?;
    let mut all = vec![flat(&output)?];
    for var in &vars {
        match gradients.get(var) {
            Some(gradient) => all.push(flat(gradient)?),
            None => candle_core::bail!("no gradient"),
        }
    }
    Ok(all)
}

#[test]
fn the_interaction_is_the_cpus_to_the_bit() -> TestResult {
    let Some(device) = device() else {
        return Ok(());
    };
    for (batch, tables, dim) in [
        (260, 26, 16),
        (20, 26, 128),
        (65, 3, 16),
        (5, 7, 512),
        (3, 100, 64),
        (7, 1, 1),
        (130, 9, 37),
    ] {
        for with_self in [false, true] {
            let shapes: [&[usize]; 2] = [&[batch, dim], &[batch, tables, dim]];
            let function = |vars: &[Var]| dot_interaction(&vars[0], &vars[1], with_self);
            let found = run(&device, &shapes, function)?;
            let expected = run(&Device::Cpu, &shapes, function)?;
            assert!(found == expected, "{batch} {tables} {dim} {with_self}");
        }
    }
    Ok(())
}

#[test]
fn bias_and_activation_are_the_cpus() -> TestResult {
    let Some(device) = device() else {
        return Ok(());
    };
    for (rows, columns) in [(2048, 64), (5000, 15), (2049, 1), (1, 7), (33, 300)] {
        for activation in [Activation::None, Activation::Relu, Activation::Sigmoid] {
            let shapes: [&[usize]; 2] = [&[rows, columns], &[columns]];
            let function = |vars: &[Var]| bias_activation(&vars[0], &vars[1], activation);
            let found = run(&device, &shapes, function)?;
            let expected = run(&Device::Cpu, &shapes, function)?;
            if activation == Activation::Sigmoid {
                // Two exponential functions, and sums of what comes of them.
                let pairs = found.iter().flatten().zip(expected.iter().flatten());
                let tolerance = f32::EPSILON * (rows as f32).sqrt().max(4.0);
                assert!(
                    pairs.clone().all(|(f, e)| (f - e).abs() <= tolerance),
                    "{rows} {columns}"
                );
            } else {
                assert!(found == expected, "{rows} {columns} {activation:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn the_model_is_the_engine() -> TestResult {
    let Some(device) = device() else {
        return Ok(());
    };
    for interaction in [
        Interaction::Dot { with_self: false },
        Interaction::Dot { with_self: true },
        Interaction::Cat,
    ] {
        for output in [Output::Linear, Output::Relu] {
            let config = DlrmConfig {
                interaction,
                output,
                ..DlrmConfig::default()
            };
            let shapes: [&[usize]; 2] = [&[60, 13], &[60, 26, 16]];
            let gradients = |device: &Device| -> Result<Vec<Vec<f32>>, Box<dyn std::error::Error>> {
                let model = Dlrm::new(config.clone(), 7, device)?;
                let forward = |vars: &[Var]| {
                    model
                        .forward(&vars[0], &vars[1])
                        .map_err(candle_core::Error::wrap)
                };
                let mut all = run(device, &shapes, forward)?;
                let [dense, rows] = shapes.map(|shape| values(shape.iter().product(), 1));
                let dense = Tensor::from_vec(dense, shapes[0], device)?;
                let rows = Tensor::from_vec(rows, shapes[1], device)?;
                let gradients = model.forward(&dense, &rows)?.sum_all()?.backward()?;
                let gradient = gradients.get(model.parameters()).ok_or("no gradient")?;
                all.push(flat(gradient)?);
                Ok(all)
            };
            let (found, expected) = (gradients(&device)?, gradients(&Device::Cpu)?);
            for (found, expected) in found.iter().zip(&expected) {
                let largest = expected.iter().fold(1e-3f32, |m, v| m.max(v.abs()));
                let mut pairs = found.iter().zip(expected);
                // Rounding may put a value on the other side of a ReLU's kink, which moves a gradient by one sample's share.
                assert!(pairs.all(|(f, e)| (f - e).abs() <= 1e-3 * largest));
            }
        }
    }
    Ok(())
}
