//! Samples of the original programs, on their way to a packed data set.

/// Some samples with the ids of another program.
#[derive(Debug, Default)]
pub(super) struct ForeignSequences {
    pub(super) label: Vec<f32>,
    /// `[samples, positions]`.
    pub(super) dense: Vec<f32>,
    /// `[samples, positions, 3]`.
    pub(super) ids: Vec<u32>,
    pub(super) stored_bytes: u64,
}
