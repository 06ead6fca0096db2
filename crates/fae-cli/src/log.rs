//! `--log`: a run's events as JSON lines.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use trainer::{Error, Event, JsonLines, Observer, Result};

/// Steps between two that are written.
const EVERY: u64 = 100;

/// Writes events until that fails once: a run that may go on for hours does not end with its log.
#[derive(Default)]
pub(crate) struct Log {
    lines: Option<JsonLines>,
    failure: Arc<Mutex<Option<Error>>>,
}

impl Log {
    /// A log in a new file, or behind what the file holds.
    ///
    /// # Errors
    /// A file that cannot be written to.
    pub(crate) fn open(path: &Path, append: bool) -> Result<Self> {
        let lines = match append {
            true => JsonLines::append(path, EVERY)?,
            false => JsonLines::create(path, EVERY)?,
        };
        Ok(Self {
            lines: Some(lines),
            ..Self::default()
        })
    }

    /// Where the failure will be, if there is one.
    pub(crate) fn failure(&self) -> Arc<Mutex<Option<Error>>> {
        self.failure.clone()
    }
}

impl Observer for Log {
    fn observe(&mut self, event: &Event<'_>) -> Result<ControlFlow<()>> {
        if let Some(lines) = &mut self.lines
            && let Err(error) = lines.observe(event)
        {
            note!("warning: the log ends here: {error}");
            self.lines = None;
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
        Ok(ControlFlow::Continue(()))
    }
}
