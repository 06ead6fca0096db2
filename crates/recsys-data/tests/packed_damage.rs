//! A damaged, swapped or foreign packed data set is an error that names the file and the place, never a wrong sample.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod numbered;

use std::path::{Path, PathBuf};

use numbered::{mix, schema, small_batch, write};
use proptest::prelude::*;
use recsys_data::packed::{PackedDataset, PackedWriter, WriterOptions};
use recsys_data::{Batch, Dataset, Error, Result, Split, SplitRows};

const ROWS: SplitRows = SplitRows {
    train: 1300,
    validation: 40,
    test: 0,
};

/// A data set of two training shards and one validation shard.
fn data_set(multi_hot: bool) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("data");
    let options = WriterOptions {
        shard_rows: 700,
        ..WriterOptions::default()
    };
    write(&out, ROWS, &schema(multi_hot), options, 333).unwrap();
    (folder, out)
}

/// Opens a data set and reads every sample of it.
fn read_all(folder: &Path) -> Result<Vec<Batch>> {
    let data = PackedDataset::open(folder)?;
    let mut batches = Vec::new();
    for split in Split::ALL {
        let split = data.split(split);
        let samples: Vec<u64> = (0..split.len()).collect();
        let mut batch = Batch::default();
        split.read(&samples, &mut batch)?;
        batches.push(batch);
    }
    for table in 0..data.schema().tables.len() {
        data.vocabulary(table)?;
    }
    Ok(batches)
}

/// What is said after `change` was done to a data set.
fn after(change: impl FnOnce(&Path)) -> String {
    let (_folder, out) = data_set(false);
    change(&out);
    read_all(&out)
        .expect_err("damage went unnoticed")
        .to_string()
}

const FIRST: &str = "train-00000.safetensors";

#[test]
fn folders_that_hold_no_data_set_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for missing in [folder.path().join("absent"), folder.path().to_path_buf()] {
        let message = PackedDataset::open(&missing).unwrap_err().to_string();
        assert!(
            message.contains(&missing.display().to_string()),
            "{message}"
        );
    }
}

#[test]
fn truncated_and_missing_shards_are_named_with_their_sizes() {
    let message = after(|out| {
        let path = out.join(FIRST);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 100]).unwrap();
    });
    assert!(
        message.contains(FIRST) && message.contains("truncated"),
        "{message}"
    );
    let message = after(|out| std::fs::write(out.join(FIRST), b"").unwrap());
    assert!(message.contains(FIRST), "{message}");
    let message = after(|out| std::fs::remove_file(out.join(FIRST)).unwrap());
    assert!(
        message.contains(FIRST) && message.contains("cannot open"),
        "{message}"
    );
}

#[test]
fn swapped_shards_are_called_just_that() {
    let message = after(|out| {
        let (a, b) = (out.join(FIRST), out.join("validation-00000.safetensors"));
        let spare = out.join("spare");
        std::fs::rename(&a, &spare).unwrap();
        std::fs::rename(&b, &a).unwrap();
        std::fs::rename(&spare, &b).unwrap();
    });
    assert!(
        message.contains("swapped") && message.contains("shard 0 of validation"),
        "{message}"
    );
    // The same shard of another data set: same name, same size, other samples.
    let message = after(|out| {
        let (_folder, other) = {
            let folder = tempfile::tempdir().unwrap();
            let out = folder.path().join("other");
            let options = WriterOptions {
                shard_rows: 700,
                ..WriterOptions::default()
            };
            write(
                &out,
                SplitRows {
                    train: 1400,
                    validation: 40,
                    test: 0,
                },
                &schema(false),
                options,
                333,
            )
            .unwrap();
            (folder, out)
        };
        std::fs::copy(
            other.join("train-00001.safetensors"),
            out.join("train-00001.safetensors"),
        )
        .unwrap();
    });
    assert!(message.contains("train-00001.safetensors"), "{message}");
}

