//! The kernels of the sequence layer on addresses in the memory of an NVIDIA device.

use candle_core::cuda::WrapErr;
use candle_core::cuda::cudarc::driver::PushKernelArg;
use candle_core::{CudaDevice, Result};
use recsys_device::launch::{grid, number};

use crate::extents::Extents;
use crate::vectors::SHORTEST;

const MODULE: &str = "tbsm/sequence";
const PTX: &str = include_str!(concat!(env!("OUT_DIR"), "/sequence.ptx"));
/// Threads of a block.
const THREADS: usize = 256;

impl Extents {
    /// Launches a kernel with a thread for each of `items` results. All take addresses and the
    /// extents; some, behind these, the distance of the rows of an operand, and whether they
    /// add.
    fn launch<const N: usize>(
        self,
        device: &CudaDevice,
        name: &str,
        addresses: [u64; N],
        items: usize,
        apart: Option<usize>,
        add: Option<bool>,
    ) -> Result<()> {
        let kernel = device.get_or_load_custom_func(name, MODULE, PTX)?;
        let seen = self.seen;
        let (count, width) = (self.count as u64, number(self.width)?);
        let (positions, first, span) = (
            number(seen.positions)?,
            number(seen.first)?,
            number(seen.span)?,
        );
        let (apart, add) = (apart.map(|apart| apart as u64), add.map(u32::from));
        let mut launch = kernel.builder();
        for address in &addresses {
            launch.arg(address);
        }
        launch.arg(&count).arg(&positions).arg(&width);
        launch.arg(&first).arg(&span);
        if let Some(apart) = &apart {
            launch.arg(apart);
        }
        if let Some(add) = &add {
            launch.arg(add);
        }
        // SAFETY: callers give the arguments of the kernel of this name, in its order, and vouch
        // for the memory; threads behind the last result do nothing.
        unsafe { launch.launch(grid(items.div_ceil(THREADS), THREADS, 0)?) }.w()?;
        Ok(())
    }

    /// `vectors · x` to `a`, for rows of `x` that are `apart` values apart.
    ///
    /// # Safety
    /// `vectors [count, positions, width]`, `x [count, width]` and `a [count, span]` are addresses
    /// on the device.
    pub(crate) unsafe fn compare(
        self,
        device: &CudaDevice,
        vectors_x_a: [u64; 3],
        apart: usize,
    ) -> Result<()> {
        let items = self.count * self.seen.span;
        self.launch(
            device,
            "sequence_compare",
            vectors_x_a,
            items,
            Some(apart),
            None,
        )
    }

    /// The sum of the vectors weighed by `y` to `c`.
    ///
    /// # Safety
    /// `vectors [count, positions, width]`, `y [count, span]` and `c [count, width]` are addresses
    /// on the device.
    pub(crate) unsafe fn weigh(self, device: &CudaDevice, vectors_y_c: [u64; 3]) -> Result<()> {
        let items = self.count * self.width;
        self.launch(device, "sequence_weigh", vectors_y_c, items, None, None)
    }

    /// The gradient of the vectors in both of the above.
    ///
    /// # Safety
    /// `y [count, span]`, `x [count, width]` and `grads [count, positions, width]` are addresses on
    /// the device.
    pub(crate) unsafe fn spread(self, device: &CudaDevice, y_x_grads: [u64; 3]) -> Result<()> {
        let items = self.count * self.seen.positions * self.width;
        self.launch(device, "sequence_spread", y_x_grads, items, None, None)
    }

    /// What [`weigh`](Self::weigh) gives, and behind it the candidate, to `joined`.
    ///
    /// # Safety
    /// `vectors [count, positions, width]`, `y [count, span]` and `joined [count, 2 · width]` are
    /// addresses on the device.
    pub(crate) unsafe fn join(self, device: &CudaDevice, vectors_y_joined: [u64; 3]) -> Result<()> {
        let items = self.count * 2 * self.width;
        self.launch(device, "sequence_join", vectors_y_joined, items, None, None)
    }

    /// The gradient of the vectors that a head gives, or, to `add`, gives too, for rows of `x` that
    /// are `apart` values apart.
    ///
    /// # Safety
    /// `y [count, span]`, the gradients of `joined [count, 2 · width]` and of `a [count, span]`, `x
    /// [count, width]`, the gradient of the candidate through it, `[count, width]`, and `grads
    /// [count, positions, width]` are addresses on the device.
    pub(crate) unsafe fn gradient(
        self,
        device: &CudaDevice,
        addresses: [u64; 6],
        apart: usize,
        add: bool,
    ) -> Result<()> {
        let items = self.count * self.seen.positions * self.width;
        self.launch(
            device,
            "sequence_gradient",
            addresses,
            items,
            Some(apart),
            Some(add),
        )
    }
}

/// Rows divided by their lengths, to `units`.
///
/// # Safety
/// Both are addresses on the device, of `rows · width` values.
pub(crate) unsafe fn normalise(
    device: &CudaDevice,
    extents: (usize, usize),
    vectors_units: [u64; 2],
) -> Result<()> {
    launch_rows(device, "normalise_forward", extents, vectors_units)
}

/// From the gradient of the units that of the vectors.
///
/// # Safety
/// `vectors`, the gradient of the units and that of the vectors are addresses on the device, of
/// `rows · width` values.
pub(crate) unsafe fn normalise_backward(
    device: &CudaDevice,
    extents: (usize, usize),
    vectors_and_gradients: [u64; 3],
) -> Result<()> {
    launch_rows(device, "normalise_backward", extents, vectors_and_gradients)
}

/// A thread for each row. Both kernels take addresses, the extents and the shortest length.
fn launch_rows<const N: usize>(
    device: &CudaDevice,
    name: &str,
    (rows, width): (usize, usize),
    addresses: [u64; N],
) -> Result<()> {
    let kernel = device.get_or_load_custom_func(name, MODULE, PTX)?;
    let config = grid(rows.div_ceil(THREADS), THREADS, 0)?;
    let (rows, width, shortest) = (rows as u64, number(width)?, SHORTEST);
    let mut launch = kernel.builder();
    for address in &addresses {
        launch.arg(address);
    }
    launch.arg(&rows).arg(&width).arg(&shortest);
    // SAFETY: the arguments are those of the kernel that takes `N` addresses, in its order and
    // types; callers vouch for the memory; threads behind the last row do nothing.
    unsafe { launch.launch(config) }.w()?;
    Ok(())
}
