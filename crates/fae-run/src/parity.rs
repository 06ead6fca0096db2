//! Parity cases: what PyTorch computed, step by step, from given weights on given batches.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor, safetensors};
use dlrm::{Dlrm, DlrmConfig, FusedDlrm, Interaction, Output};
use embedding_store::{
    Combine, EmbeddingStore, Encoding, Optimizer, Plan, Rows, Side, StoreOptions, TableSpec,
};
use recsys_data::{Batch, SparseIds};
use serde::Deserialize;
use tbsm::{FusedTbsm, Inner, Mechanism, SequenceLayer, Tbsm, TbsmConfig};
use trainer::{
    BinaryLoss, LearningRate, LearningRatePolicy, LossInput, LossKind, Model, Placement, Trainer,
};

use crate::error::{Context, Result, refuse, require};

/// Largest relative error of a step's loss.
const LOSS_TOLERANCE: f64 = 1e-5;
/// Largest error of a final weight: this much absolutely, plus [`WEIGHT_RELATIVE`] of its value.
const WEIGHT_ABSOLUTE: f64 = 1e-5;
/// See [`WEIGHT_ABSOLUTE`].
const WEIGHT_RELATIVE: f64 = 1e-4;

/// The file `case.json`.
#[derive(Debug, Deserialize)]
struct Case {
    model: String,
    embedding_dim: usize,
    table_rows: Vec<u64>,
    bottom_mlp: Vec<usize>,
    top_mlp: Vec<usize>,
    interaction: String,
    #[serde(default)]
    interact_self: bool,
    loss: String,
    #[serde(default)]
    loss_weights: Option<[f32; 2]>,
    #[serde(default)]
    loss_threshold: f32,
    optimizer: String,
    learning_rate: f64,
    #[serde(default)]
    lr_policy: LearningRatePolicy,
    batch_size: usize,
    steps: usize,
    #[serde(default)]
    embedding: EmbeddingKind,
    /// Present where `model` is `tbsm`.
    #[serde(flatten)]
    sequence: Option<SequenceCase>,
}

