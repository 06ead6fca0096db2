//! In which order hot and cold mini-batches run.

use embedding_store::Side;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};

/// Mini-batches of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SideBatches {
    /// Of inputs that touch hot rows only.
    pub hot: u64,
    /// Of the others.
    pub cold: u64,
}

/// Some mini-batches of one side that run one behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Hot or cold.
    pub side: Side,
    /// How many.
    pub batches: u64,
}

/// Decides which side's mini-batches come next.
///
/// Every epoch runs every batch of both sides once. What a schedule answers is checked: a stretch
/// of no batches, or of more than are left of its side, and an end before both sides are used up
/// end the run as [`Error::Schedule`]. Errors of a schedule end the run as they are
/// ([`Error::External`] takes any error).
pub trait Schedule: Send {
    /// An epoch of that many batches begins.
    ///
    /// # Errors
    /// Any; it ends the run.
    fn begin(&mut self, batches: SideBatches) -> Result<()>;

    /// The next stretch. It is called as long as batches are left; `None` is then an error.
    ///
    /// # Errors
    /// Any; it ends the run.
    fn next(&mut self) -> Result<Option<Stretch>>;

    /// Whether the loss is wanted at every change of side.
    fn wants_loss(&self) -> bool {
        false
    }

    /// The loss on the evaluation set at a change of side. The stretch after the change is decided
    /// by then.
    ///
    /// # Errors
    /// Any; it ends the run.
    fn observe(&mut self, loss: f64) -> Result<()> {
        let _ = loss;
        Ok(())
    }

    /// Share of a side's batches in one stretch, in percent, for reports; `None`, the default,
    /// where there is no such share.
    fn rate(&self) -> Option<f64> {
        None
    }

    /// All that decides what comes next, for a checkpoint. Null, the default, for a schedule that
    /// [`begin`](Self::begin) tells everything.
    ///
    /// # Errors
    /// A state that cannot be written as JSON.
    fn state(&self) -> Result<Value> {
        Ok(Value::Null)
    }

    /// Goes on from a state in the middle of an epoch; the epoch was [begun](Self::begin).
    ///
    /// # Errors
    /// A state of another kind of schedule, or of an epoch with other numbers of batches.
    fn restore(&mut self, state: &Value) -> Result<()> {
        let _ = state;
        Ok(())
    }
}

/// How the paper's scheduler reacts; every constant is an option.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShuffleOptions {
    /// Rate to start with, in percent: that share of the cold batches runs, then that share of the
    /// hot ones, and so on.
    pub initial_rate: f64,
    /// Factor on the rate after `patience` falls of the loss in a row.
    pub increase: f64,
    /// Factor on the rate after a rise of the loss.
    pub decrease: f64,
    /// Falls in a row that it takes to raise the rate.
    pub patience: u32,
    /// The rate never goes below this, in percent.
    pub floor: f64,
    /// The rate never goes above this, in percent.
    pub ceiling: f64,
    /// Side that runs first in every epoch.
    pub first: Side,
}

impl Default for ShuffleOptions {
    /// Starts at 50%, halves after a rise, doubles after four falls, within 1% and 100%; cold
    /// first.
    fn default() -> Self {
        Self {
            initial_rate: 50.0,
            increase: 2.0,
            decrease: 0.5,
            patience: 4,
            floor: 1.0,
            ceiling: 100.0,
            first: Side::Cold,
        }
    }
}

