//! What the examples about placements share: their options, the hot set, and a run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use candle_core::Device;
use clap::{Args, ValueEnum};
use embedding_store::{
    Backing, EmbeddingStore, PREFETCHED_BATCHES, RowFormat, Side, StoreOptions, TableSpec,
    device_row_bytes,
};
use fae_profiler::{CountOptions, HotSet, Partition, SelectOptions, Strategy};
use recsys_data::packed::PackedDataset;
use recsys_data::{Batch, Dataset, Schema, Split};
use recsys_device::{allow_tf32, cuda_device};
use serde::Serialize;
use trainer::{
    Checkpoints, Evaluations, Inputs, Interleave, Model, Observer, Placement, Replicas, RunReport,
    Schedule, ShuffleOptions, ShuffleScheduler, Trainer, fit_with_checkpoints,
};

use crate::budget::Budget;
use crate::model::ModelKind;
use crate::profiling::default_sample;
use crate::training::{Settings, evaluations};

/// A trainer on any placement.
pub type AnyTrainer = Trainer<Replicas<Box<dyn Model>>, Box<dyn EmbeddingStore>>;

/// Where rows live, which are hot, and in which order hot and cold inputs come.
#[derive(Debug, Clone, Default, Args)]
pub struct PlacementArguments {
    /// Where rows live and where the model runs.
    #[arg(long, value_enum, help_heading = "Placement")]
    pub placement: Option<PlacementName>,
    /// The device: cpu (standing in for an accelerator), or cuda, cuda:0, cuda:0,1 … in a build with CUDA.
    #[arg(long, value_name = "DEVICE", help_heading = "Placement")]
    pub device: Option<String>,
    /// With --device cpu: so many replicas of model and hot rows, as on several devices [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64), help_heading = "Placement")]
    pub replicas: Option<u16>,
    /// Let an NVIDIA device round the factors of matrix products to ten bits (TF32): faster, and not the CPU's numbers to the last bits.
    #[arg(long, help_heading = "Placement")]
    pub tf32: bool,
    /// Let NCCL add the gradients of several NVIDIA devices, in an order of its own, instead of every device in the order of the samples.
    /// Needs a build with the feature nccl.
    #[arg(long, help_heading = "Placement")]
    pub nccl: bool,
    /// Coming batches that `mixed` fetches cold rows for, and any placement with --mapped-rows has read from the disk, up to 4
    /// [default: 1].
    #[arg(long, value_name = "BATCHES", help_heading = "Placement")]
    pub lookahead: Option<usize>,
    /// Keep the rows that live on the CPU in memory-mapped files in this folder, for tables larger than memory: with `mixed` those
    /// that are not hot, else all. Changes no result; the disk space is free again at the end, however the program ends.
    #[arg(long, value_name = "DIR", help_heading = "Placement")]
    pub mapped_rows: Option<PathBuf>,

    /// The hot set to use, made by `profile` for this data set [default: profile now].
    #[arg(long, value_name = "FILE.json", help_heading = "Hot rows")]
    pub hot_set: Option<PathBuf>,
    /// Most bytes that hot rows and their optimizer state may take on a device (256MiB, 1GB, 0), or a share of all (10%)
    /// [default: 256MiB].
    #[arg(long, value_name = "SIZE", help_heading = "Hot rows")]
    pub budget: Option<Budget>,
    /// How hot rows are kept on the device, f32 or bf16. bf16 takes half the bytes: a budget in bytes holds about twice the rows. What is
    /// written to them is rounded at random, repeatably; rows on the CPU, optimizer state and arithmetic stay f32. For `fae` and `mixed`
    /// [default: f32].
    #[arg(long, value_name = "FORMAT", help_heading = "Hot rows")]
    pub device_rows: Option<RowFormat>,
    /// How hot rows are chosen [default: inputs].
    #[arg(long, value_enum, help_heading = "Hot rows")]
    pub strategy: Option<StrategyName>,
    /// Share of the training inputs that is counted, more than 0 and at most 1 [default: 1; a fifth of sequences
    /// where there are many].
    #[arg(long, value_name = "RATE", help_heading = "Hot rows")]
    pub sample: Option<f64>,

