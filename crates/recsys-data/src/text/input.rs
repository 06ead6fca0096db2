//! Raw files, opened for reading from the front: plain, compressed, or the one file in a zip
//! archive.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use xxhash_rust::xxh3::Xxh3Default;

use super::format::{Compression, HEAD, foreign, is_litter};
use super::members::{Member, Members};
use super::{ZipEntry, ZipPlace, entries_of_zip};
use crate::error::{Error, Result, io_error};
use crate::packed::Error as PackedError;
use crate::packed::{OutputLock, SourceFile};
use crate::text::error::Error as TextError;

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
    /// Opens a file of text.
    ///
    /// # Errors
    /// As [`Source::open`], and where the first bytes are those of something that is no text.
    pub(crate) fn text(path: &Path) -> Result<Self> {
        Self::open_as(path, true)
    }

    /// Opens a file. Its first bytes tell how it is compressed, whatever its name is.
    ///
    /// # Errors
    /// As [`stored_bytes`], and where the name says that an uncompressed file is compressed.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Self::open_as(path, false)
    }

    fn open_as(path: &Path, text: bool) -> Result<Self> {
        const READ: usize = 1 << 18;
        stored_bytes(path)?;
        let io = |source| io_error("cannot read", path, source);
        let mut file = File::open(path).map_err(|source| io_error("cannot open", path, source))?;
        let mut head = Vec::with_capacity(HEAD);
        (file.by_ref().take(HEAD as u64))
            .read_to_end(&mut head)
            .map_err(io)?;
        file.rewind().map_err(io)?;
        let compression = Compression::of_content(&head);
        let stored = Arc::<Stored>::default();
        let metered = Metered {
            file,
            stored: Arc::clone(&stored),
        };
        fn members<M>(file: Metered) -> Box<dyn Read + Send>
        where
            M: Member<Input = BufReader<Metered>> + Send + 'static,
        {
            Box::new(Members::<M>::Between(BufReader::with_capacity(READ, file)))
        }
        let content: Box<dyn Read + Send> = match compression {
            Compression::Plain => Box::new(metered),
            Compression::Gzip => members::<flate2::bufread::GzDecoder<_>>(metered),
            Compression::Zstandard => members::<zstd::stream::read::Decoder<'static, _>>(metered),
            Compression::Bzip2 => members::<bzip2::bufread::BzDecoder<_>>(metered),
            Compression::Zip => Box::new(ZipEntry::new(metered, only_file(path)?).map_err(io)?),
        };
        let mut source = Self {
            path: path.to_path_buf(),
            compression,
            text: content,
            stored,
        };
        if text {
            source.check_text()?;
        }
        let expected = Compression::of_name(path);
        if compression == Compression::Plain && expected != compression {
            return Err(Error::Text(TextError::WrongCompression {
                path: path.to_path_buf(),
                expected: expected.name(),
                found: compression.name(),
            }));
        }
        Ok(source)
    }

    /// Looks at the front of the content, which stays to be read.
    fn check_text(&mut self) -> Result<()> {
        let mut head = vec![0; HEAD];
        let count = self.fill(&mut head, 0)?;
        head.truncate(count);
        if let Some((found, remedy)) = foreign(&head) {
            let inside = match self.compression {
                Compression::Plain => None,
                compression => Some(compression.name()),
            };
            return Err(Error::Text(TextError::NotText {
                path: self.path.clone(),
                inside,
                found,
                remedy,
            }));
        }
        let rest = std::mem::replace(&mut self.text, Box::new(io::empty()));
        self.text = Box::new(Cursor::new(head).chain(rest));
        Ok(())
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

/// The one file in a zip archive, beside what systems add to archives.
///
/// # Errors
/// The archive holds no file, or several, or cannot be read.
fn only_file(path: &Path) -> Result<ZipPlace> {
    let mut places = entries_of_zip(path)?;
    places.retain(|place| !is_litter(&place.name));
    match places.pop() {
        Some(place) if places.is_empty() => Ok(place),
        last => Err(Error::Text(TextError::ZipFiles {
            path: path.to_path_buf(),
            found: places
                .into_iter()
                .chain(last)
                .map(|place| place.name)
                .collect(),
        })),
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

/// Refuses early what the writer would refuse at the end, an output that would take the raw files
/// with it, and a file that is named twice. The lock is for the writer: whoever holds it is alone
/// with the output folder from the first pass on.
///
/// # Errors
/// [`Error::OutputBusy`](crate::packed::Error::OutputBusy),
/// [`Error::OutputExists`](crate::packed::Error::OutputExists),
/// [`Error::OutputHoldsSource`](crate::text::Error::OutputHoldsSource),
/// [`Error::SameFile`](crate::text::Error::SameFile).
pub(crate) fn check_output(out: &Path, raw: &[PathBuf], force: bool) -> Result<OutputLock> {
    let lock = OutputLock::take(out)?;
    check_contents(out, raw, force)?;
    Ok(lock)
}

/// [`check_output`] where the lock is held already.
pub(crate) fn check_contents(out: &Path, raw: &[PathBuf], force: bool) -> Result<()> {
    check_distinct(raw)?;
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

/// Refuses files of which two are the same one, whatever their names.
fn check_distinct(files: &[PathBuf]) -> Result<()> {
    let mut seen = HashMap::with_capacity(files.len());
    for path in files {
        if let Some(first) = seen.insert(file_of(path), path) {
            return Err(Error::Text(TextError::SameFile {
                first: first.clone(),
                again: path.clone(),
            }));
        }
    }
    Ok(())
}

/// What two names of one file have in common.
#[cfg(unix)]
fn file_of(path: &Path) -> std::result::Result<(u64, u64), &Path> {
    use std::os::unix::fs::MetadataExt;
    let metadata = path.metadata().map_err(|_| path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// What two names of one file have in common.
#[cfg(not(unix))]
fn file_of(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
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
