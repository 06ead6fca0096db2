//! Sums of gradients that were taken on several NVIDIA devices.

use candle_core::{Device, Tensor};
use recsys_device::{Mirror, copy_between};

use crate::Result;
use crate::crossing::add;

/// The gradients of a step, by parameter and replica, and their sums on every device. Each device
/// copies the others' and adds all in the order of the replicas, so that all have the same bits,
/// and none waits for what another has added.
#[derive(Default)]
pub(crate) struct Reduction {
    taken: Vec<Vec<Option<Tensor>>>,
    sums: Vec<Vec<Sum>>,
    #[cfg(feature = "nccl")]
    nccl: Option<nccl::Nccl>,
}

#[derive(Default)]
struct Sum {
    total: Mirror,
    arriving: Mirror,
}

/// The place of a number, made where there is none.
fn place<T: Default>(places: &mut Vec<T>, at: usize) -> &mut T {
    if places.len() <= at {
        places.resize_with(at + 1, T::default);
    }
    &mut places[at]
}

impl Reduction {
    /// Forgets the gradients of the step before.
    pub(crate) fn begin(&mut self) {
        self.taken.iter_mut().for_each(Vec::clear);
    }

    /// A replica's gradient of a parameter, whose memory is not written before the sums were asked
    /// for.
    pub(crate) fn take(&mut self, parameter: usize, replica: usize, gradient: &Tensor) {
        *place(place(&mut self.taken, parameter), replica) = Some(gradient.clone());
    }

    /// Lets NCCL add the gradients from now on.
    ///
    /// # Errors
    /// NCCL that cannot be used on these devices.
    #[cfg(feature = "nccl")]
    pub(crate) fn use_nccl(&mut self, devices: &[Device]) -> Result<()> {
        self.nccl = Some(nccl::Nccl::new(devices)?);
        Ok(())
    }

    /// All replicas have given their gradients.
    ///
    /// # Errors
    /// A device that fails.
    pub(crate) fn meet(&mut self, devices: &[Device]) -> Result<()> {
        #[cfg(feature = "nccl")]
        if let Some(nccl) = &mut self.nccl {
            for (parameter, taken) in self.taken.iter().enumerate() {
                let sums = place(&mut self.sums, parameter);
                let Some(first) = taken.iter().flatten().next() else {
                    continue;
                };
                let mut totals = Vec::with_capacity(devices.len());
                for (replica, device) in devices.iter().enumerate() {
                    let total = place(sums, replica).total.room(first.dims(), device)?;
                    match taken.get(replica).and_then(Option::as_ref) {
                        Some(gradient) => copy_between(gradient, &total)?,
                        None => copy_between(&total.zeros_like()?, &total)?,
                    }
                    totals.push(total);
                }
                nccl.add(&totals)?;
            }
        }
        let _ = devices;
        Ok(())
    }

    /// The sum of all replicas' gradients of a parameter, on the device of one of them; `None`
    /// where none was taken.
    pub(crate) fn sum(
        &mut self,
        parameter: usize,
        replica: usize,
        device: &Device,
    ) -> Result<Option<Tensor>> {
        let mut taken = place(&mut self.taken, parameter).iter().flatten();
        let Some(first) = taken.next() else {
            return Ok(None);
        };
        let Sum { total, arriving } = place(place(&mut self.sums, parameter), replica);
        let total = total.room(first.dims(), device)?;
        #[cfg(feature = "nccl")]
        if self.nccl.is_some() {
            return Ok(Some(total));
        }
        copy_between(first, &total)?;
        for gradient in taken {
            add(&arriving.of(&gradient.contiguous()?, device)?, &total)?;
        }
        Ok(Some(total))
    }
}

#[cfg(feature = "nccl")]
mod nccl {
    use candle_core::cuda::cudarc::nccl::{
        result::NcclError,
        safe::{Comm, ReduceOp, group_end, group_start},
    };
    use candle_core::{Device, Tensor};
    use recsys_device::launch::write;

    use crate::Result;

    /// A communicator for every device, which works in the order of its stream.
    pub(super) struct Nccl {
        communicators: Vec<Comm>,
    }

    // SAFETY: a communicator may be used by one thread at a time, whichever that is; whoever has
    // this has them alone.
    unsafe impl Send for Nccl {}
    // SAFETY: nothing can be done with a shared reference; every method takes an exclusive one.
    unsafe impl Sync for Nccl {}

    fn said(error: NcclError) -> candle_core::Error {
        candle_core::Error::Msg(format!("NCCL cannot add gradients: {error:?}"))
    }

    impl Nccl {
        pub(super) fn new(devices: &[Device]) -> Result<Self> {
            let streams = devices
                .iter()
                .map(|device| Ok(device.as_cuda_device()?.cuda_stream()))
                .collect::<candle_core::Result<_>>()?;
            let communicators = Comm::from_devices(streams).map_err(said)?;
            Ok(Self { communicators })
        }

        /// Replaces tensors, one on each device, by their sum.
        pub(super) fn add(&mut self, totals: &[Tensor]) -> Result<()> {
            group_start().map_err(said)?;
            let asked = self.communicators.iter().zip(totals);
            let asked = asked.map(|(communicator, total)| {
                write::<_, candle_core::Error>(total, |total| {
                    let asked = communicator.all_reduce_in_place(total, &ReduceOp::Sum);
                    asked.map(drop).map_err(said)
                })
            });
            let asked = asked.collect::<candle_core::Result<()>>();
            // The group ends whatever came of it.
            group_end().map_err(said)?;
            Ok(asked?)
        }
    }
}
