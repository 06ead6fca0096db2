//! A folder of memory-mapped rows that can be opened again.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::arena::{Arena, Shape};
use crate::encoding::TableSpec;
use crate::error::{Error, Result};
use crate::layout::Part;
use crate::mapped::{Content, map_rows, refused};
use crate::rule::RowOptimizer;
use crate::store::StoreOptions;

/// What the store is, and whether it can be trusted.
const STORE_FILE: &str = "store.json";
/// Held locked while a store is open; the system drops the lock of a killed process.
const LOCK_FILE: &str = "store.lock";
const FORMAT: &str = "embedding-store rows";
const VERSION: u32 = 1;

/// A locked folder whose store is being made or used.
#[derive(Debug)]
pub(crate) struct RowFolder {
    path: PathBuf,
    /// Whether the folder was not there before.
    new: bool,
    _lock: File,
}

/// Contents of [`STORE_FILE`].
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Description {
    format: String,
    version: u32,
    state: State,
    /// Floats lie in the files as the machine that made them holds them.
    little_endian: bool,
    /// Of a closed store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    store: Option<StoreDescription>,
}

/// Whether the rows are all of one step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// Being written: after a kill, half a step may be in the files.
    Open,
    /// Complete and on the disk.
    Closed,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoreDescription {
    dim: usize,
    /// The rule as settings say it. Factors on the learning rate may be others the next time.
    optimizer: serde_json::Value,
    tables: Vec<TableSpec>,
    /// First row and one past the last row of every part.
    held: Vec<[u64; 2]>,
}

impl StoreDescription {
    pub(crate) fn new(
        tables: &[TableSpec],
        dim: usize,
        optimizer: &RowOptimizer,
        held: &[Range<u64>],
    ) -> Self {
        Self {
            dim,
            optimizer: serde_json::json!(optimizer.rule_alone()),
            tables: tables.to_vec(),
            held: held.iter().map(|held| [held.start, held.end]).collect(),
        }
    }
}

