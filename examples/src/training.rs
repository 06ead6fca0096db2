//! What all training examples share: their options, the set-up, and the report.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use dlrm::SliceSize;
use embedding_store::{EmbeddingStore, Optimizer, Tiered};
use fae_run::{Card, LossName, OptimizerName};
use recsys_data::packed::PackedDataset;
use recsys_data::{Dataset, Order, Schema, Split};
use serde::Serialize;
use serde_json::{Value, json};
use trainer::{
    BinaryLoss, Console, Evaluation, Evaluations, JsonLines, LearningRatePolicy, LossKind,
    Observers, Placement, RunReport, StopAt, TrainOptions, save_weights,
};

use crate::checkpointing::{CheckpointArguments, load_weights_file, stop_on_signals};
use crate::model::{ModelArguments, ModelConfig, ModelKind};
use crate::placing::{Hot, PlacementArguments, ScheduleName};
use crate::process::{peak_memory_bytes, write_text};

/// The arguments of a training program: data, model, training and placement.
#[derive(Debug, Clone, Args)]
pub struct ProgramArguments {
    /// The packed data set.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Model and training.
    #[command(flatten)]
    pub training: TrainArguments,
    /// Placement and hot rows.
    #[command(flatten)]
    pub placement: PlacementArguments,
    /// Checkpoints.
    #[command(flatten)]
    pub checkpoints: CheckpointArguments,
}

/// Options of every training example. Those not given come from the preset.
#[derive(Debug, Clone, Default, Args)]
pub struct TrainArguments {
    /// Take model and training settings from a data set's card: criteo-kaggle, criteo-terabyte, taobao-userbehavior, synthetic …
    #[arg(long, value_name = "NAME")]
    pub preset: Option<String>,
    /// Your own settings, in the form of the cards in `datasets/`; they win over the preset.
    #[arg(long, value_name = "FILE.toml")]
    pub config: Option<PathBuf>,

    /// The model.
    #[command(flatten)]
    pub model: ModelArguments,

    /// Optimizer of dense weights and embedding rows [default: sgd].
    #[arg(long, help_heading = "Training")]
    pub optimizer: Option<OptimizerKind>,
    /// Learning rate [default: 0.1].
    #[arg(long, help_heading = "Training")]
    pub learning_rate: Option<f64>,
    /// Steps over which the learning rate rises linearly.
    #[arg(long, value_name = "STEPS", help_heading = "Training")]
    pub warmup_steps: Option<u64>,
    /// First step of the quadratic decay of the learning rate.
    #[arg(long, value_name = "STEP", help_heading = "Training")]
    pub decay_start_step: Option<u64>,
    /// Length of that decay; 0 for none.
    #[arg(long, value_name = "STEPS", help_heading = "Training")]
    pub decay_steps: Option<u64>,
    /// Loss [default: bce].
    #[arg(long, help_heading = "Training")]
    pub loss: Option<LossKindName>,
    /// Weights of no click and click for `--loss wbce`.
    #[arg(
        long,
        value_name = "NEGATIVE,POSITIVE",
        value_delimiter = ',',
        num_args = 2,
        help_heading = "Training"
    )]
    pub loss_weights: Option<Vec<f32>>,
    /// Clamp predictions to [t, 1-t] before the loss; 0 for not.
    #[arg(long, value_name = "T", help_heading = "Training")]
    pub loss_threshold: Option<f32>,
    /// Samples in a mini-batch [default: 128].
    #[arg(long, help_heading = "Training")]
    pub batch_size: Option<usize>,
    /// How often every training sample is seen [default: 1].
    #[arg(long, help_heading = "Training")]
    pub epochs: Option<u64>,
    /// Order of the training samples: as in the files, or a new permutation in every epoch [default: file].
    #[arg(long, help_heading = "Training")]
    pub order: Option<OrderKind>,
    /// Seed of the first weights and of the shuffles [default: 0].
    #[arg(long, help_heading = "Training")]
    pub seed: Option<u64>,
    /// End after so many steps.
    #[arg(long, value_name = "STEPS", help_heading = "Training")]
    pub max_steps: Option<u64>,
    /// Evaluate after every so many steps, besides the end of every epoch.
    #[arg(long, value_name = "STEPS", help_heading = "Training")]
    pub test_every: Option<u64>,
    /// Samples in a mini-batch of an evaluation; changes no result.
    #[arg(long, value_name = "SAMPLES", help_heading = "Training")]
    pub test_batch_size: Option<usize>,
    /// Stop as soon as the AUC of the validation set (of the test set where there is none) reaches this.
    #[arg(long, value_name = "AUC", help_heading = "Training")]
    pub stop_at_auc: Option<f64>,
    /// Stop as soon as its accuracy reaches this.
    #[arg(long, value_name = "SHARE", help_heading = "Training")]
    pub stop_at_accuracy: Option<f64>,

    /// Worker threads; changes no result [default: one for each core].
    #[arg(long, help_heading = "Machine")]
    pub threads: Option<usize>,
    /// Samples of a slice, the piece of a batch that one thread works on: changes the order of sums [default: half a batch,
    /// at most 512].
    #[arg(long, value_name = "SAMPLES", help_heading = "Machine")]
    pub slice: Option<usize>,

    /// Start from these weights: safetensors, or what PyTorch saved (.pt).
    #[arg(long, value_name = "FILE", help_heading = "Files")]
    pub load_weights: Option<PathBuf>,
    /// The data set whose ids the weights' rows are under, where they are others, as `prepare --ids reference` makes it.
    #[arg(long, value_name = "DIR", help_heading = "Files")]
    pub ids_of: Option<PathBuf>,
    /// Save the final weights, under the reference programs' names.
    #[arg(long, value_name = "FILE.safetensors", help_heading = "Files")]
    pub save_weights: Option<PathBuf>,
    /// Write the results as JSON (described in docs/results.md).
    #[arg(long, value_name = "FILE", help_heading = "Files")]
    pub json: Option<PathBuf>,
    /// Write what happens as JSON lines while it happens.
    #[arg(long, value_name = "FILE", help_heading = "Files")]
    pub log: Option<PathBuf>,
}