    /// In which order hot and cold inputs come [default: shuffle for `fae`, else original].
    #[arg(long, value_enum, help_heading = "Schedule")]
    pub schedule: Option<ScheduleName>,
    /// Share of a side's batches that run before the sides change, in percent: the rate that `shuffle` starts with, and that
    /// `interleave` keeps [default: 50].
    #[arg(long, value_name = "PERCENT", help_heading = "Schedule")]
    pub rate: Option<f64>,
    /// Factor on the rate after --patience falls of the loss in a row [default: 2].
    #[arg(long, value_name = "FACTOR", help_heading = "Schedule")]
    pub rate_increase: Option<f64>,
    /// Factor on the rate after a rise of the loss [default: 0.5].
    #[arg(long, value_name = "FACTOR", help_heading = "Schedule")]
    pub rate_decrease: Option<f64>,
    /// Falls of the loss in a row before the rate is raised [default: 4].
    #[arg(long, value_name = "N", help_heading = "Schedule")]
    pub patience: Option<u32>,
    /// Lowest rate [default: 1].
    #[arg(long, value_name = "PERCENT", help_heading = "Schedule")]
    pub rate_floor: Option<f64>,
    /// Highest rate [default: 100].
    #[arg(long, value_name = "PERCENT", help_heading = "Schedule")]
    pub rate_ceiling: Option<f64>,
    /// Side that runs first in `shuffle` and `interleave` [default: cold; hot for sequences, as the published programs].
    #[arg(long, value_enum, help_heading = "Schedule")]
    pub first: Option<SideName>,
    /// Validation samples that the loss is taken on when the sides change [default: 16384].
    #[arg(long, value_name = "SAMPLES", help_heading = "Schedule")]
    pub swap_samples: Option<u64>,
}

/// Placements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PlacementName {
    /// Rows and model on the CPU.
    Cpu,
    /// Rows on the CPU, model on the device.
    CpuDevice,
    /// All rows on the CPU, hot ones on the device too; hot inputs run wholly on the device.
    Fae,
    /// Hot rows on the device, the others on the CPU; every batch is split by lookup.
    Mixed,
}

/// Strategies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StrategyName {
    /// By wholly hot inputs.
    Inputs,
    /// By access count.
    Frequency,
    /// By share of the table's own accesses.
    Share,
}

/// Schedules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleName {
    /// The paper's: the rate follows the loss at every change of side.
    Shuffle,
    /// A fixed rate.
    Interleave,
    /// All cold batches, then all hot ones: the published code's order for DLRM.
    ColdHot,
    /// All hot batches, then all cold ones: the published code's order for TBSM.
    HotCold,
    /// Inputs are not split: the order of the baselines.
    Original,
}

/// Sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SideName {
    /// Wholly hot inputs.
    Hot,
    /// The others.
    Cold,
}

impl From<PlacementName> for Placement {
    fn from(name: PlacementName) -> Self {
        match name {
            PlacementName::Cpu => Self::Cpu,
            PlacementName::CpuDevice => Self::CpuDevice,
            PlacementName::Fae => Self::Fae,
            PlacementName::Mixed => Self::Mixed,
        }
    }
}

impl From<StrategyName> for Strategy {
    fn from(name: StrategyName) -> Self {
        match name {
            StrategyName::Inputs => Self::Inputs,
            StrategyName::Frequency => Self::Frequency,
            StrategyName::Share => Self::SHARE,
        }
    }
}

