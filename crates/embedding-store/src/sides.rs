//! The names of the two sides of a store, for whoever writes code for any of them.

use crate::split::{ColdOperations, HotOperations};

/// A store that holds the first rows of every part, on the device of the model, and can work with
/// rows that lie elsewhere: [`CpuStore`](crate::CpuStore) and [`DeviceStore`](crate::DeviceStore).
/// The hot side of a [`HotCold`](crate::HotCold), or a replica of a
/// [`HotReplicas`](crate::HotReplicas).
///
/// The trait can be named and not implemented elsewhere: the sides share buffers of a batch's cold
/// rows, which unchecked loops and the kernels of devices read by their layout. Rows that lie
/// elsewhere, behind a network for example, are an [`EmbeddingStore`](crate::EmbeddingStore) of
/// their own.
pub trait HotSide: HotOperations {}

impl<S: HotOperations> HotSide for S {}

/// A store in host memory that holds the last rows of every part: [`CpuStore`](crate::CpuStore).
/// The cold side of a [`HotCold`](crate::HotCold); sealed as [`HotSide`] is.
pub trait ColdSide: ColdOperations {}

impl<S: ColdOperations> ColdSide for S {}
