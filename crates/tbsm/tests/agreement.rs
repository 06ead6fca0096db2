//! The fused operator against the plain candle graph and against finite differences.

use candle_core::{Device, Tensor, Var};
use dlrm::{DlrmConfig, Interaction, Output, SliceSize};
use proptest::prelude::*;
use tbsm::{Inner, Mechanism, Network, Pass, SequenceLayer, Tbsm, TbsmConfig};
use testing::{Rounding, values};

type TestResult = std::result::Result<(), Box<dyn std::error::Error>>;

const INNERS: [Inner; 3] = [Inner::Dot, Inner::Ind, Inner::Def];
const MECHANISMS: [Mechanism; 2] = [Mechanism::Mlp, Mechanism::Mul];

/// Every variant of the time-series layer, with one and with three heads.
fn every_tsl(mlp: &[usize]) -> impl Iterator<Item = SequenceLayer> {
    let choices = INNERS.into_iter().flat_map(|inner| {
        MECHANISMS.into_iter().flat_map(move |mechanism| {
            [(1, false), (1, true), (3, false), (3, true)]
                .map(|(heads, sequential)| (inner, mechanism, heads, sequential))
        })
    });
    choices.map(|(inner, mechanism, heads, sequential)| SequenceLayer::Tsl {
        heads,
        inner,
        mechanism,
        mlp: mlp.to_vec(),
        sequential,
    })
}

/// A small model.
fn small(sequence: SequenceLayer, normalise: bool) -> TbsmConfig {
    TbsmConfig {
        tower: DlrmConfig {
            tables: 2,
            dim: 4,
            bottom: vec![2, 4],
            top: vec![6, 5],
            interaction: Interaction::Dot { with_self: false },
            output: Output::Relu,
            slice: SliceSize::Auto,
        },
        history: 5,
        normalise,
        sequence,
        head: vec![7, 1],
    }
}

fn close(found: &Tensor, expected: &Tensor, rounding: Rounding, what: &str) -> TestResult {
    if found.dims() != expected.dims() {
        return Err(format!("{what}: {:?} but {:?}", found.dims(), expected.dims()).into());
    }
    let found = found.flatten_all()?.to_vec1::<f32>()?;
    let expected = expected.flatten_all()?.to_vec1::<f32>()?;
    Ok(testing::close(&found, &expected, rounding, what)?)
}

/// Forward and all gradients of the operator, inside a larger graph, equal those of the plain graph.
fn compare(config: TbsmConfig, batch: usize) -> TestResult {
    let rounding = Rounding {
        share: 5e-5,
        least: 1e-3,
    };
    compare_on(config, batch, 0, rounding)
}

/// The same on other data for every `seed`.
fn compare_on(config: TbsmConfig, batch: usize, seed: u64, rounding: Rounding) -> TestResult {
    let model = Tbsm::new(config.clone(), 5, &Device::Cpu)?;
    let (positions, tower) = (config.positions(), &config.tower);
    let features = tower.bottom[0];
    let count = batch * positions;
    let dense_shape = (batch, positions, features);
    let dense = Var::from_vec(
        values(count * features, 1 + seed),
        dense_shape,
        &Device::Cpu,
    )?;
    let rows = Var::from_vec(
        values(count * tower.tables * tower.dim, 2 + seed),
        (batch, positions, tower.tables, tower.dim),
        &Device::Cpu,
    )?;
    let weights = Tensor::from_vec(values(batch, 3 + seed), batch, &Device::Cpu)?;
    // What goes in and what comes out are intermediate results, so every edge of the operator is used.
    let run =
        |forward: &dyn Fn(&Tensor, &Tensor) -> tbsm::Result<Tensor>| -> candle_core::Result<_> {
            let output = forward(&dense.affine(0.5, 0.1)?, &rows.affine(1.5, 0.0)?)
                .map_err(candle_core::Error::wrap)?;
            let gradients = (&output * &weights)?.sum_all()?.backward()?;
            Ok((output, gradients))
        };
    let (fused, fused_gradients) = run(&|d, r| model.forward(d, r))?;
    let (plain, plain_gradients) = run(&|d, r| model.forward_graph(d, r))?;
    assert_eq!(fused.dims(), [batch]);
    close(&fused, &plain, rounding, "output")?;
    for (what, var) in [
        ("parameters", model.parameters()),
        ("dense", &dense),
        ("rows", &rows),
    ] {
        let (Some(found), Some(expected)) = (fused_gradients.get(var), plain_gradients.get(var))
        else {
            return Err(format!("no gradient of {what}").into());
        };
        close(found, expected, rounding, what)?;
    }
    let inferred = model.infer(&dense.affine(0.5, 0.1)?, &rows.affine(1.5, 0.0)?)?;
    assert_eq!(inferred.to_vec1::<f32>()?, fused.to_vec1::<f32>()?);
    assert!(!inferred.track_op());
    Ok(())
}

