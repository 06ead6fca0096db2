//! Weights and checkpoints from before tables grew: the first rows are the file's, the others start
//! as new ones, wherever rows live; nothing smaller or larger is taken unless it is allowed.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod skewed;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{Device, Tensor, safetensors};
use dlrm::SliceSize;
use embedding_store::{
    Combine, EmbeddingStore, Encoding, Optimizer, RowFormat, RowOptimizer, Rows, StoreOptions,
    TableSpec,
};
use recsys_data::{Dataset, Order};
use skewed::{AnyTrainer, ROWS, Skewed, bits, tables, tables_of, weights, with_tables};
use trainer::{
    Checkpoint, CheckpointEvery, Checkpoints, Error, Evaluations, Model, Placement, TableRows,
    TrainOptions, fit_with_checkpoints, load_weights, load_weights_with, save_weights,
};

/// One table stays as it is, the others have new ids.
const GROWN: [u64; 4] = [60, 6, 120, 40];
/// Rows of the grown tables' matrices that are not in a file of the others: those of ids, of
/// quotients (24 instead of 18), and of ids with narrow rows.
const ABSENT: u64 = 20 + 6 + 15;

#[derive(Clone)]
struct Setup {
    placement: Placement,
    optimizer: RowOptimizer,
    device_rows: RowFormat,
}

impl Setup {
    fn new(placement: Placement, optimizer: Optimizer) -> Self {
        Self {
            placement,
            optimizer: optimizer.into(),
            device_rows: RowFormat::F32,
        }
    }

    fn trainer(&self, tables: Vec<TableSpec>) -> AnyTrainer {
        let options = StoreOptions {
            optimizer: self.optimizer.clone(),
            device_rows: self.device_rows,
            seed: 3,
            ..StoreOptions::default()
        };
        let slice = SliceSize::Fixed(8);
        with_tables(tables, slice, self.placement, options, [6; 4], 1)
    }

    /// Every placement under every rule, and rounded rows on devices.
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for placement in Placement::ALL {
            for optimizer in [
                Optimizer::Sgd,
                Optimizer::adagrad(),
                Optimizer::rowwise_adagrad(),
            ] {
                let setup = Self::new(placement, optimizer);
                if placement.needs_hot_rows() {
                    all.push(Self {
                        device_rows: RowFormat::Bf16,
                        ..setup.clone()
                    });
                }
                all.push(setup);
            }
        }
        all
    }
}

fn train(trainer: &mut AnyTrainer, folder: Option<&Path>) -> trainer::Result<()> {
    let options = TrainOptions {
        batch_size: 7,
        order: Order::Shuffled,
        learning_rate: 0.05,
        ..TrainOptions::default()
    };
    let checkpoints = folder.map(|folder| Checkpoints {
        every: CheckpointEvery::Steps(u64::MAX),
        resume: true,
        ..Checkpoints::new(folder)
    });
    let data: Arc<dyn Dataset> = Arc::new(Skewed::new(60, 2));
    let none = Evaluations::default();
    let some = checkpoints.as_ref();
    fit_with_checkpoints(trainer, data, &none, &options, some, &mut ()).map(|_| ())
}

/// A trained trainer of the small tables, its checkpoint, and its file of weights.
fn trained(setup: &Setup, folder: &Path) -> (AnyTrainer, Checkpoint, PathBuf) {
    let mut trainer = setup.trainer(tables());
    train(&mut trainer, Some(folder)).unwrap();
    let newest = Checkpoint::newest(folder, &mut |_, _| Ok(())).unwrap();
    let path = folder.join("weights.safetensors");
    save_weights(&path, &trainer).unwrap();
    (trainer, newest.unwrap(), path)
}

/// The weights of every dense parameter, with its optimizer state where it is wanted.
fn dense(trainer: &AnyTrainer, with_state: bool) -> Vec<u32> {
    let mut all = Vec::new();
    for (index, (_, parameter)) in trainer.model().named_parameters().iter().enumerate() {
        all.extend(bits(&parameter.flatten_all().unwrap().to_vec1().unwrap()));
        if with_state {
            let state = trainer.optimizer().state(index).unwrap();
            all.extend(bits(&state.unwrap_or_default()));
        }
    }
    all
}

