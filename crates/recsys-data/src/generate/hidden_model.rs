//! The click probability of planted samples: first-order effects, curved dense effects and pairwise interactions.

use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal, Uniform};

use super::dense_levels::Level;

/// Length of a hidden embedding; short, so that the interactions can be learned from few samples.
pub(crate) const DIM: usize = 2;

/// Rows beyond this rank have no effect of their own: they are too rare to matter, and memory stays small.
pub(crate) const ROWS_WITH_EFFECT: u64 = 1 << 16;

/// Hidden effects of one row, side by side so that a lookup touches one cache line.
#[derive(Debug, Clone, Copy, Default)]
struct HiddenRow {
    first_order: f32,
    embedding: [f32; DIM],
}

/// A logit in its three parts, before scaling.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Parts {
    pub(crate) categories: f32,
    pub(crate) dense: f32,
    pub(crate) interactions: f32,
}

/// What a sample's logit is made of. It depends on nothing but the sample's values as a reader sees them.
#[derive(Debug, Clone)]
pub(crate) struct HiddenModel {
    /// `[tables][rows with effect]`.
    tables: Vec<Vec<HiddenRow>>,
    pairs: Vec<(u32, u32)>,
    /// `[dense features][levels]`.
    dense: Vec<Vec<f32>>,
    scale: Parts,
    bias: f64,
}

impl HiddenModel {
    /// Draws the effects.
    ///
    /// `shares[table][rank]` is the probability of the first [`ROWS_WITH_EFFECT`] rows. A row's own effect shrinks by
    /// `share / (share + rarity)`, its embedding by the square of that, so that what is hidden can be learned from a few multiples of `1 / rarity` samples.
    pub(crate) fn new(
        seed: u64,
        shares: &[Vec<f64>],
        levels: &[Vec<Level>],
        pairs: usize,
        rarity: f64,
    ) -> Self {
        let stream = |stream: u64| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(stream);
            rng
        };
        let tables = shares
            .iter()
            .enumerate()
            .map(|(table, shares)| hidden_table(shares, rarity, &mut stream(table as u64 + 2)))
            .collect();
        let dense = {
            let mut rng = stream(0);
            levels
                .iter()
                .map(|levels| dense_effects(levels, &mut rng))
                .collect()
        };
        let all: Vec<(u32, u32)> = (0..shares.len() as u32)
            .flat_map(|right| (0..right).map(move |left| (left, right)))
            .collect();
        let mut chosen = index::sample(&mut stream(1), all.len(), pairs.min(all.len())).into_vec();
        chosen.sort_unstable();
        let pairs = chosen.into_iter().map(|pair| all[pair]).collect();
        let scale = Parts {
            categories: 1.0,
            dense: 1.0,
            interactions: 1.0,
        };
        Self {
            tables,
            pairs,
            dense,
            scale,
            bias: 0.0,
        }
    }

    /// The parts of a sample's logit, unscaled. `gathered` is working memory.
    #[inline]
    pub(crate) fn parts(
        &self,
        levels: &[u16],
        ids: &[u32],
        gathered: &mut Vec<[f32; DIM]>,
    ) -> Parts {
        gathered.clear();
        let mut parts = Parts::default();
        for (table, &id) in self.tables.iter().zip(ids) {
            let row = table.get(id as usize).copied().unwrap_or_default();
            parts.categories += row.first_order;
            gathered.push(row.embedding);
        }
        for (effects, &level) in self.dense.iter().zip(levels) {
            parts.dense += effects[level as usize];
        }
        for &(left, right) in &self.pairs {
            let (left, right) = (&gathered[left as usize], &gathered[right as usize]);
            parts.interactions += left[0] * right[0] + left[1] * right[1];
        }
        parts
    }

    /// The click probability that belongs to the parts of a logit.
    #[inline]
    pub(crate) fn probability(&self, parts: Parts) -> f64 {
        sigmoid(f64::from(self.weighted(parts)) + self.bias)
    }

    /// Scales the parts to the given standard deviations and sets the bias so that the mean probability over the
    /// given samples is `click_rate`.
    pub(crate) fn calibrate(&mut self, samples: &[Parts], deviations: Parts, click_rate: f64) {
        let scale = |part: fn(&Parts) -> f32, target: f32| {
            let measured = deviation(samples.iter().map(|parts| (f64::from(part(parts)), 1.0)));
            if measured > 1e-9 {
                (f64::from(target) / measured) as f32
            } else {
                0.0
            }
        };
        self.scale = Parts {
            categories: scale(|parts| parts.categories, deviations.categories),
            dense: scale(|parts| parts.dense, deviations.dense),
            interactions: scale(|parts| parts.interactions, deviations.interactions),
        };
        let logits: Vec<f64> = samples
            .iter()
            .map(|&parts| f64::from(self.weighted(parts)))
            .collect();
        let (mut low, mut high) = (-60.0, 60.0);
        for _ in 0..60 {
            self.bias = 0.5 * (low + high);
            let mean = logits
                .iter()
                .map(|logit| sigmoid(logit + self.bias))
                .sum::<f64>()
                / logits.len() as f64;
            if mean < click_rate {
                low = self.bias
            } else {
                high = self.bias
            }
        }
    }

    fn weighted(&self, parts: Parts) -> f32 {
        self.scale.categories * parts.categories
            + self.scale.dense * parts.dense
            + self.scale.interactions * parts.interactions
    }
}

