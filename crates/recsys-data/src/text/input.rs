//! Raw files, opened for reading from the front: plain, gzip, Zstandard or the one file in a zip archive.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use xxhash_rust::xxh3::Xxh3Default;

use super::{ZipEntry, entries_of_zip};
use crate::error::{Error, Result, io_error};
use crate::packed::Error as PackedError;
use crate::packed::{OutputLock, SourceFile};
use crate::text::error::Error as TextError;

/// How a raw file is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compression {
    Plain,
    Gzip,
    Zstandard,
    Zip,
}

impl Compression {
    fn of_name(path: &Path) -> Self {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some(extension) if extension.eq_ignore_ascii_case("gz") => Self::Gzip,
            Some(extension) if extension.eq_ignore_ascii_case("zst") => Self::Zstandard,
            Some(extension) if extension.eq_ignore_ascii_case("zip") => Self::Zip,
            _ => Self::Plain,
        }
    }

    /// By the magic number: RFC 1952 section 2.3.1, RFC 8878 section 3.1.1, APPNOTE.TXT section 4.3.7 (an empty archive: 4.3.16).
    fn of_content(first: &[u8]) -> Self {
        match first {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstandard,
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Self::Zip,
            _ => Self::Plain,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Plain => "uncompressed",
            Self::Gzip => "gzip",
            Self::Zstandard => "Zstandard",
            Self::Zip => "zip",
        }
    }
}

/// A raw file that is being read.
pub(crate) struct Source {
    path: PathBuf,
    compression: Compression,
    text: Box<dyn Read + Send>,
    stored: Arc<Stored>,
}

/// What has been read of a file as it is stored.
#[derive(Default)]
struct Stored {
    bytes: AtomicU64,
    hash: Mutex<Xxh3Default>,
}

/// The file below the decoder: counts and hashes what passes.
struct Metered {
    file: File,
    stored: Arc<Stored>,
}

impl Read for Metered {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(into)?;
        self.stored.bytes.fetch_add(count as u64, Ordering::Relaxed);
        self.stored
            .hash
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .update(&into[..count]);
        Ok(count)
    }
}

/// Size of a raw file as it is stored.
///
/// # Errors
/// The file is missing, empty or no file.
pub(crate) fn stored_bytes(path: &Path) -> Result<u64> {
    let metadata = path
        .metadata()
        .map_err(|source| io_error("cannot open", path, source))?;
    if !metadata.is_file() {
        let found = if metadata.is_dir() {
            "a folder"
        } else {
            "a pipe or device, which cannot be read twice"
        };
        return Err(Error::Text(TextError::NotAFile {
            path: path.to_path_buf(),
            found,
        }));
    }
    if metadata.len() == 0 {
        return Err(Error::Text(TextError::EmptyFile {
            path: path.to_path_buf(),
        }));
    }
    Ok(metadata.len())
}

