//! Files that are cut off, or of which a bit is flipped.

use std::path::{Path, PathBuf};

use fae_profiler::{HotSet, SelectOptions};
use recsys_data::packed::{PackedDataset, PackedWriter, Provenance, WriterOptions};
use recsys_data::taobao::{PrepareOptions, PrepareTaobao, ShortHistory};
use recsys_data::vocabulary::Vocabulary;
use recsys_data::{Batch, Dataset, Result, Schema, SparseIds, Split, SplitRows, TableSchema};

use crate::cases::gz;
use crate::table::{Line, Outcome, check, names, points};

/// Lines of Taobao's event log, four of each user, so that there are items that a user has not
/// seen.
fn events(count: u64) -> Vec<u8> {
    let line = |event: u64| {
        let (user, item) = (1 + event / 4, 100 + event * 7 % count);
        format!("{user},{item},{},pv,{}\n", item % 5, 1_511_600_000 + event)
    };
    (0..count).map(line).collect::<String>().into_bytes()
}

fn prepare(raw: &Path, out: &Path) -> Result<()> {
    let options = PrepareOptions {
        raw: vec![raw.to_path_buf()],
        out: out.to_path_buf(),
        history: 3,
        short_history: ShortHistory::Pad,
        ..PrepareOptions::default()
    };
    PrepareTaobao::new(options).run(&()).map(drop)
}

/// What becomes of a raw file with this content: it is refused by name, and nothing is left behind.
fn refused(folder: &Path, name: &str, content: &[u8]) -> Outcome {
    let raw = folder.join(name);
    std::fs::write(&raw, content).unwrap();
    let out = folder.join("out");
    match prepare(&raw, &out) {
        Ok(()) => {
            std::fs::remove_dir_all(out).unwrap();
            Outcome::Lost(format!(
                "{} bytes of {name} passed for the whole file",
                content.len()
            ))
        }
        Err(error) if !error.to_string().contains(name) => {
            Outcome::Lost(format!("no name in: {error}"))
        }
        Err(_) if names(folder) != [name] => {
            Outcome::Lost(format!("left behind: {:?}", names(folder)))
        }
        Err(_) => Outcome::Detected,
    }
}

#[test]
fn compressed_files_that_are_cut_off_or_followed_by_something_are_refused() {
    let (small, large) = (events(40), events(20_000));
    let zst = |text: &[u8]| zstd::encode_all(text, 3).unwrap();
    let mut lines = Vec::new();
    for (name, small, large) in [
        ("events.csv.gz", gz(&small), gz(&large)),
        ("events.csv.zst", zst(&small), zst(&large)),
    ] {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path();
        let raw = folder.join(name);
        for whole in [&small, &large] {
            std::fs::write(&raw, whole).unwrap();
            prepare(&raw, &folder.join("out")).unwrap();
            std::fs::remove_dir_all(folder.join("out")).unwrap();
        }
        let every = (0..small.len()).map(|length| refused(folder, name, &small[..length]));
        lines.push(Line::new("cut at every length", name, every));
        let some = points(large.len() as u64 - 1)
            .into_iter()
            .map(|length| refused(folder, name, &large[..length as usize]));
        lines.push(Line::new("cut at some lengths", name, some));
        // Zeros may follow, as tapes and downloads pad. What else does may as well be a damaged
        // member, so it is an error, though gzip itself ignores it.
        let behind = [&b"1,2,3,pv,4\n"[..], &small[..small.len() / 2]];
        let followed = behind.map(|bytes| refused(folder, name, &[&small, bytes].concat()));
        lines.push(Line::new("something else behind it", name, followed));
    }
    check(&lines);
}

/// Everything that can be read of a data set.
fn contents(folder: &Path) -> Result<(Schema, Vec<Batch>, Vec<Option<Vocabulary>>)> {
    let data = PackedDataset::open(folder)?;
    data.verify()?;
    let mut batches = Vec::new();
    for split in Split::ALL {
        let split = data.split(split);
        let samples: Vec<u64> = (0..split.len()).collect();
        let mut batch = Batch::default();
        split.read(&samples, &mut batch)?;
        batches.push(batch);
    }
    let tables = 0..data.schema().tables.len();
    let vocabularies: Result<_> = tables.map(|table| data.vocabulary(table)).collect();
    Ok((data.schema().clone(), batches, vocabularies?))
}

