//! The folder beside the output that an interrupted preparation is continued from.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::criteo::error::Error as CriteoError;
use crate::error::{Error, Result};
use crate::packed::Error as PackedError;
use crate::packed::{sibling, sync_folder};

const STATE: &str = "state.json";
/// Folders in it: what is not complete yet and belongs to nobody after a kill, and what stays.
const UNFINISHED: &str = "unfinished";
const FOLDERS: [&str; 6] = [
    UNFINISHED,
    "days",
    "tables",
    "ids",
    "data",
    "data/vocabulary",
];

/// The folder `.NAME.work`. Whoever works in it holds the lock of the output.
#[derive(Debug)]
pub(super) struct WorkFolder {
    path: PathBuf,
}

impl WorkFolder {
    /// Makes or takes up the folder beside `target`. `state` is what the output depends on; with `restart` the folder is emptied.
    ///
    /// # Errors
    /// A folder of other options.
    pub(super) fn open(target: &Path, state: &Value, restart: bool) -> Result<Self> {
        let path = beside(target);
        fs::create_dir_all(&path).map_err(Error::io("cannot create", &path))?;
        let folder = Self { path };
        if restart {
            folder.discard()?;
        }
        match folder.load::<Value>(STATE)? {
            Some(before) if before != *state => {
                return Err(Error::Criteo(CriteoError::OtherOptions {
                    path: folder.path.clone(),
                    difference: difference(&before, state),
                }));
            }
            Some(_) => {}
            None => folder.save(STATE, state)?,
        }
        let unfinished = folder.unfinished("");
        if unfinished.exists() {
            remove_folder(&unfinished)?;
        }
        for name in FOLDERS {
            let path = folder.at(name);
            fs::create_dir_all(&path).map_err(Error::io("cannot create", &path))?;
        }
        Ok(folder)
    }

    /// Whether the folder for a target holds a file, if there is such a folder.
    pub(super) fn has_in(target: &Path, name: &str) -> bool {
        beside(target).join(name).exists()
    }

    /// Removes the folder of a target that a killed run was about to remove: it says no more what it is of.
    pub(super) fn remove_closed(target: &Path) -> Result<()> {
        let path = beside(target);
        if path.exists() && !path.join(STATE).exists() {
            remove_folder(&path)?;
        }
        Ok(())
    }

    fn remove_folders(&self) -> Result<()> {
        for name in FOLDERS {
            let path = self.at(name);
            if path.exists() {
                remove_folder(&path)?;
            }
        }
        Ok(())
    }

    fn discard(&self) -> Result<()> {
        self.remove_folders()?;
        for entry in fs::read_dir(&self.path).map_err(Error::io("cannot read", &self.path))? {
            let path = entry.map_err(Error::io("cannot read", &self.path))?.path();
            if path.extension().is_some_and(|kind| kind == "json") {
                remove(&path)?;
            }
        }
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A file of the folder, such as "days/00.json".
    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A file that is being written.
    pub(super) fn unfinished(&self, name: &str) -> PathBuf {
        self.path.join(UNFINISHED).join(name)
    }

    /// Gives a complete and durable file in [`WorkFolder::unfinished`] its place.
    pub(super) fn keep(&self, unfinished: &Path, name: &str) -> Result<()> {
        let path = self.at(name);
        fs::rename(unfinished, &path).map_err(Error::io("cannot create", &path))?;
        path.parent().map_or(Ok(()), sync_folder)
    }

    /// Writes a small file of JSON, which is there whole or not at all.
    pub(super) fn save(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let path = self.at(name);
        let temporary = path.with_extension("tmp");
        let text = serde_json::to_vec_pretty(value).map_err(|source| {
            Error::Packed(PackedError::Manifest {
                path: path.clone(),
                source,
            })
        })?;
        let write = || {
            let mut file = File::create(&temporary)?;
            file.write_all(&text)?;
            file.sync_all()
        };
        write().map_err(Error::io("cannot write", &temporary))?;
        fs::rename(&temporary, &path).map_err(Error::io("cannot create", &path))?;
        path.parent().map_or(Ok(()), sync_folder)
    }

    /// What [`WorkFolder::save`] wrote, if it did.
    pub(super) fn load<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let path = self.at(name);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::io("cannot read", &path)(source)),
        };
        match serde_json::from_slice(&text) {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(Error::Criteo(CriteoError::WorkFile {
                path,
                problem: "is damaged",
            })),
        }
    }

    /// Whether a file is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.at(name).exists()
    }

    /// Removes a file that may be gone already.
    pub(super) fn remove(&self, name: &str) -> Result<()> {
        remove(&self.at(name))
    }

    /// Writes a file record by record, durable and in its place in the end.
    pub(super) fn write(
        &self,
        name: &str,
        fill: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
    ) -> Result<()> {
        let unfinished = self.unfinished(&name.replace('/', "-"));
        let write = || {
            let mut writer = BufWriter::with_capacity(1 << 18, File::create(&unfinished)?);
            fill(&mut writer)?;
            writer.flush()?;
            writer.get_ref().sync_all()
        };
        write().map_err(Error::io("cannot write", &unfinished))?;
        self.keep(&unfinished, name)
    }

    /// Removes the folder, what takes long first: a run that is killed meanwhile goes on with that. Once the state is gone, the next
    /// run removes what is left.
    pub(super) fn close(self) -> Result<()> {
        self.remove_folders()?;
        self.remove(STATE)?;
        remove_folder(&self.path)
    }
}

/// The folder that belongs to a target.
fn beside(target: &Path) -> PathBuf {
    target.with_file_name(sibling(target.file_name().unwrap_or_default(), ".work"))
}

fn remove_folder(path: &Path) -> Result<()> {
    fs::remove_dir_all(path).map_err(Error::io("cannot remove", path))
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("cannot remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// The first entry that differs, as "max_ind_range was null and is 1000".
fn difference(before: &Value, now: &Value) -> String {
    let empty = serde_json::Map::new();
    let (before, now) = (
        before.as_object().unwrap_or(&empty),
        now.as_object().unwrap_or(&empty),
    );
    let keys = now.keys().chain(before.keys());
    let mut differing = keys.filter(|key| before.get(*key) != now.get(*key));
    let Some(key) = differing.next() else {
        return "unknown".to_owned();
    };
    let shown = |value: Option<&Value>| value.map_or("absent".to_owned(), Value::to_string);
    format!(
        "{key} was {} and is {}",
        shown(before.get(key)),
        shown(now.get(key))
    )
}
