//! The fused operator against the plain candle graph and against finite differences.

use candle_core::{Device, Tensor, Var};
use dlrm::{Dlrm, DlrmConfig, Interaction, Network, Output, Pass, SliceSize};
use proptest::prelude::*;
use testing::{Rounding, values};

type TestResult = std::result::Result<(), Box<dyn std::error::Error>>;

fn config(
    tables: usize,
    dim: usize,
    bottom: &[usize],
    top: &[usize],
    interaction: Interaction,
) -> DlrmConfig {
    let bottom = bottom.iter().copied().chain([dim]).collect();
    DlrmConfig {
        tables,
        dim,
        bottom,
        top: top.to_vec(),
        interaction,
        ..DlrmConfig::default()
    }
}

const DOT: Interaction = Interaction::Dot { with_self: false };
const SELF: Interaction = Interaction::Dot { with_self: true };

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

/// Forward and all gradients of the operator, inside a larger graph, equal those of the plain graph.
fn compare(config: DlrmConfig, batch: usize) -> TestResult {
    let model = Dlrm::new(config.clone(), 5, &Device::Cpu)?;
    let (features, outputs) = (config.dense_features(), config.output_width());
    let dense = Var::from_vec(values(batch * features, 1), (batch, features), &Device::Cpu)?;
    let rows_shape = (batch, config.tables, config.dim);
    let rows = Var::from_vec(
        values(batch * config.tables * config.dim, 2),
        rows_shape,
        &Device::Cpu,
    )?;
    let weights = Tensor::from_vec(values(batch * outputs, 3), (batch, outputs), &Device::Cpu)?;
    let weights = if outputs == 1 {
        weights.squeeze(1)?
    } else {
        weights
    };
    // What goes in and what comes out are intermediate results, so every edge of the operator is used.
    let run =
        |forward: &dyn Fn(&Tensor, &Tensor) -> dlrm::Result<Tensor>| -> candle_core::Result<_> {
            let output = forward(&dense.affine(0.5, 0.1)?, &rows.affine(1.5, 0.0)?)
                .map_err(candle_core::Error::wrap)?;
            let gradients = (&output * &weights)?.sum_all()?.backward()?;
            Ok((output, gradients))
        };
    let (fused, fused_gradients) = run(&|d, r| model.forward(d, r))?;
    let (plain, plain_gradients) = run(&|d, r| model.forward_graph(d, r))?;
    close(&fused, &plain, "output")?;
    for (what, var) in [
        ("parameters", model.parameters()),
        ("dense", &dense),
        ("rows", &rows),
    ] {
        if features == 0 && what == "dense" {
            continue;
        }
        let (Some(found), Some(expected)) = (fused_gradients.get(var), plain_gradients.get(var))
        else {
            return Err(format!("no gradient of {what}").into());
        };
        close(found, expected, what)?;
    }
    let inferred = model.infer(&dense.affine(0.5, 0.1)?, &rows.affine(1.5, 0.0)?)?;
    assert_eq!(
        inferred.flatten_all()?.to_vec1::<f32>()?,
        fused.flatten_all()?.to_vec1::<f32>()?
    );
    assert!(!inferred.track_op());
    Ok(())
}

#[test]
fn one_and_many_layers_at_several_batches() -> TestResult {
    for batch in [1, 31, 128, 600] {
        for interaction in [DOT, SELF, Interaction::Cat] {
            compare(config(4, 8, &[5, 16], &[16, 8, 1], interaction), batch)?;
            compare(config(1, 3, &[1], &[1], interaction), batch)?;
        }
    }
    Ok(())
}

#[test]
fn rows_alone_without_dense_features() -> TestResult {
    for batch in [1, 31, 600] {
        for interaction in [DOT, SELF, Interaction::Cat] {
            for (tables, dim) in [(2, 8), (5, 3), (9, 16)] {
                let mut config = config(tables, dim, &[], &[8, 1], interaction);
                config.bottom.clear();
                compare(config, batch)?;
            }
        }
    }
    Ok(())
}

#[test]
fn every_dimension() -> TestResult {
    for dim in [1, 2, 5, 8, 16, 64] {
        for interaction in [DOT, SELF, Interaction::Cat] {
            compare(config(7, dim, &[3, 9], &[11, 5], interaction), 33)?;
        }
    }
    Ok(())
}

