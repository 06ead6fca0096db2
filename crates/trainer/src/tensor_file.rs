//! Safetensors files of f32 tensors, written and read in bounded pieces.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use recsys_data::input_file::open_regular;
use safetensors::tensor::{Dtype as FileDtype, Metadata, SafeTensorError, TensorInfo};
use serde_json::{Map, Value, json};
use xxhash_rust::xxh3::Xxh3Default;

use crate::float::Float;
use crate::tensor_source::{Dtype, Stored, TensorSource};
use crate::weight_names::WeightNames;
use crate::{Error, Result};

/// Floats that are in memory at once while a tensor is written or read: 4 MiB.
pub(crate) const FLOATS_AT_ONCE: usize = 1 << 20;

/// Headers beyond this are no headers.
const MOST_HEADER_BYTES: u64 = 100 << 20;

/// Name and shape of a tensor.
pub(crate) type Entry = (String, Vec<u64>);

/// What a complete file is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) bytes: u64,
    pub(crate) xxh3: u64,
}

/// Writes the values of tensors one behind the other, in the order in which they were announced.
pub(crate) struct TensorWriter<W> {
    path: PathBuf,
    file: W,
    hash: Xxh3Default,
    bytes: u64,
    buffer: Vec<u8>,
}

impl TensorWriter<File> {
    /// Creates (or empties) a file and writes its header.
    pub(crate) fn create(path: &Path, tensors: &[Entry]) -> Result<Self> {
        let file = File::create(path).map_err(|source| Error::io("cannot create", path, source))?;
        Self::new(path, file, tensors, &BTreeMap::new())
    }

    /// Makes the file durable.
    pub(crate) fn sync(self) -> Result<Written> {
        let path = self.path.clone();
        let (file, written) = self.finish();
        file.sync_all()
            .map_err(|source| Error::io("cannot write", &path, source))?;
        Ok(written)
    }
}

impl<W: Write> TensorWriter<W> {
    /// Writes the header to an empty file, whose name is for messages. `about` is what the header
    /// says besides, under `__metadata__`.
    pub(crate) fn new(
        path: &Path,
        file: W,
        tensors: &[Entry],
        about: &BTreeMap<String, String>,
    ) -> Result<Self> {
        let mut writer = Self {
            path: path.into(),
            file,
            hash: Xxh3Default::new(),
            bytes: 0,
            buffer: Vec::new(),
        };
        let mut header = Map::new();
        if !about.is_empty() {
            header.insert("__metadata__".into(), json!(about));
        }
        let mut offset = 0u64;
        for (name, shape) in tensors {
            let end = offset + 4 * shape.iter().product::<u64>();
            header.insert(
                name.clone(),
                json!({"dtype": "F32", "shape": shape, "data_offsets": [offset, end]}),
            );
            offset = end;
        }
        let mut header = Value::Object(header).to_string().into_bytes();
        header.resize(header.len().next_multiple_of(8), b' ');
        writer
            .buffer
            .extend_from_slice(&(header.len() as u64).to_le_bytes());
        writer.buffer.append(&mut header);
        writer.flush()?;
        Ok(writer)
    }

    /// Writes the next values.
    pub(crate) fn write(&mut self, values: &[f32]) -> Result<()> {
        for values in values.chunks(FLOATS_AT_ONCE) {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes());
            self.buffer.extend(bytes);
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.hash.update(&self.buffer);
        self.bytes += self.buffer.len() as u64;
        self.file
            .write_all(&self.buffer)
            .map_err(|source| Error::io("cannot write", &self.path, source))?;
        self.buffer.clear();
        Ok(())
    }

    /// The complete file.
    pub(crate) fn finish(self) -> (W, Written) {
        let written = Written {
            bytes: self.bytes,
            xxh3: self.hash.digest(),
        };
        (self.file, written)
    }
}

/// Reads tensors of a file piece by piece.
pub(crate) struct TensorReader {
    path: PathBuf,
    file: File,
    tensors: Metadata,
    names: WeightNames,
    /// Where the values begin.
    data: u64,
}