/// A small data set of samples with any number of ids.
fn write_multi_hot(out: &Path) {
    let table = |name: &str, rows| TableSchema {
        name: name.into(),
        rows,
    };
    let schema = Schema {
        dense: vec!["I1".into()],
        tables: vec![table("C1", 9), table("C2", 4)],
        multi_hot: true,
        sequence_length: None,
    };
    let rows = SplitRows {
        train: 3,
        ..SplitRows::default()
    };
    let mut writer = PackedWriter::create(out, schema, rows, WriterOptions::default()).unwrap();
    let batch = Batch {
        label: vec![0.0, 1.0, 0.0],
        dense: vec![0.5, -1.5, 2.5],
        sparse: SparseIds {
            ids: vec![0, 8, 3, 1, 3, 2],
            offsets: vec![0, 2, 3, 3, 4, 6, 6],
        },
    };
    writer.append(Split::Train, &batch).unwrap();
    writer.finish(Provenance::default()).unwrap();
}

/// Flips bits of a file: one of every byte, and all eight of bytes before `all_before`.
fn flip_bits(path: &Path, all_before: usize, mut judge: impl FnMut() -> Outcome) -> Vec<Outcome> {
    let bytes = std::fs::read(path).unwrap();
    let mut outcomes = Vec::new();
    for place in 0..bytes.len() {
        let one = (place.wrapping_mul(0x9E37_79B9) >> 7) as u32 % 8;
        let bits = if place < all_before {
            0..8
        } else {
            one..one + 1
        };
        for bit in bits {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << bit;
            std::fs::write(path, flipped).unwrap();
            outcomes.push(match judge() {
                Outcome::Lost(what) => Outcome::Lost(format!("bit {bit} of byte {place}: {what}")),
                outcome => outcome,
            });
        }
    }
    std::fs::write(path, bytes).unwrap();
    outcomes
}

/// All bits of the manifest and of headers are flipped, one of every other byte.
fn flip_data_set(folder: &Path) -> Vec<Outcome> {
    let before = contents(folder).unwrap();
    let files: Vec<PathBuf> = crate::table::contents(folder).into_keys().collect();
    let mut outcomes = Vec::new();
    for name in files {
        let path = folder.join(&name);
        let bytes = std::fs::read(&path).unwrap();
        let header = match safetensors::SafeTensors::read_metadata(&bytes) {
            Ok((length, _)) => length + 8,
            Err(_) => bytes.len(),
        };
        outcomes.extend(flip_bits(&path, header, || match contents(folder) {
            Ok(after) if after == before => Outcome::Harmless,
            Ok(_) => Outcome::Lost(format!("{} reads as other samples", name.display())),
            Err(_) => Outcome::Detected,
        }));
    }
    outcomes
}

#[test]
fn a_flipped_bit_is_noticed_wherever_it_is() {
    let place = tempfile::tempdir().unwrap();
    let mut lines = Vec::new();

    let (raw, sequences) = (
        place.path().join("events.csv"),
        place.path().join("sequences"),
    );
    std::fs::write(&raw, events(12)).unwrap();
    prepare(&raw, &sequences).unwrap();
    lines.push(Line::new(
        "bit flipped",
        "data set, vocabularies",
        flip_data_set(&sequences),
    ));

    let multi_hot = place.path().join("multi-hot");
    write_multi_hot(&multi_hot);
    lines.push(Line::new(
        "bit flipped",
        "data set, multi-hot",
        flip_data_set(&multi_hot),
    ));

    let data = PackedDataset::open(&multi_hot).unwrap();
    let path = place.path().join("hotset.json");
    let options = SelectOptions {
        budget: 150,
        bytes_per_row: vec![16, 24],
        ..SelectOptions::default()
    };
    let set = HotSet::select(&data, &options).unwrap();
    set.save(&path).unwrap();
    let flips = flip_bits(&path, usize::MAX, || match HotSet::load(&path, &data) {
        Ok(read) if read == set => Outcome::Harmless,
        Ok(_) => Outcome::Lost("reads as another hot set".into()),
        Err(_) => Outcome::Detected,
    });
    lines.push(Line::new("bit flipped", "hot set", flips));
    check(&lines);
}
