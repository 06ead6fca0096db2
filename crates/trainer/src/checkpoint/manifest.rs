//! `checkpoint.json`: everything of a checkpoint but the tensors.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use recsys_data::input_file::open_regular;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use crate::progress::Progress;
use crate::tensor_file::Written;
use crate::{Error, Result};

/// Name of the file.
pub(super) const MANIFEST_FILE: &str = "checkpoint.json";
/// Name of the file of dense weights and their optimizer state.
pub(super) const MODEL_FILE: &str = "model.safetensors";
/// Name of the file of embedding rows and their optimizer state.
pub(super) const TABLES_FILE: &str = "tables.safetensors";

pub(super) const FORMAT: &str = "recsys-checkpoint";
/// Since version 2, state of the dense optimizer is saved under the parameters' names; version 1
/// had their numbers.
pub(super) const VERSION: u64 = 2;
/// The oldest version that can be read.
const OLDEST_VERSION: u64 = 1;
/// Files beyond this are not read.
const MOST_BYTES: u64 = 256 << 20;

/// What the file holds besides format, version and its own hash.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    /// Of the format.
    #[serde(skip)]
    pub(super) version: u64,
    pub(super) settings: Settings,
    pub(super) order: Order,
    pub(super) progress: Progress,
    pub(super) schedule: Value,
    /// Of the store, as [`EmbeddingStore::updates`](embedding_store::EmbeddingStore::updates)
    /// counts them; left out where nothing depends on them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) updates: u64,
    /// What the caller says about it; left out where that is nothing.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub(super) about: Value,
    pub(super) files: Vec<SavedFile>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What decides the numbers of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// What the caller knows.
    pub(crate) program: Value,
    /// What the run itself knows.
    pub(crate) run: Value,
}

/// What decides the order of the batches in an epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    /// What the caller knows.
    pub(crate) program: Value,
    /// Sides and batches of the lanes.
    pub(crate) lanes: Value,
}

/// A file beside this one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SavedFile {
    pub(super) name: String,
    pub(super) bytes: u64,
    /// As 16 hexadecimal digits.
    pub(super) xxh3: String,
}

impl SavedFile {
    pub(super) fn new(name: &str, written: Written) -> Self {
        Self {
            name: name.into(),
            bytes: written.bytes,
            xxh3: format!("{:016x}", written.xxh3),
        }
    }
}

/// The hash of everything but itself, of the JSON in its shortest form.
fn hash(content: &Value) -> String {
    format!("{:016x}", xxh3_64(content.to_string().as_bytes()))
}

impl Manifest {
    /// Writes the file and makes it durable; returns its bytes.
    pub(super) fn write(&self, path: &Path) -> Result<u64> {
        let json = |source| Error::CheckpointJson {
            path: path.into(),
            source,
        };
        let mut content = serde_json::to_value(self).map_err(json)?;
        content["format"] = json!(FORMAT);
        content["version"] = json!(VERSION);
        let hash = hash(&content);
        content["xxh3"] = json!(hash);
        let text = serde_json::to_string_pretty(&content).map_err(json)? + "\n";
        File::create(path)
            .and_then(|mut file| {
                file.write_all(text.as_bytes())
                    .and_then(|()| file.sync_all())
            })
            .map_err(|source| Error::io("cannot write", path, source))?;
        Ok(text.len() as u64)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// A file that is missing, altered, or of another format.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let io = |source| Error::io("cannot read", path, source);
        let damaged = |problem: String| Error::CheckpointDamaged {
            path: path.into(),
            problem,
        };
        let file = open_regular(path).map_err(io)?;
        let mut text = Vec::new();
        file.take(MOST_BYTES).read_to_end(&mut text).map_err(io)?;
        let mut content: Value =
            serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        let fields = content.as_object_mut();
        let stored = fields.and_then(|fields| fields.remove("xxh3"));
        if stored != Some(json!(hash(&content))) {
            return Err(damaged("its hash is another than the one it holds".into()));
        }
        let version = content["version"].as_u64();
        let version = version.filter(|version| (OLDEST_VERSION..=VERSION).contains(version));
        let (Some(version), true) = (version, content["format"] == FORMAT) else {
            return Err(Error::CheckpointFormat {
                path: path.into(),
                found: format!("{} {}", content["format"], content["version"]),
                expected: format!("\"{FORMAT}\" {OLDEST_VERSION} to {VERSION}"),
            });
        };
        if let Some(fields) = content.as_object_mut() {
            fields.remove("format");
            fields.remove("version");
        }
        let manifest = Self::deserialize(content).map_err(|error| damaged(error.to_string()))?;
        Ok(Self {
            version,
            ..manifest
        })
    }
}
