//! The process: its exit code, its files, and the memory that it took.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode};

use anyhow::{Context, Result, bail};
use recsys_data::output_file::OutputFile;
use recsys_data::packed::PackedDataset;
use serde_json::Value;

use crate::flags::translated;
use crate::say::escaped;

/// Turns the result of a program's work into its exit code: 0, or 2 with the chain of causes
/// printed once to standard error.
///
/// ```
/// let code = fae_cli::process::exit_on_error(Ok(()));
/// assert_eq!(format!("{code:?}"), format!("{:?}", std::process::ExitCode::SUCCESS));
/// ```
pub fn exit_on_error(result: Result<()>) -> ExitCode {
    exit_code(result.map(|()| ExitCode::SUCCESS))
}

/// As [`exit_on_error`], of work that has an exit code of its own.
pub(crate) fn exit_code(result: Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) => {
            let message = say_error(&error);
            if let Some(remedy) = remedy(&message) {
                note!("{remedy}");
            }
            ExitCode::from(2)
        }
    }
}

/// An error and its causes, those left out that the errors above have in their messages.
fn causes(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |mut message, cause| {
        let cause = cause.to_string();
        if !message.contains(&cause) {
            let colon = if message.is_empty() { "" } else { ": " };
            message.extend([colon, &cause]);
        }
        message
    })
}

/// Says what went wrong, on one line; returns that.
fn say_error(error: &anyhow::Error) -> String {
    let message = translated(&causes(error));
    note!("error: {}", escaped(&message, &[]));
    message
}

/// What to do about an error of the CUDA driver, which names nothing but its own code.
fn remedy(message: &str) -> Option<&'static str> {
    const REMEDIES: [(&[&str], &str); 4] = [
        (
            &["CUDA_ERROR_OUT_OF_MEMORY"],
            "The device's memory is full: give a smaller --budget or --batch-size, or end other programs that use the device.",
        ),
        (
            &[
                "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
                "CUDA_ERROR_INVALID_PTX",
            ],
            "The driver is older than the CUDA toolkit that this program was built with: install a newer driver, or build with the \
             toolkit of the driver (`nvidia-smi` shows its version).",
        ),
        (
            &["CUDA_ERROR_NO_BINARY_FOR_GPU"],
            "The device is older than the kernels of this program: set CUDA_COMPUTE_CAP to its compute capability and build again.",
        ),
        (
            &[
                "CUDA_ERROR_ILLEGAL_ADDRESS",
                "CUDA_ERROR_LAUNCH_FAILED",
                "CUDA_ERROR_ASSERT",
                "CUDA_ERROR_ECC_UNCORRECTABLE",
                "CUDA_ERROR_DEVICE_UNAVAILABLE",
                "CUDA_ERROR_SYSTEM_NOT_READY",
            ],
            "The device was lost. Checkpoints that were written before are intact: start again with --checkpoint and --resume.",
        ),
    ];
    let says = |codes: &[&str]| codes.iter().any(|code| message.contains(code));
    let (_, remedy) = REMEDIES.into_iter().find(|(codes, _)| says(codes))?;
    Some(remedy)
}

/// Lets a file beyond `ulimit -f` be an error of the call that writes it; else a signal would end
/// the program.
pub(crate) fn refuse_no_file_size() {
    #[cfg(unix)]
    // SAFETY: no handler is set, and no other thread runs yet.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}

/// Outputs that are all tried, whatever becomes of the others.
#[derive(Default)]
pub(crate) struct Outputs {
    failure: Option<anyhow::Error>,
}

impl Outputs {
    /// Notes what became of one.
    pub(crate) fn tried(&mut self, result: Result<()>) {
        if let Err(error) = result
            && let Some(before) = self.failure.replace(error)
        {
            say_error(&before);
        }
    }

    /// The last failure; those before it were said.
    ///
    /// # Errors
    /// That failure.
    pub(crate) fn result(self) -> Result<()> {
        self.failure.map_or(Ok(()), Err)
    }
}

/// Refuses outputs, each with its flag, that are one file, or a file of a data set that is read.
///
/// # Errors
/// The first such output.
pub(crate) fn check_outputs(
    outputs: &[(&str, Option<&PathBuf>)],
    data: &[&PackedDataset],
) -> Result<()> {
    let mut seen: Vec<(&str, PathBuf)> = Vec::new();
    for (flag, path) in outputs {
        let Some(path) = path else { continue };
        if let Some(data) = data.iter().find(|data| data.has_file(path)) {
            bail!(
                "{flag} {} is a file of the data set {}: give another name",
                path.display(),
                data.folder().display()
            );
        }
        // Streams take from any number of writers.
        if path.metadata().is_ok_and(|file| !file.is_file()) {
            continue;
        }
        let file = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let file = file.canonicalize().unwrap_or(file);
        if let Some((other, _)) = seen.iter().find(|(_, other)| *other == file) {
            bail!(
                "{other} and {flag} are both {}: give each a file of its own",
                path.display()
            );
        }
        seen.push((flag, file));
    }
    Ok(())
}

/// Tries whether a file can be written that comes at the end of long work; changes nothing.
///
/// # Errors
/// A file that cannot be written.
pub fn probe(path: &Path) -> Result<()> {
    OutputFile::probe(path).with_context(|| format!("cannot write {}", path.display()))
}

/// Writes a text file, which appears under its name when it is complete; its folder is made if it
/// does not exist.
///
/// # Errors
/// Those of the system.
pub fn write_text(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OutputFile::create(path)?;
    file.write_all(text.as_bytes())?;
    file.finish()
}

/// Writes JSON to a file that appears only when it is complete.
///
/// # Errors
/// A file that cannot be written.
pub fn write_json(path: &Path, value: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value)? + "\n";
    write_text(path, &text).with_context(|| format!("cannot write {}", path.display()))
}

/// Waits for a program; whether it succeeded, and the largest resident memory that it has had, in
/// bytes.
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
/// `None` where the system does not tell (it is read from `/proc/self/status`, so anywhere but
/// Linux).
pub fn peak_memory_bytes() -> Option<u64> {
    peak_of_status(&std::fs::read_to_string("/proc/self/status").ok()?)
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
    fn errors_of_the_driver_come_with_a_remedy() {
        let full = "DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")";
        assert!(remedy(full).is_some_and(|remedy| remedy.contains("--budget")));
        let lost =
            "DriverError(CUDA_ERROR_ILLEGAL_ADDRESS, \"an illegal memory access was encountered\")";
        assert!(remedy(lost).is_some_and(|remedy| remedy.contains("--resume")));
        assert_eq!(remedy("cannot open data: No such file or directory"), None);
    }

    #[test]
    fn a_cause_is_named_once() {
        let error = std::io::Error::other("no such file");
        let error = anyhow::Error::new(error).context("cannot open a: no such file");
        assert_eq!(
            causes(&error.context("b")),
            "b: cannot open a: no such file"
        );
    }

    #[test]
    fn an_error_means_exit_code_two() {
        let code = exit_on_error(Err(anyhow::anyhow!("cause").context("what failed")));
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(2)));
    }
}
