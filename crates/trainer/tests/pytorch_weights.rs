//! Weights that PyTorch saved (`pytorch/make.py` made the files) under their own names, and under
//! other ids.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

use std::path::PathBuf;

use candle_core::Device;
use dlrm::{Dlrm, DlrmConfig, FusedDlrm, Interaction};
use embedding_store::{CpuStore, EmbeddingStore, StoreOptions, TableSpec};
use recsys_data::vocabulary::Vocabulary;
use trainer::{
    Error, Model, RowMap, TableRows, Trainer, load_weights, load_weights_by_category,
    load_weights_with,
};

fn file(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "pytorch", name]
        .iter()
        .collect()
}

fn trainer(rows: [u64; 2]) -> Trainer<FusedDlrm, CpuStore> {
    let config = DlrmConfig {
        tables: 2,
        dim: 2,
        bottom: vec![1, 2],
        top: vec![1],
        interaction: Interaction::Dot { with_self: false },
        ..DlrmConfig::default()
    };
    let options = StoreOptions {
        dim: 2,
        ..StoreOptions::default()
    };
    let store = CpuStore::new(rows.map(TableSpec::full).to_vec(), options).unwrap();
    let model = FusedDlrm::new(Dlrm::new(config, 1, &Device::Cpu).unwrap());
    Trainer::new(model, store, Device::Cpu)
}

fn rows(trainer: &Trainer<FusedDlrm, CpuStore>, table: usize) -> Vec<f32> {
    let rows = trainer.store().parts()[table].rows;
    trainer.store().export(table, 0..rows).unwrap().weights
}

/// The values from `first` on, as the script counts them.
fn counted(first: u8, count: u8) -> Vec<f32> {
    let values = first..first + count;
    values.map(|value| f32::from(value) / 8.0).collect()
}

#[test]
fn a_checkpoint_and_a_bare_dictionary_load_under_their_names() {
    for name in ["checkpoint.pt", "bare.pt"] {
        let mut trainer = trainer([4, 3]);
        load_weights(&file(name), &mut trainer).unwrap();
        assert_eq!(rows(&trainer, 0), counted(0, 8));
        assert_eq!(rows(&trainer, 1), counted(8, 6));
        let dense = trainer.model().named_weights().unwrap();
        let named = |wanted: &str| {
            let (_, tensor) = dense.iter().find(|(name, _)| name == wanted).unwrap();
            tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        assert_eq!(named("bot_l.0.weight"), counted(14, 2));
        assert_eq!(named("bot_l.0.bias"), counted(16, 2));
        assert_eq!(named("top_l.0.weight"), counted(18, 5));
        assert_eq!(named("top_l.0.bias"), counted(23, 1));
    }
}

fn vocabulary(categories: &[u32]) -> Vocabulary {
    Vocabulary {
        categories: categories.to_vec(),
        counts: vec![1; categories.len()],
        ..Vocabulary::default()
    }
}

#[test]
fn rows_follow_their_categories() {
    let maps = [
        RowMap::between(&vocabulary(&[5, 6, 7, 8]), &vocabulary(&[8, 9, 5])),
        RowMap::between(&vocabulary(&[1, 2, 3]), &vocabulary(&[3, 2, 1])),
    ];
    let mut trainer = trainer([3, 3]);
    let first = rows(&trainer, 0);
    let absent = load_weights_by_category(&file("checkpoint.pt"), &mut trainer, &maps).unwrap();
    assert_eq!(absent, 1);
    let expected = [counted(6, 2), first[2..4].to_vec(), counted(0, 2)].concat();
    assert_eq!(rows(&trainer, 0), expected);
    assert_eq!(
        rows(&trainer, 1),
        [counted(12, 2), counted(10, 2), counted(8, 2)].concat()
    );
}

#[test]
fn tables_that_grew_take_the_rows_that_a_file_has() {
    for name in ["checkpoint.pt", "bare.pt"] {
        let mut trainer = trainer([6, 3]);
        let first = rows(&trainer, 0);
        assert!(load_weights(&file(name), &mut trainer).is_err());
        assert_eq!(rows(&trainer, 0), first);
        let absent = load_weights_with(&file(name), &mut trainer, TableRows::Grown).unwrap();
        assert_eq!(absent, 2);
        let expected = [counted(0, 8), first[8..].to_vec()].concat();
        assert_eq!(rows(&trainer, 0), expected);
        assert_eq!(rows(&trainer, 1), counted(8, 6));
    }
}

#[test]
fn files_that_do_not_fit_change_nothing() {
    let mut narrow = trainer([4, 2]);
    let before = rows(&narrow, 0);
    let error = load_weights(&file("checkpoint.pt"), &mut narrow).unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("weight `emb_l.1.weight` has 3 rows, the store has 2"),
        "{message}"
    );
    assert_eq!(rows(&narrow, 0), before);
    let map = RowMap::between(&vocabulary(&[1, 2]), &vocabulary(&[1, 2]));
    let error = load_weights_by_category(
        &file("bare.pt"),
        &mut trainer([2, 2]),
        &[map.clone(), map.clone()],
    );
    assert!(matches!(error.unwrap_err(), Error::WeightShape { .. }));
    let error = load_weights_by_category(&file("bare.pt"), &mut trainer([2, 2]), &[map]);
    assert!(matches!(error.unwrap_err(), Error::Mismatch { .. }));

    let folder = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(file("bare.pt")).unwrap();
    for length in [4, 100, bytes.len() / 2, bytes.len() - 1] {
        let path = folder.path().join("cut.pt");
        std::fs::write(&path, &bytes[..length]).unwrap();
        let error = load_weights(&path, &mut trainer([4, 3])).unwrap_err();
        assert!(
            matches!(error, Error::NotPickledWeights { .. }),
            "{length}: {error}"
        );
    }
}

/// The id was an index into the file's rows, unchecked.
#[test]
fn weights_by_category_with_an_id_beyond_the_rows_are_an_error_and_do_not_panic() {
    let map = |rows, from: &[Option<u32>]| RowMap {
        rows,
        from: from.to_vec(),
    };
    let good = map(3, &[Some(0), Some(2)]);
    let mut trainer = trainer([2, 2]);
    let before = rows(&trainer, 0);
    for id in [4, u32::MAX] {
        let maps = [map(4, &[Some(1), Some(id)]), good.clone()];
        let error = load_weights_by_category(&file("bare.pt"), &mut trainer, &maps).unwrap_err();
        assert!(matches!(error, Error::Mismatch { .. }), "{error}");
        assert!(error.to_string().contains("RowMap"), "{error}");
    }
    assert_eq!(rows(&trainer, 0), before);
}