/// Optimizers.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum OptimizerKind {
    /// Stochastic gradient descent.
    Sgd,
    /// Adagrad, an accumulator for every weight.
    Adagrad,
    /// Adagrad with one accumulator for every embedding row.
    RowwiseAdagrad,
}

/// Losses.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LossKindName {
    /// Binary cross-entropy.
    Bce,
    /// Mean squared error.
    Mse,
    /// Binary cross-entropy with a weight for each label.
    Wbce,
}

/// Orders of the training samples.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum OrderKind {
    /// As in the files.
    File,
    /// A new seeded permutation in every epoch.
    Shuffled,
}

/// Every setting of a run, decided.
#[derive(Debug, Clone, Serialize)]
pub struct Settings {
    /// The model.
    pub model: ModelConfig,
    /// The optimizer of dense weights and rows.
    pub optimizer: Optimizer,
    /// The loop.
    pub train: TrainOptions,
    /// Worker threads; `None` for one for each core.
    pub threads: Option<usize>,
}

impl TrainArguments {
    /// Decides every setting for a data set: the defaults, the preset, the user's file, the command line, the last one
    /// winning.
    ///
    /// # Errors
    /// An unknown preset, an unreadable file, or settings that make no sense or do not fit the data set.
    pub fn settings(&self, schema: &Schema) -> Result<Settings> {
        let card = self.card(self.model.kind(schema))?;
        let slice = self.slice.map_or(SliceSize::Auto, SliceSize::Fixed);
        let config = self.model.config(&card, schema, slice)?;
        let training = card.training;

        let optimizer = self.optimizer.map(OptimizerName::from);
        let optimizer = optimizer.or(training.optimizer).unwrap_or_default();
        let loss = self.loss.map(LossName::from).or(training.loss);
        let kind = match (loss.unwrap_or_default(), self.loss_weights.as_deref()) {
            (LossName::Bce, _) => LossKind::Bce,
            (LossName::Mse, _) => LossKind::Mse,
            (LossName::Wbce, Some(&[negative, positive])) => {
                LossKind::WeightedBce { negative, positive }
            }
            (LossName::Wbce, _) => {
                bail!("--loss wbce needs the weights of both labels: --loss-weights 0.5,1.5")
            }
        };
        let order = self.order.map(Order::from).or(training.order);
        let defaults = TrainOptions::default();
        let train = TrainOptions {
            epochs: self.epochs.or(training.epochs).unwrap_or(defaults.epochs),
            batch_size: self
                .batch_size
                .or(training.batch_size)
                .unwrap_or(defaults.batch_size),
            test_batch_size: self
                .test_batch_size
                .or(training.test_batch_size)
                .unwrap_or(defaults.test_batch_size),
            order: order.unwrap_or_default(),
            seed: self.seed.or(training.seed).unwrap_or(defaults.seed),
            learning_rate: self
                .learning_rate
                .or(training.learning_rate)
                .unwrap_or(defaults.learning_rate),
            policy: Arc::new(LearningRatePolicy {
                warmup_steps: self.warmup_steps.unwrap_or(0),
                decay_start_step: self.decay_start_step.unwrap_or(0),
                decay_steps: self.decay_steps.unwrap_or(0),
            }),
            loss: Arc::new(BinaryLoss {
                kind,
                threshold: self.loss_threshold.unwrap_or(0.0),
                ..BinaryLoss::default()
            }),
            test_every: self.test_every.or(training.test_every),
            max_steps: self.max_steps,
            stop_at: StopAt {
                auc: self.stop_at_auc,
                accuracy: self.stop_at_accuracy,
            },
            ..defaults
        };
        train.validate()?;
        if self.threads == Some(0) {
            bail!("--threads is 0; give at least 1");
        }
        Ok(Settings {
            model: config,
            optimizer: optimizer.into(),
            train,
            threads: self.threads,
        })
    }

