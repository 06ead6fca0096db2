//! Tensors that follow one on another device.

use candle_core::{DType, Device, Tensor};

use crate::Result;
use crate::copy::copy_between;

/// A copy of a tensor on another device, in memory that is kept from one to the next of its shape.
#[derive(Debug, Default)]
pub struct Mirror {
    kept: Option<Tensor>,
}

impl Mirror {
    /// A contiguous f32 tensor as it is on `device`: itself where it is there. The copy is
    /// overwritten by the next one.
    ///
    /// Between NVIDIA devices it is a copy from one to the other, directly where they are
    /// [connected](crate::connect_devices), and the host does not wait for it.
    ///
    /// # Errors
    /// A copy that fails.
    pub fn of(&mut self, tensor: &Tensor, device: &Device) -> Result<Tensor> {
        if tensor.device().same_device(device) {
            return Ok(tensor.clone());
        }
        let here = self.room(tensor.dims(), device)?;
        copy_between(tensor, &here)?;
        Ok(here)
    }

    /// Memory for a tensor of a shape on `device`, which holds anything.
    ///
    /// # Errors
    /// A device without so much memory.
    pub fn room(&mut self, shape: &[usize], device: &Device) -> Result<Tensor> {
        match &self.kept {
            Some(kept) if kept.dims() == shape && kept.device().same_device(device) => {
                Ok(kept.clone())
            }
            _ => {
                let made = Tensor::zeros(shape, DType::F32, device)?;
                self.kept = Some(made.clone());
                Ok(made)
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends where something fails")]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_copied() {
        let tensor = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu).unwrap();
        let mut mirror = Mirror::default();
        assert_eq!(mirror.of(&tensor, &Device::Cpu).unwrap().id(), tensor.id());
        let room = mirror.room(&[2, 2], &Device::Cpu).unwrap();
        assert_eq!(mirror.room(&[2, 2], &Device::Cpu).unwrap().id(), room.id());
        copy_between(&tensor.t().unwrap(), &room).unwrap();
        assert_eq!(room.to_vec2::<f32>().unwrap(), [[1.0, 3.0], [2.0, 4.0]]);
    }
}
