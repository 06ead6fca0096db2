//! Asking for disk space before work starts instead of running out of it at the end.

use std::fs::File;
use std::io;
use std::path::Path;

/// Bytes that may still be written below `folder`, where the system can tell.
#[cfg(unix)]
pub(crate) fn available(folder: &Path) -> Option<u64> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(folder.as_os_str().as_bytes()).ok()?;
    let mut answer = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: `path` is a terminated string and `answer` has room for the structure; both outlive the call.
    let code = unsafe { libc::statvfs(path.as_ptr(), answer.as_mut_ptr()) };
    if code != 0 {
        return None;
    }
    // SAFETY: the structure was zeroed, which is a valid value of its integers, and then filled by the call.
    let answer = unsafe { answer.assume_init() };
    // The width of these fields differs between systems.
    #[allow(clippy::unnecessary_cast)]
    Some((answer.f_bavail as u64).saturating_mul(answer.f_frsize as u64))
}

/// Bytes that may still be written below `folder`, where the system can tell.
#[cfg(not(unix))]
pub(crate) fn available(_folder: &Path) -> Option<u64> {
    None
}

/// Gives a new file its size and, where the file system can, the disk blocks for it.
#[cfg(target_os = "linux")]
pub(super) fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let Ok(length) = libc::off64_t::try_from(bytes) else {
        return Err(io::ErrorKind::FileTooLarge.into());
    };
    loop {
        // `posix_fallocate` would write to every block where the file system cannot reserve; this call says so instead.
        // SAFETY: the descriptor belongs to `file`, which is borrowed for the call.
        if unsafe { libc::fallocate64(file.as_raw_fd(), 0, 0, length) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::EOPNOTSUPP | libc::ENOSYS) => return file.set_len(bytes),
            _ => return Err(error),
        }
    }
}

/// Gives a new file its size.
#[cfg(not(target_os = "linux"))]
pub(super) fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    file.set_len(bytes)
}
