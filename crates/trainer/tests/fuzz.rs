//! No file of weights makes its readers panic, take much memory or much time.
//!
//! `RECSYS_FUZZ_SECONDS=600 cargo test --release -p trainer --test fuzz -- --nocapture` tries new
//! inputs for ten minutes.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

use std::path::Path;

use candle_core::Device;
use dlrm::{Dlrm, DlrmConfig, FusedDlrm, Interaction};
use embedding_store::{CpuStore, StoreOptions, TableSpec};
use testing::fuzzing::Target;
use trainer::{Trainer, WeightsForm, export_weights, load_weights, save_weights};

#[global_allocator]
static ALLOCATOR: testing::Counting = testing::Counting;

fn trainer() -> Trainer<FusedDlrm, CpuStore> {
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
    let store = CpuStore::new([4, 3].map(TableSpec::full).to_vec(), options).unwrap();
    let model = FusedDlrm::new(Dlrm::new(config, 1, &Device::Cpu).unwrap());
    Trainer::new(model, store, Device::Cpu)
}

/// The description and the numbers of a zip file in the older form, as PyTorch before 1.6 wrote it.
fn legacy(shapes: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes =
        b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.".to_vec();
    let text = |text: &str| {
        [
            b"X",
            &(text.len() as u32).to_le_bytes()[..],
            text.as_bytes(),
        ]
        .concat()
    };
    let tuple = |numbers: &[u8]| {
        let numbers = numbers.iter().flat_map(|&number| [b'K', number]);
        [b"(".to_vec(), numbers.collect(), b"t".to_vec()].concat()
    };
    let size = |shape: &[u8]| shape.iter().product::<u8>();
    bytes.extend(b"\x80\x02}(");
    for (number, (name, shape)) in shapes.iter().enumerate() {
        bytes.extend(text(name));
        bytes.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        bytes.extend(text("storage"));
        bytes.extend(b"ctorch\nFloatStorage\n");
        bytes.extend(text(&number.to_string()));
        bytes.extend(text("cpu"));
        bytes.extend([b'K', size(shape), b'N', b't', b'Q', b'K', 0]);
        bytes.extend(tuple(shape));
        let strides: Vec<u8> = (0..shape.len()).map(|at| size(&shape[at + 1..])).collect();
        bytes.extend(tuple(&strides));
        bytes.extend(b"\x89NtR");
    }
    bytes.extend(b"u.\x80\x02](");
    for number in 0..shapes.len() {
        bytes.extend(text(&number.to_string()));
    }
    bytes.extend(b"e.");
    for (_, shape) in shapes {
        bytes.extend(u64::from(size(shape)).to_le_bytes());
        bytes.extend((0..size(shape)).flat_map(|value| f32::from(value).to_le_bytes()));
    }
    bytes
}

fn target<'a>(name: &'a str, seeds: Vec<Vec<u8>>, folder: &Path) -> Target<'a> {
    let path = folder.join("weights");
    let mut trainer = trainer();
    Target {
        name,
        seeds,
        executions: 10_000,
        check: Box::new(move |input| {
            std::fs::write(&path, input).unwrap();
            match load_weights(&path, &mut trainer) {
                Ok(()) => true,
                Err(error) => {
                    let message = error.to_string();
                    assert!(message.contains("weights"), "{message}");
                    assert!(message.lines().count() == 1, "{message}");
                    false
                }
            }
        }),
    }
}

#[test]
fn damaged_weights_are_read_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("saved");
    save_weights(&saved, &trainer()).unwrap();
    let export = |form| {
        let path = folder.path().join("exported");
        export_weights(&saved, &path, form).unwrap();
        std::fs::read(path).unwrap()
    };
    let sample = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pytorch");
        std::fs::read(path.join(name)).unwrap()
    };
    let zips = vec![
        sample("bare.pt"),
        sample("checkpoint.pt"),
        export(WeightsForm::Reference),
        export(WeightsForm::StateDict),
    ];
    let shapes: [(&str, &[u8]); 6] = [
        ("emb_l.0.weight", &[4, 2]),
        ("emb_l.1.weight", &[3, 2]),
        ("bot_l.0.weight", &[2, 1]),
        ("bot_l.0.bias", &[2]),
        ("top_l.0.weight", &[1, 5]),
        ("top_l.0.bias", &[1]),
    ];
    testing::fuzzing::run(&mut [
        target("PyTorch's zip archives", zips, folder.path()),
        target(
            "PyTorch's older files",
            vec![legacy(&shapes)],
            folder.path(),
        ),
        target(
            "safetensors",
            vec![std::fs::read(&saved).unwrap()],
            folder.path(),
        ),
    ]);
}