#[test]
fn every_variant_of_the_time_series_layer() -> TestResult {
    for normalise in [true, false] {
        for sequence in every_tsl(&[6]).chain(every_tsl(&[])) {
            compare(small(sequence.clone(), normalise), 19)?;
            compare(
                TbsmConfig {
                    history: 20,
                    tower: TbsmConfig::default().tower,
                    ..small(sequence, normalise)
                },
                33,
            )?;
        }
    }
    Ok(())
}

#[test]
fn the_taobao_model_at_several_batches() -> TestResult {
    for batch in [1, 16, 100, 256] {
        compare(TbsmConfig::default(), batch)?;
    }
    Ok(())
}

#[test]
fn multi_head_attention_and_lstm() -> TestResult {
    let others = [
        SequenceLayer::Mha { heads: 1 },
        SequenceLayer::Mha { heads: 8 },
        SequenceLayer::Rnn { layers: 1 },
        SequenceLayer::Rnn { layers: 3 },
    ];
    for sequence in others {
        for normalise in [false, true] {
            compare(small(sequence.clone(), normalise), 35)?;
        }
        compare(
            TbsmConfig {
                sequence,
                ..TbsmConfig::default()
            },
            20,
        )?;
    }
    Ok(())
}

#[test]
fn many_slices_share_lanes() -> TestResult {
    let mut config = TbsmConfig::default();
    for (slice, batch) in [(1, 17), (3, 100), (2, 33), (40, 130)] {
        config.tower.slice = SliceSize::Fixed(slice);
        compare(config.clone(), batch)?;
    }
    Ok(())
}

#[test]
fn wide_layers_go_through_the_library() -> TestResult {
    let mut config = TbsmConfig::default();
    config.tower.bottom = vec![1, 80, 90, 16];
    config.tower.top = vec![200, 100, 70];
    config.head = vec![100, 1];
    compare(config, 21)
}

