//! An array that is read from the front.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
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
    big_endian: bool,
    pub(crate) shape: Vec<u64>,
    /// Whether elements come column by column and were not [put aside](Self::by_rows) yet.
    by_columns: bool,
    columns: Option<Columns>,
    bytes: Vec<u8>,
}

/// A matrix that is stored column by column, in a temporary file, where any part of a column can be
/// read.
struct Columns {
    file: File,
    folder: PathBuf,
    /// The next row that is read.
    row: u64,
    /// Elements of a column being read.
    part: Vec<u8>,
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

impl Columns {
    /// Fills `into` with the next rows of a matrix of that shape, whose elements have `size` bytes.
    fn read(&mut self, shape: &[u64], size: usize, into: &mut [u8]) -> Result<()> {
        let (rows, width) = (shape[0], shape[1] as usize);
        let count = into.len() / (size * width.max(1));
        self.part.resize(count * size, 0);
        for column in 0..width {
            let start = (column as u64 * rows + self.row) * size as u64;
            let read = self.file.seek(SeekFrom::Start(start));
            read.and_then(|_| self.file.read_exact(&mut self.part))
                .map_err(Error::io("cannot read temporary columns in", &self.folder))?;
            let rows = into.chunks_exact_mut(size * width);
            for (row, element) in rows.zip(self.part.chunks_exact(size)) {
                row[column * size..][..size].copy_from_slice(element);
            }
        }
        self.row += count as u64;
        Ok(())
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
            big_endian: header.big_endian,
            shape: header.shape,
            by_columns: header.by_columns,
            columns: None,
            bytes: Vec::new(),
        })
    }

    /// The transpose of a matrix, `[columns, rows]` as it is stored.
    pub(crate) fn transposed(mut self) -> Self {
        self.shape.reverse();
        self.by_columns = !self.by_columns && self.shape.len() > 1;
        self
    }

    /// Makes a matrix be read row by row whatever its order is. One that is stored column by column
    /// goes to a temporary file in `folder` first, since a packed one can only be read from its
    /// front: a pass over the file, and as much of the disk as the matrix has bytes.
    ///
    /// # Errors
    /// The array ends or is damaged, has more than two dimensions, or the file cannot be written.
    pub(crate) fn by_rows(mut self, folder: &Path) -> Result<Self> {
        if !self.by_columns {
            return Ok(self);
        }
        let &[rows, width] = self.shape.as_slice() else {
            return Err(self.not_by_columns());
        };
        self.by_columns = false;
        let bytes = rows * width * self.element.bytes() as u64;
        let cannot = |source| Error::io("cannot write temporary columns in", folder)(source);
        let mut file =
            BufWriter::with_capacity(1 << 20, tempfile::tempfile_in(folder).map_err(cannot)?);
        let mut buffer = vec![0; 1 << 18];
        let mut left = bytes;
        while left > 0 {
            let part = left.min(buffer.len() as u64) as usize;
            let part = &mut buffer[..part];
            let read = self.reader.read_exact(part);
            read.map_err(|error| self.damaged(format!("is cut off or damaged ({error})")))?;
            file.write_all(part).map_err(cannot)?;
            left -= part.len() as u64;
        }
        let file = file.into_inner().map_err(io::IntoInnerError::into_error);
        self.columns = Some(Columns {
            file: file.map_err(cannot)?,
            folder: folder.to_path_buf(),
            row: 0,
            part: Vec::new(),
        });
        Ok(self)
    }

    fn not_by_columns(&self) -> Error {
        self.damaged(
            "is stored column by column: save it in C order (numpy.ascontiguousarray)".to_owned(),
        )
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
        match (&mut self.columns, self.by_columns) {
            (Some(columns), _) => columns.read(&self.shape, width, &mut self.bytes)?,
            (None, true) => return Err(self.not_by_columns()),
            (None, false) => {
                if let Err(error) = self.reader.read_exact(&mut self.bytes) {
                    return Err(self.damaged(format!("is cut off or damaged ({error})")));
                }
            }
        }
        if self.big_endian {
            self.bytes.chunks_exact_mut(width).for_each(<[u8]>::reverse);
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