/// Row for row: those in front are `front`'s, with its state or a new one's, those behind are
/// `fresh`'s.
fn assert_grown(grown: &AnyTrainer, front: &AnyTrainer, fresh: &AnyTrainer, with_state: bool) {
    for (index, part) in front.store().parts().iter().enumerate() {
        let rows = |of: &AnyTrainer, rows| of.store().export(index, rows).unwrap();
        let (own, end) = (0..part.rows, grown.store().parts()[index].rows);
        let (found, expected) = (rows(grown, own.clone()), rows(front, own.clone()));
        assert_eq!(bits(&found.weights), bits(&expected.weights), "{part:?}");
        let state = match with_state {
            true => expected.state,
            false => rows(fresh, own).state,
        };
        assert_eq!(bits(&found.state), bits(&state), "{part:?}");
        let behind = part.rows..end;
        assert_eq!(rows(grown, behind.clone()), rows(fresh, behind), "{part:?}");
    }
    assert_eq!(dense(grown, with_state), dense(front, with_state));
}

#[test]
fn grown_tables_take_the_rows_of_files_and_start_the_others_as_new() {
    for setup in Setup::all() {
        let folder = tempfile::tempdir().unwrap();
        let (small, checkpoint, path) = trained(&setup, folder.path());
        let fresh = setup.trainer(tables_of(GROWN));
        let grown = || setup.trainer(tables_of(GROWN));
        let mut from_file = grown();
        let absent = load_weights_with(&path, &mut from_file, TableRows::Grown).unwrap();
        assert_eq!(absent, ABSENT);
        assert_grown(&from_file, &small, &fresh, false);
        let mut from_checkpoint = grown();
        let absent = checkpoint.load_weights_with(&mut from_checkpoint, TableRows::Grown);
        assert_eq!(absent.unwrap(), ABSENT);
        assert_grown(&from_checkpoint, &small, &fresh, false);
        let mut with_state = grown();
        let absent = checkpoint.load_with_state(&mut with_state, TableRows::Grown);
        assert_eq!(absent.unwrap(), ABSENT);
        assert_grown(&with_state, &small, &fresh, true);
    }
}

/// What is learned from old ids does not depend on new ones.
#[test]
fn grown_tables_go_on_with_the_bits_of_those_that_did_not_grow() {
    for setup in Setup::all() {
        let folder = tempfile::tempdir().unwrap();
        let (mut small, checkpoint, _) = trained(&setup, folder.path());
        let fresh = setup.trainer(tables_of(GROWN));
        let mut grown = setup.trainer(tables_of(GROWN));
        checkpoint
            .load_with_state(&mut grown, TableRows::Grown)
            .unwrap();
        train(&mut small, None).unwrap();
        train(&mut grown, None).unwrap();
        assert_grown(&grown, &small, &fresh, true);
    }
}

#[test]
fn tables_that_did_not_grow_are_taken_whole_either_way() {
    let setup = Setup::new(Placement::Mixed, Optimizer::adagrad());
    let folder = tempfile::tempdir().unwrap();
    let (small, checkpoint, path) = trained(&setup, folder.path());
    let fresh = setup.trainer(tables());
    for rows in [TableRows::Exact, TableRows::Grown] {
        let mut found = setup.trainer(tables());
        assert_eq!(load_weights_with(&path, &mut found, rows).unwrap(), 0);
        assert_grown(&found, &small, &fresh, false);
        let mut found = setup.trainer(tables());
        assert_eq!(checkpoint.load_with_state(&mut found, rows).unwrap(), 0);
        assert_grown(&found, &small, &fresh, true);
    }
}

