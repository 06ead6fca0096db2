//! Rows in memory-mapped files give the numbers of rows in memory, bit for bit, and are never
//! trusted where they cannot be.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};

use cases::{Case, bits, case, contents};
use embedding_store::{
    Backing, CpuStore, EmbeddingStore, Encoding, Error, Held, HotCold, HotReplicas, Ids, Optimizer,
    Plan, Rows, StoreOptions, TableSpec, Tiered,
};
use proptest::prelude::*;

mod cases;

/// Runs all batches on both stores, showing the coming `ahead` ones to the mapped one.
fn check(case: &Case, mapped: &mut (impl EmbeddingStore + Tiered), ahead: usize) {
    let mut plain = case.plain();
    let plans: Vec<Plan> = case
        .batches
        .iter()
        .map(|batch| case.plan(mapped, batch))
        .collect();
    assert!(contents(mapped) == contents(&plain));
    for (step, batch) in case.batches.iter().enumerate() {
        for plan in plans.iter().skip(step + 1).take(ahead) {
            mapped.prefetch(plan).unwrap();
        }
        let expected = case.step(&mut plain, batch, &case.plan(&case.plain(), batch), step);
        assert_eq!(case.step(mapped, batch, &plans[step], step), expected);
    }
    assert!(contents(mapped) == contents(&plain));
}

fn store(case: &Case, held: Held<'_>, backing: &Backing) -> CpuStore {
    CpuStore::with_backing(case.tables.clone(), case.options.clone(), held, backing).unwrap()
}

fn scratch(folder: &tempfile::TempDir) -> Backing {
    Backing::Scratch(folder.path().to_path_buf())
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn mapped_is_in_memory(case in case(), ahead in 0usize..3) {
        let folder = tempfile::tempdir().unwrap();
        let mut mapped = store(&case, Held::All, &scratch(&folder));
        prop_assert!(mapped.mapped_bytes() > 0 && mapped.mapped_bytes() <= mapped.memory_bytes());
        check(&case, &mut mapped, ahead);
        prop_assert!(is_empty(folder.path()), "a scratch file has a name");
    }

    #[test]
    fn hot_in_memory_and_cold_in_files_is_in_memory(case in case(), ahead in 0usize..3) {
        let folder = tempfile::tempdir().unwrap();
        let hot = store(&case, Held::Hot(&case.hot_rows), &Backing::Memory);
        let cold = store(&case, Held::Cold(&case.hot_rows), &scratch(&folder));
        check(&case, &mut HotCold::new(hot, cold).unwrap(), ahead);
    }

    #[test]
    fn replicas_of_hot_rows_of_mapped_tables_are_in_memory(case in case(), ahead in 0usize..3) {
        let folder = tempfile::tempdir().unwrap();
        let replica = store(&case, Held::Hot(&case.hot_rows), &Backing::Memory);
        let full = store(&case, Held::All, &scratch(&folder));
        check(&case, &mut HotReplicas::new(full, vec![replica]).unwrap(), ahead);
    }

    #[test]
    fn a_closed_store_opens_with_every_bit(case in case()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows");
        let mut mapped = store(&case, Held::All, &Backing::Folder(path.clone()));
        check(&case, &mut mapped, 1);
        let expected = contents(&mapped);
        mapped.close().unwrap();
        for _ in 0..2 {
            let opened = CpuStore::open(&path, case.tables.clone(), case.options.clone()).unwrap();
            prop_assert!(contents(&opened) == expected);
            opened.close().unwrap();
        }
        // Whoever drops it says nothing about its rows.
        drop(CpuStore::open(&path, case.tables.clone(), case.options.clone()).unwrap());
        let again = CpuStore::open(&path, case.tables.clone(), case.options.clone());
        let refused = matches!(again, Err(Error::NotClosed { .. }));
        prop_assert!(refused);
    }

    #[test]
    fn rows_come_and_go_as_in_memory(case in case()) {
        let folder = tempfile::tempdir().unwrap();
        let mut plain = case.plain();
        let mut mapped = store(&case, Held::All, &scratch(&folder));
        for part in 0..plain.parts().len() {
            let count = plain.parts()[part].rows;
            let mut rows: Rows = mapped.export(part, 0..count).unwrap();
            rows.weights.iter_mut().for_each(|weight| *weight = 1.5 - *weight);
            rows.state.iter_mut().for_each(|state| *state += 0.25);
            plain.import(part, 0, &rows).unwrap();
            mapped.import(part, 0, &rows).unwrap();
            let back = mapped.export(part, 0..count).unwrap();
            prop_assert_eq!(bits(&back.weights), bits(&rows.weights));
        }
        prop_assert!(contents(&plain) == contents(&mapped));
    }
}

/// Two tables of some megabytes, more than one page and one piece.
fn tables() -> Vec<TableSpec> {
    vec![
        TableSpec::full(150_000),
        TableSpec {
            rows: 40_000,
            encoding: Encoding::MixedDimension { dim: 4 },
        },
    ]
}

fn options() -> StoreOptions {
    StoreOptions {
        dim: 16,
        optimizer: Optimizer::rowwise_adagrad().into(),
        ..StoreOptions::default()
    }
}

fn create(folder: &Path) -> Result<CpuStore, Error> {
    let backing = Backing::Folder(folder.to_path_buf());
    CpuStore::with_backing(tables(), options(), Held::All, &backing)
}