impl ShuffleOptions {
    /// Checks every option.
    ///
    /// # Errors
    /// The first that makes no sense.
    pub fn validate(&self) -> Result<()> {
        let bad = |option, value: f64, remedy| {
            Err(Error::Option {
                option,
                value: value.to_string(),
                remedy,
            })
        };
        let percent = |value: f64| value > 0.0 && value <= 100.0;
        for (option, value) in [
            ("initial rate", self.initial_rate),
            ("lowest rate", self.floor),
            ("highest rate", self.ceiling),
        ] {
            if !percent(value) {
                return bad(option, value, "give a percentage above 0 and up to 100");
            }
        }
        if self.floor > self.ceiling {
            return bad("lowest rate", self.floor, "give at most the highest rate");
        }
        if !(self.increase.is_finite() && self.increase >= 1.0) {
            return bad(
                "rate's increase",
                self.increase,
                "give a factor of at least 1",
            );
        }
        if !(self.decrease > 0.0 && self.decrease <= 1.0) {
            return bad(
                "rate's decrease",
                self.decrease,
                "give a factor above 0 and up to 1",
            );
        }
        if self.patience == 0 {
            return bad("patience", 0.0, "give at least 1");
        }
        Ok(())
    }
}

/// Cuts both sides into stretches of the current rate, in turns.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Turns {
    first: Side,
    next: Side,
    /// Batches of the epoch and those left, hot and cold.
    all: [u64; 2],
    left: [u64; 2],
}

fn at(side: Side) -> usize {
    match side {
        Side::Hot => 0,
        Side::Cold => 1,
    }
}

fn other(side: Side) -> Side {
    match side {
        Side::Hot => Side::Cold,
        Side::Cold => Side::Hot,
    }
}

impl Turns {
    fn new(first: Side) -> Self {
        Self {
            first,
            next: first,
            all: [0; 2],
            left: [0; 2],
        }
    }

    fn begin(&mut self, batches: SideBatches) {
        self.all = [batches.hot, batches.cold];
        self.left = self.all;
        self.next = self.first;
    }

    fn next(&mut self, rate: f64) -> Option<Stretch> {
        if self.left[at(self.next)] == 0 {
            self.next = other(self.next);
        }
        let side = self.next;
        let (all, left) = (self.all[at(side)], &mut self.left[at(side)]);
        if *left == 0 {
            return None;
        }
        let share = (all as f64 * rate / 100.0).ceil() as u64;
        let mut batches = share.clamp(1, *left);
        if self.left[at(other(side))] == 0 {
            // Nothing is left to alternate with.
            batches = self.left[at(side)];
        }
        self.left[at(side)] -= batches;
        self.next = other(side);
        Some(Stretch { side, batches })
    }

    /// Goes on from another state of the same epoch.
    fn restore(&mut self, from: Self) -> Result<()> {
        let fits = from.first == self.first
            && from.all == self.all
            && from
                .left
                .iter()
                .zip(&from.all)
                .all(|(left, all)| left <= all);
        if !fits {
            return Err(unfit(format!("{from:?}")));
        }
        *self = from;
        Ok(())
    }
}

fn unfit(state: String) -> Error {
    Error::Option {
        option: "state of the schedule",
        value: state,
        remedy: "go on with the schedule, the data and the batch size that the checkpoint was written with",
    }
}

/// What a schedule's state holds.
fn parsed<T: for<'a> Deserialize<'a>>(state: &Value) -> Result<T> {
    T::deserialize(state).map_err(|_| unfit(state.to_string()))
}

/// FAE's adaptive scheduler: the rate follows the loss at every change of side, so that hot and
/// cold stretches are as long as training bears.
///
/// Where the loss rose since the change before, the rate is lowered; where it fell
/// [`ShuffleOptions::patience`] times in a row, it is raised; otherwise it stays. The rate is kept
/// from epoch to epoch.
#[derive(Debug, Clone)]
pub struct ShuffleScheduler {
    options: ShuffleOptions,
    turns: Turns,
    rate: f64,
    last_loss: Option<f64>,
    falls: u32,
}

/// What a [`ShuffleScheduler`] knows besides its options.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShuffleState {
    turns: Turns,
    rate: f64,
    last_loss: Option<f64>,
    falls: u32,
}