/// Rows that a file does not have keep their weights; state of other weights would be no state of
/// theirs.
#[test]
fn rows_behind_those_of_a_file_start_without_state() {
    let setup = Setup::new(Placement::Cpu, Optimizer::adagrad());
    let folder = tempfile::tempdir().unwrap();
    let (_, checkpoint, path) = trained(&setup, folder.path());
    let fresh = setup.trainer(tables_of(GROWN));
    let expected = fresh.store().export(0, 40..60).unwrap();
    let used = Rows {
        state: vec![2.5; expected.state.len()],
        ..expected.clone()
    };
    for with_state in [false, true] {
        let mut grown = setup.trainer(tables_of(GROWN));
        grown.store_mut().import(0, 40, &used).unwrap();
        match with_state {
            false => load_weights_with(&path, &mut grown, TableRows::Grown),
            true => checkpoint.load_with_state(&mut grown, TableRows::Grown),
        }
        .unwrap();
        assert_eq!(grown.store().export(0, 40..60).unwrap(), expected);
    }
}

/// What an error says behind the path, of a load that changed nothing.
fn refusal(
    trainer: &mut AnyTrainer,
    load: impl FnOnce(&mut AnyTrainer) -> trainer::Result<u64>,
) -> String {
    let everything = |trainer: &AnyTrainer| (bits(&weights(trainer)), dense(trainer, true));
    let before = everything(trainer);
    let error = load(trainer).unwrap_err();
    assert!(everything(trainer) == before, "{error}");
    let text = error.to_string();
    let (_, text) = text.split_once(".safetensors: ").unwrap();
    text.to_owned()
}

#[test]
fn smaller_tables_are_refused_unless_they_are_allowed() {
    let setup = Setup::new(Placement::Cpu, Optimizer::adagrad());
    let folder = tempfile::tempdir().unwrap();
    let (_, checkpoint, path) = trained(&setup, folder.path());
    let expected = "weight `emb_l.0.weight` has 40 rows, the store has 60; if the table has grown \
                    since, load with `TableRows::Grown`, which `load_weights_with` and \
                    `Checkpoint::load_with_state` take";
    let mut grown = setup.trainer(tables_of(GROWN));
    let text = refusal(&mut grown, |grown| load_weights(&path, grown).map(|()| 0));
    assert_eq!(text, expected);
    let text = refusal(&mut grown, |grown| {
        checkpoint.load_weights(grown).map(|()| 0)
    });
    assert_eq!(text, expected);
    let text = refusal(&mut grown, |grown| {
        checkpoint.load_with_state(grown, TableRows::Exact)
    });
    assert_eq!(text, expected);
}

#[test]
fn larger_tables_are_refused_always() {
    let setup = Setup::new(Placement::Cpu, Optimizer::Sgd);
    let folder = tempfile::tempdir().unwrap();
    let (_, checkpoint, path) = trained(&setup, folder.path());
    for (rows, table, found, expected) in [
        ([39, 6, 90, 25], "0.weight", 40, 39),
        ([60, 5, 90, 25], "1.weight", 6, 5),
        ([60, 6, 85, 25], "2.weight_q", 18, 17),
        ([60, 6, 90, 24], "3.embs.weight", 25, 24),
    ] {
        let mut trainer = with_tables(
            tables_of(rows),
            SliceSize::Fixed(8),
            Placement::Cpu,
            StoreOptions::default(),
            [0; 4],
            1,
        );
        let expected = format!(
            "weight `emb_l.{table}` has {found} rows, the store has {expected}; make the store \
             with at least as many rows as its tables were saved with"
        );
        let text = refusal(&mut trainer, |trainer| {
            load_weights_with(&path, trainer, TableRows::Grown)
        });
        assert_eq!(text, expected);
        let text = refusal(&mut trainer, |trainer| {
            checkpoint.load_with_state(trainer, TableRows::Grown)
        });
        assert_eq!(text, expected);
    }
}