/// What `case.json` says about a TBSM beside its tower.
#[derive(Debug, Deserialize)]
struct SequenceCase {
    ts_length: usize,
    tsl_heads: usize,
    tsl_inner: String,
    tsl_mechanism: String,
    #[serde(default)]
    tsl_mlp: Vec<usize>,
    final_mlp: Vec<usize>,
    tsl_proj: bool,
    #[serde(default)]
    tsl_sequential: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum EmbeddingKind {
    #[default]
    Full,
    Qr {
        operation: String,
        collisions: u64,
        threshold: u64,
    },
    Md {
        threshold: u64,
        dims: Vec<usize>,
    },
}

/// What came of one case.
#[derive(Debug)]
pub enum Outcome {
    /// Every loss and weight is within its tolerance.
    Pass(Errors),
    /// The largest errors, and where they are.
    Fail(Errors),
}

/// The largest errors of a case, each as a multiple of what is allowed.
#[derive(Debug, Default)]
pub struct Errors {
    loss: Worst,
    weight: Worst,
}

#[derive(Debug, Default)]
struct Worst {
    ratio: f64,
    error: f64,
    place: String,
}

/// Says which batches follow, where the store makes a difference between them.
fn enter(store: &mut dyn EmbeddingStore, side: Side) -> Result<()> {
    match store.tiers_mut() {
        Some(tiers) => Ok(tiers.enter(side)?),
        None => Ok(()),
    }
}

impl Worst {
    fn see(&mut self, error: f64, allowed: f64, place: impl FnOnce() -> String) {
        // A value that is not a number is the worst there can be.
        let ratio = if error.is_finite() {
            error / allowed
        } else {
            f64::INFINITY
        };
        if ratio > self.ratio {
            *self = Self {
                ratio,
                error,
                place: place(),
            };
        }
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { loss, weight } = self;
        write!(
            f,
            "largest relative loss error {:.1e} at {}, ",
            loss.error,
            or_none(&loss.place)
        )?;
        write!(
            f,
            "largest weight error {:.1e} at {}",
            weight.error,
            or_none(&weight.place)
        )
    }
}

fn or_none(place: &str) -> &str {
    if place.is_empty() { "no step" } else { place }
}

/// Where a case's rows live.
#[derive(Debug, Clone)]
pub struct ReplayOptions {
    /// Where rows live and where the model runs.
    pub placement: Placement,
    /// Share of the rows of every table that is hot, rounded up.
    pub hot_share: f64,
    /// The device of every placement but [`Placement::Cpu`].
    pub device: Device,
}

impl Default for ReplayOptions {
    fn default() -> Self {
        Self {
            placement: Placement::default(),
            hot_share: 0.0,
            device: Device::Cpu,
        }
    }
}

impl ReplayOptions {
    fn device(&self) -> &Device {
        match self.placement {
            Placement::Cpu => &Device::Cpu,
            _ => &self.device,
        }
    }
}

/// Replays the case in a folder, in its own order of batches: on the placement `fae`, batches that touch hot rows only run on
/// the hot side.
///
/// # Errors
/// A folder that is no case: a file is missing, unreadable, or does not fit the others.
pub fn replay(folder: &Path, options: &ReplayOptions) -> Result<Outcome> {
    let path = folder.join("case.json");
    let text = std::fs::read_to_string(&path).context(|| {
        format!(
            "{} is no parity case: cannot read {}",
            folder.display(),
            path.display()
        )
    })?;
    let case: Case = serde_json::from_str(&text)
        .context(|| format!("{} does not describe a case", path.display()))?;
    let init = Weights::load(folder.join("init.safetensors"))?;
    let batches = Weights::load(folder.join("batches.safetensors"))?;
    let expected = Weights::load(folder.join("expected.safetensors"))?;
    let mut trainer = case
        .trainer(&init, options)
        .context(|| format!("{} has settings that fit no model", path.display()))?;
    let loss = case.loss().context(|| path.display().to_string())?;
    let batches = case.batches(&batches)?;
    let plans = batches
        .iter()
        .map(|batch| {
            let mut plan = Plan::default();
            trainer.plan(batch, &mut plan).map(|()| plan)
        })
        .collect::<Result<Vec<_>, _>>()
        .context(|| {
            format!(
                "the ids in {} do not fit case.json",
                batches_path(folder).display()
            )
        })?;

    let hot_rows = case.hot_rows(options);
    let side = |batch: &Batch| {
        let tables = hot_rows.len();
        let hot = |bag: usize| {
            let ids = batch.sparse.bag(bag);
            ids.iter().all(|&id| u64::from(id) < hot_rows[bag % tables])
        };
        if (0..batch.len() * case.positions() * tables).all(hot) {
            Side::Hot
        } else {
            Side::Cold
        }
    };
    let mut errors = Errors::default();
    let predictions = |trainer: &mut Trainer<_, Box<dyn EmbeddingStore>>,
                       name: &str,
                       errors: &mut Errors|
     -> Result<()> {
        enter(trainer.store_mut(), Side::Cold)?;
        let Some(first) = batches.first() else {
            return Ok(());
        };
        let logits = trainer.predict(first, &plans[0])?;
        let wanted = expected.floats(name, logits.len())?;
        for (sample, (logit, wanted)) in logits.iter().zip(&wanted).enumerate() {
            let prediction = 1.0 / (1.0 + f64::from(-logit).exp());
            let wanted = f64::from(*wanted);
            let allowed = WEIGHT_ABSOLUTE + WEIGHT_RELATIVE * wanted.abs();
            errors.weight.see((prediction - wanted).abs(), allowed, || {
                format!("{name}[{sample}]")
            });
        }
        Ok(())
    };
    predictions(&mut trainer, "prediction_before", &mut errors)?;
    let losses = expected.floats("loss", case.steps)?;
    for (step, (batch, plan)) in batches.iter().zip(&plans).enumerate() {
        let rate = case.lr_policy.rate(case.learning_rate, step as u64 + 1)?;
        enter(trainer.store_mut(), side(batch))?;
        let coming: Vec<&Plan> = plans.iter().skip(step + 1).take(1).collect();
        let found = trainer.step_ahead(batch, plan, &coming, &loss, rate)?;
        let wanted = f64::from(losses[step]);
        let error = (found - wanted).abs() / wanted.abs().max(f64::MIN_POSITIVE);
        errors
            .loss
            .see(error, LOSS_TOLERANCE, || format!("step {step}"));
    }
    predictions(&mut trainer, "prediction_after", &mut errors)?;
    for (name, found) in all_weights(&trainer)? {
        let wanted = expected.name(format!("final/{name}"));
        let wanted = expected.floats(&wanted, found.len())?;
        for (at, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
            let (found, wanted) = (f64::from(*found), f64::from(*wanted));
            let allowed = WEIGHT_ABSOLUTE + WEIGHT_RELATIVE * wanted.abs();
            errors
                .weight
                .see((found - wanted).abs(), allowed, || format!("{name}[{at}]"));
        }
    }
    let passed = errors.loss.ratio <= 1.0 && errors.weight.ratio <= 1.0;
    Ok(if passed {
        Outcome::Pass(errors)
    } else {
        Outcome::Fail(errors)
    })
}

fn batches_path(folder: &Path) -> PathBuf {
    folder.join("batches.safetensors")
}

/// Every weight of model and store, flat, by name.
fn all_weights<M: Model, S: EmbeddingStore>(
    trainer: &Trainer<M, S>,
) -> Result<Vec<(String, Vec<f32>)>> {
    let mut weights = Vec::new();
    for (name, tensor) in trainer.model().named_weights()? {
        weights.push((name, tensor.flatten_all()?.to_vec1()?));
    }
    let prefix = trainer.model().table_prefix();
    for (index, part) in trainer.store().parts().iter().enumerate() {
        weights.push((
            format!("{prefix}{}", part.name),
            trainer.store().export(index, 0..part.rows)?.weights,
        ));
    }
    Ok(weights)
}

impl Case {
    fn optimizer(&self) -> Result<Optimizer> {
        Ok(match self.optimizer.as_str() {
            "sgd" => Optimizer::Sgd,
            "adagrad" => Optimizer::adagrad(),
            "rowwise_adagrad" => Optimizer::rowwise_adagrad(),
            other => refuse!("optimizer `{other}`, expected sgd, adagrad or rowwise_adagrad"),
        })
    }

