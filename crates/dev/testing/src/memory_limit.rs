//! Limits of memory, to try what is larger than memory on machines that have plenty.

use std::fs::OpenOptions;
use std::io::{Result, Write};
use std::path::{Path, PathBuf};

/// A memory control group of Linux; on drop it is left and removed. Pages of files count in it, and
/// are dropped where the limit is reached.
#[derive(Debug)]
pub struct MemoryLimit {
    root: &'static Path,
    group: PathBuf,
    entered: bool,
}

impl MemoryLimit {
    /// A group of at most this many bytes. `None` where none can be made: not on Linux, or without
    /// the right to.
    pub fn new(bytes: u64) -> Option<Self> {
        let versions = [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max"),
        ];
        versions.into_iter().find_map(|(root, file)| {
            let root = Path::new(root);
            if !root.exists() {
                return None;
            }
            let group = root.join(format!("memory-limit-{}", std::process::id()));
            std::fs::create_dir(&group).ok()?;
            let limit = Self {
                root,
                group,
                entered: false,
            };
            write(&limit.group.join(file), bytes).ok()?;
            Some(limit)
        })
    }

    /// The file that takes the numbers of processes to be limited.
    pub fn processes(&self) -> PathBuf {
        self.group.join("cgroup.procs")
    }

    /// Limits this process: what it has already does not count.
    ///
    /// # Errors
    /// Without the right to.
    pub fn enter(&mut self) -> Result<()> {
        write(&self.processes(), std::process::id().into())?;
        self.entered = true;
        Ok(())
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        if self.entered {
            let _ = write(&self.root.join("cgroup.procs"), std::process::id().into());
        }
        let _ = std::fs::remove_dir(&self.group);
    }
}

/// Into a file that is there: where memory is not controlled, it is not.
fn write(file: &Path, value: u64) -> Result<()> {
    let mut file = OpenOptions::new().write(true).open(file)?;
    file.write_all(value.to_string().as_bytes())
}