/// A folder with the rows of a closed store.
fn closed() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows of größte Tabelle");
    create(&path).unwrap().close().unwrap();
    (folder, path)
}

fn open(folder: &Path) -> Result<CpuStore, Error> {
    CpuStore::open(folder, tables(), options())
}

#[test]
fn large_tables_start_as_in_memory() {
    let (_folder, path) = closed();
    let plain = CpuStore::new(tables(), options()).unwrap();
    assert!(contents(&open(&path).unwrap()) == contents(&plain));
}

#[test]
fn a_store_that_was_not_closed_is_refused_and_may_be_replaced() {
    let folder = tempfile::tempdir().unwrap();
    drop(create(folder.path()).unwrap());
    let error = open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("checkpoint"), "{error}");
    create(folder.path()).unwrap().close().unwrap();
    open(folder.path()).unwrap();
}

#[test]
fn a_closed_store_is_not_replaced() {
    let (_folder, path) = closed();
    let error = create(&path).unwrap_err();
    assert!(matches!(error, Error::FolderTaken { .. }), "{error}");
    open(&path).unwrap();
}

#[test]
fn other_things_are_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("notes.txt");
    std::fs::write(&other, "mine").unwrap();
    let error = create(folder.path()).unwrap_err();
    assert!(error.to_string().contains("notes.txt"), "{error}");
    assert_eq!(std::fs::read(&other).unwrap(), b"mine");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_folder_has_one_user() {
    let (_folder, path) = closed();
    let first = open(&path).unwrap();
    for second in [open(&path), create(&path)] {
        assert!(matches!(second, Err(Error::FolderInUse { .. })));
    }
    first.close().unwrap();
    open(&path).unwrap();
}

#[test]
fn other_tables_and_optimizers_are_named_and_leave_the_store_closed() {
    let (_folder, path) = closed();
    let mut fewer = tables();
    fewer[1].rows -= 1;
    let wider = StoreOptions {
        dim: 32,
        ..options()
    };
    let plain = StoreOptions {
        optimizer: Optimizer::Sgd.into(),
        ..options()
    };
    for (tables, options, word) in [
        (fewer, options(), "39999"),
        (tables(), wider, "dimension 16"),
        (tables(), plain, "sgd"),
    ] {
        let error = CpuStore::open(&path, tables, options)
            .unwrap_err()
            .to_string();
        assert!(error.contains(word), "{error}");
    }
    open(&path).unwrap();
}

#[test]
fn damaged_folders_are_refused_and_stay_as_they_are() {
    let (_folder, path) = closed();
    let rows = path.join("emb_l.0.weight.weights");
    let whole = std::fs::read(&rows).unwrap();
    std::fs::write(&rows, &whole[..whole.len() - 1]).unwrap();
    let error = open(&path).unwrap_err();
    assert!(matches!(error, Error::RowFileSize { .. }), "{error}");
    std::fs::remove_file(&rows).unwrap();
    let error = open(&path).unwrap_err().to_string();
    assert!(error.contains("emb_l.0.weight.weights"), "{error}");
    std::fs::write(&rows, &whole).unwrap();
    open(&path).unwrap().close().unwrap();

    let description = path.join("store.json");
    let text = std::fs::read_to_string(&description).unwrap();
    for damaged in [
        "",
        "{}",
        &text[..text.len() - 2],
        &text.replace("\"version\":1", "\"version\":2"),
        &text.replace("150000", "99999999999"),
    ] {
        std::fs::write(&description, damaged).unwrap();
        assert!(open(&path).is_err());
    }
    std::fs::remove_file(&description).unwrap();
    let error = open(&path).unwrap_err().to_string();
    assert!(error.contains("store.json"), "{error}");
    std::fs::write(&description, text).unwrap();
    open(&path).unwrap();
}

#[test]
fn rows_that_do_not_fit_the_disk_are_an_error_that_leaves_nothing() {
    let tables = vec![TableSpec::full(u64::from(u32::MAX)); 2000];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new");
    for backing in [
        Backing::Folder(path.clone()),
        Backing::Scratch(path.clone()),
    ] {
        let error = CpuStore::with_backing(tables.clone(), options(), Held::All, &backing);
        let error = error.unwrap_err();
        assert!(
            matches!(error, Error::DiskSpace { needed, available, .. } if needed > available),
            "{error}"
        );
    }
    assert!(!path.exists() || is_empty(&path));
}

#[test]
fn hot_rows_in_memory_leave_the_others_for_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let backing = Backing::Scratch(folder.path().to_path_buf());
    let cold = CpuStore::with_backing(tables(), options(), Held::Cold(&[50_000, 0]), &backing);
    let mut store = HotCold::new(
        CpuStore::hot(tables(), options(), &[50_000, 0]).unwrap(),
        cold.unwrap(),
    )
    .unwrap();
    let bytes = store.memory_bytes() - store.mapped_bytes();
    assert!((50_000 * 64..50_000 * 70).contains(&bytes), "{bytes}");
    let mut plan = Plan::default();
    let ids = Ids {
        batch: 2,
        ids: &[149_999, 39_999, 0, 1],
        offsets: &[],
    };
    store.planner().plan(ids, &mut plan).unwrap();
    store.prefetch(&plan).unwrap();
}
