//! The process around an example: its exit code and the memory that it took.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, ExitCode};

use recsys_data::OutputFile;

use crate::training::bytes;

/// Turns the result of a program's work into its exit code: 0, or 2 with the chain of causes printed once to standard error.
///
/// ```
/// let code = examples::process::exit_on_error(Ok(()));
/// assert_eq!(format!("{code:?}"), format!("{:?}", std::process::ExitCode::SUCCESS));
/// ```
pub fn exit_on_error(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Writes a text file, which appears under its name when it is complete; its folder is made if it does not exist.
///
/// # Errors
/// Those of the system.
pub fn write_text(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OutputFile::create(path)?;
    file.write_all(text.as_bytes())?;
    file.finish()
}

/// Waits for a program; whether it succeeded, and the largest resident memory that it has had, in bytes.
///
/// # Errors
/// Those of the system.
#[cfg(unix)]
pub fn wait(child: Child) -> io::Result<(bool, u64)> {
    let mut status = 0;
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    let id = child.id() as libc::pid_t;
    // SAFETY: the child is this process's own and nobody else waits for it; both results outlive the call.
    while unsafe { libc::wait4(id, &raw mut status, 0, usage.as_mut_ptr()) } != id {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // SAFETY: the structure was zeroed, which is a valid value of its integers, and then filled by the call.
    let largest = unsafe { usage.assume_init() }.ru_maxrss as u64;
    // Apple's systems count bytes, the others kibibytes.
    let unit = if cfg!(target_vendor = "apple") {
        1
    } else {
        1024
    };
    Ok((status == 0, largest * unit))
}

/// Waits for a program; whether it succeeded. Its memory is not known here, hence 0.
///
/// # Errors
/// Those of the system.
#[cfg(not(unix))]
pub fn wait(mut child: Child) -> io::Result<(bool, u64)> {
    Ok((child.wait()?.success(), 0))
}

/// The largest resident memory that this process has had, in bytes.
///
/// `None` where the system does not tell (it is read from `/proc/self/status`, so anywhere but Linux).
pub fn peak_memory_bytes() -> Option<u64> {
    peak_of_status(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// Prints the largest resident memory of this process behind a name that takes so many columns.
pub fn print_peak_memory(columns: usize) {
    let peak = peak_memory_bytes().map_or("unknown".to_owned(), bytes);
    println!("{:<columns$} {peak:>14}", "peak memory");
}

/// The `VmHWM` line of a `/proc/PID/status` file, in bytes; the kernel writes kibibytes there.
fn peak_of_status(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_in_bytes() {
        let status = "Name:\tprepare\nVmPeak:\t  999 kB\nVmHWM:\t   12345 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(peak_of_status(status), Some(12345 * 1024));
        assert_eq!(peak_of_status("Name:\tprepare\n"), None);
    }

    #[test]
    fn an_error_means_exit_code_two() {
        let code = exit_on_error(Err(anyhow::anyhow!("cause").context("what failed")));
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(2)));
    }
}
