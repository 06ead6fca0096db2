//! One file out of a zip archive, read from the front.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use flate2::Crc;
use flate2::bufread::DeflateDecoder;

use crate::error::{Error, Result, io_error};
use crate::text::error::Error as TextError;

/// Read ahead of the decoder.
const READ: usize = 1 << 18;

/// Where a file lies in its archive.
#[derive(Debug, Clone)]
pub(crate) struct ZipPlace {
    /// Its name in the archive.
    pub(crate) name: String,
    start: u64,
    compressed: u64,
    size: u64,
    crc: u32,
    deflated: bool,
}

/// The files in an archive; folders are left out.
///
/// # Errors
/// The archive cannot be read, is damaged or cut off, or holds files that are encrypted or packed in a rare way.
pub(crate) fn entries_of_zip(path: &Path) -> Result<Vec<ZipPlace>> {
    let damaged = |error: zip::result::ZipError| {
        let source = match error {
            zip::result::ZipError::Io(source) => source,
            other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
        };
        Error::Text(TextError::DamagedZip {
            path: path.to_path_buf(),
            source,
        })
    };
    let file = File::open(path).map_err(|source| io_error("cannot open", path, source))?;
    let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(damaged)?;
    let mut places = Vec::new();
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(damaged)?;
        if !entry.is_file() {
            continue;
        }
        let name = entry.name().map_err(damaged)?.into_owned();
        let method = entry.compression();
        let deflated = method == zip::CompressionMethod::DEFLATE;
        if entry.encrypted() || !(deflated || method == zip::CompressionMethod::STORE) {
            return Err(Error::Text(TextError::ZipMethod {
                path: path.to_path_buf(),
                entry: name,
                found: if entry.encrypted() {
                    "encrypted".to_owned()
                } else {
                    format!("packed by {method:?}")
                },
            }));
        }
        places.push(ZipPlace {
            name,
            start: entry.data_start().unwrap_or_default(),
            compressed: entry.compressed_size(),
            size: entry.size(),
            crc: entry.crc32(),
            deflated,
        });
    }
    Ok(places)
}

/// The content of a file in an archive. Its size and checksum are compared at the end, and the rest of the archive is read, so
/// that whoever hashes the archive below sees all of it.
pub(crate) struct ZipEntry<R: Read> {
    content: Content<R>,
    place: ZipPlace,
    crc: Crc,
    read: u64,
    /// Whether the rest of the archive is read at the end.
    rest: bool,
    ended: bool,
}

enum Content<R: Read> {
    Stored(io::Take<BufReader<R>>),
    Deflated(Box<DeflateDecoder<io::Take<BufReader<R>>>>),
}

impl ZipEntry<File> {
    /// Opens a file in the archive at `path` where it lies, for those who need nothing else of the archive.
    pub(crate) fn open(path: &Path, place: ZipPlace) -> io::Result<Self> {
        let mut archive = File::open(path)?;
        archive.seek(SeekFrom::Start(place.start))?;
        let archive = BufReader::with_capacity(READ, archive);
        Ok(Self::at(archive, place, false))
    }
}

impl<R: Read> ZipEntry<R> {
    /// Opens a file in `archive`, which must be at its front.
    pub(crate) fn new(archive: R, place: ZipPlace) -> io::Result<Self> {
        let mut archive = BufReader::with_capacity(READ, archive);
        io::copy(&mut archive.by_ref().take(place.start), &mut io::sink())?;
        Ok(Self::at(archive, place, true))
    }

    /// `archive` is at the beginning of the file.
    fn at(archive: BufReader<R>, place: ZipPlace, rest: bool) -> Self {
        let data = archive.take(place.compressed);
        let content = if place.deflated {
            Content::Deflated(Box::new(DeflateDecoder::new(data)))
        } else {
            Content::Stored(data)
        };
        Self {
            content,
            place,
            crc: Crc::new(),
            read: 0,
            rest,
            ended: false,
        }
    }

    fn end(&mut self) -> io::Result<()> {
        self.ended = true;
        if self.read < self.place.size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if self.read > self.place.size || self.crc.sum() != self.place.crc {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "size or checksum differs from the archive's directory",
            ));
        }
        if !self.rest {
            return Ok(());
        }
        let data = match &mut self.content {
            Content::Stored(data) => data,
            Content::Deflated(decoder) => decoder.get_mut(),
        };
        data.set_limit(u64::MAX);
        io::copy(data, &mut io::sink())?;
        Ok(())
    }
}

impl<R: Read> Read for ZipEntry<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.ended || into.is_empty() {
            return Ok(0);
        }
        let count = match &mut self.content {
            Content::Stored(data) => data.read(into)?,
            Content::Deflated(decoder) => decoder.read(into)?,
        };
        self.crc.update(&into[..count]);
        self.read += count as u64;
        if count == 0 {
            self.end()?;
        }
        Ok(count)
    }
}
