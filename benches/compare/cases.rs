//! What our side runs.

use std::fs::File;
use std::hint::black_box;
use std::io::BufWriter;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use benches::batches::{sequence_batches, zipf_batches};
use benches::gemm::{GemmRoofline, MultiplyAdds};
use benches::memory::LineArray;
use benches::packed::packed;
use benches::step::TrainStep;
use benches::tables::{BATCH, BATCHES, Tables};
use candle_core::Device;
use clap::Args;
use dlrm::{Dlrm, DlrmConfig, FusedDlrm};
use embedding_store::{CpuStore, Optimizer, StoreOptions, TableSpec};
use fae_run::{Budget, Card, Run};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use recsys_data::criteo::{PrepareCriteo, PrepareOptions};
use recsys_data::generate::{Planted, PlantedOptions, write_packed};
use recsys_data::packed::PackedDataset;
use recsys_data::{Split, SplitRows};
use tbsm::{FusedTbsm, Tbsm, TbsmConfig};
use testing::MemoryLimit;
use trainer::{Evaluations, Model, Placement, StepTimes, TrainOptions, Trainer, fit};

/// Something to be timed.
pub(crate) trait Case: Send {
    /// What one repetition does, in the row's unit.
    fn units(&self) -> f64;

    /// Runs so many repetitions in the current thread pool and returns the seconds that count.
    fn run(&mut self, repetitions: usize) -> Result<f64>;

    /// Where the time went since [`Case::forget_times`], as shares; empty where nothing is known of
    /// it.
    fn phases(&self) -> Vec<(String, f64)> {
        Vec::new()
    }

    /// Nothing that ran so far counts.
    fn forget_times(&mut self) {}
}

/// The seconds of a number of calls.
fn seconds(repetitions: usize, mut once: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..repetitions).for_each(|_| once());
    start.elapsed().as_secs_f64()
}

/// The parts of a number of seconds as shares.
fn shares<const N: usize>(parts: [(&str, f64); N], seconds: f64) -> Vec<(String, f64)> {
    let share = |(name, part): (&str, f64)| (name.to_owned(), part / seconds);
    parts.map(share).into()
}

/// A case that is a call and nothing else.
struct Calls<F> {
    units: f64,
    once: F,
}

impl<F: FnMut() + Send> Case for Calls<F> {
    fn units(&self) -> f64 {
        self.units
    }

    fn run(&mut self, repetitions: usize) -> Result<f64> {
        Ok(seconds(repetitions, &mut self.once))
    }
}

/// Training steps, and where their time went.
struct Steps<M> {
    step: TrainStep<M>,
    before: StepTimes,
    seconds: f64,
}

impl<M: Model> Case for Steps<M> {
    fn units(&self) -> f64 {
        self.step.batches[0].len() as f64
    }

    fn run(&mut self, repetitions: usize) -> Result<f64> {
        let taken = seconds(repetitions, || self.step.run());
        self.seconds += taken;
        Ok(taken)
    }

    fn phases(&self) -> Vec<(String, f64)> {
        let (all, before) = (self.step.times(), self.before);
        let [lookup, model, update] = [
            all.lookup_seconds - before.lookup_seconds,
            all.model_seconds - before.model_seconds,
            all.update_seconds - before.update_seconds,
        ];
        let parts = [
            ("lookup", lookup),
            ("model", model),
            ("rows' update", update),
            ("plan", self.seconds - (lookup + model + update)),
        ];
        shares(parts, self.seconds)
    }

    fn forget_times(&mut self) {
        self.before = self.step.times();
        self.seconds = 0.0;
    }
}

/// A DLRM and its tables.
#[derive(Debug, Clone)]
pub(crate) struct DlrmShape {
    pub(crate) config: DlrmConfig,
    pub(crate) rows: Vec<u64>,
}

impl DlrmShape {
    fn steps(&self, batch: usize, batches: usize) -> Result<TrainStep<FusedDlrm>> {
        let model = Dlrm::new(self.config.clone(), 0, &Device::Cpu)?;
        let batches = zipf_batches(&self.rows, self.config.dense_features(), batch, batches);
        let model = FusedDlrm::new(model);
        Ok(TrainStep::new(model, &self.rows, Optimizer::Sgd, batches))
    }
}