impl TensorReader {
    /// Reads the header.
    ///
    /// # Errors
    /// A file that is no safetensors file, or shorter or longer than its header says.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let io = |source| Error::io("cannot read", path, source);
        let bad = |source| Error::NotWeights {
            path: path.into(),
            source,
        };
        let mut file = File::open(path).map_err(io)?;
        let bytes = file.metadata().map_err(io)?.len();
        if bytes < 8 {
            return Err(bad(SafeTensorError::HeaderTooSmall));
        }
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(io)?;
        let length = u64::from_le_bytes(length);
        if length > MOST_HEADER_BYTES {
            return Err(bad(SafeTensorError::HeaderTooLarge));
        }
        if length > bytes - 8 {
            return Err(bad(SafeTensorError::InvalidHeaderLength));
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header).map_err(io)?;
        let tensors: Metadata = serde_json::from_slice(&header)
            .map_err(|error| bad(SafeTensorError::InvalidHeaderDeserialization(error)))?;
        let data = 8 + length;
        if tensors.data_len() as u64 != bytes - data {
            return Err(bad(SafeTensorError::MetadataIncompleteBuffer));
        }
        let names = tensors.offset_keys();
        let names = WeightNames::new(names.iter().map(String::as_str)).map_err(|problem| {
            Error::NotPickledWeights {
                path: path.into(),
                problem,
            }
        })?;
        Ok(Self {
            path: path.into(),
            file,
            tensors,
            names,
            data,
        })
    }

    /// Whether there is such a tensor.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.find(name).is_some()
    }

    fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.info(self.names.find(name)?)
    }
}

/// The floats of a type.
fn float(dtype: FileDtype) -> Option<Float> {
    match dtype {
        FileDtype::F16 => Some(Float::F16),
        FileDtype::BF16 => Some(Float::BF16),
        FileDtype::F32 => Some(Float::F32),
        FileDtype::F64 => Some(Float::F64),
        _ => None,
    }
}

impl TensorSource for TensorReader {
    fn path(&self) -> &Path {
        &self.path
    }

    fn about(&self) -> BTreeMap<String, String> {
        let about = self.tensors.metadata().iter().flatten();
        about
            .map(|(key, text)| (key.clone(), text.clone()))
            .collect()
    }

    fn names(&self) -> Vec<String> {
        self.tensors.offset_keys()
    }

    fn find(&self, name: &str) -> Option<Stored> {
        let tensor = self.info(name)?;
        let other = || Dtype::Other(format!("{:?}", tensor.dtype));
        Some(Stored {
            dtype: float(tensor.dtype).map_or_else(other, Dtype::Float),
            shape: tensor.shape.iter().map(|&extent| extent as u64).collect(),
        })
    }

    fn read(&mut self, name: &str, first: u64, count: usize) -> Result<Vec<f32>> {
        let found = self.info(name);
        let found = found.and_then(|info| Some((float(info.dtype)?, info.data_offsets.0)));
        let Some((float, start)) = found else {
            return Err(self.missing(name));
        };
        let mut bytes = vec![0; float.bytes() * count];
        let at = self.data + start as u64 + first * float.bytes() as u64;
        self.file
            .seek(SeekFrom::Start(at))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(|source| Error::io("cannot read", &self.path, source))?;
        Ok(float.decode(&bytes))
    }
}

/// Size and hash of a file.
pub(crate) fn measure(path: &Path) -> Result<Written> {
    let io = |source| Error::io("cannot read", path, source);
    let mut file = open_regular(path).map_err(io)?;
    let (mut hash, mut bytes) = (Xxh3Default::new(), 0);
    let mut buffer = vec![0; 4 * FLOATS_AT_ONCE];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                hash.update(&buffer[..count]);
                bytes += count as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(io(error)),
        }
    }
    Ok(Written {
        bytes,
        xxh3: hash.digest(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_the_safetensors_crate_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        let tensors = [("b".to_owned(), vec![2, 2]), ("a".to_owned(), vec![3])];
        let mut writer = TensorWriter::create(&path, &tensors).unwrap();
        writer.write(&[1.0, 2.0, 3.0]).unwrap();
        writer.write(&[4.0, 5.0, 6.0, -0.0]).unwrap();
        let written = writer.sync().unwrap();
        assert_eq!(measure(&path).unwrap(), written);
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(written.bytes, bytes.len() as u64);
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(file.tensor("a").unwrap().data()[..4], 5f32.to_le_bytes());
        let mut reader = TensorReader::open(&path).unwrap();
        reader.check("a", &[3]).unwrap();
        assert_eq!(reader.read("a", 1, 1).unwrap(), [6.0]);
        assert_eq!(reader.read("b", 2, 2).unwrap(), [3.0, 4.0]);
        assert!(reader.check("a", &[4]).is_err() && reader.check("c", &[3]).is_err());
        for length in 0..bytes.len() {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert!(TensorReader::open(&path).is_err(), "{length} bytes");
        }
    }
}