/// Other remainders would be those of other ids, and rows of other widths are none of these.
#[test]
fn tables_of_another_encoding_do_not_grow() {
    let setup = Setup::new(Placement::Cpu, Optimizer::Sgd);
    let folder = tempfile::tempdir().unwrap();
    let (_, _, path) = trained(&setup, folder.path());
    let load = |table: usize, encoding: Encoding| {
        let mut tables = tables_of(GROWN);
        tables[table].encoding = encoding;
        refusal(&mut setup.trainer(tables), |trainer| {
            load_weights_with(&path, trainer, TableRows::Grown)
        })
    };
    for (collisions, rows) in [(4, 4), (10, 10)] {
        let combine = Combine::Multiply;
        let text = load(
            2,
            Encoding::QuotientRemainder {
                collisions,
                combine,
            },
        );
        assert_eq!(
            text,
            format!(
                "weight `emb_l.2.weight_r` has 5 rows, the store has {rows}; give the table the \
                 encoding that it was saved with: remainders and projections do not grow with it"
            )
        );
    }
    let text = load(3, Encoding::MixedDimension { dim: 3 });
    assert!(
        text.contains("is F32 [4, 2], the model needs [4, 3]"),
        "{text}"
    );
    let text = load(2, Encoding::Full);
    assert!(
        text.contains("weight `emb_l.2.weight` is missing"),
        "{text}"
    );
}

#[test]
fn dense_weights_must_be_the_models_however_tables_grew() {
    let setup = Setup::new(Placement::Cpu, Optimizer::Sgd);
    let folder = tempfile::tempdir().unwrap();
    let (_, _, path) = trained(&setup, folder.path());
    let mut saved: HashMap<String, Tensor> = safetensors::load(&path, &Device::Cpu).unwrap();
    let longer = Tensor::zeros(9, candle_core::DType::F32, &Device::Cpu).unwrap();
    saved.insert("bot_l.0.bias".into(), longer);
    safetensors::save(&saved, &path).unwrap();
    let text = refusal(&mut setup.trainer(tables_of(GROWN)), |trainer| {
        load_weights_with(&path, trainer, TableRows::Grown)
    });
    assert!(
        text.contains("weight `bot_l.0.bias` is F32 [9], the model needs [8]"),
        "{text}"
    );
}

#[test]
fn state_of_another_optimizer_is_refused_and_other_factors_are_not() {
    let adagrad = Setup::new(Placement::Cpu, Optimizer::adagrad());
    let folder = tempfile::tempdir().unwrap();
    let (small, checkpoint, _) = trained(&adagrad, folder.path());
    let load = |setup: &Setup, dense: Option<Optimizer>| {
        let mut grown = setup.trainer(tables_of(GROWN));
        if let Some(dense) = dense {
            grown = grown.with_dense_optimizer(dense).unwrap();
        }
        let loaded = checkpoint.load_with_state(&mut grown, TableRows::Grown);
        loaded.map(|_| grown)
    };
    let sgd = Setup::new(Placement::Cpu, Optimizer::Sgd);
    for (setup, dense) in [(&sgd, None), (&adagrad, Some(Optimizer::Sgd))] {
        let error = load(setup, dense).err().unwrap();
        assert!(matches!(error, Error::CheckpointSettings { .. }), "{error}");
        assert!(error.to_string().contains("optimizer"), "{error}");
    }
    let frozen = Setup {
        optimizer: adagrad
            .optimizer
            .clone()
            .with_factors(&[0.0, 1.0, 1.0, 0.5]),
        ..adagrad.clone()
    };
    let fresh = adagrad.trainer(tables_of(GROWN));
    assert_grown(&load(&frozen, None).unwrap(), &small, &fresh, true);
}

#[test]
fn a_run_does_not_resume_over_tables_that_grew() {
    let setup = Setup::new(Placement::Cpu, Optimizer::Sgd);
    let folder = tempfile::tempdir().unwrap();
    trained(&setup, folder.path());
    let mut grown = setup.trainer(tables_of(GROWN));
    let error = train(&mut grown, Some(folder.path())).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains(&format!(
            "matrices.emb_l.0.weight.0 was {} and is 60",
            ROWS[0]
        )),
        "{text}"
    );
}
