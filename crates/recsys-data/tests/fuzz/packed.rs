//! The files of a packed data set: damaged as they are, and with checksums that fit the damage.

use std::path::{Path, PathBuf};

use recsys_data::packed::{PackedDataset, WriterOptions};
use recsys_data::vocabulary::Vocabulary;
use recsys_data::{Batch, Dataset, Result, Split, SplitRows};
use safetensors::SafeTensors;
use testing::fuzzing::Target;
use xxhash_rust::xxh3::xxh3_64;

use crate::numbered::{schema, sequences, write};

const ROWS: SplitRows = SplitRows {
    train: 30,
    validation: 3,
    test: 0,
};
const MANIFEST: &str = "dataset.json";
const SHARD: &str = "train-00000.safetensors";
const VOCABULARY: &str = "vocabulary/C4.safetensors";

pub(crate) fn targets() -> Vec<Target<'static>> {
    let mut targets = Vec::new();
    for (name, file, executions) in [
        ("manifest", MANIFEST, 1_000),
        ("shard", SHARD, 1_000),
        ("vocabulary", VOCABULARY, 1_000),
    ] {
        let set = DataSet::new(file);
        targets.push(Target {
            name,
            seeds: vec![set.bytes.clone()],
            executions,
            check: Box::new(move |input| set.damaged(input)),
        });
    }
    for (name, file, executions) in [
        ("manifest, checksums fit", MANIFEST, 1_000),
        ("shard, checksums fit", SHARD, 1_000),
        ("vocabulary, checksums fit", VOCABULARY, 1_000),
    ] {
        let set = DataSet::new(file);
        targets.push(Target {
            name,
            seeds: vec![set.bytes.clone()],
            executions,
            check: Box::new(move |input| set.sealed(input)),
        });
    }
    targets
}

/// A data set of which one file is damaged.
struct DataSet {
    _folder: tempfile::TempDir,
    out: PathBuf,
    file: &'static str,
    bytes: Vec<u8>,
    manifest: String,
    contents: Contents,
}

type Contents = (Vec<Batch>, Vec<Option<Vocabulary>>);

/// Everything that can be read.
fn contents(folder: &Path) -> Result<Contents> {
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
    Ok((batches, vocabularies?))
}

impl DataSet {
    fn new(file: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("data");
        // Offsets are what is most to be distrusted in a shard; the other files have no use for them.
        let schema = match file {
            SHARD => schema(true),
            _ => sequences(false),
        };
        write(&out, ROWS, &schema, WriterOptions::default(), 30).unwrap();
        Self {
            file,
            bytes: std::fs::read(out.join(file)).unwrap(),
            manifest: std::fs::read_to_string(out.join(MANIFEST)).unwrap(),
            contents: contents(&out).unwrap(),
            out,
            _folder: folder,
        }
    }

    /// Damage is noticed, or has no consequences.
    fn damaged(&self, input: &[u8]) -> bool {
        std::fs::write(self.out.join(self.file), input).unwrap();
        match contents(&self.out) {
            Ok(contents) => {
                assert!(
                    contents == self.contents,
                    "damage passed for another data set"
                );
                true
            }
            Err(error) => self.refused(&error),
        }
    }

    /// With checksums made anew, another data set may be read, or none.
    fn sealed(&self, input: &[u8]) -> bool {
        let manifest = if self.file == MANIFEST {
            sealed(&String::from_utf8_lossy(input))
        } else {
            let input = match self.file {
                SHARD => with_checksums(input),
                _ => input.to_vec(),
            };
            std::fs::write(self.out.join(self.file), &input).unwrap();
            self.manifest_for(&input)
        };
        std::fs::write(self.out.join(MANIFEST), manifest).unwrap();
        match contents(&self.out) {
            Ok(_) => true,
            Err(error) => self.refused(&error),
        }
    }

    fn refused(&self, error: &recsys_data::Error) -> bool {
        let message = error.to_string();
        assert!(
            message.contains(self.out.to_str().unwrap()) || message.contains("vocabulary of table"),
            "{message}"
        );
        false
    }

    /// The manifest with size and hashes of another content of the file.
    fn manifest_for(&self, input: &[u8]) -> String {
        let mut value: serde_json::Value = serde_json::from_str(&self.manifest).unwrap();
        let entry = match self.file {
            SHARD => &mut value["splits"]["train"]["shards"][0],
            _ => &mut value["vocabulary"][3],
        };
        assert_eq!(entry["file"], self.file);
        entry["bytes"] = input.len().into();
        if self.file == VOCABULARY {
            entry["xxh3"] = hash(input).into();
        } else if let Ok((length, metadata)) = SafeTensors::read_metadata(input) {
            entry["header_xxh3"] = hash(&input[..length + 8]).into();
            if let Some(checksums) = metadata.info("checksums") {
                let (start, end) = checksums.data_offsets;
                let checksums = input.get(length + 8 + start..length + 8 + end);
                entry["checksums_xxh3"] = hash(checksums.unwrap_or_default()).into();
            }
        }
        value.as_object_mut().unwrap().remove("xxh3");
        let text = serde_json::to_string_pretty(&value).unwrap();
        let text = text.strip_suffix("\n}").unwrap();
        sealed(&format!("{text},\n  \"xxh3\": \"\"\n}}\n"))
    }
}

/// A shard of one block, with the checksums of the tensors that it has now.
fn with_checksums(input: &[u8]) -> Vec<u8> {
    let mut shard = input.to_vec();
    let Ok((length, metadata)) = SafeTensors::read_metadata(input) else {
        return shard;
    };
    let place = |name: &str| {
        let (start, end) = metadata.info(name)?.data_offsets;
        Some(length + 8 + start..length + 8 + end)
    };
    let tensors = ["label", "dense", "ids", "offsets"];
    let hashes = tensors.map(|name| place(name).and_then(|place| Some(xxh3_64(input.get(place)?))));
    let bytes: Vec<u8> = hashes
        .into_iter()
        .flat_map(|hash| hash.unwrap_or(0).to_le_bytes())
        .collect();
    let checksums = place("checksums").and_then(|place| shard.get_mut(place));
    if let Some(checksums) = checksums.filter(|checksums| checksums.len() == bytes.len()) {
        checksums.copy_from_slice(&bytes);
    }
    shard
}

fn hash(bytes: &[u8]) -> String {
    format!("{:016x}", xxh3_64(bytes))
}

/// The text of a manifest with the checksum that belongs to it.
fn sealed(text: &str) -> String {
    const KEY: &str = "\"xxh3\": \"";
    match text.rfind(KEY) {
        Some(at) => {
            let text = &text[..at + KEY.len()];
            format!("{text}{}\"\n}}\n", hash(text.as_bytes()))
        }
        None => text.to_owned(),
    }
}