#[test]
fn another_version_is_named_with_both() {
    let edit = |path: PathBuf, from: &str, to: &str| {
        let bytes = std::fs::read(&path).unwrap();
        let at = bytes
            .windows(from.len())
            .position(|window| window == from.as_bytes())
            .unwrap();
        let edited = [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat();
        std::fs::write(path, edited).unwrap();
    };
    let message = after(|out| {
        edit(
            out.join("dataset.json"),
            "\"format_version\": 1",
            "\"format_version\": 7",
        )
    });
    assert!(
        message.contains("version 7") && message.contains("version 1"),
        "{message}"
    );
    let message = after(|out| edit(out.join(FIRST), "\"version\":\"1\"", "\"version\":\"7\""));
    assert!(
        message.contains("version 7") && message.contains("version 1"),
        "{message}"
    );
    // A manifest that was edited so that it still is JSON.
    let message = after(|out| edit(out.join("dataset.json"), "\"rows\": 1300", "\"rows\": 1200"));
    assert!(message.contains("dataset.json"), "{message}");
}

/// Where the bytes of a tensor lie in a shard.
fn tensor_start(path: &Path, name: &str) -> usize {
    let bytes = std::fs::read(path).unwrap();
    let (header, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    8 + header + metadata.info(name).unwrap().data_offsets.0
}

#[test]
fn values_out_of_range_are_named_with_sample_and_column() {
    let cases: [(&str, usize, [u8; 4], [&str; 3]); 4] = [
        (
            "label",
            4 * 600,
            f32::NAN.to_le_bytes(),
            ["train sample 600", "label", "NaN"],
        ),
        (
            "dense",
            4 * (3 * 601 + 1),
            f32::INFINITY.to_le_bytes(),
            ["train sample 601", "I2", "inf"],
        ),
        (
            "dense",
            4 * (3 * 2 + 2),
            f32::NAN.to_le_bytes(),
            ["train sample 2", "I3", "NaN"],
        ),
        (
            "ids",
            4 * (4 * 602 + 2),
            1000u32.to_le_bytes(),
            ["train sample 602", "C3", "ids 0 to 999"],
        ),
    ];
    for (tensor, at, value, expected) in cases {
        let message = after(|out| {
            let path = out.join(FIRST);
            let start = tensor_start(&path, tensor) + at;
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[start..start + 4].copy_from_slice(&value);
            std::fs::write(path, bytes).unwrap();
        });
        for part in expected.into_iter().chain([FIRST]) {
            assert!(message.contains(part), "`{message}` does not name `{part}`");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// One flipped bit anywhere is found, by what is said about the file or by its absence of consequences.
    #[test]
    fn no_flipped_bit_changes_a_sample(seed: u64, multi_hot: bool) {
        let (_folder, out) = data_set(multi_hot);
        let before = read_all(&out).unwrap();
        for (number, name) in [FIRST, "train-00001.safetensors", "validation-00000.safetensors", "dataset.json", "vocabulary/C3.safetensors"].into_iter().enumerate() {
            let path = out.join(name);
            let bytes = std::fs::read(&path).unwrap();
            let place = mix(seed ^ number as u64) as usize % bytes.len();
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << (seed % 8);
            std::fs::write(&path, flipped).unwrap();
            match read_all(&out) {
                Ok(after) => prop_assert!(after == before, "{} byte {}", name, place),
                Err(error) => {
                    let message = error.to_string();
                    prop_assert!(message.contains(out.to_str().unwrap()), "{}", message);
                }
            }
            std::fs::write(&path, bytes).unwrap();
        }
    }
}

#[test]
fn bad_samples_are_refused_before_they_are_written_and_nothing_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (schema, good) = small_batch();
    let rows = SplitRows {
        train: 3,
        ..SplitRows::default()
    };
    let refusal = |change: &dyn Fn(&mut Batch)| {
        let out = folder.path().join("out");
        let mut writer =
            PackedWriter::create(&out, schema.clone(), rows, WriterOptions::default()).unwrap();
        let mut batch = good.clone();
        change(&mut batch);
        let error = writer.append(Split::Train, &batch).unwrap_err();
        drop(writer);
        assert_eq!(
            folder.path().read_dir().unwrap().count(),
            0,
            "something was left behind"
        );
        error.to_string()
    };
    let message = refusal(&|batch| batch.sparse.ids[1] = 10);
    assert!(
        message.contains("train sample 1")
            && message.contains("C1")
            && message.contains("ids 0 to 9"),
        "{message}"
    );
    let message = refusal(&|batch| batch.dense[2] = f32::NAN);
    assert!(
        message.contains("train sample 2") && message.contains("I1"),
        "{message}"
    );
    let message = refusal(&|batch| batch.label[0] = f32::NAN);
    assert!(
        message.contains("train sample 0") && message.contains("label"),
        "{message}"
    );
    let message = refusal(&|batch| batch.dense.truncate(2));
    assert!(
        message.contains("2 dense values") && message.contains('3'),
        "{message}"
    );
    let message = refusal(&|batch| batch.label.push(1.0));
    assert!(message.contains("dense values"), "{message}");
}

#[test]
fn a_disk_too_small_for_the_output_is_noticed_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (schema, _) = small_batch();
    let rows = SplitRows {
        train: 1 << 55,
        ..SplitRows::default()
    };
    let options = WriterOptions {
        shard_rows: 1 << 55,
        ..WriterOptions::default()
    };
    let error =
        PackedWriter::create(&folder.path().join("out"), schema, rows, options).unwrap_err();
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    assert!(error.to_string().contains("free some space"), "{error}");
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}

#[test]
fn a_file_that_is_truncated_while_it_is_open_is_named() {
    for multi_hot in [false, true] {
        let (_folder, out) = data_set(multi_hot);
        let data = PackedDataset::open(&out).unwrap();
        let split = data.split(Split::Train);
        let mut batch = Batch::default();
        split.read(&[0, 900, 5], &mut batch).unwrap();
        let path = out.join(FIRST);
        std::fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(100)
            .unwrap();
        // Blocks that were read before, blocks that were not, and the way of counting.
        for samples in [[1u64, 2], [680, 681]] {
            let message = split.read(&samples, &mut batch).unwrap_err().to_string();
            assert!(
                message.contains(FIRST) && message.contains("truncated"),
                "{message}"
            );
            let message = split
                .visit_ids(&samples, &mut batch, &mut |_| ())
                .unwrap_err();
            assert!(message.to_string().contains(FIRST));
        }
        assert!(data.verify().unwrap_err().to_string().contains(FIRST));
        // The other shard is whole.
        split.read(&[900, 901], &mut batch).unwrap();
    }
}

/// A manifest whose checksum is right, as somebody makes it who wants other files read.
fn forged(out: &Path, from: &str, to: &str) {
    let path = out.join("dataset.json");
    let text = std::fs::read_to_string(&path).unwrap().replace(from, to);
    let (body, _) = text.split_at(text.rfind(": \"").unwrap() + 3);
    let hash = xxhash_rust::xxh3::xxh3_64(body.as_bytes());
    std::fs::write(&path, format!("{body}{hash:016x}\"\n}}\n")).unwrap();
}

#[test]
fn files_outside_of_the_data_set_are_not_read() {
    for name in ["/etc/passwd", "../data/train-00000.safetensors", "..", ""] {
        let message = after(|out| forged(out, FIRST, name));
        assert!(
            message.contains("does not lie in the data set"),
            "{name}: {message}"
        );
    }
    let vocabulary = |name: &str| {
        after(|out| {
            let names = std::fs::read_dir(out.join("vocabulary")).unwrap();
            let first = names.map(|entry| entry.unwrap().file_name()).min().unwrap();
            forged(
                out,
                &format!("vocabulary/{}", first.to_str().unwrap()),
                name,
            );
        })
    };
    assert!(vocabulary("/dev/zero").contains("does not lie in the data set"));
}

#[cfg(unix)]
#[test]
fn devices_and_pipes_in_a_data_set_are_refused() {
    let replaced = |name: &str, pipe: bool| {
        after(|out| {
            let path = out.join(name);
            std::fs::remove_file(&path).unwrap();
            if pipe {
                let made = std::process::Command::new("mkfifo").arg(&path).status();
                assert!(made.unwrap().success());
            } else {
                std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
            }
        })
    };
    let names = |out: &Path| {
        let names = std::fs::read_dir(out.join("vocabulary")).unwrap();
        names.map(|entry| entry.unwrap().file_name()).min().unwrap()
    };
    let (_folder, out) = data_set(false);
    let vocabulary = format!("vocabulary/{}", names(&out).to_str().unwrap());
    for name in [FIRST, "dataset.json", &vocabulary] {
        for pipe in [false, true] {
            let message = replaced(name, pipe);
            let said = message.contains(name) && message.contains("no regular file");
            assert!(said, "{name}, pipe: {pipe}: {message}");
        }
    }
}
