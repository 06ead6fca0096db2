//! Rules from outside of this crate.

use std::fmt::Debug;

use super::Optimizer;

/// A rule by which rows move, written outside of this crate; [`RowOptimizer`](super::RowOptimizer)
/// makes a store's optimizer of it.
///
/// It works wherever a store's rows lie in host memory, which is every placement whose devices are
/// `Device::Cpu`. On an NVIDIA device rows move by kernels, and a rule without one is refused.
///
/// A store calls [`step`](Self::step) once for every row that a batch touches, from many threads,
/// each with rows of its own, and in no promised order of the rows. What a rule computes may depend
/// on its arguments alone: then results are the same on any number of threads, and a run that was
/// interrupted goes on as if it had not been. `step` counts the store's updates, which checkpoints
/// keep; a rule needs no counter of its own.
pub trait RowRule: Debug + Send + Sync {
    /// A name, for settings, checkpoints and errors.
    fn name(&self) -> &str;

    /// The settings by name. A store in files, or a checkpoint, that was made with others is
    /// refused. None by default.
    fn parameters(&self) -> Vec<(String, f64)> {
        Vec::new()
    }

    /// Says what is wrong with the settings; a store calls it when it is made. Nothing by default.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    fn validate(&self) -> Result<(), String> {
        Ok(())
    }

    /// Floats of state that the rule keeps of a row of `dim` floats.
    fn state_width(&self, dim: usize) -> usize;

    /// Writes the state of a row that was never updated, `[state_width]`, over zeros. They stay by
    /// default.
    fn fresh_state(&self, state: &mut [f32]) {
        let _ = state;
    }

    /// Moves one row. `gradient` is the sum of the gradients of all its lookups in the batch, as
    /// long as `row`; `state` is `[state_width]`; `rate` is the learning rate of the row's table;
    /// `step` is how many updates the store has made before.
    fn step(&self, gradient: &[f32], row: &mut [f32], state: &mut [f32], rate: f32, step: u64);

    /// The built-in optimizer of dense parameters beside rows of this rule, unless they are given
    /// another: those of the model, and the projections of mixed-dimension tables.
    fn dense(&self) -> Optimizer;
}
