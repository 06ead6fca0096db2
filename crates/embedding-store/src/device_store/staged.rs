//! A batch's cold rows on the device.

use std::sync::Arc;

use candle_core::Tensor;

use super::DeviceStore;
use super::index::Index;
use super::matrix::Matrix;
use crate::cold_rows::ColdRows;
use crate::error::Result;
use crate::plan::Plan;

/// A batch's cold rows on the device.
#[derive(Debug, Default)]
pub struct Staged {
    /// One for each class, `[cold rows, width]`.
    pub(super) classes: Vec<Option<Tensor>>,
    /// One for each part, `[dim_i, dim]`.
    pub(super) projections: Vec<Option<Tensor>>,
    /// All rows and their state, where they are moved here.
    pub(super) copies: Option<Matrix>,
    /// What the batch's plan means, where it was made ahead.
    pub(super) index: Option<Arc<Index>>,
    /// The memory of them all, where it is of the ring, and the copies' way back.
    #[cfg(feature = "cuda")]
    pub(super) uploaded: Option<super::cuda::UploadedRows>,
    #[cfg(feature = "cuda")]
    pub(super) returning: Option<super::cuda::Returning>,
}

impl Staged {
    pub(super) fn class(&self, class: usize) -> Option<&Tensor> {
        self.classes.get(class)?.as_ref()
    }

    pub(super) fn projection(&self, part: usize) -> Option<&Tensor> {
        self.projections.get(part)?.as_ref()
    }

    pub(super) fn copies(&self) -> Option<&Matrix> {
        self.copies.as_ref()
    }

    pub(super) fn index(&self, plan: &Plan) -> Option<&Arc<Index>> {
        self.index.as_ref().filter(|index| index.is_of(plan))
    }

    /// Forgets the batch: what another one needs is free.
    pub(super) fn clear(&mut self) {
        self.classes.clear();
        self.projections.clear();
        (self.copies, self.index) = (None, None);
        #[cfg(feature = "cuda")]
        {
            (self.uploaded, self.returning) = (None, None);
        }
    }
}

impl DeviceStore {
    /// The index of a whole batch, which may have been made when its cold rows were taken to the
    /// device.
    pub(super) fn index_for(
        &self,
        plan: &Plan,
        cold: &ColdRows,
        staged: &Staged,
    ) -> Result<Arc<Index>> {
        match staged.index(plan) {
            Some(index) => Ok(Arc::clone(index)),
            None => self.index(plan, cold),
        }
    }
}
