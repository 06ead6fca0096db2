//! Training steps of the three models of the paper, on every placement.

use anyhow::{Context, Result};
use embedding_store::RowFormat;
use fae_run::{Budget, Card, ModelConfig, Run};
use recsys_data::SplitRows;
use recsys_data::generate::{
    Planted, PlantedOptions, PlantedSequences, PlantedSequencesOptions, write_packed,
};
use recsys_data::packed::PackedDataset;
use serde_json::{Value, json};
use tempfile::TempDir;
use trainer::{Evaluations, Placement, RunReport};

/// A model of the paper with planted data for it.
pub(super) struct Shape {
    /// What it is called.
    pub name: &'static str,
    preset: &'static str,
    data: PackedDataset,
    _folder: TempDir,
}

/// How long the runs are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
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
    pub(super) fn make(name: &str, extent: Extent) -> Result<Self> {
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
            write_packed(&planted, planted.options(), rows, &out, false, &())?
        } else {
            let options = PlantedOptions {
                samples: train + validation,
                ..PlantedOptions::default()
            };
            let options = options.with_scale(extent.scale).with_skew(extent.skew);
            let planted = Planted::new(options)?;
            write_packed(&planted, planted.options(), rows, &out, false, &())?
        };
        Ok(Self {
            name,
            preset,
            data,
            _folder: folder,
        })
    }

    /// The data.
    pub(super) fn data(&self) -> &PackedDataset {
        &self.data
    }

    /// Trains on every placement with a tenth of all rows hot, with as many bytes of bf16 rows, and
    /// with all rows on the device.
    ///
    /// # Errors
    /// A device that fails.
    pub(super) fn run(&self, device: &str, extent: Extent, tf32: bool) -> Result<ShapeReport> {
        let mut card = Card::builtin(self.preset)?;
        card.training.batch_size = Some(extent.batch_size);
        // A piece for every thread, so that the CPU shows what it can.
        let piece = extent.batch_size.div_ceil(rayon::current_num_threads());
        card.training.slice = Some(piece.clamp(32, 512));
        card.training.test_every = None;
        card.training.epochs = Some(1);
        card.placement.device = Some(device.into());
        card.placement.tf32 = Some(tf32);
        card.hot.budget = Some(Budget::Share(0.1));
        let tenth = Run::new(&self.data, &card.on(Placement::Mixed))?;
        let hot = tenth.hot.clone().context("nothing is hot")?;
        let mut runs = Vec::new();
        for placement in Placement::ALL {
            note!("{}: {placement}", self.name);
            let report = timed(tenth.placed(&card.on(placement))?)?;
            runs.push((placement.to_string(), report));
        }
        note!("{}: bf16 rows in the same bytes", self.name);
        let mut halved = card.on(Placement::Mixed);
        halved.hot.budget = Some(Budget::Bytes(hot.set.budget()));
        halved.hot.device_rows = Some(RowFormat::Bf16);
        runs.push(("mixed-bf16".into(), timed(Run::new(&self.data, &halved)?)?));
        note!("{}: all rows on the device", self.name);
        let mut all = card.on(Placement::Mixed);
        all.hot.budget = Some(Budget::Share(1.0));
        runs.push(("all-device".into(), timed(Run::new(&self.data, &all)?)?));
        let operations = operations(&tenth.settings.model);
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

/// Trains. Evaluations are not part of what is timed; the schedule's own are.
fn timed(mut run: Run<'_>) -> Result<RunReport> {
    if run.placing.placement != Placement::Fae {
        run.evaluations = Evaluations::default();
    }
    let (_, report) = run.train(&mut ())?;
    Ok(report)
}

impl Extent {
    fn samples(self) -> u64 {
        self.steps * self.batch_size as u64
    }
}

/// The runs of a shape.
pub(super) struct ShapeReport {
    /// What it is called.
    pub name: &'static str,
    /// Whether products were TF32.
    pub tf32: bool,
    /// Placements and their runs.
    pub runs: Vec<(String, RunReport)>,
    /// Floating-point operations of a sample's products, forward and backward; `None` for
    /// sequences.
    pub operations: Option<u64>,
    /// Share of the inputs that touch hot rows only.
    pub hot_inputs: f64,
}

impl ShapeReport {
    /// Samples a second of a run.
    pub(super) fn rate(&self, name: &str) -> Option<f64> {
        let (_, report) = self.runs.iter().find(|(run, _)| run == name)?;
        Some(report.train.samples_per_second)
    }

    /// For the report; `products` is the roofline in GFLOP/s.
    pub(super) fn to_json(&self, products: f64) -> Value {
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
