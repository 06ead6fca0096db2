//! Training steps of the three models of the paper, on every placement.

use anyhow::Result;
use embedding_store::RowFormat;
use recsys_data::SplitRows;
use recsys_data::generate::{Planted, PlantedOptions, PlantedSequences, PlantedSequencesOptions};
use recsys_data::packed::PackedDataset;
use serde_json::{Value, json};
use tempfile::TempDir;
use trainer::{Placement, RunReport};

use crate::budget::Budget;
use crate::model::ModelConfig;
use crate::placing::PlacementArguments;
use crate::planted::write_planted;
use crate::speedup;
use crate::training::TrainArguments;

/// A model of the paper with planted data for it.
pub struct Shape {
    /// What it is called.
    pub name: &'static str,
    preset: &'static str,
    data: PackedDataset,
    _folder: TempDir,
}

/// How long the runs are.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Steps of every run.
    pub steps: u64,
    /// Samples of a batch.
    pub batch_size: usize,
    /// Factor on the rows of every large table.
    pub scale: f64,
    /// Added to the exponents of the tables.
    pub skew: f64,
}

impl Shape {
    /// The shapes of Criteo Kaggle, Criteo Terabyte and Taobao, one after the other.
    ///
    /// # Errors
    /// No room for the data.
    pub fn make(name: &str, extent: Extent) -> Result<Self> {
        let (name, preset) = match name {
            "kaggle" => ("kaggle", "criteo-kaggle"),
            "terabyte" => ("terabyte", "criteo-terabyte"),
            _ => ("taobao", "taobao-userbehavior"),
        };
        let folder = tempfile::tempdir()?;
        let out = folder.path().join("data");
        let train = extent.steps * extent.batch_size as u64;
        // The schedule of `fae` takes its loss on these.
        let validation = 16_384.min(train);
        let rows = SplitRows {
            train,
            validation,
            test: 0,
        };
        let data = if name == "taobao" {
            let defaults = PlantedSequencesOptions::default();
            let scaled = |rows: u32| (f64::from(rows) * extent.scale) as u32;
            let planted = PlantedSequences::new(PlantedSequencesOptions {
                samples: train + validation,
                users: scaled(defaults.users).max(100),
                items: scaled(defaults.items).max(defaults.categories),
                ..defaults
            })?;
            write_planted(&planted, planted.options(), rows, &out, false)?
        } else {
            let options = PlantedOptions {
                samples: train + validation,
                ..PlantedOptions::default()
            };
            let options = options.with_scale(extent.scale).with_skew(extent.skew);
            let planted = Planted::new(options)?;
            write_planted(&planted, planted.options(), rows, &out, false)?
        };
        Ok(Self {
            name,
            preset,
            data,
            _folder: folder,
        })
    }

    /// The data.
    pub fn data(&self) -> &PackedDataset {
        &self.data
    }

    /// Trains on every placement with a tenth of all rows hot, with as many bytes of bf16 rows, and with all rows on the device.
    ///
    /// # Errors
    /// A device that fails.
    pub fn run(&self, device: &str, extent: Extent, tf32: bool) -> Result<ShapeReport> {
        let training = TrainArguments {
            preset: Some(self.preset.into()),
            batch_size: Some(extent.batch_size),
            // A piece for every thread, so that the CPU shows what it can.
            slice: Some(
                extent
                    .batch_size
                    .div_ceil(rayon::current_num_threads())
                    .clamp(32, 512),
            ),
            ..TrainArguments::default()
        };
        let mut settings = training.settings(self.data.schema())?;
        settings.train.test_every = None;
        settings.train.epochs = 1;
        let arguments = |share| PlacementArguments {
            device: Some(device.into()),
            budget: Some(Budget::Share(share)),
            tf32,
            ..PlacementArguments::default()
        };
        let tenth = arguments(0.1);
        let hot = tenth.hot(&self.data, &settings)?;
        let mut runs = Vec::new();
        for placement in Placement::ALL {
            eprintln!("{}: {placement}", self.name);
            let report = speedup::run(placement, &tenth, &self.data, &settings, &hot)?;
            runs.push((placement.to_string(), report));
        }
        eprintln!("{}: bf16 rows in the same bytes", self.name);
        let halved = PlacementArguments {
            budget: Some(Budget::Bytes(hot.set.budget())),
            device_rows: Some(RowFormat::Bf16),
            ..tenth.clone()
        };
        let more = halved.hot(&self.data, &settings)?;
        let report = speedup::run(Placement::Mixed, &halved, &self.data, &settings, &more)?;
        runs.push(("mixed-bf16".into(), report));
        eprintln!("{}: all rows on the device", self.name);
        let all = arguments(1.0);
        let every_row = all.hot(&self.data, &settings)?;
        let report = speedup::run(Placement::Mixed, &all, &self.data, &settings, &every_row)?;
        runs.push(("all-device".into(), report));
        let operations = operations(&settings.model);
        let hot_inputs = hot.partition.hot_len() as f64 / extent.samples().max(1) as f64;
        Ok(ShapeReport {
            name: self.name,
            tf32,
            runs,
            operations,
            hot_inputs,
        })
    }
}

impl Extent {
    fn samples(self) -> u64 {
        self.steps * self.batch_size as u64
    }
}

/// The runs of a shape.
pub struct ShapeReport {
    /// What it is called.
    pub name: &'static str,
    /// Whether products were TF32.
    pub tf32: bool,
    /// Placements and their runs.
    pub runs: Vec<(String, RunReport)>,
    /// Floating-point operations of a sample's products, forward and backward; `None` for sequences.
    pub operations: Option<u64>,
    /// Share of the inputs that touch hot rows only.
    pub hot_inputs: f64,
}

impl ShapeReport {
    /// Samples a second of a run.
    pub fn rate(&self, name: &str) -> Option<f64> {
        let (_, report) = self.runs.iter().find(|(run, _)| run == name)?;
        Some(report.train.samples_per_second)
    }

    /// For the report; `products` is the roofline in GFLOP/s.
    pub fn to_json(&self, products: f64) -> Value {
        let runs: Vec<Value> = self
            .runs
            .iter()
            .map(|(name, report)| {
                let rate = report.train.samples_per_second;
                let share = self
                    .operations
                    .map(|operations| operations as f64 * rate / 1e9 / products);
                json!({
                    "placement": name,
                    "train": report.train,
                    "phases": report.phases,
                    "share_of_products_roofline": share,
                })
            })
            .collect();
        json!({ "shape": self.name, "tf32": self.tf32, "hot_inputs": self.hot_inputs, "runs": runs })
    }
}

/// Two operations for every weight and sample, forward, and twice as many backward.
fn operations(model: &ModelConfig) -> Option<u64> {
    let ModelConfig::Dlrm(config) = model else {
        return None;
    };
    let weights = |widths: &[usize]| {
        widths
            .windows(2)
            .map(|pair| pair[0] * pair[1])
            .sum::<usize>()
    };
    let top = std::iter::once(config.interaction_width()).chain(config.top.iter().copied());
    let top: Vec<usize> = top.collect();
    Some(6 * (weights(&config.bottom) + weights(&top)) as u64)
}
