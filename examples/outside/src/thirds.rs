//! A schedule of one's own.

use embedding_store::Side;
use serde_json::{Value, json};
use trainer::{Error, Result, Schedule, SideBatches, Stretch};

/// Cold and hot batches in turns, a third of what is left of a side at a time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Thirds {
    hot: u64,
    cold: u64,
    hot_is_next: bool,
}

impl Schedule for Thirds {
    fn begin(&mut self, batches: SideBatches) -> Result<()> {
        *self = Self {
            hot: batches.hot,
            cold: batches.cold,
            hot_is_next: false,
        };
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Stretch>> {
        let hot = self.cold == 0 || self.hot_is_next && self.hot > 0;
        let (side, left) = match hot {
            true => (Side::Hot, &mut self.hot),
            false => (Side::Cold, &mut self.cold),
        };
        let batches = left.div_ceil(3);
        *left -= batches;
        self.hot_is_next = !hot;
        Ok((batches > 0).then_some(Stretch { side, batches }))
    }

    fn state(&self) -> Result<Value> {
        Ok(json!([self.hot, self.cold, self.hot_is_next]))
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        let (hot, cold, hot_is_next) = serde_json::from_value(state.clone())
            .map_err(|error| Error::external(format!("not a state of Thirds: {error}")))?;
        *self = Self {
            hot,
            cold,
            hot_is_next,
        };
        Ok(())
    }
}
