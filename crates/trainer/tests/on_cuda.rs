//! On NVIDIA devices, where there are any: all placements train to the same bits on one, and to
//! about what the CPU trains to; several devices train to about the same, and their replicas to the
//! same bits. Elsewhere the tests say that they are skipped.
#![cfg(feature = "cuda")]
#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod recorded;
mod skewed;

use std::sync::Arc;

use candle_core::Device;
use dlrm::{Dlrm, DlrmConfig, FusedDlrm};
use embedding_store::{Optimizer, StoreOptions, TableSpec};
use recsys_data::generate::{RandomData, RandomDataOptions};
use recsys_data::{Dataset, Order};
use recsys_device::cuda_device;
use skewed::weights;
use trainer::{Evaluations, Model, Placement, Replicas, TrainOptions, Trainer, fit};

const ROWS: [u64; 4] = [400, 6, 9000, 2500];
const DIM: usize = 16;

/// The first devices, as many as asked for.
fn devices(count: usize) -> Option<Vec<Device>> {
    let devices = (0..count).map(cuda_device).collect::<Result<_, _>>();
    devices
        .map_err(|error| eprintln!("skipped: not {count} NVIDIA devices: {error}"))
        .ok()
}

/// The losses of the epochs, and every weight and optimizer state, after steps enough for a device
/// to repeat what it has recorded.
fn train(
    placement: Placement,
    optimizer: Optimizer,
    hot: [u64; 4],
    lookahead: usize,
    devices: &[Device],
    nccl: bool,
) -> (Vec<f64>, Vec<f32>) {
    let config = DlrmConfig {
        tables: ROWS.len(),
        dim: DIM,
        bottom: vec![5, 32, DIM],
        top: vec![24, 1],
        ..DlrmConfig::default()
    };
    let options = StoreOptions {
        dim: DIM,
        optimizer: optimizer.into(),
        ..StoreOptions::default()
    };
    let devices = match placement {
        Placement::Cpu => &[Device::Cpu],
        _ => devices,
    };
    let tables = ROWS.iter().map(|&rows| TableSpec::full(rows)).collect();
    let store = placement
        .store(tables, options, devices, Some(&hot))
        .unwrap();
    let model = |device: &Device| {
        let model = Dlrm::new(config.clone(), 3, device).unwrap();
        (FusedDlrm::new(model), device.clone())
    };
    let mut model = Replicas::new(devices.iter().map(model).collect()).unwrap();
    if nccl {
        model = model.with_nccl().unwrap();
    }
    let mut trainer = Trainer::new(model, store, devices[0].clone());
    let data = RandomData::new(RandomDataOptions {
        samples: 1100,
        dense: 5,
        table_rows: ROWS.to_vec(),
        lookups: 2,
        round_targets: true,
        ..RandomDataOptions::default()
    });
    // The last batch is smaller.
    let options = TrainOptions {
        epochs: 2,
        batch_size: 128,
        order: Order::Shuffled,
        learning_rate: 0.05,
        test_every: Some(12),
        lookahead: Some(lookahead),
        ..TrainOptions::default()
    };
    let data: Arc<dyn Dataset> = Arc::new(data.unwrap());
    let evaluations = Evaluations {
        validation: Some(data.clone()),
        test: None,
    };
    let report = fit(&mut trainer, data, &evaluations, &options, &mut ()).unwrap();
    let losses = report.epochs.iter().map(|epoch| epoch.train_loss);
    let parameters = |model: &FusedDlrm| model.named_parameters()[0].1.to_vec1::<f32>().unwrap();
    let mut replicas = trainer.model().models().iter().map(parameters);
    let first = replicas.next().unwrap();
    assert!(replicas.all(|replica| replica == first));
    (losses.collect(), weights(&trainer))
}

#[test]
fn placements_train_to_the_same_bits() {
    let Some(devices) = devices(1) else {
        return;
    };
    for optimizer in [
        Optimizer::Sgd,
        Optimizer::adagrad(),
        Optimizer::rowwise_adagrad(),
    ] {
        let run = |placement, hot, lookahead| {
            train(placement, optimizer, hot, lookahead, &devices, false)
        };
        let (losses, weights) = run(Placement::CpuDevice, [0; 4], 1);
        for (placement, hot, lookahead) in [
            (Placement::CpuDevice, [0; 4], 0),
            (Placement::Fae, [100, 6, 500, 0], 1),
            (Placement::Mixed, [100, 6, 500, 0], 0),
            (Placement::Mixed, [100, 6, 500, 0], 1),
            (Placement::Mixed, [0, 1, 8000, 2000], 3),
            (Placement::Mixed, ROWS, 2),
        ] {
            let found = run(placement, hot, lookahead);
            let same = found.1.iter().zip(&weights);
            let differing = same.filter(|(found, expected)| found.to_bits() != expected.to_bits());
            let differing = differing.count();
            assert_eq!(
                differing, 0,
                "{optimizer:?} {placement} {hot:?} {lookahead}"
            );
            assert_eq!(
                found.0, losses,
                "{optimizer:?} {placement} {hot:?} {lookahead}"
            );
        }
        let (expected, on_host) = run(Placement::Cpu, [0; 4], 0);
        for (found, expected) in losses.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
        // Small gradients make large steps of Adagrad, so that single weights may go another way.
        let far = weights.iter().zip(&on_host);
        let far = far.filter(|(found, expected)| (*found - *expected).abs() > 1e-3);
        assert!(far.count() * 100 < weights.len());
    }
}

#[test]
fn several_devices_train_as_one_does() {
    let Some(devices) = devices(2) else {
        return;
    };
    let optimizer = Optimizer::rowwise_adagrad();
    let hot = [100, 6, 500, 0];
    let (expected, _) = train(
        Placement::CpuDevice,
        optimizer,
        hot,
        0,
        &devices[..1],
        false,
    );
    let ways = [
        (Placement::CpuDevice, false),
        (Placement::Fae, false),
        (Placement::Mixed, false),
        (Placement::Mixed, cfg!(feature = "nccl")),
    ];
    for (placement, nccl) in ways {
        let run = || train(placement, optimizer, hot, 1, &devices, nccl);
        let (losses, weights) = run();
        for (found, expected) in losses.iter().zip(&expected) {
            assert!(
                (found - expected).abs() < 1e-4,
                "{placement}: {found} {expected}"
            );
        }
        assert!(run() == (losses, weights), "{placement} again");
    }
}