    fn card(&self, kind: ModelKind) -> Result<Card> {
        let preset = match &self.preset {
            Some(name) => Card::builtin(name)?,
            None => kind.default_card()?,
        };
        match &self.config {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                Ok(preset.overlay(Card::parse(&text, &path.display().to_string())?))
            }
            None => Ok(preset),
        }
    }
}

impl From<OptimizerKind> for OptimizerName {
    fn from(kind: OptimizerKind) -> Self {
        match kind {
            OptimizerKind::Sgd => Self::Sgd,
            OptimizerKind::Adagrad => Self::Adagrad,
            OptimizerKind::RowwiseAdagrad => Self::RowwiseAdagrad,
        }
    }
}

impl From<LossKindName> for LossName {
    fn from(name: LossKindName) -> Self {
        match name {
            LossKindName::Bce => Self::Bce,
            LossKindName::Mse => Self::Mse,
            LossKindName::Wbce => Self::Wbce,
        }
    }
}

impl From<OrderKind> for Order {
    fn from(kind: OrderKind) -> Self {
        match kind {
            OrderKind::File => Self::File,
            OrderKind::Shuffled => Self::Shuffled,
        }
    }
}

/// The evaluation sets of a packed data set; empty splits are left out.
pub fn evaluations(data: &PackedDataset) -> Evaluations {
    let split = |split| {
        let split = data.split(split);
        (!split.is_empty()).then(|| Arc::new(split) as Arc<dyn Dataset>)
    };
    Evaluations {
        validation: split(Split::Validation),
        test: split(Split::Test),
    }
}

