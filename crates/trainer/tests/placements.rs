//! Whatever rows live where, in whatever order hot and cold inputs come: the numbers are those of
//! the CPU.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod skewed;

use std::sync::Arc;

use candle_core::Device;
use dlrm::{FusedDlrm, SliceSize};
use embedding_store::{Optimizer, Side, StoreOptions};
use proptest::prelude::*;
use recsys_data::{Dataset, Order};
use skewed::{AnyTrainer, DIM, ROWS, Skewed, bits, is_low, part, sliced, tables, trainer, weights};
use trainer::{
    Evaluations, Inputs, Interleave, Model, Placement, Replicas, RunReport, Schedule,
    ShuffleOptions, ShuffleScheduler, TrainOptions, fit,
};

fn optimizers() -> impl Strategy<Value = Optimizer> {
    prop_oneof![
        Just(Optimizer::Sgd),
        Just(Optimizer::adagrad()),
        Just(Optimizer::rowwise_adagrad())
    ]
}

fn evaluations(data: &Arc<Skewed>) -> Evaluations {
    Evaluations {
        validation: Some(part(data, |sample| sample.is_multiple_of(9))),
        test: None,
    }
}

fn run<'a>(
    trainer: &mut AnyTrainer,
    inputs: impl Into<Inputs<'a>>,
    evaluations: &Evaluations,
    lookahead: Option<usize>,
    batch_size: usize,
) -> RunReport {
    let options = TrainOptions {
        batch_size,
        epochs: 2,
        order: Order::Shuffled,
        learning_rate: 0.05,
        test_every: Some(5),
        lookahead,
        ..TrainOptions::default()
    };
    fit(trainer, inputs, evaluations, &options, &mut ()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// The original order of inputs, on every placement.
    #[test]
    fn every_placement_gives_the_bits_of_the_cpu(
        optimizer in optimizers(), lookups in 1u32..4, hot in (0u64..=40, 0u64..=6, 0u64..=90, 0u64..=25),
        lookahead in prop::option::of(0usize..4), batch_size in 1usize..40,
    ) {
        let data = Arc::new(Skewed::new(150, lookups));
        let hot = [hot.0, hot.1, hot.2, hot.3];
        let mut expected = None;
        for placement in Placement::ALL {
            let mut trainer = trainer(placement, optimizer, hot, 1);
            let report = run(&mut trainer, data.clone() as Arc<dyn Dataset>, &evaluations(&data), lookahead, batch_size);
            let found = (bits(&weights(&trainer)), report.epochs);
            match &expected {
                None => expected = Some(found),
                Some(expected) => prop_assert!(*expected == found, "{placement}"),
            }
        }
    }

    /// Hot and cold inputs in turns: what runs on the replicas is what the CPU would have made of
    /// it.
    #[test]
    fn scheduled_inputs_give_the_bits_of_the_cpu_and_come_once_an_epoch(
        optimizer in optimizers(), lookups in 1u32..4, rate in 5f64..100.0, adaptive: bool, hot_first: bool, batch_size in 1usize..40,
    ) {
        let data = Arc::new(Skewed::new(150, lookups));
        let first = if hot_first { Side::Hot } else { Side::Cold };
        let mut expected = None;
        for placement in [Placement::Cpu, Placement::Fae, Placement::Mixed] {
            let mut schedule: Box<dyn Schedule> = if adaptive {
                Box::new(ShuffleScheduler::try_new(ShuffleOptions { initial_rate: rate, first, ..ShuffleOptions::default() }).unwrap())
            } else {
                Box::new(Interleave::try_new(rate, first).unwrap())
            };
            let inputs = Inputs::Split {
                hot: part(&data, is_low),
                cold: part(&data, |sample| !is_low(sample)),
                schedule: &mut *schedule,
            };
            let mut trainer = trainer(placement, optimizer, [6; 4], 1);
            let report = run(&mut trainer, inputs, &evaluations(&data), None, batch_size);
            prop_assert_eq!(report.train.samples, 300);
            let (hot, cold) = (report.phases.hot.unwrap(), report.phases.cold.unwrap());
            prop_assert_eq!((hot.samples, cold.samples), (76, 224));
            prop_assert!(report.phases.unsplit.is_none());
            if placement == Placement::Fae {
                // Hot batches move nothing but ids across; changes of side move rows.
                prop_assert!(hot.traffic.syncs > 0 && hot.traffic.sync_to_device > 0);
                prop_assert_eq!(hot.traffic.device_to_host, 0);
                prop_assert!(cold.traffic.device_to_host > 0);
            }
            let found = (bits(&weights(&trainer)), report.epochs, report.swaps);
            match &expected {
                None => expected = Some(found),
                Some(expected) => prop_assert!(*expected == found, "{placement}"),
            }
        }
        // Three runs of two epochs read every input once each; evaluations read every ninth in
        // between.
        let seen = data.seen.lock().unwrap();
        let count = |sample: u64| seen.iter().filter(|&&other| other == sample).count();
        prop_assert!((0u64..150).filter(|sample| !sample.is_multiple_of(9)).all(|sample| count(sample) == 6));
    }

    /// More replicas than samples in the last batch, or in any, included.
    #[test]
    fn replicas_agree_with_one_and_among_themselves(
        optimizer in optimizers(), replicas in 2usize..6, batch_size in 1usize..80, split: bool, fixed: bool,
    ) {
        // Adagrad divides by the size of small gradients, which makes large differences of small
        // ones.
        let optimizer = if fixed { optimizer } else { Optimizer::Sgd };
        let slice = if fixed { SliceSize::Fixed(8) } else { SliceSize::Auto };
        let data = Arc::new(Skewed::new(90, 2));
        let weights_of = |replicas: usize| {
            let mut trainer = sliced(slice, Placement::Fae, optimizer, [6; 4], replicas);
            let none = Evaluations::default();
            if split {
                let mut schedule = Interleave::try_new(40.0, Side::Cold).unwrap();
                let inputs = Inputs::Split {
                    hot: part(&data, is_low),
                    cold: part(&data, |sample| !is_low(sample)),
                    schedule: &mut schedule,
                };
                run(&mut trainer, inputs, &none, None, batch_size);
            } else {
                run(&mut trainer, data.clone() as Arc<dyn Dataset>, &none, None, batch_size);
            }
            for model in trainer.model().models() {
                let parameters = |model: &FusedDlrm| model.named_parameters()[0].1.to_vec1::<f32>().unwrap();
                assert_eq!(bits(&parameters(model)), bits(&parameters(&trainer.model().models()[0])));
            }
            weights(&trainer)
        };
        let (one, many) = (weights_of(1), weights_of(replicas));
        if fixed {
            prop_assert!(bits(&one) == bits(&many));
        }
        for (one, many) in one.iter().zip(&many) {
            prop_assert!((one - many).abs() <= 1e-6, "{one} {many}");
        }
    }
}

#[test]
fn a_side_without_inputs_is_no_phase() {
    let data = Arc::new(Skewed::new(60, 1));
    for (all_hot, hot_rows) in [(true, ROWS), (false, [0; 4])] {
        let mut schedule = ShuffleScheduler::try_new(ShuffleOptions::default()).unwrap();
        let inputs = Inputs::Split {
            hot: part(&data, |_| all_hot),
            cold: part(&data, |_| !all_hot),
            schedule: &mut schedule,
        };
        let mut trainer = trainer(Placement::Fae, Optimizer::Sgd, hot_rows, 2);
        let report = run(&mut trainer, inputs, &evaluations(&data), None, 16);
        assert_eq!(report.phases.hot.is_some(), all_hot);
        assert_eq!(report.phases.cold.is_some(), !all_hot);
        assert_eq!(report.train.samples, 120);
        assert!(report.swaps.is_empty());
    }
}

#[test]
fn placements_without_what_they_need_are_refused() {
    let options = StoreOptions {
        dim: DIM,
        ..StoreOptions::default()
    };
    let message = |placement: Placement, devices: &[Device], hot: Option<&[u64]>| {
        let store = placement.store(tables(), options.clone(), devices, hot);
        store
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    };
    assert!(message(Placement::Fae, &[Device::Cpu], None).contains("a number for each table"));
    assert!(message(Placement::Mixed, &[], Some(&[1; 4])).contains("devices"));
    assert!(!message(Placement::Mixed, &[Device::Cpu], Some(&[1; 3])).is_empty());
    assert!(!message(Placement::Fae, &[Device::Cpu], Some(&[41, 0, 0, 0])).is_empty());
    assert!(Replicas::<FusedDlrm>::new(Vec::new()).is_err());
}
