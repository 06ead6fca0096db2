//! What is written is what is read, however it was written and in whatever order it is read.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod numbered;

use std::collections::BTreeMap;
use std::path::Path;

use numbered::{Numbered, batch, mix, provenance, schema, schemas, sequences, vocabulary, write};
use proptest::prelude::*;
use recsys_data::packed::{PackedDataset, PackedWriter, WriterOptions};
use recsys_data::{Batch, Dataset, Split, SplitRows};

/// Name and contents of every file below a folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            files.extend(
                self::files(&entry.path())
                    .into_iter()
                    .map(|(file, bytes)| (format!("{name}/{file}"), bytes)),
            );
        } else {
            files.insert(name, std::fs::read(entry.path()).unwrap());
        }
    }
    files
}

const ROWS: SplitRows = SplitRows {
    train: 2500,
    validation: 0,
    test: 513,
};

fn small_shards() -> WriterOptions {
    WriterOptions {
        shard_rows: 1100,
        ..WriterOptions::default()
    }
}

#[test]
fn samples_come_back() {
    for schema in schemas() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("data");
        let manifest = write(&out, ROWS, &schema, small_shards(), 700).unwrap();
        let packed = PackedDataset::open(&out).unwrap();
        packed.verify().unwrap();
        assert_eq!(packed.manifest(), &manifest);
        assert_eq!(packed.manifest().provenance, provenance());
        assert_eq!(packed.schema(), &schema);
        assert_eq!(
            packed
                .manifest()
                .splits
                .train
                .shards
                .iter()
                .map(|shard| shard.rows)
                .collect::<Vec<_>>(),
            [1100, 1100, 300]
        );
        for split in Split::ALL {
            let source = Numbered::new(split, ROWS.of(split), &schema);
            let read = packed.split(split);
            assert_eq!(read.len(), source.len);
            assert_eq!(batch(&read, 0..source.len), batch(&source, 0..source.len));
            assert_eq!(
                batch(&read, (0..source.len).rev()),
                batch(&source, (0..source.len).rev())
            );
            let some = |len: u64| (0..len).map(move |k| mix(k) % len);
            assert_eq!(
                batch(&read, some(source.len)),
                batch(&source, some(source.len))
            );
            let mut into = Batch::default();
            let error = read
                .read(&[0, source.len], &mut into)
                .unwrap_err()
                .to_string();
            assert!(error.contains("asked for"), "{error}");
        }
        for (table, column) in schema.tables.iter().enumerate() {
            assert_eq!(
                packed.vocabulary(table).unwrap(),
                Some(vocabulary(column.rows))
            );
        }
    }
}

#[test]
fn bytes_do_not_depend_on_how_samples_came() {
    let folder = tempfile::tempdir().unwrap();
    for (kind, schema) in schemas().iter().enumerate() {
        let written = |batch_size: usize| {
            let out = folder.path().join(format!("{kind}-{batch_size}"));
            write(&out, ROWS, schema, small_shards(), batch_size).unwrap();
            files(&out)
        };
        let whole = written(4096);
        assert_eq!(whole.len(), 4 + 4 + 1);
        for batch_size in [1, 512, 1001] {
            assert!(written(batch_size) == whole, "batches of {batch_size}");
        }
    }
}

#[test]
fn scattered_equals_appended() {
    for schema in [schema(false), sequences(false)] {
        let folder = tempfile::tempdir().unwrap();
        let (appended, scattered) = (folder.path().join("a"), folder.path().join("b"));
        write(&appended, ROWS, &schema, small_shards(), 100).unwrap();
        let mut writer =
            PackedWriter::create(&scattered, schema.clone(), ROWS, small_shards()).unwrap();
        for split in Split::ALL {
            let source = Numbered::new(split, ROWS.of(split), &schema);
            let mut order: Vec<u64> = (0..source.len).collect();
            order.sort_by_key(|k| mix(k / 3));
            for positions in order.chunks(97) {
                writer
                    .scatter(split, positions, &batch(&source, positions.iter().copied()))
                    .unwrap();
            }
        }
        for (table, column) in schema.tables.iter().enumerate() {
            writer
                .write_vocabulary(table, &vocabulary(column.rows))
                .unwrap();
        }
        writer.finish(provenance()).unwrap();
        assert!(files(&appended) == files(&scattered));
        PackedDataset::open(&scattered).unwrap().verify().unwrap();
    }
}

