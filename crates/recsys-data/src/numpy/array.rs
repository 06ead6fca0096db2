//! An array that is read from the front.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{Element, NpyHeader};
use crate::error::{Error, Result, io_error};
use crate::text::{ZipEntry, ZipPlace, first_names};

/// The array `name` of an archive that holds `places`.
///
/// # Errors
/// [`Error::BadArray`] says which arrays there are.
fn find_member<'a>(path: &Path, places: &'a [ZipPlace], name: &str) -> Result<&'a ZipPlace> {
    let member = format!("{name}.npy");
    places
        .iter()
        .find(|place| place.name == member)
        .ok_or_else(|| {
            let names: Vec<String> = places.iter().map(|place| place.name.clone()).collect();
            Error::BadArray {
                path: path.to_path_buf(),
                array: name.to_owned(),
                problem: format!("is missing; there are: {}", first_names(&names)),
            }
        })
}

/// An array and the reader behind it, which stands at its next element.
pub(crate) struct Array<R> {
    path: PathBuf,
    name: String,
    reader: R,
    element: Element,
    pub(crate) shape: Vec<u64>,
    bytes: Vec<u8>,
}

impl Array<ZipEntry<File>> {
    /// Opens an array in an archive.
    ///
    /// # Errors
    /// The archive has no such array, or it is no array that can be read.
    pub(crate) fn in_archive(path: &Path, places: &[ZipPlace], name: &str) -> Result<Self> {
        let place = find_member(path, places, name)?;
        let reader = ZipEntry::open(path, place.clone())
            .map_err(|source| io_error("cannot read", path, source))?;
        Self::new(path, name, reader)
    }
}

impl<R: Read> Array<R> {
    /// The array at the front of `reader`. `path` and `name` are what errors call it.
    ///
    /// # Errors
    /// No such array.
    pub(crate) fn new(path: &Path, name: &str, mut reader: R) -> Result<Self> {
        let damaged = |problem: String| Error::BadArray {
            path: path.to_path_buf(),
            array: name.to_owned(),
            problem,
        };
        let header = NpyHeader::read(&mut reader).map_err(|source| damaged(source.to_string()))?;
        if header.elements().is_none() {
            return Err(damaged(format!(
                "has the impossible shape {:?}",
                header.shape
            )));
        }
        Ok(Self {
            path: path.to_path_buf(),
            name: name.to_owned(),
            reader,
            element: header.element,
            shape: header.shape,
            bytes: Vec::new(),
        })
    }

    /// The error that something is wrong with this array.
    pub(crate) fn damaged(&self, problem: String) -> Error {
        Error::BadArray {
            path: self.path.clone(),
            array: self.name.clone(),
            problem,
        }
    }

    /// Compares the shape.
    ///
    /// # Errors
    /// Another shape.
    pub(crate) fn expect_shape(&self, expected: &[u64]) -> Result<()> {
        if self.shape == expected {
            return Ok(());
        }
        let problem = format!("has shape {:?} instead of {expected:?}", self.shape);
        Err(self.damaged(problem))
    }

    /// Passes over elements.
    ///
    /// # Errors
    /// The array ends or is damaged.
    pub(crate) fn skip(&mut self, elements: u64) -> Result<()> {
        let bytes = elements * self.element.bytes() as u64;
        let skipped = io::copy(&mut self.reader.by_ref().take(bytes), &mut io::sink());
        match skipped {
            Ok(skipped) if skipped == bytes => Ok(()),
            Ok(_) => Err(self.damaged("is cut off".to_owned())),
            Err(error) => Err(self.damaged(format!("is damaged ({error})"))),
        }
    }

    /// The next elements as numbers.
    ///
    /// # Errors
    /// The array ends or is damaged.
    pub(crate) fn read(
        &mut self,
        elements: usize,
    ) -> Result<impl ExactSizeIterator<Item = f64> + '_> {
        let width = self.element.bytes();
        self.bytes.resize(elements * width, 0);
        if let Err(error) = self.reader.read_exact(&mut self.bytes) {
            return Err(self.damaged(format!("is cut off or damaged ({error})")));
        }
        let element = self.element;
        Ok(self
            .bytes
            .chunks_exact(width)
            .map(move |bytes| element.value(bytes)))
    }

    /// The next elements in 32 bits; `problem` is what is wrong with a value that is not `good`.
    ///
    /// # Errors
    /// The array ends or is damaged, or holds such a value.
    pub(crate) fn floats(
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

    /// Reads to the end, where an archive's checksum is compared, and gives the reader back.
    ///
    /// # Errors
    /// More bytes than the shape says, or damage.
    pub(crate) fn finish(mut self) -> Result<R> {
        match io::copy(&mut self.reader, &mut io::sink()) {
            Ok(0) => Ok(self.reader),
            Ok(_) => Err(self.damaged("is longer than its header says".to_owned())),
            Err(error) => Err(self.damaged(format!("is damaged ({error})"))),
        }
    }
}
