//! What the benchmarks share: seeded inputs and the rooflines that results are held against.

pub mod batches;
pub mod gemm;
pub mod interleaved;
pub mod memory;
pub mod packed;
pub mod split;
pub mod step;
pub mod tables;