/// The format is meant for readers that know safetensors and nothing of this crate.
#[test]
fn any_safetensors_reader_opens_a_shard() {
    let folder = tempfile::tempdir().unwrap();
    for (kind, schema) in schemas().iter().enumerate() {
        let (multi_hot, sequence) = (schema.multi_hot, schema.sequence_length.is_some());
        let out = folder.path().join(kind.to_string());
        write(&out, ROWS, schema, small_shards(), 700).unwrap();
        let bytes = std::fs::read(out.join("test-00000.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let expected = batch(&Numbered::new(Split::Test, 513, schema), 0..513);
        let shape = |columns: usize| match sequence {
            true => vec![513, 5, columns],
            false => vec![513, columns],
        };
        let floats = |name: &str| {
            let data = file.tensor(name).unwrap().data();
            assert_eq!(
                (data.as_ptr() as usize - bytes.as_ptr() as usize) % 4,
                0,
                "aligned"
            );
            data.as_chunks()
                .0
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes))
                .collect::<Vec<_>>()
        };
        assert_eq!(floats("label"), expected.label);
        assert_eq!(floats("dense"), expected.dense);
        assert_eq!(file.tensor("dense").unwrap().shape(), shape(3));
        let ids = file.tensor("ids").unwrap();
        let values: Vec<u32> = ids
            .data()
            .as_chunks()
            .0
            .iter()
            .map(|bytes| u32::from_le_bytes(*bytes))
            .collect();
        assert_eq!(values, expected.sparse.ids);
        if multi_hot {
            let offsets = file.tensor("offsets").unwrap();
            assert_eq!(
                (offsets.data().as_ptr() as usize - bytes.as_ptr() as usize) % 8,
                0,
                "aligned"
            );
            let values = offsets
                .data()
                .as_chunks()
                .0
                .iter()
                .map(|bytes| u64::from_le_bytes(*bytes) as u32);
            assert!(values.eq(expected.sparse.offsets.iter().copied()));
        } else {
            assert_eq!(ids.shape(), shape(4));
        }
        assert_eq!(
            file.tensor("checksums").unwrap().shape(),
            [2, if multi_hot { 4 } else { 3 }]
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_sizes_round_trip(train in 0u64..1300, test in 0u64..3, shard_rows in 1u64..1400, batch_size in 1usize..1400, kind in 0usize..4) {
        let schema = &schemas()[kind];
        let shard_rows = shard_rows.max(train / 20 + 1);
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("data");
        let rows = SplitRows { train, validation: 0, test };
        write(&out, rows, schema, WriterOptions { shard_rows, ..WriterOptions::default() }, batch_size).unwrap();
        let packed = PackedDataset::open(&out).unwrap();
        packed.verify().unwrap();
        for split in [Split::Train, Split::Test] {
            let source = Numbered::new(split, rows.of(split), schema);
            prop_assert_eq!(batch(&packed.split(split), 0..source.len), batch(&source, 0..source.len));
        }
    }
}

#[test]
fn visited_ids_are_those_that_are_read() {
    for schema in schemas() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("data");
        write(&out, ROWS, &schema, small_shards(), 700).unwrap();
        let packed = PackedDataset::open(&out).unwrap().split(Split::Train);
        // Across shards, with gaps, backwards, and twice the same.
        let samples: Vec<u64> = (900..1300)
            .chain([5, 7, 7])
            .chain((2190..2210).rev())
            .collect();
        let mut expected = Batch::default();
        packed.read(&samples, &mut expected).unwrap();
        let bags_of_sample = packed.schema().bags();
        let (mut seen, mut bags, mut scratch) = (0, Vec::new(), Batch::default());
        let mut visit = |block: recsys_data::IdBlock<'_>| {
            seen += block.samples;
            for bag in 0..block.samples * bags_of_sample {
                bags.push(match block.offsets {
                    [] => vec![block.ids[bag]],
                    offsets => block.ids[offsets[bag] as usize..offsets[bag + 1] as usize].to_vec(),
                });
            }
        };
        packed
            .visit_ids(&samples, &mut scratch, &mut visit)
            .unwrap();
        assert_eq!(seen, samples.len());
        let read: Vec<Vec<u32>> = (0..samples.len() * bags_of_sample)
            .map(|bag| expected.sparse.bag(bag).to_vec())
            .collect();
        assert_eq!(bags, read);
        let beyond = packed.visit_ids(&[2500], &mut scratch, &mut |_| ());
        assert!(matches!(
            beyond,
            Err(recsys_data::Error::SampleOutOfRange { sample: 2500, .. })
        ));
    }
}
