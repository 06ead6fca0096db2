//! What a head of the time-series layer sees, for the graph and for the kernels on devices.

/// The positions of each sequence that a head sees.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// Positions of a sequence.
    pub(crate) positions: usize,
    /// The first position seen and their number.
    pub(crate) first: usize,
    pub(crate) span: usize,
}

/// Sequences, and what a head sees of them.
#[cfg(feature = "cuda")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extents {
    /// Number of sequences.
    pub(crate) count: usize,
    /// Of a vector.
    pub(crate) width: usize,
    pub(crate) seen: Seen,
}