    fn loss(&self) -> Result<BinaryLoss> {
        let kind = match (self.loss.as_str(), self.loss_weights) {
            ("bce", _) => LossKind::Bce,
            ("mse", _) => LossKind::Mse,
            ("wbce", Some([negative, positive])) => LossKind::WeightedBce { negative, positive },
            ("wbce", None) => refuse!("loss `wbce` needs `loss_weights`"),
            (other, _) => refuse!("loss `{other}`, expected bce, mse or wbce"),
        };
        Ok(BinaryLoss {
            kind,
            threshold: self.loss_threshold,
            // PyTorch computed the cases from predictions.
            input: LossInput::Prediction,
        })
    }

    fn tables(&self) -> Result<Vec<TableSpec>> {
        let encoding = |table: usize, rows: u64| {
            Ok(match &self.embedding {
                EmbeddingKind::Qr {
                    operation,
                    collisions,
                    threshold,
                } if rows > *threshold => {
                    let combine = match operation.as_str() {
                        "mult" => Combine::Multiply,
                        "add" => Combine::Add,
                        "concat" => Combine::Concatenate,
                        other => refuse!("operation `{other}`, expected mult, add or concat"),
                    };
                    Encoding::QuotientRemainder {
                        collisions: *collisions,
                        combine,
                    }
                }
                EmbeddingKind::Md { threshold, dims } if rows > *threshold => {
                    let dim = *dims
                        .get(table)
                        .context(|| format!("`dims` has no entry for table {table}"))?;
                    Encoding::MixedDimension { dim }
                }
                _ => Encoding::Full,
            })
        };
        let tables = self.table_rows.iter().enumerate();
        tables
            .map(|(table, &rows)| {
                Ok(TableSpec {
                    rows,
                    encoding: encoding(table, rows)?,
                })
            })
            .collect()
    }

