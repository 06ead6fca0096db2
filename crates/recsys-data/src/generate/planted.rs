//! Samples whose click probability is known.

use std::ops::Range;

use rayon::prelude::*;

use super::counter::{Counter, Draws, mix, unit};
use super::dense_levels::{LEVELS, Level, levels};
use super::hidden_model::{DIM, HiddenModel, Parts, ROWS_WITH_EFFECT};
use super::planted_options::PlantedOptions;
use super::separation::auc_of_samples;
use super::zipf::{TopicShifts, Zipf};
use crate::batch::Batch;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::schema::Schema;

/// Families of random numbers: the calibration does not depend on the number of samples.
const SAMPLES: u64 = 0;
const CALIBRATION: u64 = 1;
const TOPICS: u64 = 2;

/// Samples that the scales and the bias of the hidden model are set on.
const CALIBRATION_SAMPLES: u64 = 1 << 16;

/// Skewed, correlated samples whose clicks come from a hidden model, so that the best reachable AUC is known.
///
/// Every sample has a topic. Its categories are Zipf-distributed, in part in the topic's own order of popularity, which
/// makes the columns depend on each other; its dense features are skewed counts. The hidden logit adds effects of the
/// single categories, curved effects of the dense features and dot products between hidden embeddings of some pairs of
/// tables; a click comes with the probability `sigmoid(logit)`. What rare categories add shrinks with their frequency.
///
/// Ids are ranks: 0 is a table's most frequent category by design (topics even out neighbours). Sample `k` depends on the
/// seed and `k` alone, so samples can be read in any order and by any number of threads.
///
/// Memory: about 8 bytes per table row, and 12 more for the first 65,536 rows of a table.
#[derive(Debug, Clone)]
pub struct Planted {
    options: PlantedOptions,
    schema: Schema,
    columns: Vec<PlantedColumn>,
    dense: Vec<PlantedDense>,
    model: HiddenModel,
}

/// How one categorical column is drawn and written.
#[derive(Debug, Clone)]
struct PlantedColumn {
    zipf: Zipf,
    shifts: TopicShifts,
    /// The id that is written as an empty field.
    missing: Option<u32>,
    /// Tells the tables' hash values apart.
    hash_key: u32,
}

/// How one dense column is drawn.
#[derive(Debug, Clone)]
struct PlantedDense {
    levels: Vec<Level>,
    /// `[topics]`: where in the distribution the topic's values lie.
    phases: Vec<f64>,
}

/// One sample, in memory that is reused for the next.
#[derive(Debug, Default)]
pub(crate) struct PlantedSample {
    pub(crate) click: bool,
    pub(crate) probability: f64,
    pub(crate) levels: Vec<u16>,
    pub(crate) ids: Vec<u32>,
    gathered: Vec<[f32; DIM]>,
}

impl Planted {
    /// Draws the hidden model and calibrates it; takes a moment that grows with the rows of the tables.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] names the option, its value and what is allowed.
    pub fn new(options: PlantedOptions) -> Result<Self> {
        options.validate()?;
        let topics = options.topics;
        let topic_counter = Counter::new(options.seed, TOPICS);
        let columns: Vec<PlantedColumn> = options
            .tables
            .par_iter()
            .enumerate()
            .map(|(table, spec)| {
                let zipf = Zipf::new(spec.rows, spec.exponent);
                let missing = (spec.missing > 0.0).then(|| zipf.rank_of_share(spec.missing));
                let shifts =
                    TopicShifts::new(spec.rows, topics, topic_counter.sample(table as u64).bits());
                PlantedColumn {
                    zipf,
                    shifts,
                    missing,
                    hash_key: mix(table as u64 + 1) as u32,
                }
            })
            .collect();
        let dense: Vec<PlantedDense> = (0..options.dense)
            .map(|feature| {
                let mut draws = topic_counter.sample(u64::MAX - feature as u64);
                PlantedDense {
                    levels: levels(feature),
                    phases: (0..topics).map(|_| draws.uniform()).collect(),
                }
            })
            .collect();
        let shares: Vec<Vec<f64>> = columns
            .par_iter()
            .map(|column| column.shares(topics, options.correlation))
            .collect();
        let all_levels: Vec<Vec<Level>> =
            dense.iter().map(|column| column.levels.clone()).collect();
        let model = HiddenModel::new(
            options.seed,
            &shares,
            &all_levels,
            options.interactions,
            options.rarity,
        );
        let mut planted = Self {
            schema: options.schema(),
            options,
            columns,
            dense,
            model,
        };
        planted.calibrate();
        Ok(planted)
    }