/// Everything about placement and schedule, decided.
#[derive(Debug, Clone, Serialize)]
pub struct Placing {
    /// Where rows live.
    pub placement: Placement,
    /// Devices of the model's replicas.
    #[serde(skip)]
    pub devices: Vec<Device>,
    /// Number of replicas.
    pub replicas: usize,
    /// Whether NCCL adds their gradients.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub nccl: bool,
    /// Where rows on the CPU are kept.
    #[serde(skip)]
    pub backing: Backing,
    /// How rows on a device are kept.
    pub device_rows: RowFormat,
    /// In which order hot and cold inputs come.
    pub schedule: ScheduleName,
    /// How the schedule's rate moves.
    pub shuffle: ShuffleOptions,
    /// Coming batches that the store sees.
    pub lookahead: Option<usize>,
    /// Samples of the loss at a change of side.
    pub swap_samples: Option<u64>,
}

impl PlacementArguments {
    /// Decides what was left open.
    ///
    /// # Errors
    /// A device that this build or machine does not have, or options that do not go together.
    pub fn placing(&self, default: Placement, schema: &Schema) -> Result<Placing> {
        let placement = self.placement.map_or(default, Placement::from);
        allow_tf32(self.tf32);
        let devices = devices(self.device.as_deref().unwrap_or("cpu"), self.replicas)?;
        let device_rows = self.device_rows.unwrap_or_default();
        ensure!(
            device_rows == RowFormat::F32 || placement.needs_hot_rows(),
            "--device-rows {device_rows} is about hot rows on a device, and placement {placement} has none; add --placement fae or mixed, or \
             leave it out"
        );
        let schedule = self.schedule.unwrap_or(if placement == Placement::Fae {
            ScheduleName::Shuffle
        } else {
            ScheduleName::Original
        });
        if let Some(rate) = self.rate
            && !matches!(schedule, ScheduleName::Shuffle | ScheduleName::Interleave)
        {
            bail!(
                "--rate {rate} belongs to --schedule shuffle or interleave; add one or leave the rate out"
            );
        }
        let defaults = match ModelKind::default_for(schema) {
            ModelKind::Dlrm => ShuffleOptions::default(),
            // As the published code for TBSM.
            ModelKind::Tbsm => ShuffleOptions {
                first: Side::Hot,
                ..ShuffleOptions::default()
            },
        };
        let shuffle = ShuffleOptions {
            initial_rate: self.rate.unwrap_or(defaults.initial_rate),
            increase: self.rate_increase.unwrap_or(defaults.increase),
            decrease: self.rate_decrease.unwrap_or(defaults.decrease),
            patience: self.patience.unwrap_or(defaults.patience),
            floor: self.rate_floor.unwrap_or(defaults.floor),
            ceiling: self.rate_ceiling.unwrap_or(defaults.ceiling),
            first: match self.first {
                Some(SideName::Hot) => Side::Hot,
                Some(SideName::Cold) => Side::Cold,
                None => defaults.first,
            },
        };
        shuffle.validate()?;
        let backing = match &self.mapped_rows {
            Some(folder) => Backing::Scratch(folder.clone()),
            None => Backing::Memory,
        };
        let lookahead = self.lookahead;
        ensure!(
            lookahead.is_none_or(|batches| batches <= PREFETCHED_BATCHES),
            "--lookahead is {}; the store keeps the rows of {PREFETCHED_BATCHES} coming batches: give at most that",
            lookahead.unwrap_or_default()
        );
        Ok(Placing {
            placement,
            replicas: devices.len(),
            nccl: self.nccl,
            devices,
            backing,
            device_rows,
            schedule,
            shuffle,
            lookahead,
            swap_samples: self.swap_samples,
        })
    }

    /// The options for one of several placements that are compared: without what is only for others.
    pub fn for_placement(&self, placement: Placement) -> Self {
        Self {
            placement: None,
            device_rows: self.device_rows.filter(|_| placement.needs_hot_rows()),
            ..self.clone()
        }
    }