impl ShuffleScheduler {
    /// A scheduler at its initial rate.
    ///
    /// # Errors
    /// Those of [`ShuffleOptions::validate`].
    pub fn try_new(options: ShuffleOptions) -> Result<Self> {
        options.validate()?;
        Ok(Self {
            options,
            turns: Turns::new(options.first),
            rate: options.initial_rate.clamp(options.floor, options.ceiling),
            last_loss: None,
            falls: 0,
        })
    }
}

impl Schedule for ShuffleScheduler {
    fn begin(&mut self, batches: SideBatches) -> Result<()> {
        self.turns.begin(batches);
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Stretch>> {
        Ok(self.turns.next(self.rate))
    }

    fn wants_loss(&self) -> bool {
        true
    }

    fn observe(&mut self, loss: f64) -> Result<()> {
        let options = &self.options;
        match self.last_loss.replace(loss) {
            Some(last) if loss > last => {
                self.rate = (self.rate * options.decrease).max(options.floor);
                self.falls = 0;
            }
            Some(last) if loss < last => {
                self.falls += 1;
                if self.falls == options.patience {
                    self.rate = (self.rate * options.increase).min(options.ceiling);
                    self.falls = 0;
                }
            }
            _ => self.falls = 0,
        }
        Ok(())
    }

    fn rate(&self) -> Option<f64> {
        Some(self.rate)
    }

    fn state(&self) -> Result<Value> {
        let state = ShuffleState {
            turns: self.turns,
            rate: self.rate,
            last_loss: self.last_loss,
            falls: self.falls,
        };
        serde_json::to_value(state).map_err(|error| unfit(error.to_string()))
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        let from: ShuffleState = parsed(state)?;
        if !(self.options.floor..=self.options.ceiling).contains(&from.rate) {
            return Err(unfit(state.to_string()));
        }
        self.turns.restore(from.turns)?;
        (self.rate, self.last_loss, self.falls) = (from.rate, from.last_loss, from.falls);
        Ok(())
    }
}

/// A fixed rate: that share of the first side's batches, then that share of the other's, and so on.
/// At 100%, the order of the published code: for DLRM all cold batches, then all hot ones; for TBSM
/// the reverse.
#[derive(Debug, Clone)]
pub struct Interleave {
    turns: Turns,
    rate: f64,
}

impl Interleave {
    /// Stretches of `rate` percent of each side's batches.
    ///
    /// # Errors
    /// A rate that is no percentage above 0.
    pub fn try_new(rate: f64, first: Side) -> Result<Self> {
        let options = ShuffleOptions {
            initial_rate: rate,
            ..ShuffleOptions::default()
        };
        options.validate()?;
        Ok(Self {
            turns: Turns::new(first),
            rate,
        })
    }