/// Training steps of a DLRM, SGD, their plans included.
pub(crate) fn dlrm_train(shape: &DlrmShape, batch: usize) -> Result<Box<dyn Case>> {
    Ok(Box::new(Steps {
        step: shape.steps(batch, 16)?,
        before: StepTimes::default(),
        seconds: 0.0,
    }))
}

/// Forward passes of a DLRM, their plans and lookups included.
pub(crate) fn dlrm_infer(shape: &DlrmShape, batch: usize) -> Result<Box<dyn Case>> {
    // Single samples come from as many rows as larger batches touch.
    let mut step = shape.steps(batch, (16 * 128 / batch).max(16))?;
    Ok(Box::new(Calls {
        units: batch as f64,
        once: move || step.infer(),
    }))
}

/// The matrix products of a DLRM's training step alone.
pub(crate) fn dlrm_products(shape: &DlrmShape, batch: usize) -> Result<Box<dyn Case>> {
    let mut products = GemmRoofline::new(&shape.config, batch);
    Ok(Box::new(Calls {
        units: batch as f64,
        once: move || products.run(),
    }))
}

/// As many multiply-adds as the products of a DLRM's training step take.
pub(crate) fn dlrm_multiply_adds(shape: &DlrmShape, batch: usize) -> Result<Box<dyn Case>> {
    let products = GemmRoofline::new(&shape.config, batch);
    let mut arithmetic = MultiplyAdds::new(products.operations());
    Ok(Box::new(Calls {
        units: batch as f64,
        once: move || arithmetic.run(),
    }))
}

/// Training steps of a TBSM of the default shape, Adagrad.
pub(crate) fn tbsm_train(rows: &[u64; 3], batch: usize) -> Result<Box<dyn Case>> {
    let config = TbsmConfig::default();
    let batches = sequence_batches(rows, config.positions(), batch, 32);
    let model = FusedTbsm::new(Tbsm::new(config, 0, &Device::Cpu)?);
    Ok(Box::new(Steps {
        step: TrainStep::new(model, rows, Optimizer::adagrad(), batches),
        before: StepTimes::default(),
        seconds: 0.0,
    }))
}

/// Updates of the rows that batches touch: [`BATCH`] samples, tables of dimension 16.
pub(crate) fn row_update(tables: usize, rows: u64, optimizer: Optimizer) -> Result<Box<dyn Case>> {
    let mut tables = Tables::new(tables, rows, rows, optimizer);
    let grad: Vec<f32> = (0..tables.floats())
        .map(|index| (index % 7) as f32 * 1e-3 - 3e-3)
        .collect();
    let mut next = 0;
    Ok(Box::new(Calls {
        units: (BATCH * tables.tables) as f64,
        once: move || {
            let plan = &tables.plans[next % BATCHES];
            next += 1;
            black_box(tables.store.update_slice(plan, &grad, 0.01)).expect("a plan of this store");
        },
    }))
}

/// Reads and writes as many rows as the batches of [`row_update`] touch, in ascending order, in so
/// many arrays (weights, and state where there is any): rows anywhere, or where `same` says so the
/// very same ones. Units are the batches' lookups.
pub(crate) fn row_traffic(
    tables: usize,
    rows: u64,
    arrays: usize,
    same: bool,
) -> Result<Box<dyn Case>> {
    let lines = tables * rows as usize;
    let touched: Vec<Vec<u32>> = {
        let tables = Tables::new(tables, rows, rows, Optimizer::Sgd);
        (0..BATCHES).map(|batch| tables.distinct(batch)).collect()
    };
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut anywhere = |touched: &Vec<u32>| -> Vec<u32> {
        let mut rows: Vec<u32> = touched
            .iter()
            .map(|_| random.random_range(0..lines as u32))
            .collect();
        rows.sort_unstable();
        rows.dedup();
        rows
    };
    let touched: Vec<Vec<u32>> = match same {
        true => touched,
        false => touched.iter().map(&mut anywhere).collect(),
    };
    let mut arrays: Vec<LineArray> = (0..arrays).map(|_| LineArray::new(lines)).collect();
    let mut next = 0;
    Ok(Box::new(Calls {
        units: (BATCH * tables) as f64,
        once: move || {
            let rows = &touched[next % BATCHES];
            next += 1;
            arrays
                .iter_mut()
                .for_each(|array| array.read_and_write(rows));
        },
    }))
}