    fn hot_rows(&self, options: &ReplayOptions) -> Vec<u64> {
        let hot = |&rows: &u64| ((rows as f64 * options.hot_share).ceil() as u64).min(rows);
        self.table_rows.iter().map(hot).collect()
    }

    fn trainer(
        &self,
        init: &Weights,
        replay: &ReplayOptions,
    ) -> Result<Trainer<Box<dyn Model>, Box<dyn EmbeddingStore>>> {
        let device = replay.device();
        let model = self.model(device)?;
        let dense = model.named_weights()?.into_iter().map(|(name, _)| {
            let weight = init.tensor(&name)?.clone();
            Ok((name, weight))
        });
        let dense = dense.collect::<Result<HashMap<_, _>>>()?;
        model.load_weights(&dense)?;
        let options = StoreOptions {
            dim: self.embedding_dim,
            optimizer: self.optimizer()?.into(),
            ..StoreOptions::default()
        };
        let mut store = replay.placement.store(
            self.tables()?,
            options,
            std::slice::from_ref(device),
            Some(&self.hot_rows(replay)),
        )?;
        let prefix = model.table_prefix();
        let parts: Vec<_> = store
            .parts()
            .iter()
            .map(|part| (format!("{prefix}{}", part.name), part.rows, part.dim))
            .collect();
        for (index, (name, rows, dim)) in parts.into_iter().enumerate() {
            let weights = init.floats(&init.name(name), rows as usize * dim)?;
            store.import(
                index,
                0,
                &Rows {
                    dim,
                    weights,
                    state: Vec::new(),
                },
            )?;
        }
        Ok(Trainer::new(model, store, device.clone()))
    }

    /// Positions of a sample.
    fn positions(&self) -> usize {
        self.sequence
            .as_ref()
            .map_or(1, |sequence| sequence.ts_length + 1)
    }

    fn model(&self, device: &Device) -> Result<Box<dyn Model>> {
        let interaction = match self.interaction.as_str() {
            "dot" => Interaction::Dot {
                with_self: self.interact_self,
            },
            "cat" => Interaction::Cat,
            other => refuse!("interaction `{other}`, expected dot or cat"),
        };
        let config = DlrmConfig {
            tables: self.table_rows.len(),
            dim: self.embedding_dim,
            bottom: self.bottom_mlp.clone(),
            top: self.top_mlp.clone(),
            interaction,
            ..DlrmConfig::default()
        };
        match (self.model.as_str(), &self.sequence) {
            ("dlrm", _) => Ok(Box::new(FusedDlrm::new(Dlrm::new(config, 0, device)?))),
            ("tbsm", Some(sequence)) => {
                let config = sequence.config(config)?;
                Ok(Box::new(FusedTbsm::new(Tbsm::new(config, 0, device)?)))
            }
            ("tbsm", None) => refuse!("model `tbsm` needs `ts_length` and the keys `tsl_…`"),
            (other, _) => refuse!("model `{other}`, expected dlrm or tbsm"),
        }
    }