    /// All batches of one side, then all of the other.
    pub fn one_after_the_other(first: Side) -> Self {
        Self {
            turns: Turns::new(first),
            rate: 100.0,
        }
    }
}

impl Schedule for Interleave {
    fn begin(&mut self, batches: SideBatches) -> Result<()> {
        self.turns.begin(batches);
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Stretch>> {
        Ok(self.turns.next(self.rate))
    }

    fn rate(&self) -> Option<f64> {
        Some(self.rate)
    }

    fn state(&self) -> Result<Value> {
        serde_json::to_value(self.turns).map_err(|error| unfit(error.to_string()))
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        self.turns.restore(parsed(state)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn epoch(schedule: &mut dyn Schedule, hot: u64, cold: u64) -> Vec<(Side, u64)> {
        schedule.begin(SideBatches { hot, cold }).unwrap();
        std::iter::from_fn(|| schedule.next().unwrap())
            .map(|stretch| (stretch.side, stretch.batches))
            .collect()
    }

    #[test]
    fn the_published_order_is_one_side_after_the_other() {
        let mut schedule = Interleave::one_after_the_other(Side::Cold);
        assert_eq!(
            epoch(&mut schedule, 3, 7),
            [(Side::Cold, 7), (Side::Hot, 3)]
        );
        let mut schedule = Interleave::one_after_the_other(Side::Hot);
        assert_eq!(
            epoch(&mut schedule, 3, 7),
            [(Side::Hot, 3), (Side::Cold, 7)]
        );
    }

    #[test]
    fn a_rate_cuts_both_sides_alike() {
        let mut schedule = Interleave::try_new(50.0, Side::Cold).unwrap();
        let expected = [
            (Side::Cold, 4),
            (Side::Hot, 1),
            (Side::Cold, 3),
            (Side::Hot, 1),
        ];
        assert_eq!(epoch(&mut schedule, 2, 7), expected);
        assert_eq!(epoch(&mut schedule, 0, 4), [(Side::Cold, 4)]);
        assert_eq!(epoch(&mut schedule, 5, 0), [(Side::Hot, 5)]);
        assert_eq!(epoch(&mut schedule, 0, 0), []);
    }

    #[test]
    fn the_rate_follows_the_loss() {
        let mut schedule = ShuffleScheduler::try_new(ShuffleOptions::default()).unwrap();
        let rate = |schedule: &mut ShuffleScheduler, losses: &[f64]| {
            for &loss in losses {
                schedule.observe(loss).unwrap();
            }
            schedule.rate().unwrap()
        };
        assert_eq!(rate(&mut schedule, &[0.6, 0.5, 0.4, 0.3]), 50.0);
        assert_eq!(rate(&mut schedule, &[0.2]), 100.0);
        assert_eq!(rate(&mut schedule, &[0.19, 0.18, 0.17, 0.16]), 100.0);
        assert_eq!(rate(&mut schedule, &[0.2]), 50.0);
        assert_eq!(rate(&mut schedule, &[0.2]), 50.0);
        assert_eq!(rate(&mut schedule, &[0.3, 0.4, 0.5]), 6.25);
        let rising: Vec<f64> = (6..20).map(f64::from).collect();
        assert_eq!(rate(&mut schedule, &rising), 1.0);
    }

    #[test]
    fn options_without_meaning_are_named() {
        let message = |change: fn(&mut ShuffleOptions)| {
            let mut options = ShuffleOptions::default();
            change(&mut options);
            ShuffleScheduler::try_new(options).unwrap_err().to_string()
        };
        assert!(message(|o| o.initial_rate = 0.0).starts_with("initial rate is 0"));
        assert!(message(|o| o.ceiling = 120.0).starts_with("highest rate is 120"));
        assert!(message(|o| (o.floor, o.ceiling) = (20.0, 10.0)).starts_with("lowest rate is 20"));
        assert!(message(|o| o.decrease = 1.5).starts_with("rate's decrease is 1.5"));
        assert!(message(|o| o.increase = f64::NAN).starts_with("rate's increase is NaN"));
        assert!(message(|o| o.patience = 0).starts_with("patience is 0"));
        assert!(Interleave::try_new(-1.0, Side::Hot).is_err());
    }

    proptest! {
        #[test]
        fn every_epoch_runs_every_batch_once(
            hot in 0u64..300, cold in 0u64..300, rate in 0.1f64..100.0, losses in prop::collection::vec(0f64..1.0, 0..50),
        ) {
            let options = ShuffleOptions { initial_rate: rate, ..ShuffleOptions::default() };
            let mut shuffle = ShuffleScheduler::try_new(options).unwrap();
            let mut losses = losses.into_iter().cycle();
            for _ in 0..2 {
                shuffle.begin(SideBatches { hot, cold }).unwrap();
                let mut sums = [0, 0];
                while let Some(stretch) = shuffle.next().unwrap() {
                    prop_assert!(stretch.batches > 0);
                    sums[at(stretch.side)] += stretch.batches;
                    if let Some(loss) = losses.next() {
                        shuffle.observe(loss).unwrap();
                    }
                }
                prop_assert_eq!(sums, [hot, cold]);
            }
        }
    }
}