    /// The options it was made with.
    pub fn options(&self) -> &PlantedOptions {
        &self.options
    }

    /// The click probability of a sample, in (0, 1). Numbers beyond the last sample are further samples of the same
    /// kind.
    pub fn probability(&self, sample: u64) -> f64 {
        let mut row = PlantedSample::default();
        self.sample(sample, &mut row);
        row.probability
    }

    /// The AUC that the true probabilities reach on the labels of these samples, exact, ties counted half. No model
    /// does better but by chance.
    ///
    /// # Errors
    /// [`Error::UndefinedAuc`] where the range has one class only.
    pub fn best_auc(&self, samples: Range<u64>) -> Result<f64> {
        self.auc(
            samples,
            |row| if row.click { (1.0, 0.0) } else { (0.0, 1.0) },
        )
    }

    /// [`Planted::best_auc`] as expected over all labels that these samples could have: the same without the noise of
    /// the labels drawn.
    ///
    /// # Errors
    /// [`Error::UndefinedAuc`] where the range is empty.
    pub fn expected_best_auc(&self, samples: Range<u64>) -> Result<f64> {
        self.auc(samples, |row| (row.probability, 1.0 - row.probability))
    }

    /// The raw value of a category, distinct for every id of a table and never 0; nothing for the missing one.
    #[inline]
    pub(crate) fn raw_category(&self, table: usize, id: u32) -> Option<u32> {
        let column = &self.columns[table];
        (column.missing != Some(id)).then(|| raw_category(id, column.hash_key))
    }

    /// The raw value of a dense feature, nothing where it is missing.
    #[inline]
    pub(crate) fn raw_dense(&self, feature: usize, level: u16) -> Option<i32> {
        self.dense[feature].levels[level as usize].raw
    }

    /// Draws sample number `sample`.
    #[inline]
    pub(crate) fn sample(&self, sample: u64, into: &mut PlantedSample) {
        let mut draws = Counter::new(self.options.seed, SAMPLES).sample(sample);
        let parts = self.values(&mut draws, into);
        into.probability = self.model.probability(parts);
        into.click = draws.uniform() < into.probability;
    }

    /// Draws dense features and categories.
    #[inline]
    fn values(&self, draws: &mut Draws, into: &mut PlantedSample) -> Parts {
        let topics = u64::from(self.options.topics);
        // Fractions of 2^32, so that a coin costs half a draw.
        let correlation = (self.options.correlation * (1u64 << 32) as f64) as u64;
        let topic = (((draws.bits() >> 32) * topics) >> 32) as u32;
        into.ids.clear();
        let mut coins = 0;
        for (table, column) in self.columns.iter().enumerate() {
            coins = if table % 2 == 0 {
                draws.bits()
            } else {
                coins >> 32
            };
            let rank = column.zipf.rank(draws.bits());
            let of_topic = (coins & 0xffff_ffff) < correlation;
            into.ids.push(if of_topic {
                column.shifts.shifted(rank, topic)
            } else {
                rank
            });
        }
        into.levels.clear();
        for column in &self.dense {
            let bits = draws.bits();
            // The low bits are the coin; the upper 53 are the value.
            let mut quantile = unit(bits);
            if draws_topic(bits, correlation) {
                // Half of the distribution, beginning at the topic's phase.
                quantile = 0.5 * quantile + column.phases[topic as usize];
                quantile -= quantile.floor();
            }
            into.levels
                .push(((quantile * LEVELS as f64) as usize).min(LEVELS - 1) as u16);
        }
        self.model
            .parts(&into.levels, &into.ids, &mut into.gathered)
    }

