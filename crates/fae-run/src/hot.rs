//! The hot set of a run, and what it makes of the training inputs.

use std::sync::Arc;
use std::time::Instant;

use embedding_store::{Optimizer, StoreOptions, device_row_bytes};
use fae_profiler::{CountOptions, HotSet, Partition, SelectOptions, Strategy};
use recsys_data::packed::PackedDataset;
use recsys_data::{Batch, Dataset, Schema, Split};
use serde_json::{Value, json};

use crate::card::{Card, CardHot};
use crate::error::{Result, refuse};

/// A hot set, and what it makes of the training inputs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Hot {
    /// The hot set.
    pub set: HotSet,
    /// Hot and cold inputs.
    pub partition: Arc<Partition>,
    /// Share of positive labels among hot and among cold inputs, each from a few thousand of them;
    /// `None` where there are none.
    pub label_rates: [Option<f64>; 2],
    /// Seconds that counting and selecting took (or loading).
    pub profile_seconds: f64,
    /// Seconds that classifying took.
    pub classify_seconds: f64,
}

impl Hot {
    /// Loads the hot set that a card names, or chooses one; then classifies every training input.
    ///
    /// # Errors
    /// A hot set of another data set or of other rows, options beside it that only a choice has, or
    /// options out of range.
    pub fn new(card: &Card, data: &PackedDataset) -> Result<Self> {
        let clock = Instant::now();
        let bytes_per_row = card.bytes_per_row(data.schema())?;
        let set = match &card.hot.hot_set {
            Some(path) => {
                card.hot.refuse_choices()?;
                let set = HotSet::load(path, data)?;
                check_row_bytes(&set, &bytes_per_row)?;
                set
            }
            None => choose(card, data, bytes_per_row)?,
        };
        let profile_seconds = clock.elapsed().as_secs_f64();
        let clock = Instant::now();
        let train = data.split(Split::Train);
        let partition = Partition::classify(&train, set.hot_rows())?;
        let classify_seconds = clock.elapsed().as_secs_f64();
        let label_rates = [
            label_rate(&train, partition.hot_len(), |index| partition.hot(index))?,
            label_rate(&train, partition.cold_len(), |index| partition.cold(index))?,
        ];
        Ok(Self {
            set,
            partition: Arc::new(partition),
            label_rates,
            profile_seconds,
            classify_seconds,
        })
    }

    /// Refuses rows of another number of bytes than those that were chosen for the budget.
    pub(crate) fn check_row_bytes(&self, card: &Card, schema: &Schema) -> Result<()> {
        check_row_bytes(&self.set, &card.bytes_per_row(schema)?)
    }

    /// How far apart the labels of hot and cold inputs are: the difference of their shares of
    /// positives.
    pub fn label_gap(&self) -> f64 {
        match self.label_rates {
            [Some(hot), Some(cold)] => (hot - cold).abs(),
            _ => 0.0,
        }
    }

    /// What results say about it.
    pub fn to_json(&self) -> Value {
        json!({
            "strategy": self.set.strategy(),
            "budget": self.set.budget(),
            "hot_bytes": self.set.hot_bytes(),
            "hot_rows": self.set.hot_rows(),
            "hot_inputs": self.partition.hot_len(),
            "cold_inputs": self.partition.cold_len(),
            "hot_lookup_share": self.set.results().lookup_share(),
            "label_rates": self.label_rates,
            "profile_seconds": self.profile_seconds,
            "classify_seconds": self.classify_seconds,
        })
    }
}

impl CardHot {
    /// A set that was chosen before has its budget, strategy and sample in it.
    fn refuse_choices(&self) -> Result<()> {
        let choices = [
            ("budget", self.budget.is_some()),
            ("strategy", self.strategy.is_some()),
            ("sample", self.sample.is_some()),
        ];
        if let Some((name, _)) = choices.into_iter().find(|(_, given)| *given) {
            refuse!(
                "`{name}` decides which rows are hot, and `hot_set` names rows that were chosen \
                 before; leave one of them out"
            );
        }
        Ok(())
    }
}

