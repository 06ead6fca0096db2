//! Sequences in an `.npz` file of the original programs.
//!
//! Such a file is a zip archive of NumPy arrays (format: numpy.lib.format): `X_cat` integers `[3, n, positions]`, `X_int` floats
//! `[1, n, positions]`, `y` `[n]`. The three parts of `X_cat` are read side by side, each through a decoder of its own, so that
//! memory does not depend on `n`.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::import::Foreign;
use crate::text::{ZipEntry, ZipPlace, entries_of_zip, io_error};
use crate::{Error, Result};

/// Samples read at a time.
const SAMPLES: usize = 1 << 12;
/// Bytes of the widest element.
const MOST_ELEMENT: usize = 8;
/// Longer headers are damage.
const MOST_HEADER: usize = 1 << 16;

/// An element type, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    I4,
    I8,
    F4,
    F8,
}

impl Kind {
    fn of(descr: &str) -> Option<Self> {
        Some(match descr {
            "<i4" => Self::I4,
            "<i8" => Self::I8,
            "<f4" => Self::F4,
            "<f8" => Self::F8,
            _ => return None,
        })
    }

    fn bytes(self) -> usize {
        match self {
            Self::I4 | Self::F4 => 4,
            Self::I8 | Self::F8 => 8,
        }
    }

    /// An element as a number; exact for 32-bit integers.
    fn value(self, bytes: &[u8]) -> f64 {
        let four = || bytes.first_chunk::<4>().copied().unwrap_or_default();
        let eight = || bytes.first_chunk::<8>().copied().unwrap_or_default();
        match self {
            Self::I4 => f64::from(i32::from_le_bytes(four())),
            Self::I8 => i64::from_le_bytes(eight()) as f64,
            Self::F4 => f64::from(f32::from_le_bytes(four())),
            Self::F8 => f64::from_le_bytes(eight()),
        }
    }
}

/// An array that is read from the front.
struct Array {
    path: PathBuf,
    name: String,
    reader: ZipEntry<File>,
    kind: Kind,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Array {
    fn open(path: &Path, places: &[ZipPlace], name: &str) -> Result<Self> {
        let member = format!("{name}.npy");
        let damaged = |problem: String| Error::BadArray {
            path: path.to_path_buf(),
            array: name.to_owned(),
            problem,
        };
        let Some(place) = places.iter().find(|place| place.name == member) else {
            let names: Vec<String> = places.iter().map(|place| place.name.clone()).collect();
            return Err(damaged(format!(
                "is missing; there are: {}",
                crate::error::some(&names)
            )));
        };
        let file = File::open(path).map_err(|source| io_error("cannot open", path, source))?;
        let mut reader = ZipEntry::new(file, place.clone())
            .map_err(|source| io_error("cannot read", path, source))?;
        let header = header(&mut reader).map_err(|source| damaged(source.to_string()))?;
        let (kind, shape) = described(&header).map_err(damaged)?;
        Ok(Self {
            path: path.to_path_buf(),
            name: name.to_owned(),
            reader,
            kind,
            shape,
            bytes: Vec::new(),
        })
    }

    fn damaged(&self, problem: String) -> Error {
        Error::BadArray {
            path: self.path.clone(),
            array: self.name.clone(),
            problem,
        }
    }

    fn skip(&mut self, elements: u64) -> Result<()> {
        let bytes = elements * self.kind.bytes() as u64;
        let skipped = io::copy(&mut self.reader.by_ref().take(bytes), &mut io::sink());
        match skipped {
            Ok(skipped) if skipped == bytes => Ok(()),
            Ok(_) => Err(self.damaged("is cut off".to_owned())),
            Err(error) => Err(self.damaged(format!("is damaged ({error})"))),
        }
    }

    /// The next elements as numbers.
    fn read(&mut self, elements: usize) -> Result<impl Iterator<Item = f64> + '_> {
        let width = self.kind.bytes();
        self.bytes.resize(elements * width, 0);
        if let Err(error) = self.reader.read_exact(&mut self.bytes) {
            return Err(self.damaged(format!("is cut off or damaged ({error})")));
        }
        let kind = self.kind;
        Ok(self
            .bytes
            .chunks_exact(width)
            .map(move |bytes| kind.value(bytes)))
    }

    /// The next elements in 32 bits; `problem` is what is wrong with a value that is not `good`.
    fn floats(
        &mut self,
        elements: usize,
        problem: &str,
        good: impl Fn(f32) -> bool,
    ) -> Result<Vec<f32>> {
        let values: Vec<f32> = self.read(elements)?.map(|value| value as f32).collect();
        match values.iter().find(|value| !good(**value)) {
            Some(value) => Err(self.damaged(format!("has the value {value}, which is {problem}"))),
            None => Ok(values),
        }
    }

    /// Reads to the end, where the archive's checksum is compared.
    fn finish(mut self) -> Result<()> {
        match io::copy(&mut self.reader, &mut io::sink()) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.damaged("is longer than its header says".to_owned())),
            Err(error) => Err(self.damaged(format!("is damaged ({error})"))),
        }
    }
}

