//! An observer of one's own.

use std::ops::ControlFlow;

use trainer::{Event, Observer, Result};

/// Ends a run in good order after a step, and counts the steps that it saw.
#[derive(Debug, Clone, Copy)]
pub struct StopAfter {
    /// Number of the last step that is wanted.
    pub last: u64,
    /// Steps seen.
    pub seen: u64,
}

impl Observer for StopAfter {
    fn observe(&mut self, event: &Event<'_>) -> Result<ControlFlow<()>> {
        if let Event::Step { step, .. } = event {
            self.seen += 1;
            if *step >= self.last {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