    /// The hot set: the given one, or one that is profiled now.
    ///
    /// # Errors
    /// A hot set of another data set, or options out of range.
    pub fn hot(&self, data: &PackedDataset, settings: &Settings) -> Result<Hot> {
        let clock = Instant::now();
        let set = match &self.hot_set {
            Some(path) => HotSet::load(path, data)?,
            None => {
                let format = self.device_rows.unwrap_or_default();
                let bytes_per_row = bytes_per_row(data.schema(), settings, format);
                let rows = data.schema().table_rows();
                let all = rows
                    .iter()
                    .zip(&bytes_per_row)
                    .map(|(rows, bytes)| rows * bytes)
                    .sum();
                let budget = self.budget.unwrap_or(Budget::Bytes(256 << 20)).bytes(all);
                let inputs = data.split(Split::Train).len();
                // Where everything fits there is nothing to estimate, and a row that a sample missed should be hot too.
                let sample = match budget >= all {
                    true => 1.0,
                    false => default_sample(data.schema(), inputs),
                };
                HotSet::select(
                    data,
                    &SelectOptions {
                        strategy: self.strategy.unwrap_or(StrategyName::Inputs).into(),
                        budget,
                        bytes_per_row,
                        count: CountOptions {
                            sample: self.sample.unwrap_or(sample),
                            seed: settings.train.seed,
                        },
                        ..SelectOptions::default()
                    },
                )?
            }
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
        Ok(Hot {
            set,
            partition: Arc::new(partition),
            label_rates,
            profile_seconds,
            classify_seconds,
        })
    }
}

/// What a row costs on a device, optimizer state included.
fn bytes_per_row(schema: &Schema, settings: &Settings, format: RowFormat) -> Vec<u64> {
    let options = store_options(settings, format);
    let row =
        |table: &recsys_data::TableSchema| device_row_bytes(&TableSpec::full(table.rows), &options);
    schema.tables.iter().map(row).collect()
}

fn store_options(settings: &Settings, device_rows: RowFormat) -> StoreOptions {
    StoreOptions {
        dim: settings.model.dim(),
        optimizer: settings.optimizer.into(),
        seed: settings.train.seed,
        device_rows,
        ..StoreOptions::default()
    }
}

/// Opens the first of the devices that a text names: `cpu`, `cuda`, `cuda:1`.
///
/// # Errors
/// Another text, or a device that this build or machine does not have.
pub fn one_device(text: &str) -> Result<Device> {
    Ok(devices(text, None)?.swap_remove(0))
}

/// Reads `cpu`, `cuda`, `cuda:1` or `cuda:0,1`.
fn devices(text: &str, replicas: Option<u16>) -> Result<Vec<Device>> {
    if text == "cpu" {
        return Ok(vec![Device::Cpu; replicas.map_or(1, usize::from)]);
    }
    let numbers = match text.strip_prefix("cuda") {
        Some("") => "0",
        Some(rest) => rest.strip_prefix(':').unwrap_or("?"),
        None => "?",
    };
    let numbers: Vec<usize> = numbers
        .split(',')
        .map(|number| number.parse().ok())
        .collect::<Option<_>>()
        .with_context(|| format!("device `{text}`: give cpu, cuda, cuda:N or cuda:N,M,…"))?;
    ensure!(
        replicas.is_none(),
        "--replicas stands for several devices on the CPU; with {text}, name the devices: cuda:0,1"
    );
    let open = |number| cuda_device(number).with_context(|| format!("device `{text}`"));
    numbers.into_iter().map(open).collect()
}

/// A hot set, and what it makes of the training inputs.
pub struct Hot {
    /// The hot set.
    pub set: HotSet,
    /// Hot and cold inputs.
    pub partition: Arc<Partition>,
    /// Share of positive labels among hot and among cold inputs, each from a few thousand of them; `None` where there are none.
    pub label_rates: [Option<f64>; 2],
    /// Seconds that counting and selecting took (or loading).
    pub profile_seconds: f64,
    /// Seconds that classifying took.
    pub classify_seconds: f64,
}

/// The share of positive labels in at most 16,384 of the listed inputs, evenly spaced.
fn label_rate(
    data: &impl Dataset,
    inputs: u64,
    input: impl Fn(u64) -> Option<u64>,
) -> Result<Option<f64>> {
    const LOOKED_AT: u64 = 1 << 14;
    const AT_ONCE: usize = 1024;
    let step = inputs.div_ceil(LOOKED_AT).max(1);
    let numbers: Vec<u64> = (0..inputs)
        .step_by(step as usize)
        .filter_map(input)
        .collect();
    let (mut batch, mut positive) = (Batch::default(), 0.0);
    for numbers in numbers.chunks(AT_ONCE) {
        data.read(numbers, &mut batch)?;
        positive += batch.label.iter().copied().map(f64::from).sum::<f64>();
    }
    Ok((!numbers.is_empty()).then(|| positive / numbers.len() as f64))
}

impl Hot {
    /// How far apart the labels of hot and cold inputs are: the difference of their shares of positives.
    pub fn label_gap(&self) -> f64 {
        match self.label_rates {
            [Some(hot), Some(cold)] => (hot - cold).abs(),
            _ => 0.0,
        }
    }

