//! Weights that PyTorch saved, read through candle's unpickler.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::pickle::PthTensors;

use crate::tensor_source::{Stored, TensorSource};
use crate::{Error, Result};

/// Key of the weights in a checkpoint of the original programs.
const STATE_DICT: &str = "state_dict";
/// What `DataParallel` puts before every name.
const PARALLEL: &str = "module.";

/// A `.pt` file of weights: a state dictionary, alone or under the key `state_dict`.
pub(crate) struct PickledFile {
    path: PathBuf,
    tensors: PthTensors,
    /// Names in the file by their names without [`PARALLEL`].
    names: HashMap<String, String>,
    /// The tensor that was read last: one is in memory at a time.
    last: Option<(String, Vec<f32>)>,
}

impl PickledFile {
    /// Whether a file is one of PyTorch's: a zip archive.
    pub(crate) fn is_one(path: &Path) -> Result<bool> {
        use std::io::Read;
        let io = |source| Error::io("cannot read", path, source);
        let mut start = Vec::new();
        let file = std::fs::File::open(path).map_err(io)?;
        file.take(4).read_to_end(&mut start).map_err(io)?;
        Ok(start == b"PK\x03\x04")
    }

    pub(crate) fn open(path: &Path) -> Result<Self> {
        let tensors = PthTensors::new(path, Some(STATE_DICT))
            .or_else(|_| PthTensors::new(path, None))
            .map_err(|source| Error::NotPickledWeights {
                path: path.into(),
                source: Box::new(source),
            })?;
        let names = tensors.tensor_infos().keys();
        let plain = |name: &String| name.strip_prefix(PARALLEL).unwrap_or(name).to_owned();
        Ok(Self {
            path: path.into(),
            names: names.map(|name| (plain(name), name.clone())).collect(),
            tensors,
            last: None,
        })
    }
}

impl TensorSource for PickledFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn find(&self, name: &str) -> Option<Stored> {
        let info = self.tensors.tensor_infos().get(self.names.get(name)?)?;
        let dims = info.layout.shape().dims();
        Some(Stored {
            dtype: format!("{:?}", info.dtype),
            shape: dims.iter().map(|&extent| extent as u64).collect(),
        })
    }

    fn read(&mut self, name: &str, first: u64, count: usize) -> Result<Vec<f32>> {
        if self.last.as_ref().is_none_or(|(last, _)| last != name) {
            let stored = self.names.get(name).map_or(name, |name| name);
            let Some(tensor) = self.tensors.get(stored)? else {
                return Err(Error::WeightMissing {
                    path: self.path.clone(),
                    name: name.into(),
                });
            };
            self.last = Some((name.into(), tensor.flatten_all()?.to_vec1()?));
        }
        let all = self.last.as_ref().map_or(&[][..], |(_, values)| values);
        let first = first as usize;
        Ok(all[first..first + count].to_vec())
    }
}
