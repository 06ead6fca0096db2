//! The kernels of a training step outside model and rows: the loss is that of `trainer`, and so are the dense parameters' optimizers.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use candle_core::{Device, Tensor, Var};
use embedding_store::Optimizer;
use kernel_tests::Launch;
use proptest::prelude::*;
use trainer::{BinaryLoss, DenseOptimizer, Gradient, Loss, LossInput, LossKind};

unsafe extern "C" {
    fn loss_gradient(
        logits: *const f32,
        labels: *const f32,
        slopes: *mut f32,
        share: *mut f32,
        samples: u32,
        batch: u32,
        kind: u32,
        input: u32,
        threshold: f32,
        negative: f32,
        positive: f32,
    );
    fn dense_add(sum: *mut f32, values: *const f32, count: u64);
    fn dense_sgd(weights: *mut f32, gradients: *const f32, count: u64, rate: f32);
    fn dense_adagrad(
        weights: *mut f32,
        state: *mut f32,
        gradients: *const f32,
        count: u64,
        rate: f32,
        epsilon: f32,
    );
}

/// The kernel's share of a batch's loss, and the slopes.
fn run(loss: &BinaryLoss, logits: &[f32], labels: &[f32], batch: usize) -> (f32, Vec<f32>) {
    let (kind, negative, positive) = match loss.kind {
        LossKind::Bce => (0, 1.0, 1.0),
        LossKind::Mse => (1, 1.0, 1.0),
        LossKind::WeightedBce { negative, positive } => (2, negative, positive),
        other => panic!("a kind of loss without a number: {other:?}"),
    };
    let (mut slopes, mut share) = (vec![f32::NAN; logits.len()], f32::NAN);
    let launch = Launch {
        blocks: 1,
        threads: 1024,
        shared_bytes: 0,
    };
    launch.run(|| {
        // SAFETY: the arguments are those of the kernel, as long as it reads and writes them.
        unsafe {
            loss_gradient(
                logits.as_ptr(),
                labels.as_ptr(),
                slopes.as_mut_ptr(),
                &raw mut share,
                logits.len() as u32,
                batch as u32,
                kind,
                u32::from(loss.input == LossInput::Prediction),
                loss.threshold,
                negative,
                positive,
            );
        }
    });
    (share, slopes)
}

fn close(found: f64, expected: f64) -> bool {
    (found.is_nan() && expected.is_nan())
        || (found - expected).abs() <= 1e-6 * expected.abs().max(1e-6)
}

fn losses() -> impl Strategy<Value = BinaryLoss> {
    let kind = prop_oneof![
        Just(LossKind::Bce),
        Just(LossKind::Mse),
        Just(LossKind::WeightedBce {
            negative: 0.4,
            positive: 1.6
        }),
    ];
    let input = prop_oneof![Just(LossInput::Logit), Just(LossInput::Prediction)];
    let threshold = prop_oneof![Just(0.0f32), Just(0.01), Just(0.3)];
    (kind, input, threshold).prop_map(|(kind, input, threshold)| BinaryLoss {
        kind,
        threshold,
        input,
    })
}

proptest! {
    #[test]
    fn the_loss_is_the_trainers(
        loss in losses(),
        samples in prop::collection::vec((-40f32..40.0, 0u8..2), 1..3000),
        others in 0usize..100,
    ) {
        let logits: Vec<f32> = samples.iter().map(|sample| sample.0).collect();
        let labels: Vec<f32> = samples.iter().map(|sample| sample.1.into()).collect();
        let batch = samples.len() + others;
        let mut expected = vec![0.0; logits.len()];
        let mean = loss.evaluate(&logits, &labels, batch, &mut expected).unwrap();
        let (share, slopes) = run(&loss, &logits, &labels, batch);
        prop_assert!(close(share.into(), mean), "{} {}", share, mean);
        for (at, (found, expected)) in slopes.iter().zip(&expected).enumerate() {
            prop_assert!(close((*found).into(), (*expected).into()), "{} {} {}", logits[at], found, expected);
        }
    }

    #[test]
    fn sums_are_of_each_value(values in prop::collection::vec((-2f32..2.0, -3f32..3.0), 1..700), threads in 1u32..300) {
        let (values, mut sums): (Vec<f32>, Vec<f32>) = values.into_iter().unzip();
        let expected: Vec<f32> = sums.iter().zip(&values).map(|(sum, value)| sum + value).collect();
        let launch = Launch { blocks: (values.len() as u32).div_ceil(threads), threads, shared_bytes: 0 };
        // SAFETY: as many of both as is said.
        launch.run(|| unsafe { dense_add(sums.as_mut_ptr(), values.as_ptr(), values.len() as u64) });
        prop_assert_eq!(sums, expected);
    }

    #[test]
    fn dense_parameters_move_as_the_trainers_do(
        values in prop::collection::vec((-2f32..2.0, -3f32..3.0), 1..700), threads in 1u32..300
    ) {
        let (weights, gradients): (Vec<f32>, Vec<f32>) = values.into_iter().unzip();
        let count = weights.len();
        let launch = Launch { blocks: (count as u32).div_ceil(threads), threads, shared_bytes: 0 };
        for optimizer in [Optimizer::Sgd, Optimizer::adagrad()] {
            let variable = Var::from_slice(&weights, count, &Device::Cpu).unwrap();
            let gradient = Tensor::from_slice(&gradients, count, &Device::Cpu).unwrap();
            let mut trainers = DenseOptimizer::new(optimizer, 1);
            let mut own = weights.clone();
            let epsilon = optimizer.epsilon() as f32;
            let with_state = optimizer.has_dense_state();
            let mut state = vec![optimizer.fresh_state(); if with_state { count } else { 0 }];
            for _ in 0..3 {
                trainers.update(0, &variable, Gradient::Tensor(&gradient), 0.1).unwrap();
                launch.run(|| {
                    let (weights, gradients) = (own.as_mut_ptr(), gradients.as_ptr());
                    // SAFETY: the arguments are those of the kernels, as long as they read and write them.
                    unsafe {
                        if state.is_empty() {
                            dense_sgd(weights, gradients, count as u64, 0.1);
                        } else {
                            dense_adagrad(weights, state.as_mut_ptr(), gradients, count as u64, 0.1, epsilon);
                        }
                    }
                });
            }
            let expected: Vec<f32> = variable.to_vec1().unwrap();
            prop_assert_eq!(&own, &expected);
        }
    }
}

#[test]
fn what_is_no_number_has_no_number_for_a_loss() {
    for input in [LossInput::Logit, LossInput::Prediction] {
        for kind in [LossKind::Bce, LossKind::Mse] {
            let loss = BinaryLoss {
                kind,
                threshold: 0.0,
                input,
            };
            assert!(run(&loss, &[0.3, f32::NAN], &[1.0, 0.0], 2).0.is_nan());
        }
    }
}