#[test]
fn the_kaggle_shape() -> TestResult {
    compare(DlrmConfig::default(), 130)
}

#[test]
fn many_slices_share_lanes() -> TestResult {
    let small = config(3, 4, &[2, 6], &[7, 1], DOT);
    compare(
        DlrmConfig {
            slice: SliceSize::Fixed(3),
            ..small.clone()
        },
        100,
    )?;
    compare(
        DlrmConfig {
            slice: SliceSize::Fixed(1),
            ..small
        },
        17,
    )
}

#[test]
fn a_top_that_ends_in_relu() -> TestResult {
    let tower = config(3, 16, &[1], &[15, 15], DOT);
    compare(
        DlrmConfig {
            output: Output::Relu,
            ..tower.clone()
        },
        50,
    )?;
    compare(
        DlrmConfig {
            output: Output::Relu,
            top: vec![4, 1],
            ..tower
        },
        50,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_small_configuration(
        tables in 1usize..12,
        dim in 1usize..20,
        bottom in prop::collection::vec(1usize..20, 1..4),
        top in prop::collection::vec(1usize..20, 1..4),
        interaction in prop_oneof![Just(DOT), Just(SELF), Just(Interaction::Cat)],
        relu in any::<bool>(),
        batch in 1usize..70,
        slice in prop_oneof![Just(SliceSize::Auto), (1usize..40).prop_map(SliceSize::Fixed)],
    ) {
        let output = if relu { Output::Relu } else { Output::Linear };
        let config = DlrmConfig { output, slice, ..config(tables, dim, &bottom, &top, interaction) };
        compare(config, batch).map_err(|error| TestCaseError::fail(error.to_string()))?;
    }
}

#[test]
fn gradients_equal_finite_differences() -> TestResult {
    for interaction in [DOT, SELF, Interaction::Cat] {
        let config = config(3, 5, &[4, 6], &[6, 2], interaction);
        let network = Network::new(config.clone())?;
        let batch = 9;
        let mut arguments = [
            values(network.parameter_count(), 1),
            values(batch * config.bottom[0], 2),
            values(batch * config.tables * config.dim, 3),
        ];
        let weights = values(batch * 2, 4);
        let mut pass = Pass::default();
        let mut output = vec![0.0; batch * 2];
        let mut loss = |[parameters, dense, rows]: &[Vec<f32>; 3]| -> dlrm::Result<f64> {
            network.infer(parameters, dense, rows, &mut Pass::default(), &mut output)?;
            Ok(output
                .iter()
                .zip(&weights)
                .map(|(o, w)| f64::from(*o) * f64::from(*w))
                .sum())
        };
        let [parameters, dense, rows] = &arguments;
        let (mut rows_grad, mut dense_grad) =
            (vec![f32::NAN; rows.len()], vec![f32::NAN; dense.len()]);
        network.forward(
            parameters,
            dense,
            rows,
            &mut pass,
            &mut vec![0.0; batch * 2],
        )?;
        network.backward(
            parameters,
            dense,
            rows,
            &weights,
            &mut pass,
            &mut rows_grad,
            Some(&mut dense_grad),
        )?;
        let mut parameters_grad = vec![0.0f32; parameters.len()];
        for slice in pass.gradients() {
            parameters_grad
                .iter_mut()
                .zip(slice)
                .for_each(|(sum, g)| *sum += g);
        }
        let step = 1.0 / 512.0;
        for (which, gradient) in [parameters_grad, dense_grad, rows_grad].iter().enumerate() {
            let mut outliers = 0;
            for (k, &found) in gradient.iter().enumerate() {
                let center = arguments[which][k];
                arguments[which][k] = center + step;
                let above = loss(&arguments)?;
                arguments[which][k] = center - step;
                let below = loss(&arguments)?;
                arguments[which][k] = center;
                let expected = (above - below) / f64::from(2.0 * step);
                outliers += usize::from(
                    (f64::from(found) - expected).abs() > 5e-3 * (1.0 + expected.abs()),
                );
            }
            // A difference is wrong where the step crosses the kink of a ReLU, which few do.
            assert!(
                outliers * 20 <= gradient.len(),
                "argument {which}: {outliers} of {} differ",
                gradient.len()
            );
        }
    }
    Ok(())
}
