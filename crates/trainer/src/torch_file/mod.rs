//! Files that PyTorch saved, read without running anything in them.
//!
//! A file describes its tensors in a pickle, which is small and is read whole; their numbers stay
//! in the file until they are wanted. In a zip archive they are members, in the older form they
//! follow the pickle.

mod pickle;
mod rebuild;
mod state_dict;
mod storages;
#[cfg(test)]
mod tests;
mod value;
mod writer;

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use pickle::Nodes;
use storages::{Contents, Span};
use value::{ElementKind, Node, Value};
pub(crate) use writer::{Frame, TorchWriter};

use crate::float::Float;
use crate::tensor_file::FLOATS_AT_ONCE;
use crate::tensor_source::{Dtype, Stored, TensorSource};
use crate::weight_names::WeightNames;
use crate::{Error, Result};

/// Numbers that lie this close together are read in one piece, with what is between them.
const MAX_GAP: u64 = 1 << 14;

/// A file of weights: a state dictionary, alone or within what a program saved, or a whole module.
#[derive(Debug)]
pub(crate) struct TorchFile {
    path: PathBuf,
    file: File,
    names: WeightNames,
    tensors: HashMap<String, Placed>,
    /// Names in the order of the file, for messages.
    order: Vec<String>,
}

/// A tensor in a file.
#[derive(Debug)]
struct Placed {
    kind: ElementKind,
    /// Byte of its first number.
    start: u64,
    shape: Vec<u64>,
    /// Numbers from one place to the next, in every dimension.
    strides: Vec<u64>,
}

impl TorchFile {
    /// Whether a file that begins so may be one of PyTorch's.
    pub(crate) fn looks_like_one(start: &[u8]) -> bool {
        storages::is_zip(start) || storages::is_pickle(start)
    }

    /// Reads what a file says of its tensors.
    ///
    /// # Errors
    /// A file that holds no weights, or is damaged.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let io = |source| Error::io("cannot read", path, source);
        let bad = |problem| Error::NotPickledWeights {
            path: path.into(),
            problem,
        };
        let mut file = File::open(path).map_err(io)?;
        let mut nodes = Nodes::default();
        let contents = Contents::read(&mut file, &mut nodes).map_err(bad)?;
        let mut tensors = HashMap::new();
        let mut order = Vec::new();
        let root = contents.root;
        for (name, tensor) in state_dict::weights(&nodes, root).map_err(bad)? {
            let Some(Node::Storage(storage)) = nodes.get(Value::At(tensor.storage)) else {
                continue;
            };
            let span = contents.storage(storage).map_err(bad)?;
            let placed = place(span, storage.first + tensor.offset, storage.kind, tensor);
            let placed = placed.ok_or_else(|| {
                bad("is cut off or damaged: a tensor is larger than its storage".to_owned())
            })?;
            // As in Python, the last one of a key counts.
            if tensors.insert(name.clone(), placed).is_none() {
                order.push(name);
            }
        }
        let names = WeightNames::new(order.iter().map(String::as_str)).map_err(bad)?;
        Ok(Self {
            path: path.into(),
            file,
            names,
            tensors,
            order,
        })
    }

    fn tensor(&self, name: &str) -> Option<&Placed> {
        self.tensors.get(self.names.find(name)?)
    }
}

/// Where a tensor lies that begins with number `first` of a storage at `span`; `None` where it does
/// not fit there.
fn place(span: Span, first: u64, kind: ElementKind, tensor: &value::Tensor) -> Option<Placed> {
    let steps = tensor.shape.iter().zip(&tensor.strides);
    let mut end = first.checked_add(1)?;
    for (&extent, &stride) in steps {
        end = match extent {
            0 => 0,
            _ => end.checked_add((extent - 1).checked_mul(stride)?)?,
        };
        if extent == 0 {
            break;
        }
    }
    let fits = end.checked_mul(kind.bytes)? <= span.bytes;
    fits.then(|| Placed {
        kind,
        start: span.start.saturating_add(first.saturating_mul(kind.bytes)),
        shape: tensor.shape.clone(),
        strides: tensor.strides.clone(),
    })
}

impl Placed {
    /// Whether numbers lie in the order of their dimensions, without gaps.
    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        for (&extent, &stride) in self.shape.iter().zip(&self.strides).rev() {
            if extent > 1 && stride != expected {
                return false;
            }
            expected *= extent;
        }
        true
    }

    /// How many numbers behind the first one number `index` lies, in the order of the dimensions.
    fn offset(&self, index: u64) -> u64 {
        let mut rest = index;
        let dimensions = self.shape.iter().zip(&self.strides).rev();
        let offsets = dimensions.map(|(&extent, &stride)| {
            let at = rest % extent.max(1);
            rest /= extent.max(1);
            at * stride
        });
        offsets.sum()
    }

    fn float(&self) -> Option<Float> {
        match self.kind.name {
            "Half" => Some(Float::F16),
            "BFloat16" => Some(Float::BF16),
            "Float" => Some(Float::F32),
            "Double" => Some(Float::F64),
            _ => None,
        }
    }
}

impl TensorSource for TorchFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn names(&self) -> Vec<String> {
        self.order.clone()
    }

    fn find(&self, name: &str) -> Option<Stored> {
        let tensor = self.tensor(name)?;
        let dtype = match tensor.float() {
            Some(float) => Dtype::Float(float),
            None => Dtype::Other(tensor.kind.name.to_owned()),
        };
        Some(Stored {
            dtype,
            shape: tensor.shape.clone(),
        })
    }

    fn read(&mut self, name: &str, first: u64, count: usize) -> Result<Vec<f32>> {
        let found = self
            .names
            .find(name)
            .and_then(|name| self.tensors.get(name));
        let Some((tensor, float)) = found.and_then(|tensor| Some((tensor, tensor.float()?))) else {
            return Err(self.missing(name));
        };
        let mut file = &self.file;
        let mut numbers = |offset: u64, count: u64| -> Result<Vec<f32>> {
            let size = float.bytes() as u64;
            let mut bytes = vec![0; (count * size) as usize];
            file.seek(SeekFrom::Start(tensor.start + offset * size))
                .and_then(|_| file.read_exact(&mut bytes))
                .map_err(|source| Error::io("cannot read", &self.path, source))?;
            Ok(float.decode(&bytes))
        };
        let mut values = Vec::with_capacity(count);
        let pieces = (0..count).step_by(FLOATS_AT_ONCE);
        for piece in pieces.map(|start| start..count.min(start + FLOATS_AT_ONCE)) {
            let first = first + piece.start as u64;
            if tensor.is_contiguous() {
                values.extend(numbers(first, piece.len() as u64)?);
                continue;
            }
            let offsets = (0..piece.len() as u64).map(|index| tensor.offset(first + index));
            let mut places: Vec<(u64, u32)> = offsets.zip(0..).collect();
            places.sort_unstable();
            values.resize(piece.end, 0.0);
            let values = &mut values[piece];
            let near = |before: &(u64, u32), next: &(u64, u32)| next.0 - before.0 <= MAX_GAP;
            for run in places.chunk_by(near) {
                // A run is at most as long as its numbers with their gaps; parts of it are read.
                for run in run.chunks(FLOATS_AT_ONCE / MAX_GAP as usize) {
                    let (start, end) = (run[0].0, run[run.len() - 1].0 + 1);
                    let all = numbers(start, end - start)?;
                    for &(offset, place) in run {
                        values[place as usize] = all[(offset - start) as usize];
                    }
                }
            }
        }
        Ok(values)
    }
}