    /// What results say about it.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
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

impl Placing {
    /// Whether a hot set is needed.
    pub fn needs_hot(&self) -> bool {
        self.placement.needs_hot_rows() || self.schedule != ScheduleName::Original
    }

    /// Model and store for a data set.
    ///
    /// # Errors
    /// Settings that fit no model, or too little memory for the tables.
    pub fn trainer(
        &self,
        schema: &Schema,
        settings: &Settings,
        hot: Option<&Hot>,
    ) -> Result<AnyTrainer> {
        let tables = schema
            .tables
            .iter()
            .map(|table| TableSpec::full(table.rows))
            .collect();
        let device = match self.placement {
            Placement::Cpu => Device::Cpu,
            _ => self.devices[0].clone(),
        };
        let store = self
            .placement
            .store_in(
                &self.backing,
                tables,
                store_options(settings, self.device_rows),
                &self.devices,
                hot.map(|hot| hot.set.hot_rows()),
            )
            .context("cannot make the embedding tables")?;
        let devices = if self.placement == Placement::Cpu {
            &[Device::Cpu][..]
        } else {
            &self.devices
        };
        let models = devices
            .iter()
            .map(|device| {
                let model = settings.model.build(settings.train.seed, device)?;
                Ok((model, device.clone()))
            })
            .collect::<Result<_>>()?;
        let mut replicas = Replicas::new(models)?;
        if self.nccl {
            replicas = replicas.with_nccl()?;
        }
        Ok(Trainer::new(replicas, store, device))
    }

    /// Trains on a packed data set.
    ///
    /// # Errors
    /// Anything that goes wrong, with the file and the remedy.
    pub fn run(
        &self,
        trainer: &mut AnyTrainer,
        data: &PackedDataset,
        settings: &Settings,
        hot: Option<&Hot>,
        observer: &mut dyn Observer,
    ) -> Result<RunReport> {
        let evaluations = evaluations(data);
        self.run_with(trainer, data, settings, hot, &evaluations, observer)
    }

    /// [`Placing::run`] with other evaluation sets.
    ///
    /// # Errors
    /// As [`Placing::run`].
    pub fn run_with(
        &self,
        trainer: &mut AnyTrainer,
        data: &PackedDataset,
        settings: &Settings,
        hot: Option<&Hot>,
        evaluations: &Evaluations,
        observer: &mut dyn Observer,
    ) -> Result<RunReport> {
        self.run_saving(trainer, data, settings, hot, evaluations, None, observer)
    }