fn sequence() -> impl Strategy<Value = SequenceLayer> {
    let inner = prop::sample::select(&INNERS);
    let mechanism = prop::sample::select(&MECHANISMS);
    let mlp = prop::collection::vec(1usize..12, 0..3);
    prop_oneof![
        4 => (1usize..4, inner, mechanism, mlp, any::<bool>()).prop_map(
            |(heads, inner, mechanism, mlp, sequential)| SequenceLayer::Tsl {
                heads, inner, mechanism, mlp, sequential,
            }
        ),
        1 => (1usize..4).prop_map(|heads| SequenceLayer::Mha { heads }),
        1 => (1usize..4).prop_map(|layers| SequenceLayer::Rnn { layers }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_small_configuration(
        tables in 1usize..8,
        dim in 1usize..20,
        bottom in prop::collection::vec(1usize..20, 1..3),
        top in prop::collection::vec(1usize..20, 1..3),
        interaction in prop_oneof![
            Just(Interaction::Dot { with_self: false }),
            Just(Interaction::Dot { with_self: true }),
            Just(Interaction::Cat),
        ],
        slice in prop_oneof![Just(SliceSize::Auto), (1usize..40).prop_map(SliceSize::Fixed)],
        history in 4usize..26,
        normalise in any::<bool>(),
        sequence in sequence(),
        head in prop::collection::vec(1usize..70, 0..3),
        batch in 1usize..40,
    ) {
        let bottom = bottom.into_iter().chain([dim]).collect();
        let tower = DlrmConfig { tables, dim, bottom, top, interaction, output: Output::Relu, slice };
        let head = head.into_iter().chain([1]).collect();
        let config = TbsmConfig { tower, history, normalise, sequence, head };
        // Any configuration may be badly conditioned: heads saturate where vectors are not normalised, and a vector with a
        // single value above zero is constant once divided by its length, so that its gradient is all rounding.
        let rounding = Rounding { share: 1e-3, least: 0.05 };
        // A unit whose input is zero up to rounding passes the ReLU in one form and not in the other. That is bound to
        // the data, so other data decide.
        compare_on(config.clone(), batch, 0, rounding)
            .or_else(|_| compare_on(config.clone(), batch, 10, rounding))
            .or_else(|_| compare_on(config.clone(), batch, 20, rounding))
            .map_err(|error| TestCaseError::fail(error.to_string()))?;
    }
}

/// The engine's gradients of all arguments equal central differences of its outputs.
fn differentiate(config: TbsmConfig) -> TestResult {
    let network = Network::new(config.clone())?;
    let (batch, positions, tower) = (4, config.positions(), &config.tower);
    let initial = Tbsm::new(config.clone(), 3, &Device::Cpu)?;
    let mut arguments = [
        initial.parameters().to_vec1::<f32>()?,
        values(batch * positions * tower.bottom[0], 2),
        values(batch * positions * tower.tables * tower.dim, 3),
    ];
    let weights = values(batch, 4);
    let mut pass = Pass::default();
    let mut output = vec![0.0; batch];
    let [parameters, dense, rows] = &arguments;
    let (mut rows_grad, mut dense_grad) = (vec![f32::NAN; rows.len()], vec![f32::NAN; dense.len()]);
    network.forward(parameters, dense, rows, &mut pass, &mut output)?;
    let grad = Some(dense_grad.as_mut_slice());
    network.backward(
        parameters,
        dense,
        rows,
        &weights,
        &mut pass,
        &mut rows_grad,
        grad,
    )?;
    let mut parameters_grad = vec![0.0f32; parameters.len()];
    for slice in pass.gradients() {
        for (sum, gradient) in parameters_grad.iter_mut().zip(slice) {
            *sum += gradient;
        }
    }
    let mut loss = |[parameters, dense, rows]: &[Vec<f32>; 3]| -> tbsm::Result<f64> {
        network.infer(parameters, dense, rows, &mut pass, &mut output)?;
        let terms = output.iter().zip(&weights);
        Ok(terms.map(|(o, w)| f64::from(*o) * f64::from(*w)).sum())
    };
    let step = 1.0 / 1024.0;
    for (which, gradient) in [parameters_grad, dense_grad, rows_grad].iter().enumerate() {
        let (mut outliers, mut moved) = (0, 0);
        for (k, &found) in gradient.iter().enumerate() {
            let center = arguments[which][k];
            arguments[which][k] = center + step;
            let above = loss(&arguments)?;
            arguments[which][k] = center - step;
            let below = loss(&arguments)?;
            arguments[which][k] = center;
            let expected = (above - below) / f64::from(2.0 * step);
            moved += usize::from(expected.abs() > 5e-4);
            // Rounding of the outputs alone moves a difference by 1e-4.
            let tolerance = 2e-4 + 1e-2 * expected.abs();
            outliers += usize::from((f64::from(found) - expected).abs() > tolerance);
        }
        // A difference is wrong where the step crosses the kink of a ReLU, which few do.
        assert!(
            outliers * 20 <= gradient.len(),
            "{config:?}, argument {which}: {outliers} of {} differ",
            gradient.len()
        );
        assert!(moved > 0, "{config:?}: argument {which} moves nothing");
    }
    Ok(())
}

#[test]
fn gradients_of_every_time_series_layer_equal_finite_differences() -> TestResult {
    for normalise in [true, false] {
        for sequence in every_tsl(&[6]) {
            differentiate(small(sequence, normalise))?;
        }
    }
    Ok(())
}

#[test]
fn gradients_of_attention_and_lstm_equal_finite_differences() -> TestResult {
    for normalise in [true, false] {
        differentiate(small(SequenceLayer::Mha { heads: 1 }, normalise))?;
        differentiate(small(SequenceLayer::Mha { heads: 3 }, normalise))?;
        differentiate(small(SequenceLayer::Rnn { layers: 1 }, normalise))?;
        differentiate(small(SequenceLayer::Rnn { layers: 2 }, normalise))?;
    }
    Ok(())
}