    fn batches(&self, file: &Weights) -> Result<Vec<Batch>> {
        let (steps, batch) = (self.steps, self.batch_size);
        let label = file.floats("label", steps * batch)?;
        let features = self.bottom_mlp.first().copied().unwrap_or(0);
        let positions = self.positions();
        let values = positions * features;
        let dense = file.floats("dense", steps * batch * values)?;
        let sparse = file.tensor("sparse")?;
        let bags = batch * positions * self.table_rows.len();
        // Sequences have one id at each position and table.
        let lookups = match (&self.sequence, sparse.dims()) {
            (Some(_), _) => 1,
            (None, &[.., lookups]) => lookups,
            (None, []) => refuse!("{}: `sparse` is a scalar", file.path.display()),
        };
        require!(
            sparse.elem_count() == steps * bags * lookups,
            "{}: `sparse` has shape {:?}, case.json needs [{steps}, {batch}, {}]",
            file.path.display(),
            sparse.dims(),
            match &self.sequence {
                Some(_) => format!("{positions}, {}", self.table_rows.len()),
                None => format!("{}, ids per table", self.table_rows.len()),
            }
        );
        let ids = sparse
            .to_dtype(DType::I64)?
            .flatten_all()?
            .to_vec1::<i64>()?;
        let ids = ids
            .into_iter()
            .map(|id| {
                u32::try_from(id)
                    .context(|| format!("{}: id {id} is out of range", file.path.display()))
            })
            .collect::<Result<Vec<_>>>()?;
        let offsets: Vec<u32> = if lookups == 1 {
            Vec::new()
        } else {
            (0..=bags).map(|bag| (bag * lookups) as u32).collect()
        };
        Ok((0..steps)
            .map(|step| Batch {
                label: label[step * batch..][..batch].to_vec(),
                dense: dense[step * batch * values..][..batch * values].to_vec(),
                sparse: SparseIds {
                    ids: ids[step * bags * lookups..][..bags * lookups].to_vec(),
                    offsets: offsets.clone(),
                },
            })
            .collect())
    }
}

impl SequenceCase {
    fn config(&self, tower: DlrmConfig) -> Result<TbsmConfig> {
        let inner = match self.tsl_inner.as_str() {
            "dot" => Inner::Dot,
            "ind" => Inner::Ind,
            "def" => Inner::Def,
            other => refuse!("tsl_inner `{other}`, expected dot, ind or def"),
        };
        let mechanism = match self.tsl_mechanism.as_str() {
            "mlp" => Mechanism::Mlp,
            "mul" => Mechanism::Mul,
            other => refuse!("tsl_mechanism `{other}`, expected mlp or mul"),
        };
        Ok(TbsmConfig {
            tower: DlrmConfig {
                output: Output::Relu,
                ..tower
            },
            history: self.ts_length,
            normalise: self.tsl_proj,
            sequence: SequenceLayer::Tsl {
                heads: self.tsl_heads,
                inner,
                mechanism,
                mlp: self.tsl_mlp.clone(),
                sequential: self.tsl_sequential,
            },
            head: self.final_mlp.clone(),
        })
    }
}

/// The tensors of one file of a case.
struct Weights {
    path: PathBuf,
    tensors: HashMap<String, Tensor>,
}

impl Weights {
    fn load(path: PathBuf) -> Result<Self> {
        let tensors = safetensors::load(&path, &Device::Cpu)
            .context(|| format!("cannot read {} as safetensors", path.display()))?;
        Ok(Self { path, tensors })
    }

    /// The name that the file has for a weight: a mixed-dimension table as wide as the others has no projection, and may have
    /// the plain name.
    fn name(&self, name: String) -> String {
        if self.tensors.contains_key(&name) {
            name
        } else {
            name.replace(".embs.weight", ".weight")
        }
    }

    fn tensor(&self, name: &str) -> Result<&Tensor> {
        self.tensors
            .get(name)
            .context(|| format!("{} has no tensor `{name}`", self.path.display()))
    }

    fn floats(&self, name: &str, count: usize) -> Result<Vec<f32>> {
        let values = self
            .tensor(name)?
            .to_dtype(DType::F32)?
            .flatten_all()?
            .to_vec1::<f32>()?;
        require!(
            values.len() == count,
            "{}: `{name}` has {} values, case.json needs {count}",
            self.path.display(),
            values.len()
        );
        Ok(values)
    }
}