impl RowFolder {
    /// Takes a folder for a new store, in the place of one that was not closed.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let new = !path.exists();
        fs::create_dir_all(path).map_err(Error::io("cannot create", path))?;
        let foreign = foreign_entry(path)?;
        if let Some(name) = foreign {
            return Err(Error::FolderTaken {
                folder: path.into(),
                what: format!("{name}, which is not of a store"),
                remedy: "choose another folder or an empty one",
            });
        }
        let lock = lock(path)?;
        let folder = Self {
            path: path.into(),
            new,
            _lock: lock,
        };
        if folder.store_file().exists() {
            // A description that cannot be read is left alone like one of a closed store.
            if folder.describe()?.state == State::Closed {
                return Err(Error::FolderTaken {
                    folder: path.into(),
                    what: "the rows of a closed store".into(),
                    remedy: "open it, or remove the folder first",
                });
            }
            folder.remove_files()?;
        }
        folder.begin()?;
        Ok(folder)
    }

    /// Takes the folder of a closed store; returns the rows that it holds of every part.
    pub(crate) fn open(
        path: &Path,
        tables: &[TableSpec],
        options: &StoreOptions,
    ) -> Result<(Self, Vec<Range<u64>>)> {
        let file = path.join(STORE_FILE);
        if !file.exists() {
            return Err(Error::NotAStore {
                path: file,
                problem: "there is no such file".into(),
            });
        }
        let folder = Self {
            path: path.into(),
            new: false,
            _lock: lock(path)?,
        };
        let description = folder.describe()?;
        let Some(store) = description
            .store
            .filter(|_| description.state == State::Closed)
        else {
            return Err(Error::NotClosed {
                folder: path.into(),
            });
        };
        let held: Vec<_> = store.held.iter().map(|&[start, end]| start..end).collect();
        let expected = StoreDescription::new(tables, options.dim, &options.optimizer, &held);
        let differs = |what, found: String, expected: String| match found == expected {
            true => Ok(()),
            false => Err(Error::OtherStore {
                folder: path.into(),
                what,
                found,
                expected,
            }),
        };
        differs("dimension", store.dim.to_string(), expected.dim.to_string())?;
        differs(
            "the optimizer",
            store.optimizer.to_string(),
            expected.optimizer.to_string(),
        )?;
        differs(
            "the tables",
            format!("{:?}", store.tables),
            format!("{:?}", expected.tables),
        )?;
        Ok((folder, held))
    }

    /// Notes that the rows may change from now on.
    pub(crate) fn begin(&self) -> Result<()> {
        self.write(State::Open, None)
    }

    /// Notes that all rows are in their files, which they must be.
    pub(crate) fn finish(&self, store: StoreDescription) -> Result<()> {
        self.write(State::Closed, Some(store))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Maps rows of a part.
    pub(crate) fn map(
        &self,
        part: &Part,
        floats: Content,
        (rows, width): (u64, usize),
    ) -> Result<Arena> {
        let shape = Shape::new(rows, width).map_err(|error| refused(part, error))?;
        if shape.bytes == 0 {
            return Arena::new(rows, width, |_, _| ()).map_err(|error| refused(part, error));
        }
        let path = self.path.join(floats.file_name(part));
        let file = File::options().read(true).write(true).open(&path);
        let file = file.map_err(Error::io("cannot open", &path))?;
        let found = file
            .metadata()
            .map_err(Error::io("cannot read", &path))?
            .len();
        if found != shape.bytes as u64 {
            return Err(Error::RowFileSize {
                path,
                expected: shape.bytes as u64,
                found,
            });
        }
        map_rows(&path, &file, shape)
    }

    /// Removes what was made; the first error is the one to report, so others are not.
    pub(crate) fn discard(self) {
        let _ = self.remove_files();
        let _ = fs::remove_file(self.path.join(LOCK_FILE));
        if self.new {
            let _ = fs::remove_dir(&self.path);
        }
    }

    fn store_file(&self) -> PathBuf {
        self.path.join(STORE_FILE)
    }

    fn describe(&self) -> Result<Description> {
        let path = self.store_file();
        let text = fs::read(&path).map_err(Error::io("cannot read", &path))?;
        let refused = |problem: String| Error::NotAStore {
            path: path.clone(),
            problem,
        };
        let description: Description =
            serde_json::from_slice(&text).map_err(|error| refused(error.to_string()))?;
        if description.format != FORMAT || description.version != VERSION {
            return Err(refused(format!(
                "it is `{}` of version {}, not `{FORMAT}` of version {VERSION}",
                description.format, description.version
            )));
        }
        if description.little_endian != cfg!(target_endian = "little") {
            return Err(refused(
                "it was written on a machine of the other byte order".into(),
            ));
        }
        Ok(description)
    }

    /// Replaces the description in one step.
    fn write(&self, state: State, store: Option<StoreDescription>) -> Result<()> {
        let description = Description {
            format: FORMAT.into(),
            version: VERSION,
            state,
            little_endian: cfg!(target_endian = "little"),
            store,
        };
        let path = self.store_file();
        let temporary = path.with_extension("json.tmp");
        let write = || {
            let mut file = File::create(&temporary)?;
            file.write_all(&serde_json::to_vec(&description)?)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            if cfg!(unix) {
                File::open(&self.path)?.sync_all()?;
            }
            Ok(())
        };
        write().map_err(Error::io("cannot write", &path))
    }

    /// Removes the files of rows, and last of all the description.
    fn remove_files(&self) -> Result<()> {
        for entry in fs::read_dir(&self.path).map_err(Error::io("cannot read", &self.path))? {
            let path = entry.map_err(Error::io("cannot read", &self.path))?.path();
            if path
                .file_name()
                .is_some_and(|name| name != LOCK_FILE && name != STORE_FILE)
            {
                fs::remove_file(&path).map_err(Error::io("cannot remove", &path))?;
            }
        }
        match fs::remove_file(self.store_file()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io("cannot remove", &self.store_file())(error))
            }
            _ => Ok(()),
        }
    }
}

fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(LOCK_FILE);
    let file = File::create(&path).map_err(Error::io("cannot create", &path))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(Error::FolderInUse {
            folder: folder.into(),
        }),
        // A file system without locks is no reason to stop.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
    }
}

/// The name of something in a folder that no store has put there.
fn foreign_entry(folder: &Path) -> Result<Option<String>> {
    for entry in fs::read_dir(folder).map_err(Error::io("cannot read", folder))? {
        let entry = entry.map_err(Error::io("cannot read", folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let rows =
            name.starts_with("emb_l.") && (name.ends_with(".weights") || name.ends_with(".state"));
        let own = name.starts_with(STORE_FILE) || name == LOCK_FILE;
        if !own && !rows {
            return Ok(Some(name));
        }
    }
    Ok(None)
}