/// Trains a kind of model on a packed data set, on `default` where no placement is asked for, prints the results and writes the files that were
/// asked for.
///
/// # Errors
/// Anything that goes wrong, with the file and the remedy.
pub fn train_and_report(
    program: &ProgramArguments,
    kind: ModelKind,
    default: Placement,
) -> Result<()> {
    let ProgramArguments {
        data,
        training: arguments,
        placement,
        checkpoints,
    } = program;
    let dataset = PackedDataset::open(data)?;
    match (kind, ModelKind::default_for(dataset.schema())) {
        (ModelKind::Dlrm, ModelKind::Tbsm) => bail!(
            "the samples of {} are sequences: train TBSM on them, with tbsm_cpu, tbsm_cpu_gpu or tbsm_fae",
            data.display()
        ),
        (ModelKind::Tbsm, ModelKind::Dlrm) => bail!(
            "the samples of {} are no sequences: train DLRM on them, with dlrm_cpu, dlrm_cpu_gpu or dlrm_fae",
            data.display()
        ),
        _ => {}
    }
    let mut arguments = arguments.clone();
    arguments.model.model = Some(kind);
    let arguments = &arguments;
    let settings = arguments.settings(dataset.schema())?;
    let placing = placement.placing(default, dataset.schema())?;
    on_threads(settings.threads, || {
        let hot = match placing.needs_hot() {
            true => Some(placement.hot(&dataset, &settings)?),
            false => None,
        };
        if let Some(hot) = &hot {
            print_hot(hot);
            if placing.schedule != ScheduleName::Original {
                warn_of_labels(hot);
            }
        }
        let checkpoints = checkpoints.checkpoints(&dataset, &settings, &placing, hot.as_ref())?;
        if let Some(checkpoints) = &checkpoints {
            stop_on_signals(checkpoints)?;
        }
        let mut trainer = placing.trainer(dataset.schema(), &settings, hot.as_ref())?;
        if let Some(path) = &arguments.load_weights {
            let ids = arguments.ids_of.as_deref();
            load_weights_file(path, ids, &dataset, &mut trainer)?;
        }
        eprintln!(
            "training on {} samples; {} embedding tables, {} rows, {}; {} dense weights; placement {}, {} threads",
            dataset.split(Split::Train).len(),
            dataset.schema().tables.len(),
            dataset.schema().table_rows().iter().sum::<u64>(),
            rows_at(trainer.store()),
            settings.model.parameter_count()?,
            placing.placement,
            rayon::current_num_threads()
        );
        let mut observers = Observers(vec![Box::new(Console::new())]);
        if let Some(path) = &arguments.log {
            let resumes = checkpoints.as_ref().is_some_and(|some| some.resume);
            let lines = match resumes {
                true => JsonLines::append(path, 100)?,
                false => JsonLines::create(path, 100)?,
            };
            observers.0.push(Box::new(lines));
        }
        let report = placing.run_saving(
            &mut trainer,
            &dataset,
            &settings,
            hot.as_ref(),
            &evaluations(&dataset),
            checkpoints.as_ref(),
            &mut observers,
        )?;
        if let Some(step) = report.interrupted_at {
            println!(
                "interrupted after step {step}; the same command with --resume goes on from there"
            );
            return Ok(());
        }
        if let Some(path) = &arguments.save_weights {
            save_weights(path, &trainer)?;
        }
        print_report(&report);
        if let Some(path) = &arguments.json {
            let mut value = results(&report, &settings, &dataset)?;
            value["config"]["placing"] = json!(placing);
            value["hot_set"] = hot.as_ref().map_or(Value::Null, Hot::to_json);
            write_json(path, &value)?;
        }
        Ok(())
    })
}

/// How many bytes of rows are where.
fn rows_at(store: &dyn EmbeddingStore) -> String {
    let (all, mapped) = (
        store.memory_bytes(),
        store.tiers().map_or(0, Tiered::mapped_bytes),
    );
    match mapped {
        0 => bytes(all),
        _ => format!(
            "{} in memory and {} on disk",
            bytes(all - mapped),
            bytes(mapped)
        ),
    }
}

/// Runs work on so many threads, or on one for each core.
///
/// # Errors
/// Those of `work`, or threads that the system does not give.
pub fn on_threads<T: Send>(
    threads: Option<usize>,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads.unwrap_or(0))
        .build();
    pool.context("cannot start the worker threads")?
        .install(work)
}

/// Says what is hot.
fn print_hot(hot: &Hot) {
    let inputs = hot.partition.len().max(1);
    eprintln!(
        "hot: {} of rows serve {:.1}% of the lookups and {} of {inputs} inputs wholly ({:.1}%); profiled in {:.1} s, classified \
         in {:.2} s",
        bytes(hot.set.hot_bytes()),
        100.0 * hot.set.results().lookup_share(),
        hot.partition.hot_len(),
        100.0 * hot.partition.hot_len() as f64 / inputs as f64,
        hot.profile_seconds,
        hot.classify_seconds
    );
}

/// Says so where hot and cold inputs are so different that training on them by turns harms the model.
fn warn_of_labels(hot: &Hot) {
    /// Share of positives: what sides may differ by before anybody needs to know.
    const GAP: f64 = 0.05;
    let [Some(hot_rate), Some(cold_rate)] = hot.label_rates else {
        return;
    };
    if hot.label_gap() > GAP {
        eprintln!(
            "warning: {:.0}% of the hot inputs are positive and {:.0}% of the cold ones, so that batches of one side alone pull the \
             model back and forth, which costs accuracy; --placement mixed keeps the original order, a lower --rate changes sides \
             more often",
            100.0 * hot_rate,
            100.0 * cold_rate
        );
    }
}