/// The text of an array's header.
fn header(reader: &mut impl Read) -> io::Result<String> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut start = [0; 8];
    reader.read_exact(&mut start)?;
    let length = match start {
        [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _] => {
            let mut length = [0; 2];
            reader.read_exact(&mut length)?;
            usize::from(u16::from_le_bytes(length))
        }
        [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, _] => {
            let mut length = [0; 4];
            reader.read_exact(&mut length)?;
            u32::from_le_bytes(length) as usize
        }
        _ => return Err(invalid("is no NumPy array")),
    };
    if length > MOST_HEADER {
        return Err(invalid("has a header that is too long"));
    }
    let mut text = vec![0; length];
    reader.read_exact(&mut text)?;
    String::from_utf8(text).map_err(|_| invalid("has a header that is no text"))
}

/// Element type and shape of a header such as `{'descr': '<i4', 'fortran_order': False, 'shape': (3, 10, 21), }`.
fn described(header: &str) -> std::result::Result<(Kind, Vec<usize>), String> {
    let after = |key: &str| {
        let at = header.find(&format!("'{key}':"))?;
        Some(header[at + key.len() + 3..].trim_start())
    };
    let descr = after("descr").and_then(|rest| rest.strip_prefix('\'')?.split('\'').next());
    let kind = descr.and_then(Kind::of).ok_or_else(|| {
        format!(
            "has elements of type {} instead of <i4, <i8, <f4 or <f8",
            descr.unwrap_or("unknown")
        )
    })?;
    if !after("fortran_order").is_some_and(|rest| rest.starts_with("False")) {
        return Err("is stored column by column: save it in C order".to_owned());
    }
    let shape = after("shape").and_then(|rest| rest.strip_prefix('(')?.split(')').next());
    let shape: Option<Vec<usize>> = shape.and_then(|shape| {
        let numbers = shape
            .split(',')
            .map(str::trim)
            .filter(|text| !text.is_empty());
        numbers.map(|text| text.parse().ok()).collect()
    });
    let shape = shape.ok_or("has a header without a shape")?;
    Ok((kind, shape))
}

/// Reads all samples of a file, some at a time.
///
/// # Errors
/// A file that is no such archive or is damaged; an id that is negative, not whole or beyond 32 bits.
pub(super) fn read_npz(
    path: &Path,
    positions: usize,
    mut consume: impl FnMut(Foreign) -> Result<()>,
) -> Result<()> {
    let places = entries_of_zip(path)?;
    let mut tables = Vec::new();
    for _ in 0..3 {
        tables.push(Array::open(path, &places, "X_cat")?);
    }
    let mut dense = Array::open(path, &places, "X_int")?;
    let mut labels = Array::open(path, &places, "y")?;
    let &[samples] = labels.shape.as_slice() else {
        return Err(labels.damaged(format!("has shape {:?} instead of [samples]", labels.shape)));
    };
    for (array, expected) in [
        (&tables[0], [3, samples, positions]),
        (&dense, [1, samples, positions]),
    ] {
        if array.shape != expected {
            return Err(array.damaged(format!(
                "has shape {:?} instead of {expected:?}",
                array.shape
            )));
        }
    }
    if samples.checked_mul(3 * positions * MOST_ELEMENT).is_none() {
        return Err(labels.damaged(format!("has {samples} samples, more than a file can hold")));
    }
    for (table, array) in tables.iter_mut().enumerate() {
        array.skip((table * samples * positions) as u64)?;
    }
    for first in (0..samples).step_by(SAMPLES) {
        let count = SAMPLES.min(samples - first);
        let mut foreign = Foreign {
            ids: vec![0; count * positions * 3],
            ..Foreign::default()
        };
        for (table, array) in tables.iter_mut().enumerate() {
            let mut bad = None;
            for (place, value) in array.read(count * positions)?.enumerate() {
                let id = value as u32;
                if f64::from(id) != value {
                    bad.get_or_insert((place, value));
                }
                foreign.ids[place * 3 + table] = id;
            }
            if let Some((place, value)) = bad {
                let (sample, position) = (first + place / positions, place % positions);
                return Err(array.damaged(format!(
                    "has {value} at [{table}, {sample}, {position}], which is no id from 0 to 4294967295"
                )));
            }
        }
        foreign.dense = dense.floats(count * positions, "no finite number", f32::is_finite)?;
        let is_label = |label: f32| (0.0..=1.0).contains(&label);
        foreign.label = labels.floats(count, "no label from 0 to 1", is_label)?;
        consume(foreign)?;
    }
    // The parts before the last one were read to its beginning by the decoder of the last one, too.
    if let Some(last) = tables.pop() {
        last.finish()?;
    }
    dense.finish()?;
    labels.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_understood() {
        let header = "{'descr': '<i4', 'fortran_order': False, 'shape': (3, 10, 21), }   \n";
        assert_eq!(described(header), Ok((Kind::I4, vec![3, 10, 21])));
        let header = "{'descr': '<f8', 'fortran_order': False, 'shape': (7,), }";
        assert_eq!(described(header), Ok((Kind::F8, vec![7])));
        for (header, problem) in [
            (
                "{'descr': '|O', 'fortran_order': False, 'shape': (7,), }",
                "type |O",
            ),
            (
                "{'descr': '<i4', 'fortran_order': True, 'shape': (7,), }",
                "C order",
            ),
            ("{'descr': '<i4', 'fortran_order': False, }", "shape"),
            ("", "unknown"),
        ] {
            assert!(described(header).unwrap_err().contains(problem), "{header}");
        }
    }
}
