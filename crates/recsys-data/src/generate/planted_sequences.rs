//! Behaviour sequences of users whose interests are known.

use std::io;
use std::ops::Range;

use super::behaviour::{BehaviourModel, Mind};
use super::counter::Counter;
use super::planted_sequences_options::PlantedSequencesOptions;
use super::separation::auc_of_samples;
use super::user_behaviour;
use super::zipf::Zipf;
use crate::batch::Batch;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::schema::Schema;

/// Family of random numbers, beside those of the behaviour.
const SAMPLES: u64 = 2;

/// Histories of users with drifting interests, and candidates that follow them or not: the best reachable AUC is known.
///
/// Every user likes a few categories and has one of them in mind, which changes now and then ([`drift`]). Most events are
/// of that category, the others of any ([`noise`]); within a category, items come by popularity. A sample is a user, the
/// last events and a candidate: with probability 1/2 the user's next event (label 1), otherwise an item drawn by
/// popularity (label 0). Popularity alone so tells nothing, unlike in the original's preparation, whose negatives are
/// drawn evenly over the items and are given away by how rare they are; what counts is whether the candidate's category
/// is frequent in the history, above all its end, and whether the user likes it.
///
/// Three tables, `user`, `item` and `category`, whose ids are ranks: 0 is the most frequent row by design (over all
/// tastes that users could have; theirs even out). An item always has the same category. The only dense feature is the
/// original's: `t / positions` at position `t`.
///
/// Sample `k` depends on the seed and `k` alone, so samples can be read in any order and by any number of threads.
///
/// Memory: 8 bytes a user, 12 an item, 24 a category.
///
/// [`drift`]: PlantedSequencesOptions::drift
/// [`noise`]: PlantedSequencesOptions::noise
#[derive(Debug, Clone)]
pub struct PlantedSequences {
    options: PlantedSequencesOptions,
    schema: Schema,
    users: Zipf,
    behaviour: BehaviourModel,
}

/// One sample, in memory that is reused for the next.
#[derive(Debug, Default)]
struct PlantedSequence {
    positive: bool,
    probability: f64,
    /// `[positions, tables]`.
    ids: Vec<u32>,
    mind: Mind,
}

impl PlantedSequences {
    /// Deals items out to categories; takes a moment that grows with the number of items.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] names the option, its value and what is allowed.
    pub fn new(options: PlantedSequencesOptions) -> Result<Self> {
        options.validate()?;
        Ok(Self {
            schema: options.schema(),
            users: Zipf::new(u64::from(options.users), options.user_exponent),
            behaviour: BehaviourModel::new(&options),
            options,
        })
    }

    /// The options it was made with.
    pub fn options(&self) -> &PlantedSequencesOptions {
        &self.options
    }

    /// The probability of label 1 for somebody who knows the user's taste and what was in the user's mind at the last
    /// event of the history, in [0, 1]. Numbers beyond the last sample are further samples of the same kind.
    pub fn probability(&self, sample: u64) -> f64 {
        let mut row = PlantedSequence::default();
        self.sample(sample, &mut row);
        row.probability
    }

    /// The AUC that [`PlantedSequences::probability`] reaches on the labels of these samples, exact, ties counted half.
    ///
    /// It is that of somebody who sees the hidden interests. A model sees the history instead, and the user's other
    /// samples, which tell about the interests but not all: the figure is a bound that no model passes but by chance,
    /// and that none quite reaches.
    ///
    /// # Errors
    /// [`Error::UndefinedAuc`] where the range has one class only.
    pub fn best_auc(&self, samples: Range<u64>) -> Result<f64> {
        self.auc(
            samples,
            |row| {
                if row.positive { (1.0, 0.0) } else { (0.0, 1.0) }
            },
        )
    }

    /// [`PlantedSequences::best_auc`] as expected over all labels that these samples could have: the same without the
    /// noise of the labels drawn.
    ///
    /// # Errors
    /// [`Error::UndefinedAuc`] where the range is empty.
    pub fn expected_best_auc(&self, samples: Range<u64>) -> Result<f64> {
        self.auc(samples, |row| (row.probability, 1.0 - row.probability))
    }

    /// Writes raw events of the same kind, as Taobao's `UserBehavior.csv` has them: user, item, category, behaviour and
    /// Unix time, separated by commas, no header.
    ///
    /// As many users as the events need, numbered from 1 (the options' users do not matter), come in text order of their
    /// numbers, the events of each by time, from 25 November to 3 December 2017 (UTC+8). A user has 84 events in the median
    /// and 100 on average, 1,000 at most; pauses are longer where the mind moves. There is no day and night. Of the events
    /// 89.6 % are page views, the others `cart`, `fav` and `buy`, without any meaning. Item and category numbers tell
    /// nothing about popularity.
    ///
    /// Lines are formatted in parallel and written in order; the same bytes come out whatever the number of threads.
    /// Memory does not depend on the number of events.
    ///
    /// # Errors
    /// Those of `writer`.
    pub fn write_user_behaviour(&self, events: u64, writer: impl io::Write) -> io::Result<()> {
        user_behaviour::write(&self.behaviour, self.options.seed, events, writer)
    }

    /// Draws sample number `sample`.
    #[inline]
    fn sample(&self, sample: u64, into: &mut PlantedSequence) {
        let draws = &mut Counter::new(self.options.seed, SAMPLES).sample(sample);
        let PlantedSequence { ids, mind, .. } = into;
        let user = self.users.rank(draws.bits());
        ids.clear();
        self.behaviour.begin(u64::from(user), draws, mind);
        for _ in 0..self.options.history {
            self.behaviour.drift(draws, mind);
            let event = self.behaviour.event(draws, mind);
            ids.extend([user, event.item, event.category]);
        }
        let known = mind.place;
        into.positive = draws.bits() >> 63 == 1;
        let candidate = if into.positive {
            self.behaviour.drift(draws, mind);
            self.behaviour.event(draws, mind)
        } else {
            self.behaviour.any(draws)
        };
        ids.extend([user, candidate.item, candidate.category]);
        // Both labels are equally likely.
        let ratio = self
            .behaviour
            .likelihood_ratio(mind, known, candidate.category);
        into.probability = ratio / (1.0 + ratio);
    }

    fn auc(
        &self,
        samples: Range<u64>,
        weights: impl Fn(&PlantedSequence) -> (f64, f64) + Sync,
    ) -> Result<f64> {
        auc_of_samples(samples, |row: &mut PlantedSequence, sample| {
            self.sample(sample, row);
            let (positive, negative) = weights(row);
            (row.probability, positive, negative)
        })
    }
}

impl Dataset for PlantedSequences {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn len(&self) -> u64 {
        self.options.samples
    }

    fn read(&self, samples: &[u64], into: &mut Batch) -> Result<()> {
        into.clear();
        let mut row = PlantedSequence::default();
        let positions = self.schema.positions();
        for &sample in samples {
            if sample >= self.options.samples {
                return Err(Error::SampleOutOfRange {
                    sample,
                    len: self.options.samples,
                });
            }
            self.sample(sample, &mut row);
            into.label.push(if row.positive { 1.0 } else { 0.0 });
            into.dense
                .extend((0..positions).map(|position| (position as f64 / positions as f64) as f32));
            into.sparse.ids.extend_from_slice(&row.ids);
        }
        Ok(())
    }
}