/// Data that cases make once, in a folder that goes at the end.
#[derive(Clone)]
pub(crate) struct Scratch(Arc<tempfile::TempDir>);

impl Scratch {
    /// On the disk of the build, since temporary folders may be memory.
    pub(crate) fn new() -> Result<Self> {
        let program = std::env::current_exe()?;
        let beside = program.parent().context("a program in no folder")?;
        Ok(Self(Arc::new(tempfile::tempdir_in(beside)?)))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// Rows of the raw text.
const TEXT_ROWS: u64 = 1_000_000;

/// Criteo text to packed data with frequency-rank ids, from the file to the synced folder.
pub(crate) fn prepare_text(scratch: &Scratch) -> Result<Box<dyn Case>> {
    let raw = scratch.path("train.txt");
    if !raw.exists() {
        let planted = Planted::new(PlantedOptions::default())?;
        planted.write_criteo_text(0..TEXT_ROWS, BufWriter::new(File::create(&raw)?))?;
    }
    let options = PrepareOptions {
        raw: vec![raw],
        out: scratch.path("prepared"),
        force: true,
        ..PrepareOptions::default()
    };
    Ok(Box::new(Preparations {
        preparation: PrepareCriteo::new(options),
        passes: [0.0; 2],
        seconds: 0.0,
    }))
}

/// Preprocessing, and the time of its two passes.
struct Preparations {
    preparation: PrepareCriteo,
    passes: [f64; 2],
    seconds: f64,
}

impl Case for Preparations {
    fn units(&self) -> f64 {
        TEXT_ROWS as f64
    }

    fn run(&mut self, repetitions: usize) -> Result<f64> {
        let start = Instant::now();
        for _ in 0..repetitions {
            let report = self.preparation.run(&())?;
            for (all, pass) in self.passes.iter_mut().zip(&report.passes) {
                *all += pass.seconds;
            }
        }
        let taken = start.elapsed().as_secs_f64();
        self.seconds += taken;
        Ok(taken)
    }

    fn phases(&self) -> Vec<(String, f64)> {
        let rest = self.seconds - self.passes.iter().sum::<f64>();
        let [counting, writing] = self.passes;
        let parts = [
            ("counting", counting),
            ("writing", writing),
            ("numbering and syncing", rest),
        ];
        shares(parts, self.seconds)
    }

    fn forget_times(&mut self) {
        (self.passes, self.seconds) = ([0.0; 2], 0.0);
    }
}

/// log2 of the samples of an epoch.
const LOG2_EPOCH: u32 = 18;

/// Epochs over packed data as [`fit`] runs them, loader included.
struct Epochs {
    trainer: Trainer<FusedDlrm, CpuStore>,
    data: PackedDataset,
    options: TrainOptions,
}

impl Case for Epochs {
    fn units(&self) -> f64 {
        f64::from(1u32 << LOG2_EPOCH)
    }

    fn run(&mut self, repetitions: usize) -> Result<f64> {
        let start = Instant::now();
        for _ in 0..repetitions {
            let train: Arc<dyn recsys_data::Dataset> = Arc::new(self.data.split(Split::Train));
            let nothing = Evaluations::default();
            fit(&mut self.trainer, train, &nothing, &self.options, &mut ())?;
        }
        Ok(start.elapsed().as_secs_f64())
    }
}

/// Shuffled epochs of a DLRM, SGD, over packed data whose ids are those of the step's batches.
pub(crate) fn epoch(shape: &DlrmShape, batch: usize, scratch: &Scratch) -> Result<Box<dyn Case>> {
    let folder = scratch.path("packed");
    let data = match folder.exists() {
        true => PackedDataset::open(&folder)?,
        false => packed(
            &folder,
            &shape.rows,
            shape.config.dense_features(),
            LOG2_EPOCH,
        ),
    };
    data.verify()?;
    let tables = shape.rows.iter().map(|&rows| TableSpec::full(rows));
    let store = CpuStore::new(tables.collect(), StoreOptions::default())?;
    let model = FusedDlrm::new(Dlrm::new(shape.config.clone(), 0, &Device::Cpu)?);
    let options = TrainOptions {
        batch_size: batch,
        learning_rate: 1e-3,
        order: recsys_data::Order::Shuffled,
        ..TrainOptions::default()
    };
    Ok(Box::new(Epochs {
        trainer: Trainer::new(model, store, Device::Cpu),
        data,
        options,
    }))
}

/// Memory of the processes of [`mapped`]: less than the rows take.
const MAPPED_LIMIT: u64 = 300 << 20;
/// 12 million rows of dimension 16: 732 MiB.
const MAPPED_SCALE: f64 = 100.0;
const MAPPED_SAMPLES: u64 = 250_000;

#[derive(Debug, Args)]
pub(crate) struct MappedArguments {
    #[arg(long)]
    data: PathBuf,
    #[arg(long, value_parser = placement)]
    placement: Placement,
    #[arg(long)]
    rows: PathBuf,
}

fn placement(name: &str) -> Result<Placement> {
    let named = Placement::ALL.into_iter().find(|one| one.name() == name);
    named.with_context(|| format!("no placement is called {name}"))
}

/// One epoch in a process of its own.
struct Mapped {
    scratch: Scratch,
    placement: &'static str,
}

impl Case for Mapped {
    fn units(&self) -> f64 {
        MAPPED_SAMPLES as f64
    }

    fn run(&mut self, repetitions: usize) -> Result<f64> {
        let mut seconds = 0.0;
        for _ in 0..repetitions {
            let output = Command::new(std::env::current_exe()?)
                .args(["mapped", "--placement", self.placement])
                .arg("--data")
                .arg(self.scratch.path("planted"))
                .arg("--rows")
                .arg(self.scratch.path("rows"))
                .env(
                    "RAYON_NUM_THREADS",
                    rayon::current_num_threads().to_string(),
                )
                .output()?;
            let said = String::from_utf8_lossy(&output.stdout);
            ensure!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
            let taken: f64 = said.trim().parse().context("a number of seconds")?;
            seconds += taken;
        }
        Ok(seconds)
    }
}

/// Epochs with the CPU's rows in memory-mapped files, in [`MAPPED_LIMIT`] of memory.
pub(crate) fn mapped(placement: &'static str, scratch: &Scratch) -> Result<Box<dyn Case>> {
    let data = scratch.path("planted");
    if !data.exists() {
        let options = PlantedOptions {
            samples: MAPPED_SAMPLES,
            ..PlantedOptions::default()
        };
        let planted = Planted::new(options.with_scale(MAPPED_SCALE))?;
        let rows = SplitRows {
            train: MAPPED_SAMPLES,
            ..SplitRows::default()
        };
        write_packed(&planted, planted.options(), rows, &data, false, &())?;
    }
    Ok(Box::new(Mapped {
        scratch: scratch.clone(),
        placement,
    }))
}

/// The process of a [`mapped`] epoch: prints its seconds.
pub(crate) fn run_mapped(arguments: &MappedArguments) -> Result<()> {
    let data = PackedDataset::open(&arguments.data)?;
    let placement = arguments.placement;
    let mut card = Card::builtin("criteo-kaggle")?;
    card.training.batch_size = Some(2048);
    card.placement.mapped_rows = Some(arguments.rows.clone());
    card.hot.budget = Some(Budget::Share(0.1));
    let mut run = Run::new(&data, &card.on(placement))?;
    if placement != Placement::Fae {
        run.evaluations = Evaluations::default();
    }
    let mut limit = MemoryLimit::new(MAPPED_LIMIT).context(
        "no memory control group can be made here: this takes Linux and the rights of root",
    )?;
    limit.enter()?;
    let (_, report) = run.train(&mut ())?;
    println!("{}", report.train.seconds);
    Ok(())
}
