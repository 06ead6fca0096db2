//! Schedules and observers that users write themselves, and what comes before a run, decide what it
//! does where they keep to their contract, and end it with a reason where they do not.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod own;
mod skewed;

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use embedding_store::{Optimizer, Side, Tiered};
use own::{
    Halved, SAMPLES, checkpoints, data, evaluations, everything, focal, options, train, trainer,
};
use skewed::{Skewed, is_low, part};
use trainer::{
    Error, Event, Inputs, LearningRatePolicy, Observer, Placement, Result, RunReport, Schedule,
    SideBatches, Stretch, TrainOptions, fit, fit_with_checkpoints,
};

/// Answers stretches from a list, again in every epoch; an error where there is `None`.
struct Listed(Vec<Option<Stretch>>, usize);

impl Schedule for Listed {
    fn begin(&mut self, _: SideBatches) -> Result<()> {
        self.1 = 0;
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Stretch>> {
        let next = self.0.get(self.1).copied();
        self.1 += 1;
        match next {
            Some(None) => Err(Error::external("the plan of the day is missing")),
            Some(stretch) => Ok(stretch),
            None => Ok(None),
        }
    }
}

fn run_listed(stretches: &[Option<(Side, u64)>]) -> Result<RunReport> {
    let data = Arc::new(Skewed::new(SAMPLES, 2));
    let stretch = |(side, batches)| Stretch { side, batches };
    let mut schedule = Listed(stretches.iter().map(|of| of.map(stretch)).collect(), 0);
    let inputs = Inputs::Split {
        hot: part(&data, is_low),
        cold: part(&data, |sample| !is_low(sample)),
        schedule: &mut schedule,
    };
    let mut trainer = trainer(Placement::Fae, 1);
    fit(&mut trainer, inputs, &evaluations(), &options(), &mut ())
}

/// Batches of both sides of an epoch.
fn side_batches() -> (u64, u64) {
    let hot = (0..SAMPLES).filter(|&sample| is_low(sample)).count() as u64;
    (hot.div_ceil(8), (SAMPLES - hot).div_ceil(8))
}

#[test]
fn a_schedule_without_a_rate_runs_every_batch_once() {
    let (hot, cold) = side_batches();
    let report = run_listed(&[
        Some((Side::Cold, 1)),
        Some((Side::Cold, 2)),
        Some((Side::Hot, hot)),
        Some((Side::Cold, cold - 3)),
    ])
    .unwrap();
    assert_eq!(
        (report.train.samples, report.train.steps),
        (SAMPLES, hot + cold)
    );
    assert_eq!(report.swaps.len(), 2);
    assert!(report.swaps.iter().all(|swap| swap.rate.is_none()));
}

fn refusal(stretches: &[Option<(Side, u64)>]) -> String {
    match run_listed(stretches).unwrap_err() {
        Error::Schedule { problem } => problem,
        other => other.to_string(),
    }
}

/// Found by a user of the library: the run hung.
#[test]
fn a_schedule_that_gives_a_stretch_of_no_batches_is_refused() {
    let problem = refusal(&[Some((Side::Cold, 1)), Some((Side::Hot, 0))]);
    assert_eq!(problem, "answered a stretch of 0 hot batches");
}

/// Found by a user of the library: the run hung.
#[test]
fn a_schedule_that_gives_more_batches_than_there_are_is_refused() {
    let (hot, cold) = side_batches();
    for more in [1, u64::MAX - cold] {
        let asked = cold - 2 + more;
        let problem = refusal(&[Some((Side::Cold, 2)), Some((Side::Cold, asked))]);
        let left = cold - 2;
        assert_eq!(
            problem,
            format!("answered a stretch of {asked} cold batches where {left} are left")
        );
    }
    let problem = refusal(&[Some((Side::Hot, hot)), Some((Side::Hot, 1))]);
    assert_eq!(
        problem,
        "answered a stretch of 1 hot batches where 0 are left"
    );
}

/// Found by a user of the library: the run was fine after 0 of 600 samples.
#[test]
fn a_schedule_that_ends_before_the_epoch_is_refused() {
    let (hot, cold) = side_batches();
    let problem = refusal(&[]);
    assert_eq!(
        problem,
        format!("ended the epoch with {hot} hot and {cold} cold batches left")
    );
    let problem = refusal(&[Some((Side::Cold, cold))]);
    assert_eq!(
        problem,
        format!("ended the epoch with {hot} hot and 0 cold batches left")
    );
}

#[test]
fn an_error_of_a_schedule_ends_the_run_as_it_is() {
    assert_eq!(refusal(&[None]), "the plan of the day is missing");
}

/// Ends a run at an event, and keeps all that it heard.
struct Ends {
    at: fn(&Event<'_>) -> bool,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Observer for Ends {
    fn observe(&mut self, event: &Event<'_>) -> Result<ControlFlow<()>> {
        let name = format!("{event:?}");
        let name = name.split_whitespace().next().unwrap().to_string();
        self.heard.lock().unwrap().push(name);
        Ok(match (self.at)(event) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })
    }
}

fn ends(at: fn(&Event<'_>) -> bool) -> (Ends, Arc<Mutex<Vec<String>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ends = Ends {
        at,
        heard: heard.clone(),
    };
    (ends, heard)
}

#[test]
fn an_observer_ends_a_run_in_good_order() {
    let (mut observer, heard) = ends(|event| matches!(event, Event::Step { step: 5, .. }));
    let mut stopped = trainer(Placement::Mixed, 1);
    let options = TrainOptions {
        epochs: 3,
        ..options()
    };
    let sets = evaluations();
    let report = fit(&mut stopped, data(), &sets, &options, &mut observer).unwrap();
    assert!(report.stopped_by_observer && !report.stopped_early);
    assert_eq!((report.train.steps, report.epochs.len()), (5, 1));
    assert_eq!(report.validation.unwrap().samples, 40);
    let heard = heard.lock().unwrap();
    let last = &heard[heard.len() - 4..];
    assert_eq!(last, ["Step", "Evaluated", "EpochEnded", "Finished"]);
    // As a run of that many steps.
    let limited = TrainOptions {
        max_steps: Some(5),
        ..options
    };
    let mut expected = trainer(Placement::Mixed, 1);
    let report = fit(&mut expected, data(), &sets, &limited, &mut ()).unwrap();
    assert!(!report.stopped_by_observer);
    assert!(everything(&stopped) == everything(&expected));
}

#[test]
fn an_observer_may_end_a_run_at_any_event() {
    let whole = SAMPLES.div_ceil(8);
    type At = fn(&Event<'_>) -> bool;
    let cases: [(At, u64, usize); 4] = [
        (|event| matches!(event, Event::Started { .. }), 0, 0),
        (|event| matches!(event, Event::Evaluated { .. }), 4, 1),
        (|event| matches!(event, Event::EpochEnded { .. }), whole, 1),
        (
            |event| matches!(event, Event::Finished { .. }),
            3 * whole,
            3,
        ),
    ];
    for (at, steps, epochs) in cases {
        let options = TrainOptions {
            epochs: 3,
            test_every: Some(4).filter(|_| steps == 4),
            ..options()
        };
        let (mut observer, heard) = ends(at);
        let mut trainer = trainer(Placement::Cpu, 1);
        let report = fit(
            &mut trainer,
            data(),
            &evaluations(),
            &options,
            &mut observer,
        )
        .unwrap();
        assert_eq!((report.train.steps, report.epochs.len()), (steps, epochs));
        assert_eq!(report.stopped_by_observer, steps < 3 * whole);
        assert_eq!(heard.lock().unwrap().last().unwrap(), "Finished");
    }
}

#[test]
fn a_run_that_an_observer_ended_goes_on_bit_for_bit() {
    let options = TrainOptions {
        epochs: 2,
        test_every: Some(6),
        dense_learning_rate: Some(0.01),
        policy: Arc::new(Halved {
            from: 9,
            wrong: None,
        }),
        loss: Arc::new(focal()),
        ..options()
    };
    let fresh = || {
        let trainer = trainer(Placement::Mixed, 1);
        trainer.with_dense_optimizer(Optimizer::Sgd).unwrap()
    };
    let mut whole = fresh();
    let expected = fit(&mut whole, data(), &evaluations(), &options, &mut ()).unwrap();
    let at: [fn(&Event<'_>) -> bool; 4] = [
        |event| matches!(event, Event::Step { step: 1, .. }),
        |event| matches!(event, Event::Evaluated { .. }),
        |event| matches!(event, Event::Step { step: 15, .. }),
        |event| matches!(event, Event::Step { step: 20, .. }),
    ];
    for at in at {
        let folder = tempfile::tempdir().unwrap();
        let run = |resume, observer: &mut dyn Observer| {
            let mut trainer = fresh();
            let checkpoints = checkpoints(folder.path(), resume);
            let sets = evaluations();
            let some = Some(&checkpoints);
            let report =
                fit_with_checkpoints(&mut trainer, data(), &sets, &options, some, observer);
            (trainer, report.unwrap())
        };
        let (mut observer, _) = ends(at);
        let (_, report) = run(false, &mut observer);
        assert!(report.stopped_by_observer && report.interrupted_at.is_none());
        let (trainer, report) = run(true, &mut ());
        assert!(everything(&trainer) == everything(&whole));
        assert_eq!(
            (report.best, &report.epochs),
            (expected.best, &expected.epochs)
        );
        assert!(!report.stopped_by_observer);
    }
}

/// Found by a user of the library: every call had the shuffle of the first epoch.
#[test]
fn a_call_for_each_epoch_gives_the_bits_of_one_call() {
    let base = TrainOptions {
        policy: Arc::new(LearningRatePolicy {
            warmup_steps: 20,
            ..Default::default()
        }),
        test_every: Some(7),
        ..options()
    };
    let mut whole = trainer(Placement::Cpu, 1);
    let epochs = TrainOptions {
        epochs: 3,
        ..base.clone()
    };
    let expected = train(&mut whole, &epochs).unwrap();
    let run = |counted: bool| {
        let mut trainer = trainer(Placement::Cpu, 1);
        let (mut steps, mut reports) = (0, Vec::new());
        for epoch in 0..3 {
            let options = TrainOptions {
                earlier_epochs: if counted { epoch } else { 0 },
                earlier_steps: if counted { steps } else { 0 },
                ..base.clone()
            };
            let report = train(&mut trainer, &options).unwrap();
            steps += report.train.steps;
            reports.extend(report.epochs);
        }
        (everything(&trainer), reports)
    };
    assert!(run(true) == (everything(&whole), expected.epochs));
    assert!(run(false).0 != everything(&whole));
}

#[test]
fn epochs_and_steps_before_a_run_that_cannot_be_counted_on_are_refused() {
    for many in [u64::MAX, u64::MAX - 1] {
        let refused = [
            TrainOptions {
                earlier_epochs: many,
                ..options()
            },
            TrainOptions {
                earlier_steps: many,
                ..options()
            },
        ];
        for options in refused {
            let result = train(&mut trainer(Placement::Cpu, 1), &options);
            assert!(matches!(result, Err(Error::Option { .. })), "{result:?}");
        }
    }
}

/// Found by a user of the library: `Mixed` fetched nothing ahead unless told.
#[test]
fn stores_are_shown_as_many_batches_ahead_as_they_make_use_of() {
    let ahead = |placement| {
        let trainer = trainer(placement, 1);
        trainer.store().tiers().map_or(0, Tiered::lookahead)
    };
    assert_eq!(ahead(Placement::Mixed), 1);
    assert_eq!(ahead(Placement::Cpu), 0);
    let run = |lookahead| {
        let mut trainer = trainer(Placement::Mixed, 1);
        let options = TrainOptions {
            lookahead,
            ..options()
        };
        train(&mut trainer, &options).unwrap();
        everything(&trainer)
    };
    let expected = run(None);
    for lookahead in [0, 1, 3, 1 << 10] {
        assert!(run(Some(lookahead)) == expected);
    }
}