    fn calibrate(&mut self) {
        let counter = Counter::new(self.options.seed, CALIBRATION);
        let parts: Vec<Parts> = (0..CALIBRATION_SAMPLES)
            .into_par_iter()
            .map_init(PlantedSample::default, |row, sample| {
                self.values(&mut counter.sample(sample), row)
            })
            .collect();
        let deviations = Parts {
            categories: self.options.category_effect as f32,
            dense: self.options.dense_effect as f32,
            interactions: self.options.interaction_effect as f32,
        };
        self.model
            .calibrate(&parts, deviations, self.options.click_rate);
    }

    fn auc(
        &self,
        samples: Range<u64>,
        weights: impl Fn(&PlantedSample) -> (f64, f64) + Sync,
    ) -> Result<f64> {
        auc_of_samples(samples, |row: &mut PlantedSample, sample| {
            self.sample(sample, row);
            let (positive, negative) = weights(row);
            (row.probability, positive, negative)
        })
    }
}

/// Whether a dense value follows the topic: bits 0–10 are not part of the uniform number, so they are a free coin.
#[inline]
fn draws_topic(bits: u64, correlation: u64) -> bool {
    ((bits & 0x7ff) << 21) < correlation
}

impl PlantedColumn {
    /// Probability of the rows that may have an effect, over all topics.
    fn shares(&self, topics: u32, correlation: f64) -> Vec<f64> {
        let rows = self.zipf.rows().min(ROWS_WITH_EFFECT);
        let mut shares: Vec<f64> = (0..rows)
            .map(|rank| (1.0 - correlation) * self.zipf.probability(rank))
            .collect();
        for rank in 0..rows {
            let share = correlation * self.zipf.probability(rank) / f64::from(topics);
            for topic in 0..topics {
                // A band may reach beyond the rows that have an effect.
                if let Some(moved) =
                    shares.get_mut(self.shifts.shifted(rank as u32, topic) as usize)
                {
                    *moved += share;
                }
            }
        }
        shares
    }
}

impl Dataset for Planted {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn len(&self) -> u64 {
        self.options.samples
    }

    fn read(&self, samples: &[u64], into: &mut Batch) -> Result<()> {
        into.clear();
        let mut row = PlantedSample::default();
        for &sample in samples {
            if sample >= self.options.samples {
                return Err(Error::SampleOutOfRange {
                    sample,
                    len: self.options.samples,
                });
            }
            self.sample(sample, &mut row);
            into.label.push(if row.click { 1.0 } else { 0.0 });
            into.dense.extend(
                self.dense
                    .iter()
                    .zip(&row.levels)
                    .map(|(column, &level)| column.levels[level as usize].value),
            );
            into.sparse.ids.extend_from_slice(&row.ids);
        }
        Ok(())
    }
}

/// A bijection on 32-bit words that looks like a hash (MurmurHash3's finaliser), keyed by table.
fn scramble(word: u32, key: u32) -> u32 {
    let word = word ^ key;
    let word = (word ^ (word >> 16)).wrapping_mul(0x85eb_ca6b);
    let word = (word ^ (word >> 13)).wrapping_mul(0xc2b2_ae35);
    word ^ (word >> 16)
}

/// The raw value of an id. 0 stands for "missing" in the original numbering, so the id that would get it takes the value
/// of `u32::MAX`, which is no id.
#[inline]
fn raw_category(id: u32, key: u32) -> u32 {
    match scramble(id, key) {
        0 => scramble(u32::MAX, key),
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_category_is_written_as_zero_even_where_the_hash_is() {
        // `scramble` maps 0 to 0, so this key makes id 77 the one that would be written as 0.
        assert_eq!(scramble(77, 77), 0);
        assert_eq!(raw_category(77, 77), scramble(u32::MAX, 77));
        assert_ne!(raw_category(77, 77), 0);
    }
}
