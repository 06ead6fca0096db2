//! A run: settings in, report out.

use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use embedding_store::{EmbeddingStore, RowFormat};
use recsys_data::packed::PackedDataset;
use recsys_data::{Dataset, Split};
use serde_json::{Value, json};
use trainer::{
    Checkpoints, Evaluations, Inputs, Model, Observer, Placement, Replicas, RunReport, Trainer,
    fit_with_checkpoints,
};

use crate::card::{Card, ScheduleName};
use crate::error::{Context, Result, require};
use crate::hot::Hot;
use crate::memory::check_memory;
use crate::placing::Placing;
use crate::row_ids::RowIds;
use crate::settings::Settings;

/// A trainer of any model on any placement.
pub type AnyTrainer = Trainer<Replicas<Box<dyn Model>>, Box<dyn EmbeddingStore>>;

/// A run on a packed data set, every setting decided.
///
/// The same settings give the same numbers on any number of threads, and, as long as rows on devices
/// are f32, on every placement that leaves the order of the inputs alone.
#[derive(Clone)]
#[non_exhaustive]
pub struct Run<'a> {
    /// The data.
    pub data: &'a PackedDataset,
    /// Model, optimizer, loop.
    pub settings: Settings,
    /// Placement and schedule.
    pub placing: Placing,
    /// The hot set, where the placement or the schedule needs one.
    pub hot: Option<Arc<Hot>>,
    /// What evaluations are taken on: the data's validation and test samples.
    pub evaluations: Evaluations,
    /// Checkpoints; none unless [`Run::with_checkpoints`] is called.
    pub checkpoints: Option<Checkpoints>,
}

impl<'a> Run<'a> {
    /// Decides every setting, the card's values first, and profiles the data where hot rows are
    /// needed.
    ///
    /// # Errors
    /// Settings that make no sense or do not fit the data or each other, a device that is not there,
    /// and data that cannot be read.
    pub fn new(data: &'a PackedDataset, card: &Card) -> Result<Self> {
        require!(
            data.has_labels(),
            "the samples of {} have no labels, so nothing can be learned from them: train on data \
             with labels",
            data.folder().display()
        );
        let settings = Settings::new(card, data.schema())?;
        let placing = Placing::new(card, data.schema())?;
        let hot = match placing.needs_hot() {
            true => Some(Arc::new(Hot::new(card, data)?)),
            false => None,
        };
        Ok(Self {
            data,
            settings,
            placing,
            hot,
            evaluations: evaluations(data),
            checkpoints: None,
        })
    }

    /// The same data, settings and hot set, placed as another card says: for comparisons.
    /// Checkpoints are those of one placing, so the new run has none.
    ///
    /// # Errors
    /// As [`Placing::new`], and a placement that needs hot rows where none were chosen, or rows of
    /// another number of bytes than those that were.
    pub fn placed(&self, card: &Card) -> Result<Self> {
        let placing = Placing::new(card, self.data.schema())?;
        let hot = match placing.needs_hot() {
            true => {
                let hot = self.hot.clone().context(|| {
                    "no hot rows were chosen: make the first run with a `placement` that has them"
                        .into()
                })?;
                hot.check_row_bytes(card, self.data.schema())?;
                Some(hot)
            }
            false => None,
        };
        Ok(Self {
            placing,
            hot,
            checkpoints: None,
            ..self.clone()
        })
    }

    /// Writes checkpoints, and goes on from the newest where `checkpoints.resume` says so.
    ///
    /// # Errors
    /// A data set whose manifest cannot be read any more.
    pub fn with_checkpoints(self, checkpoints: Checkpoints) -> Result<Self> {
        let checkpoints = Checkpoints {
            settings: run_settings(&self)?,
            order: order(&self),
            about: RowIds::of(self.data).to_json(),
            ..checkpoints
        };
        Ok(Self {
            checkpoints: Some(checkpoints),
            ..self
        })
    }

    /// Model and store with their first weights.
    ///
    /// # Errors
    /// Settings that fit no model, or too little memory for the tables.
    pub fn trainer(&self) -> Result<AnyTrainer> {
        let Self {
            settings, placing, ..
        } = self;
        let schema = self.data.schema();
        let samples = self.data.split(Split::Train).len();
        let batch = (settings.train.batch_size as u64).min(samples);
        check_memory(&settings.model, schema, batch)?;
        let store = placing
            .placement
            .store_in(
                &placing.backing,
                settings.tables.clone(),
                settings.store_options(placing.device_rows),
                &placing.devices,
                self.hot.as_ref().map(|hot| hot.set.hot_rows()),
            )
            .context(|| "cannot make the embedding tables".into())?;
        let devices = match placing.placement {
            Placement::Cpu => &[Device::Cpu][..],
            _ => &placing.devices,
        };
        let models = devices
            .iter()
            .map(|device| {
                let model = settings.model.build(settings.train.seed, device)?;
                Ok((model, device.clone()))
            })
            .collect::<Result<_>>()?;
        let mut replicas = Replicas::new(models)?;
        if placing.nccl {
            replicas = replicas.with_nccl()?;
        }
        Ok(Trainer::new(replicas, store, devices[0].clone()))
    }

