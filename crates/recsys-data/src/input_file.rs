//! Opening files that others name.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Opens a file to read it. A FIFO or a device, such as `/dev/zero`, would be waited for or read
/// without end, so it is refused.
///
/// # Errors
/// Those of the system, and [`io::ErrorKind::InvalidInput`] for what is no regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // Else opening a FIFO waits for its writer; regular files know no waiting.
        options.custom_flags(libc::O_NONBLOCK);
    }
    let file = options.open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => {
            let problem = "it is no regular file";
            Err(io::Error::new(io::ErrorKind::InvalidInput, problem))
        }
    }
}

/// Reads a file whole, as [`open_regular`] opens it.
///
/// # Errors
/// As there.
pub fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn devices_folders_and_pipes_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        for path in [Path::new("/dev/zero"), folder.path(), &pipe] {
            if path != pipe || made.as_ref().is_ok_and(|made| made.success()) {
                let error = open_regular(path).unwrap_err();
                assert_eq!(error.to_string(), "it is no regular file", "{path:?}");
            }
        }
        let file = folder.path().join("file");
        std::fs::write(&file, "content").unwrap();
        assert_eq!(
            io::read_to_string(open_regular(&file).unwrap()).unwrap(),
            "content"
        );
    }
}
