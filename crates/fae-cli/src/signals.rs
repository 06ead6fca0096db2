//! Signals that end a run in good order: Ctrl-C, SIGTERM and, where a terminal closes, SIGHUP.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

#[cfg(unix)]
const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, signal_hook::consts::SIGHUP];
#[cfg(not(unix))]
const SIGNALS: [i32; 2] = [SIGINT, SIGTERM];

/// Whether a signal came, and which.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// Set by the first one.
    pub(crate) stop: Arc<AtomicBool>,
    number: Arc<AtomicUsize>,
}

impl Signals {
    /// From now on, a signal is noted; a second one ends the program immediately. Signals that this
    /// process was told to ignore stay ignored, as under `nohup`.
    ///
    /// # Errors
    /// A system that does not let signals be handled.
    pub(crate) fn noted() -> Result<Self> {
        let signals = Self::default();
        for signal in SIGNALS.into_iter().filter(|&signal| !is_ignored(signal)) {
            let note = || {
                let stop = signals.stop.clone();
                flag::register_conditional_shutdown(signal, 128 + signal, stop.clone())?;
                flag::register_usize(signal, signals.number.clone(), signal as usize)?;
                flag::register(signal, stop)?;
                say_so(signal)
            };
            note().context("cannot handle signals")?;
        }
        Ok(signals)
    }

    /// The exit code of a program that this signal has ended: 130 after Ctrl-C, 143 after SIGTERM,
    /// 129 after SIGHUP.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(128 + self.number.load(Ordering::Relaxed) as u8)
    }
}

#[cfg(unix)]
fn say_so(signal: i32) -> std::io::Result<()> {
    const MESSAGE: &[u8] = b"stopping after this step; once more ends immediately\n";
    let say = || {
        // SAFETY: a handler may call `write`, and the bytes are constant. That it may fail changes
        // nothing.
        unsafe { libc::write(2, MESSAGE.as_ptr().cast(), MESSAGE.len()) };
    };
    // SAFETY: the action does nothing but that call.
    unsafe { signal_hook::low_level::register(signal, say) }.map(drop)
}

#[cfg(not(unix))]
fn say_so(_signal: i32) -> std::io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action the call only reads the old one into the structure, for which
    // all zeros are a valid value.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

#[cfg(not(unix))]
fn is_ignored(_signal: i32) -> bool {
    false
}