    /// Trains.
    ///
    /// # Errors
    /// Anything that goes wrong, with the file and the remedy, and the observer's errors.
    pub fn fit(&self, trainer: &mut AnyTrainer, observer: &mut dyn Observer) -> Result<RunReport> {
        let placing = &self.placing;
        let mut options = self.settings.train.clone();
        options.lookahead = placing.lookahead;
        if placing.devices.iter().any(Device::is_cuda) {
            // The device takes most of the work, and more batches than one core for every four can
            // plan.
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            options.loader_threads = options.loader_threads.max(cores.div_ceil(3));
            options.prefetch = options.prefetch.max(2 * options.loader_threads + 1);
        }
        options.swap_samples = placing.swap_samples.unwrap_or(options.swap_samples);
        let train: Arc<dyn Dataset> = Arc::new(self.data.split(Split::Train));
        let mut schedule = placing.schedule()?;
        let inputs = match &mut schedule {
            None => Inputs::from(train),
            Some(schedule) => {
                let hot = self.hot.as_ref();
                let hot = hot.context(|| {
                    "a schedule of hot and cold inputs needs a hot set, and none was chosen".into()
                })?;
                let (hot, cold) = hot.partition.sides(&train)?;
                Inputs::Split {
                    hot: Arc::new(hot),
                    cold: Arc::new(cold),
                    schedule: &mut **schedule,
                }
            }
        };
        Ok(fit_with_checkpoints(
            trainer,
            inputs,
            &self.evaluations,
            &options,
            self.checkpoints.as_ref(),
            observer,
        )?)
    }

    /// [`Run::trainer`] and [`Run::fit`] in one.
    ///
    /// # Errors
    /// As those.
    pub fn train(&self, observer: &mut dyn Observer) -> Result<(AnyTrainer, RunReport)> {
        let mut trainer = self.trainer()?;
        let report = self.fit(&mut trainer, observer)?;
        Ok((trainer, report))
    }

    /// The results in the form that docs/training.md describes.
    ///
    /// # Errors
    /// None in practice; every field can be written as JSON.
    pub fn results(&self, report: &RunReport) -> Result<Value> {
        let json = |error| crate::Error::Failed {
            what: "cannot write the results as JSON".into(),
            source: Box::<dyn std::error::Error + Send + Sync>::from(error),
        };
        let mut value = serde_json::to_value(report).map_err(json)?;
        value["config"] = json!({
            "settings": self.settings,
            "placing": self.placing,
            "dataset": self.data.manifest().provenance.dataset,
            "tables": self.data.schema().table_rows(),
            "threads": rayon::current_num_threads(),
        });
        value["hot_set"] = self.hot.as_ref().map_or(Value::Null, |hot| hot.to_json());
        value["version"] = json!(env!("CARGO_PKG_VERSION"));
        Ok(value)
    }
}

/// What decides the numbers of a run.
fn run_settings(run: &Run<'_>) -> Result<Value> {
    let mut all = json!({
        "model": run.settings.model,
        "data": run.data.manifest_xxh3()?,
        "tables": run.data.schema().table_rows(),
    });
    if let Some(settings) = &run.settings.smaller_tables {
        all["smaller_tables"] = json!(settings);
    }
    // As f32, rows may go on anywhere; rounded, it matters which of them are, and when.
    let placing = &run.placing;
    if placing.device_rows != RowFormat::F32 {
        all["device_rows"] = json!({
            "format": placing.device_rows,
            "placement": placing.placement,
            "hot_rows": run.hot.as_ref().map(|hot| hot.set.hot_rows()),
        });
    }
    Ok(all)
}

/// What decides the order of the batches in an epoch.
fn order(run: &Run<'_>) -> Value {
    match (run.placing.schedule, &run.hot) {
        (ScheduleName::Original, _) | (_, None) => json!({"schedule": ScheduleName::Original}),
        (schedule, Some(hot)) => json!({
            "schedule": schedule,
            "rules": run.placing.shuffle,
            "hot_rows": hot.set.hot_rows(),
        }),
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

/// Reads a card from a file.
///
/// # Errors
/// A file that cannot be read, and those of [`Card::parse`].
pub fn read_card(path: &Path) -> Result<Card> {
    let text =
        std::fs::read_to_string(path).context(|| format!("cannot read {}", path.display()))?;
    Card::parse(&text, &path.display().to_string())
}

/// More threads than this are a slip of the hand, which would take the system's last ones.
const MOST_THREADS: usize = 1024;

/// Runs work on this many threads, or on one for each core.
///
/// # Errors
/// Those of `work`, no thread or more than 1,024, or threads that the system does not give.
pub fn on_threads<T: Send, E: From<crate::Error> + Send>(
    threads: Option<usize>,
    work: impl FnOnce() -> Result<T, E> + Send,
) -> Result<T, E> {
    if let Some(threads) = threads.filter(|threads| !(1..=MOST_THREADS).contains(threads)) {
        let what = format!("`threads` is {threads}; give 1 to {MOST_THREADS}");
        return Err(crate::Error::Setting { what }.into());
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads.unwrap_or(0))
        .build();
    pool.context(|| "cannot start the worker threads".into())?
        .install(work)
}
