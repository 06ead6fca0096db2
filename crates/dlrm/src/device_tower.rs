//! A DLRM's bottom MLP, interaction and top MLP in a training step on an NVIDIA device.

use candle_core::{DType, Device, Result, Tensor, bail};
use recsys_device::launch::address;
use recsys_model::device::{DeviceLayer, DeviceMatrix, Layers, Places, Step};

use crate::dot_operator::{Extents, cuda as interaction};
use crate::{DlrmConfig, Interaction, tiling};

/// Bottom MLP, dot interaction and top MLP, with what each has given.
#[derive(Debug)]
pub struct DeviceTower {
    config: DlrmConfig,
    bottom: Layers,
    products: Tensor,
    products_grad: Tensor,
    top: Layers,
}

impl DeviceTower {
    /// Whether a model can run so: it has a bottom MLP and a dot interaction, and its features fit
    /// a block's shared memory.
    pub fn takes(config: &DlrmConfig) -> bool {
        !config.bottom.is_empty()
            && matches!(config.interaction, Interaction::Dot { .. })
            && tiling::fits(config.features(), config.dim)
    }

    /// Room for up to `most` samples.
    ///
    /// # Errors
    /// More than 2^32 parameters, or a device that fails.
    pub fn new(
        config: &DlrmConfig,
        bottom: impl IntoIterator<Item = DeviceLayer>,
        top: impl IntoIterator<Item = DeviceLayer>,
        most: usize,
        places: &mut Places,
        device: &Device,
    ) -> Result<Self> {
        let floats = |count: usize| Tensor::zeros(count, DType::F32, device);
        Ok(Self {
            bottom: Layers::new(bottom, most, places, device)?,
            products: floats(most * config.interaction_width())?,
            products_grad: floats(most * config.interaction_width())?,
            top: Layers::new(top, most, places, device)?,
            config: config.clone(),
        })
    }

    /// Values of a sample behind the widest layer.
    pub fn widest(&self) -> usize {
        self.bottom.widest().max(self.top.widest())
    }

    /// Where the output is, `[samples, outputs]` and what there is room for behind it.
    ///
    /// # Errors
    /// A top of no layers.
    pub fn output(&self) -> Result<&Tensor> {
        last(&self.top)
    }

    fn extents(&self, batch: usize) -> Extents {
        Extents {
            batch,
            tables: self.config.tables,
            dim: self.config.dim,
            with_self: self.config.interaction == Interaction::Dot { with_self: true },
        }
    }

    /// From `dense [samples, dense features]` and `rows [samples, tables, dim]` to the output.
    ///
    /// # Safety
    /// All addresses are on the device, of as many values; there are no more samples than there is
    /// room for.
    ///
    /// # Errors
    /// A device that fails.
    pub unsafe fn forward(&self, step: &Step<'_>, dense: u64, rows: u64) -> Result<()> {
        let dense = DeviceMatrix::rows(dense, self.config.dense_features());
        let addresses = [
            address(last(&self.bottom)?)?,
            rows,
            address(&self.products)?,
        ];
        let products = DeviceMatrix::rows(addresses[2], self.config.interaction_width());
        // SAFETY: the caller vouches for the inputs; everything else has room for the samples.
        unsafe {
            self.bottom.forward(step, dense)?;
            interaction::launch_forward(step.device, self.extents(step.samples), addresses)?;
            self.top.forward(step, products)
        }
    }

    /// From `grad`, that of the output, those of the parameters and of the rows;
    /// [`BiasSums::add_up`](recsys_model::device::BiasSums::add_up) is left to do.
    ///
    /// # Safety
    /// As for [`forward`](Self::forward) with the same inputs; both buffers have room for the
    /// samples and the widest layer.
    ///
    /// # Errors
    /// A device that fails.
    pub unsafe fn backward(
        &self,
        step: &Step<'_>,
        dense: u64,
        [rows, rows_grad]: [u64; 2],
        grad: u64,
        buffers: [u64; 2],
    ) -> Result<()> {
        let dense = DeviceMatrix::rows(dense, self.config.dense_features());
        let width = self.config.interaction_width();
        let products = DeviceMatrix::rows(address(&self.products)?, width);
        let products_grad = DeviceMatrix::rows(address(&self.products_grad)?, width);
        let (bottom, bottom_grad) = (address(last(&self.bottom)?)?, buffers[0]);
        let addresses = [bottom, rows, products_grad.address, bottom_grad, rows_grad];
        // SAFETY: as in `forward`; the bottom's last layer is as wide as what the interaction gives
        // for it.
        unsafe {
            self.top
                .backward(step, products, grad, buffers, Some(products_grad))?;
            interaction::launch_backward(step.device, self.extents(step.samples), addresses)?;
            self.bottom
                .backward(step, dense, bottom_grad, buffers, None)
        }
    }
}

fn last(layers: &Layers) -> Result<&Tensor> {
    match layers.last() {
        Some(output) => Ok(output),
        None => bail!("an MLP of no layers"),
    }
}