impl Card {
    /// What a row of every table costs on a device in bytes, optimizer state included: of the width,
    /// with the optimizer and in the format that the card says.
    ///
    /// # Errors
    /// Those of [`Card::table_specs`].
    pub fn bytes_per_row(&self, schema: &Schema) -> Result<Vec<u64>> {
        let options = StoreOptions {
            dim: self.model.dim(),
            optimizer: Optimizer::from(self.training.optimizer.unwrap_or_default()).into(),
            device_rows: self.hot.device_rows.unwrap_or_default(),
            ..StoreOptions::default()
        };
        let tables = self.table_specs(schema)?;
        let bytes = tables.iter().map(|table| device_row_bytes(table, &options));
        Ok(bytes.collect())
    }
}

fn choose(card: &Card, data: &PackedDataset, bytes_per_row: Vec<u64>) -> Result<HotSet> {
    let options = &card.hot;
    let rows = data.schema().table_rows();
    let rows = rows.iter().zip(&bytes_per_row);
    let all = rows.map(|(rows, bytes)| rows * bytes).sum();
    let budget = options.budget.unwrap_or_default().bytes(all);
    let inputs = data.split(Split::Train).len();
    // Where everything fits there is nothing to estimate, and a row that a sample missed should be hot
    // too.
    let sample = match budget >= all {
        true => 1.0,
        false => default_sample(data.schema(), inputs),
    };
    let choice = SelectOptions {
        strategy: options.strategy.unwrap_or(Strategy::Inputs),
        budget,
        bytes_per_row,
        count: CountOptions {
            sample: options.sample.unwrap_or(sample),
            seed: card.training.seed.unwrap_or_default(),
        },
        ..SelectOptions::default()
    };
    Ok(HotSet::select(data, &choice)?)
}

/// A set that was chosen for other rows would take another number of bytes than its budget.
fn check_row_bytes(set: &HotSet, bytes_per_row: &[u64]) -> Result<()> {
    for (table, &bytes) in set.tables().iter().zip(bytes_per_row) {
        if table.bytes_per_row != bytes {
            refuse!(
                "the hot set was chosen for rows of {} bytes in table {}, and this run's take \
                 {bytes}: its rows would take {} times its budget on a device; choose it for this \
                 width, optimizer and format of device rows",
                table.bytes_per_row,
                table.name,
                (10.0 * bytes as f64 / table.bytes_per_row.max(1) as f64).round() / 10.0,
            );
        }
    }
    Ok(())
}

/// The share of the inputs that is counted where nothing else is set: a fifth of sequences, as the
/// original does, but at least 65,536 of them; and all other inputs, which takes a moment.
pub fn default_sample(schema: &Schema, inputs: u64) -> f64 {
    const LEAST: f64 = 65_536.0;
    match schema.sequence_length {
        Some(_) => (LEAST / inputs.max(1) as f64).clamp(0.2, 1.0),
        None => 1.0,
    }
}

/// The share of positive labels in at most 16,384 of the listed inputs, evenly spaced.
fn label_rate(
    data: &impl Dataset,
    inputs: u64,
    input: impl Fn(u64) -> Option<u64>,
) -> Result<Option<f64>> {
    const LOOKED_AT: u64 = 1 << 14;
    const READ_TOGETHER: usize = 1024;
    let step = inputs.div_ceil(LOOKED_AT).max(1);
    let numbers: Vec<u64> = (0..inputs)
        .step_by(step as usize)
        .filter_map(input)
        .collect();
    let (mut batch, mut positive) = (Batch::default(), 0.0);
    for numbers in numbers.chunks(READ_TOGETHER) {
        data.read(numbers, &mut batch)?;
        positive += batch.label.iter().copied().map(f64::from).sum::<f64>();
    }
    Ok((!numbers.is_empty()).then(|| positive / numbers.len() as f64))
}