/// Effects with mean 0 and deviation 1 over the table's lookups, so that every table weighs alike.
fn hidden_table(shares: &[f64], rarity: f64, rng: &mut ChaCha8Rng) -> Vec<HiddenRow> {
    let shrink: Vec<f64> = shares
        .iter()
        .map(|share| share / (share + rarity))
        .collect();
    let mut column = |power: i32| {
        let mut effects: Vec<f64> = shrink
            .iter()
            .map(|shrink| {
                let z: f64 = StandardNormal.sample(rng);
                z * shrink.powi(power)
            })
            .collect();
        standardise(&mut effects, shares);
        effects
    };
    let first_order = column(1);
    let embedding: [Vec<f64>; DIM] = std::array::from_fn(|_| column(2));
    (0..shares.len())
        .map(|row| HiddenRow {
            first_order: first_order[row] as f32,
            embedding: std::array::from_fn(|component| embedding[component][row] as f32),
        })
        .collect()
}

/// A sine of random frequency and phase over the value: partly linear, partly not.
fn dense_effects(levels: &[Level], rng: &mut ChaCha8Rng) -> Vec<f32> {
    let spread = deviation(levels.iter().map(|level| (f64::from(level.value), 1.0))).max(1e-9);
    let uniform = |low: f64, high: f64, rng: &mut ChaCha8Rng| match Uniform::new(low, high) {
        Ok(uniform) => uniform.sample(rng),
        Err(_) => low,
    };
    let frequency = uniform(0.5, 1.2, rng) / spread;
    let phase = uniform(0.0, std::f64::consts::TAU, rng);
    let strength = uniform(0.5, 1.5, rng);
    let mut effects: Vec<f64> = levels
        .iter()
        .map(|level| (frequency * f64::from(level.value) + phase).sin())
        .collect();
    standardise(&mut effects, &vec![1.0; levels.len()]);
    effects
        .into_iter()
        .map(|effect| (strength * effect) as f32)
        .collect()
}

/// Shifts and scales to weighted mean 0 and deviation 1; all 0 where there is no spread.
fn standardise(values: &mut [f64], weights: &[f64]) {
    let total: f64 = weights.iter().sum();
    let mean = values
        .iter()
        .zip(weights)
        .map(|(value, weight)| value * weight)
        .sum::<f64>()
        / total;
    let spread = deviation(values.iter().copied().zip(weights.iter().copied()));
    let scale = if spread > 1e-9 { 1.0 / spread } else { 0.0 };
    values
        .iter_mut()
        .for_each(|value| *value = (*value - mean) * scale);
}

/// Standard deviation of `(value, weight)` pairs.
fn deviation(values: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let total: f64 = values.clone().map(|(_, weight)| weight).sum();
    let mean = values
        .clone()
        .map(|(value, weight)| value * weight)
        .sum::<f64>()
        / total;
    (values
        .map(|(value, weight)| weight * (value - mean).powi(2))
        .sum::<f64>()
        / total)
        .sqrt()
}

fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}