impl Source {
    /// Opens a file and compares its name with its content.
    ///
    /// # Errors
    /// As [`stored_bytes`], and where name and content say different things about the compression.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        const READ: usize = 1 << 18;
        stored_bytes(path)?;
        let io = |source| io_error("cannot read", path, source);
        let mut file = File::open(path).map_err(|source| io_error("cannot open", path, source))?;
        let mut first = Vec::with_capacity(4);
        file.by_ref().take(4).read_to_end(&mut first).map_err(io)?;
        file.rewind().map_err(io)?;
        let (expected, compression) = (Compression::of_name(path), Compression::of_content(&first));
        if expected != compression {
            return Err(Error::Text(TextError::WrongCompression {
                path: path.to_path_buf(),
                expected: expected.name(),
                found: compression.name(),
            }));
        }
        let stored = Arc::<Stored>::default();
        let metered = Metered {
            file,
            stored: Arc::clone(&stored),
        };
        let text: Box<dyn Read + Send> = match compression {
            Compression::Plain => Box::new(metered),
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(
                BufReader::with_capacity(READ, metered),
            )),
            Compression::Zstandard => {
                let reader = BufReader::with_capacity(READ, metered);
                Box::new(zstd::stream::read::Decoder::with_buffer(reader).map_err(io)?)
            }
            Compression::Zip => {
                let mut places = entries_of_zip(path)?;
                let (Some(place), true) = (places.pop(), places.is_empty()) else {
                    return Err(Error::Text(TextError::ZipFiles {
                        path: path.to_path_buf(),
                        found: entries_of_zip(path)?
                            .into_iter()
                            .map(|place| place.name)
                            .collect(),
                    }));
                };
                Box::new(ZipEntry::new(metered, place).map_err(io)?)
            }
        };
        Ok(Self {
            path: path.to_path_buf(),
            compression,
            text,
            stored,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads text into `into` until it is full or the text ends; returns how much. `lines` lines came before (for messages).
    ///
    /// # Errors
    /// The operating system refuses, or the compressed stream is damaged or cut off.
    pub(crate) fn fill(&mut self, into: &mut [u8], lines: u64) -> Result<usize> {
        let mut filled = 0;
        while filled < into.len() {
            match self.text.read(&mut into[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.failure(lines, source)),
            }
        }
        Ok(filled)
    }

    fn failure(&self, lines: u64, source: io::Error) -> Error {
        let path = self.path.clone();
        if self.compression == Compression::Plain || source.raw_os_error().is_some() {
            return io_error("cannot read", &path, source);
        }
        let cut_off = source.kind() == io::ErrorKind::UnexpectedEof;
        let problem = if cut_off { "is cut off" } else { "is damaged" };
        Error::Text(TextError::DamagedStream {
            path,
            format: self.compression.name(),
            problem,
            line: lines + 1,
            source,
        })
    }

    /// Bytes read so far of the file as it is stored.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.stored.bytes.load(Ordering::Relaxed)
    }

    /// Name, size and hash of what was read.
    pub(crate) fn identity(&self) -> SourceFile {
        let name = self.path.file_name().unwrap_or(self.path.as_os_str());
        let hash = self
            .stored
            .hash
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .digest();
        SourceFile {
            name: name.to_string_lossy().into_owned(),
            bytes: self.bytes_read(),
            xxh3: format!("{hash:016x}"),
        }
    }
}

/// Name, size and hash of a file.
pub(crate) fn identity(path: &Path) -> Result<SourceFile> {
    let failed = |source| io_error("cannot read", path, source);
    let mut file = File::open(path).map_err(failed)?;
    let mut hash = Xxh3Default::new();
    let mut bytes = 0;
    let mut buffer = vec![0; 1 << 18];
    loop {
        let count = match file.read(&mut buffer) {
            Ok(0) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(failed)?,
        };
        hash.update(&buffer[..count]);
        bytes += count as u64;
    }
    let name = path.file_name().unwrap_or(path.as_os_str());
    Ok(SourceFile {
        name: name.to_string_lossy().into_owned(),
        bytes,
        xxh3: format!("{:016x}", hash.digest()),
    })
}

impl Read for Source {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.text.read(into)
    }
}

/// Refuses early what the writer would refuse at the end, and an output that would take the raw files with it. The lock is for the
/// writer: whoever holds it is alone with the output folder from the first pass on.
///
/// # Errors
/// [`Error::OutputBusy`](crate::packed::Error::OutputBusy), [`Error::OutputExists`](crate::packed::Error::OutputExists), [`Error::OutputHoldsSource`](crate::text::Error::OutputHoldsSource).
pub(crate) fn check_output(out: &Path, raw: &[PathBuf], force: bool) -> Result<OutputLock> {
    let lock = OutputLock::take(out)?;
    check_contents(out, raw, force)?;
    Ok(lock)
}

/// [`check_output`] where the lock is held already.
pub(crate) fn check_contents(out: &Path, raw: &[PathBuf], force: bool) -> Result<()> {
    let Ok(folder) = out.canonicalize() else {
        return Ok(());
    };
    let filled = folder
        .read_dir()
        .is_ok_and(|mut entries| entries.next().is_some());
    if filled && !force {
        return Err(Error::Packed(PackedError::OutputExists {
            path: out.to_path_buf(),
        }));
    }
    for raw in raw {
        let inside = raw.canonicalize().is_ok_and(|raw| raw.starts_with(&folder));
        if inside {
            return Err(Error::Text(TextError::OutputHoldsSource {
                out: out.to_path_buf(),
                path: raw.clone(),
            }));
        }
    }
    Ok(())
}

/// Size of all files below a folder.
pub(crate) fn folder_bytes(folder: &Path) -> Result<u64> {
    let io = |source| io_error("cannot read", folder, source);
    let mut bytes = 0;
    for entry in folder.read_dir().map_err(io)? {
        let entry = entry.map_err(io)?;
        let metadata = entry.metadata().map_err(io)?;
        bytes += if metadata.is_dir() {
            folder_bytes(&entry.path())?
        } else {
            metadata.len()
        };
    }
    Ok(bytes)
}