/// The results of a run in the form that docs/results.md describes.
///
/// # Errors
/// None in practice; every field can be written as JSON.
pub fn results(report: &RunReport, settings: &Settings, dataset: &PackedDataset) -> Result<Value> {
    let mut value = serde_json::to_value(report)?;
    value["peak_memory_bytes"] = json!(peak_memory_bytes());
    value["config"] = json!({
        "settings": settings,
        "dataset": dataset.manifest().provenance.dataset,
        "tables": dataset.schema().table_rows(),
    });
    value["version"] = json!(env!("CARGO_PKG_VERSION"));
    Ok(value)
}

/// Writes JSON to a file that appears only when it is complete.
///
/// # Errors
/// A file that cannot be written.
pub fn write_json(path: &Path, value: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value)? + "\n";
    write_text(path, &text).with_context(|| format!("cannot write {}", path.display()))
}

/// The head of a table of [`evaluation_row`]s.
pub fn evaluation_header() -> String {
    format!(
        "{:<22} {:>8} {:>9} {:>9} {:>12} {:>12}",
        "", "AUC", "log loss", "accuracy", "norm. entropy", "samples"
    )
}

/// An evaluation as a row of a table.
pub fn evaluation_row(name: &str, evaluation: &Evaluation) -> String {
    let optional =
        |value: Option<f64>| value.map_or("undefined".into(), |value| format!("{value:.4}"));
    format!(
        "{name:<22} {:>8} {:>9.4} {:>8.2}% {:>13} {:>12}",
        optional(evaluation.auc),
        evaluation.log_loss,
        100.0 * evaluation.accuracy,
        optional(evaluation.normalized_entropy),
        evaluation.samples
    )
}

/// Prints the final and the best results as a table.
pub fn print_report(report: &RunReport) {
    println!("{}", evaluation_header());
    let row = |name: &str, evaluation: Option<Evaluation>| {
        if let Some(evaluation) = evaluation {
            println!("{}", evaluation_row(name, &evaluation));
        }
    };
    row("validation", report.validation);
    row("test", report.test);
    row("validation and test", report.validation_and_test);
    if let Some(best) = &report.best {
        row(
            &format!("test at step {} (best)", best.step),
            Some(best.test),
        );
    }
    print_phases(report);
    let train = report.train;
    println!(
        "trained on {} samples in {:.1} s: {:.0} samples/s; peak memory {}",
        train.samples,
        train.seconds,
        train.samples_per_second,
        bytes(peak_memory_bytes().unwrap_or(0))
    );
}

/// Prints what ran in which phase, how long, and what crossed.
fn print_phases(report: &RunReport) {
    println!(
        "{:<10} {:>8} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>11} {:>11} {:>11}",
        "phase",
        "steps",
        "samples",
        "seconds",
        "lookup",
        "model",
        "update",
        "sync",
        "to device",
        "to host",
        "synced"
    );
    let phases = &report.phases;
    for (name, phase) in [
        ("unsplit", phases.unsplit),
        ("hot", phases.hot),
        ("cold", phases.cold),
    ] {
        let Some(phase) = phase else { continue };
        println!(
            "{name:<10} {:>8} {:>10} {:>9.2} {:>9.2} {:>9.2} {:>9.2} {:>9.2} {:>11} {:>11} {:>11}",
            phase.steps,
            phase.samples,
            phase.seconds,
            phase.times.lookup_seconds,
            phase.times.model_seconds,
            phase.times.update_seconds,
            phase.traffic.sync_seconds,
            bytes(phase.traffic.host_to_device),
            bytes(phase.traffic.device_to_host),
            bytes(phase.traffic.sync_to_device + phase.traffic.sync_to_host),
        );
    }
    let rates = (report.swaps.first(), report.swaps.last());
    if let (Some(first), Some(last)) = rates
        && let (Some(first), Some(last)) = (first.rate, last.rate)
    {
        println!(
            "{} changes of side; rate {first}% after the first, {last}% at the end",
            report.swaps.len(),
        );
    }
}

/// A number of bytes as people read it.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = (count.max(1).ilog2() / 10).min(4);
    if unit == 0 {
        format!("{count} B")
    } else {
        format!(
            "{:.1} {}",
            count as f64
                / f64::from(1u32 << (10 * unit.min(3)))
                / if unit == 4 { 1024.0 } else { 1.0 },
            UNITS[unit as usize]
        )
    }
}
