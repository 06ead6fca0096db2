//! A file that `torch.load` reads, also with `weights_only=True`.

use std::io::{BufWriter, Write};
use std::path::Path;

use recsys_data::output_file::OutputFile;
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, ZipWriter};

use crate::tensor_file::Entry;
use crate::{Error, Result};

/// Folder of all members.
const FOLDER: &str = "archive";
/// Bytes collected before the system is called.
const BUFFER: usize = 1 << 20;

/// What stands beside the weights, and under which key they are; both empty for weights alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) key: &'static str,
    /// Numbers that the program that loads the file wants to see.
    pub(crate) integers: &'static [&'static str],
    pub(crate) floats: &'static [&'static str],
}

/// Writes the values of tensors one after the other, in the order in which they were announced.
/// The same tensors give the same bytes.
pub(crate) struct TorchWriter<'a> {
    path: &'a Path,
    zip: ZipWriter<StreamWriter<BufWriter<OutputFile>>>,
    /// Values of every tensor, and how many of the current one are missing.
    sizes: Vec<u64>,
    next: usize,
    left: u64,
}

impl<'a> TorchWriter<'a> {
    /// Begins a file.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn create(path: &'a Path, tensors: &[Entry], frame: Frame) -> Result<Self> {
        let file = OutputFile::create(path);
        let file = file.map_err(|source| Error::io("cannot write", path, source))?;
        let file = BufWriter::with_capacity(BUFFER, file);
        let mut writer = Self {
            path,
            zip: ZipWriter::new_stream(file),
            sizes: tensors
                .iter()
                .map(|(_, shape)| shape.iter().product())
                .collect(),
            next: 0,
            left: 0,
        };
        writer.member("data.pkl", &pickle(tensors, frame))?;
        writer.member("byteorder", b"little")?;
        Ok(writer)
    }

    fn start(&mut self, name: &str, bytes: u64) -> Result<()> {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::STORE)
            .large_file(bytes > u64::from(u32::MAX) / 2);
        let started = self.zip.start_file(format!("{FOLDER}/{name}"), options);
        started.map_err(|error| Error::io("cannot write", self.path, error.into()))
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.zip.write_all(bytes);
        written.map_err(|source| Error::io("cannot write", self.path, source))
    }

    fn member(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.start(name, bytes.len() as u64)?;
        self.bytes(bytes)
    }

    /// Writes the next values, all of them of one tensor.
    pub(crate) fn write(&mut self, values: &[f32]) -> Result<()> {
        while self.left == 0 && self.next < self.sizes.len() {
            self.left = self.sizes[self.next];
            self.start(&format!("data/{}", self.next), 4 * self.left)?;
            self.next += 1;
        }
        self.left = self.left.saturating_sub(values.len() as u64);
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        self.bytes(&bytes)
    }

    /// Completes the file.
    pub(crate) fn finish(mut self) -> Result<()> {
        // Tensors without values.
        self.write(&[])?;
        self.member("version", b"3\n")?;
        let io = |source| Error::io("cannot write", self.path, source);
        let file = self.zip.finish().map_err(|error| io(error.into()))?;
        let file = file.into_inner().into_inner();
        let file = file
            .map_err(std::io::IntoInnerError::into_error)
            .map_err(io)?;
        file.finish().map_err(io)
    }
}

/// The description of tensors: an ordered dictionary, in another one where there is a key.
fn pickle(tensors: &[Entry], frame: Frame) -> Vec<u8> {
    let mut out = b"\x80\x02".to_vec();
    if !frame.key.is_empty() {
        out.extend(b"}(");
        for name in frame.integers {
            text(&mut out, name);
            out.extend(b"K\x00");
        }
        for name in frame.floats {
            text(&mut out, name);
            out.push(b'G');
            out.extend(0f64.to_be_bytes());
        }
        text(&mut out, frame.key);
    }
    out.extend(b"ccollections\nOrderedDict\n)R(");
    for (number, (name, shape)) in tensors.iter().enumerate() {
        text(&mut out, name);
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut out, "storage");
        out.extend(b"ctorch\nFloatStorage\n");
        text(&mut out, &number.to_string());
        text(&mut out, "cpu");
        integer(&mut out, shape.iter().product());
        out.extend(b"tQK\x00");
        tuple(&mut out, shape.iter().copied());
        let strides = (0..shape.len()).map(|at| shape[at + 1..].iter().product());
        tuple(&mut out, strides);
        // No gradient, and no hooks.
        out.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    }
    out.push(b'u');
    if !frame.key.is_empty() {
        out.push(b'u');
    }
    out.push(b'.');
    out
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
}

/// A number of 8 bytes; the highest bit of the ninth says that it is not negative.
fn integer(out: &mut Vec<u8>, number: u64) {
    out.extend(b"\x8a\x09");
    out.extend(number.to_le_bytes());
    out.push(0);
}

fn tuple(out: &mut Vec<u8>, numbers: impl Iterator<Item = u64>) {
    out.push(b'(');
    numbers.for_each(|number| integer(out, number));
    out.push(b't');
}
