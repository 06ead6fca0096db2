//! Where a store in host memory keeps its rows: memory, or memory-mapped files.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fs4::FileExt;

use crate::arena::{Arena, SendPointer, Shape};
use crate::error::{Error, Result};
use crate::layout::Part;
use crate::mapped::{Content, map_rows, refused};
use crate::row_folder::RowFolder;

/// Bytes of rows that are made together on their way to a file.
const PIECE: usize = 8 << 20;

/// Where a [`CpuStore`](crate::CpuStore) keeps its rows and their optimizer state. No number
/// depends on it.
///
/// In files, rows are read and written through a shared memory map: the system keeps those in
/// memory that are used, as far as memory reaches, so tables may be larger than it. Disk space is
/// reserved before the first row is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backing {
    /// In memory.
    #[default]
    Memory,
    /// In files without names in a folder, which is made if it is missing. The system frees them
    /// when the store is dropped or its process ends, even by a kill.
    Scratch(PathBuf),
    /// In files in a folder of their own, which stay. A store that is
    /// [closed](crate::CpuStore::close) can be [opened](crate::CpuStore::open) again. One that is
    /// dropped or killed before cannot: its rows may be half updated. Making a store anew replaces
    /// those, and refuses a folder that holds a closed store or anything else.
    Folder(PathBuf),
}

/// A backing while a store is made and used.
#[derive(Debug)]
pub(crate) enum OpenBacking {
    Memory,
    Scratch(PathBuf),
    Folder(RowFolder),
}

impl OpenBacking {
    /// Gets ready for files of that many bytes altogether.
    pub(crate) fn prepare(backing: &Backing, bytes: u64) -> Result<Self> {
        let place = match backing {
            Backing::Memory => return Ok(Self::Memory),
            Backing::Scratch(folder) => {
                fs::create_dir_all(folder).map_err(Error::io("cannot create", folder))?;
                Self::Scratch(folder.clone())
            }
            Backing::Folder(folder) => Self::Folder(RowFolder::create(folder)?),
        };
        match place.check_space(bytes) {
            Ok(()) => Ok(place),
            Err(error) => {
                place.discard();
                Err(error)
            }
        }
    }

    /// Removes what was made of a store that cannot be finished.
    pub(crate) fn discard(self) {
        if let Self::Folder(folder) = self {
            folder.discard();
        }
    }

    pub(crate) fn backing(&self) -> Backing {
        match self {
            Self::Memory => Backing::Memory,
            Self::Scratch(folder) => Backing::Scratch(folder.clone()),
            Self::Folder(folder) => Backing::Folder(folder.path().into()),
        }
    }

    fn folder(&self) -> Option<&Path> {
        match self {
            Self::Memory => None,
            Self::Scratch(folder) => Some(folder),
            Self::Folder(folder) => Some(folder.path()),
        }
    }

    /// That the disk has room for that many bytes more.
    fn check_space(&self, needed: u64) -> Result<()> {
        let Some(folder) = self.folder() else {
            return Ok(());
        };
        let available = fs4::available_space(folder)
            .map_err(Error::io("cannot read the free space of", folder))?;
        if needed > available {
            return Err(Error::DiskSpace {
                folder: folder.into(),
                needed,
                available,
            });
        }
        Ok(())
    }

    /// Makes rows of a part, which `write` fills row by row.
    pub(crate) fn arena(
        &self,
        part: &Part,
        floats: Content,
        (rows, width): (u64, usize),
        write: impl Fn(u64, &mut [f32]) + Sync,
    ) -> Result<Arena> {
        let failed = |error| refused(part, error);
        let shape = Shape::new(rows, width).map_err(failed)?;
        let (path, file) = match self {
            Self::Scratch(folder) if shape.bytes > 0 => {
                let file = tempfile::tempfile_in(folder);
                (
                    folder.clone(),
                    file.map_err(Error::io("cannot create a file in", folder))?,
                )
            }
            Self::Folder(folder) if shape.bytes > 0 => {
                let path = folder.path().join(floats.file_name(part));
                let file = File::options()
                    .read(true)
                    .write(true)
                    .create_new(true)
                    .open(&path);
                let file = file.map_err(Error::io("cannot create", &path))?;
                (path, file)
            }
            _ => return Arena::new(rows, width, write).map_err(failed),
        };
        let full = |source: io::Error| match source.kind() {
            io::ErrorKind::StorageFull => Error::DiskSpace {
                folder: self.folder().unwrap_or(&path).into(),
                needed: shape.bytes as u64,
                available: fs4::available_space(&path).unwrap_or(0),
            },
            _ => Error::io("cannot write", &path)(source),
        };
        reserve(&file, shape.bytes as u64).map_err(full)?;
        write_rows(&file, shape, &write).map_err(full)?;
        map_rows(&path, &file, shape)
    }
}

/// Gives a new file its size and, where the file system can, the disk blocks for it: a full disk is
/// an error here, and would be a fatal signal when a mapped row is written.
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    loop {
        match FileExt::allocate(file, bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Then writing all rows allocates them.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => return file.set_len(bytes),
            result => return result,
        }
    }
}

/// Writes the first rows as a file is written, not through the map: the system then holds the
/// writer back where the disk falls behind, and a full disk is an error.
fn write_rows(
    mut file: &File,
    shape: Shape,
    write: &(impl Fn(u64, &mut [f32]) + Sync),
) -> io::Result<()> {
    let row_bytes = shape.stride * size_of::<f32>();
    let rows_at_once = (PIECE / row_bytes).clamp(1, shape.rows.max(1));
    let mut piece: Vec<f32> = Vec::with_capacity(rows_at_once * shape.stride);
    for first in (0..shape.rows).step_by(rows_at_once) {
        let rows = first..shape.rows.min(first + rows_at_once);
        let floats = rows.len() * shape.stride;
        piece.clear();
        // SAFETY: there is capacity for these rows, all of whose floats are written before they
        // become the vector's.
        let bytes = unsafe {
            shape.fill(rows, SendPointer(piece.as_mut_ptr()), write);
            piece.set_len(floats);
            std::slice::from_raw_parts(piece.as_ptr().cast::<u8>(), floats * size_of::<f32>())
        };
        file.write_all(bytes)?;
    }
    Ok(())
}