    /// [`Placing::run_with`] with checkpoints.
    ///
    /// # Errors
    /// As [`Placing::run`], and those of [`fit_with_checkpoints`].
    pub fn run_saving(
        &self,
        trainer: &mut AnyTrainer,
        data: &PackedDataset,
        settings: &Settings,
        hot: Option<&Hot>,
        evaluations: &Evaluations,
        checkpoints: Option<&Checkpoints>,
        observer: &mut dyn Observer,
    ) -> Result<RunReport> {
        let mut options = settings.train.clone();
        options.lookahead = self.lookahead;
        if self.devices.iter().any(Device::is_cuda) {
            // The device takes most of the work, and more batches than one core for every four can plan.
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            options.loader_threads = options.loader_threads.max(cores.div_ceil(3));
            options.prefetch = options.prefetch.max(2 * options.loader_threads + 1);
        }
        options.swap_samples = self.swap_samples.unwrap_or(options.swap_samples);
        let train: Arc<dyn Dataset> = Arc::new(data.split(Split::Train));
        let mut schedule: Box<dyn Schedule> = match self.schedule {
            ScheduleName::Original => {
                return Ok(fit_with_checkpoints(
                    trainer,
                    train,
                    evaluations,
                    &options,
                    checkpoints,
                    observer,
                )?);
            }
            ScheduleName::Shuffle => Box::new(ShuffleScheduler::try_new(self.shuffle)?),
            ScheduleName::Interleave => Box::new(Interleave::try_new(
                self.shuffle.initial_rate,
                self.shuffle.first,
            )?),
            ScheduleName::ColdHot => Box::new(Interleave::one_after_the_other(Side::Cold)),
            ScheduleName::HotCold => Box::new(Interleave::one_after_the_other(Side::Hot)),
        };
        let hot = hot.context("a schedule of hot and cold inputs needs a hot set")?;
        let (hot, cold) = hot.partition.sides(&train)?;
        let inputs = Inputs::Split {
            hot: Arc::new(hot),
            cold: Arc::new(cold),
            schedule: &mut *schedule,
        };
        Ok(fit_with_checkpoints(
            trainer,
            inputs,
            evaluations,
            &options,
            checkpoints,
            observer,
        )?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_or_say_what_is_missing() {
        assert_eq!(devices("cpu", None).unwrap().len(), 1);
        assert_eq!(devices("cpu", Some(3)).unwrap().len(), 3);
        for text in ["gpu", "cudax", "cuda:", "cuda:x", "cuda:0,,1"] {
            let error = devices(text, None).unwrap_err().to_string();
            assert!(error.contains(text) && error.contains("cuda:N"), "{error}");
        }
        if !candle_core::utils::cuda_is_available() {
            let error = format!("{:#}", devices("cuda:0,1", None).unwrap_err());
            assert!(error.contains("the feature `cuda`"), "{error}");
        }
    }

    #[test]
    fn more_batches_ahead_than_the_store_keeps_are_refused() {
        let ahead = |batches| PlacementArguments {
            lookahead: Some(batches),
            ..PlacementArguments::default()
        };
        assert!(
            ahead(PREFETCHED_BATCHES)
                .placing(Placement::Mixed, &Schema::default())
                .is_ok()
        );
        let error = ahead(PREFETCHED_BATCHES + 1).placing(Placement::Mixed, &Schema::default());
        assert!(error.unwrap_err().to_string().contains("--lookahead is 5"));
    }

    #[test]
    fn bf16_rows_where_no_rows_are_hot_are_refused() {
        let arguments = PlacementArguments {
            device_rows: Some(RowFormat::Bf16),
            ..PlacementArguments::default()
        };
        let schema = Schema::default();
        for placement in Placement::ALL {
            match arguments.placing(placement, &schema) {
                Ok(placing) => {
                    assert!(placement.needs_hot_rows());
                    assert_eq!(placing.device_rows, RowFormat::Bf16);
                }
                Err(error) => {
                    assert!(!placement.needs_hot_rows());
                    let error = error.to_string();
                    assert!(error.contains("--placement fae or mixed"), "{error}");
                }
            }
        }
    }

    #[test]
    fn a_rate_without_a_schedule_that_has_one_is_refused() {
        let arguments = PlacementArguments {
            rate: Some(10.0),
            ..PlacementArguments::default()
        };
        let schema = Schema::default();
        assert!(arguments.placing(Placement::Fae, &schema).is_ok());
        let error = arguments
            .placing(Placement::Mixed, &schema)
            .unwrap_err()
            .to_string();
        assert!(error.contains("--schedule shuffle"), "{error}");
    }
}
