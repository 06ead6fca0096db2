//! Fully connected layers of a training step on an NVIDIA device, in memory that is kept: nothing
//! is allocated once they are made.

use candle_core::cuda::cudarc::cublas::{result::gemm_ex, sys};
use candle_core::{CudaDevice, DType, Device, Result, Tensor};
use recsys_device::launch::{address, number};

use crate::bias_activation::{Activation, cuda as bias};

const FLOAT: u64 = size_of::<f32>() as u64;

/// Where a matrix lies on the device: its rows `distance` values apart, or its columns where it is
/// `transposed`.
#[derive(Debug, Clone, Copy)]
pub struct DeviceMatrix {
    /// Of its first value.
    pub address: u64,
    /// Values from one row to the next.
    pub distance: usize,
    /// Whether its transpose lies so.
    pub transposed: bool,
}

impl DeviceMatrix {
    /// Rows of `width` values, one behind the other.
    pub fn rows(address: u64, width: usize) -> Self {
        Self {
            address,
            distance: width,
            transposed: false,
        }
    }

    /// The transpose.
    #[must_use]
    pub fn t(self) -> Self {
        Self {
            transposed: !self.transposed,
            ..self
        }
    }
}

/// A place among flat values.
pub fn behind(address: u64, values: usize) -> u64 {
    address + values as u64 * FLOAT
}

/// A map among the flat parameters: a fully connected layer, or a bare matrix.
#[derive(Debug, Clone, Copy)]
pub struct DeviceLayer {
    /// Values of a sample in front of it.
    pub inputs: usize,
    /// Values of a sample behind it.
    pub outputs: usize,
    /// The place of the weight, `[outputs, inputs]`, or `[inputs, outputs]` where it is
    /// `transposed`.
    pub weight: usize,
    /// Whether the parameters hold the weight's transpose.
    pub transposed: bool,
    /// The place of the bias, and the activation; a bare matrix has neither.
    pub end: Option<(usize, Activation)>,
}

impl DeviceLayer {
    /// The weight `[outputs, inputs]`, or its gradient.
    fn weight(&self, values: u64) -> DeviceMatrix {
        let at = behind(values, self.weight);
        match self.transposed {
            true => DeviceMatrix::rows(at, self.outputs).t(),
            false => DeviceMatrix::rows(at, self.inputs),
        }
    }
}

/// Biases of layers that run on equally many samples: where each is among the parameters.
#[derive(Debug, Default)]
pub struct Places(Vec<u32>);

/// Sums of the biases' gradients over some samples each, side by side, added up at last.
#[derive(Debug)]
pub struct BiasSums {
    sums: Tensor,
    places: Tensor,
    columns: usize,
}

impl BiasSums {
    /// Room for up to `most` samples.
    ///
    /// # Errors
    /// A device that fails.
    pub fn new(places: Places, most: usize, device: &Device) -> Result<Self> {
        let Places(places) = places;
        let columns = places.len();
        let count = bias::partial_sums(most) * columns;
        Ok(Self {
            sums: Tensor::zeros(count, DType::F32, device)?,
            places: Tensor::new(places, device)?,
            columns,
        })
    }

    /// Writes the gradients of all biases.
    ///
    /// # Safety
    /// As for [`Layers::backward`], which has run for all layers.
    ///
    /// # Errors
    /// A device that fails.
    pub unsafe fn add_up(&self, step: &Step<'_>) -> Result<()> {
        let count = bias::partial_sums(step.samples);
        let addresses = [address(&self.sums)?, step.gradients, address(&self.places)?];
        // SAFETY: the caller vouches for the gradients; the sums have room for these samples, and
        // the places are the layers'.
        unsafe { bias::launch_sums(step.device, (count, self.columns), addresses) }
    }
}

/// What the layers of a step on equally many samples share.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// Where it runs.
    pub device: &'a CudaDevice,
    /// Rows that the layers take.
    pub samples: usize,
    /// Address of the flat parameters.
    pub parameters: u64,
    /// Address of their gradients.
    pub gradients: u64,
    /// The layers' biases.
    pub biases: &'a BiasSums,
}

/// Layers one behind the other, and what each has given.
#[derive(Debug, Default)]
pub struct Layers(Vec<Kept>);

#[derive(Debug)]
struct Kept {
    layer: DeviceLayer,
    /// Of its bias among those of the step.
    column: usize,
    output: Tensor,
}

impl Layers {
    /// Room for up to `most` samples. The biases come behind those in `places`.
    ///
    /// # Errors
    /// More than 2^32 parameters, or a device that fails.
    pub fn new(
        layers: impl IntoIterator<Item = DeviceLayer>,
        most: usize,
        places: &mut Places,
        device: &Device,
    ) -> Result<Self> {
        let keep = |layer: DeviceLayer| -> Result<Kept> {
            let column = places.0.len();
            if let Some((bias, _)) = layer.end {
                for place in bias..bias + layer.outputs {
                    places.0.push(number(place)?);
                }
            }
            Ok(Kept {
                layer,
                column,
                output: Tensor::zeros(most * layer.outputs, DType::F32, device)?,
            })
        };
        layers
            .into_iter()
            .map(keep)
            .collect::<Result<_>>()
            .map(Self)
    }

    /// Lets the last layer write elsewhere.
    pub fn end_in(&mut self, output: Tensor) {
        if let Some(last) = self.0.last_mut() {
            last.output = output;
        }
    }

    /// Where the last layer writes, if there is one.
    pub fn last(&self) -> Option<&Tensor> {
        self.0.last().map(|kept| &kept.output)
    }

    /// Values of a sample behind the widest layer.
    pub fn widest(&self) -> usize {
        let widths = self.0.iter().map(|kept| kept.layer.outputs);
        widths.max().unwrap_or(0)
    }

    /// What comes out for `x`: without layers, `x`.
    ///
    /// # Errors
    /// Memory that is not on a device.
    pub fn output(&self, x: DeviceMatrix) -> Result<DeviceMatrix> {
        self.behind(self.0.len(), x)
    }

    /// What comes out of the first layers.
    fn behind(&self, layers: usize, x: DeviceMatrix) -> Result<DeviceMatrix> {
        match self.0[..layers].last() {
            Some(kept) => Ok(DeviceMatrix::rows(
                address(&kept.output)?,
                kept.layer.outputs,
            )),
            None => Ok(x),
        }
    }

    /// Runs all layers on `x [samples, inputs]`: `activation(x weight' + bias)` of each.
    ///
    /// # Safety
    /// `x` and the parameters are on the device, of as many values as samples and layers say; there
    /// are no more samples than there is room for.
    ///
    /// # Errors
    /// A device that fails.
    pub unsafe fn forward(&self, step: &Step<'_>, x: DeviceMatrix) -> Result<()> {
        for (k, kept) in self.0.iter().enumerate() {
            let (layer, y) = (&kept.layer, address(&kept.output)?);
            let sizes = [step.samples, layer.outputs, layer.inputs];
            let into = DeviceMatrix::rows(y, layer.outputs);
            let (x, weight) = (self.behind(k, x)?, layer.weight(step.parameters).t());
            // SAFETY: the caller vouches for `x` and the parameters, and for the room of the
            // outputs.
            unsafe { product(step.device, sizes, [x, weight], into, false)? };
            if let Some((bias, activation)) = layer.end {
                let bias = behind(step.parameters, bias);
                let size = (step.samples, layer.outputs);
                // SAFETY: as above.
                unsafe { bias::launch_forward(step.device, activation, size, [y, bias, y])? };
            }
        }
        Ok(())
    }

    /// From `grad [samples, outputs]` the gradients of the weights, the sums of the biases', and
    /// if given, the gradient of `x`. `grad` may be in the first buffer; elsewhere it
    /// stays as it is.
    ///
    /// # Safety
    /// `x` is that of the forward pass; all addresses are on the device; the buffers have room for
    /// the samples and the widest layer.
    ///
    /// # Errors
    /// A device that fails.
    pub unsafe fn backward(
        &self,
        step: &Step<'_>,
        x: DeviceMatrix,
        grad: u64,
        buffers: [u64; 2],
        into: Option<DeviceMatrix>,
    ) -> Result<()> {
        let [mut masked, mut free] = buffers;
        let mut grad = grad;
        let (sums, stride) = (address(&step.biases.sums)?, step.biases.columns);
        for (
            k,
            Kept {
                layer,
                column,
                output,
            },
        ) in self.0.iter().enumerate().rev()
        {
            if let Some((_, activation)) = layer.end {
                let size = (step.samples, layer.outputs);
                let values = [address(output)?, grad, masked];
                let sums = (behind(sums, *column), stride);
                // SAFETY: the caller vouches for the gradient and the buffers; outputs and sums
                // have room for the samples.
                unsafe { bias::launch_backward(step.device, activation, size, values, sums)? };
                if activation != Activation::None {
                    grad = masked;
                }
            }
            let of_output = DeviceMatrix::rows(grad, layer.outputs);
            let sizes = [layer.outputs, layer.inputs, step.samples];
            let factors = [of_output.t(), self.behind(k, x)?];
            // A weight that stands behind this layer once more has its gradient from there already.
            let again = self.0[k + 1..].iter();
            let again = again
                .map(|behind| behind.layer.weight)
                .any(|at| at == layer.weight);
            // SAFETY: the caller vouches for `x` and the gradients.
            unsafe {
                product(
                    step.device,
                    sizes,
                    factors,
                    layer.weight(step.gradients),
                    again,
                )?
            };
            let into = match k {
                0 => into,
                _ => Some(DeviceMatrix::rows(free, layer.inputs)),
            };
            if let Some(into) = into {
                let sizes = [step.samples, layer.inputs, layer.outputs];
                let factors = [of_output, layer.weight(step.parameters)];
                // SAFETY: as above.
                unsafe { product(step.device, sizes, factors, into, false)? };
            }
            (grad, masked, free) = (free, free, masked);
        }
        Ok(())
    }
}

/// `c = a b`, or `c += a b`, for `a [m, k]`, `b [k, n]` and `c [m, n]`.
///
/// # Safety
/// All three are on the device, of so many values.
unsafe fn product(
    device: &CudaDevice,
    [m, n, k]: [usize; 3],
    [a, b]: [DeviceMatrix; 2],
    c: DeviceMatrix,
    add: bool,
) -> Result<()> {
    use candle_core::cuda::WrapErr;

    if c.transposed {
        // SAFETY: the caller's word.
        return unsafe { product(device, [n, m, k], [b.t(), a.t()], c.t(), add) };
    }
    // What lies in rows is the transpose to cuBLAS, which counts by columns: c' = b' a'.
    let operation = |matrix: DeviceMatrix| match matrix.transposed {
        true => sys::cublasOperation_t::CUBLAS_OP_T,
        false => sys::cublasOperation_t::CUBLAS_OP_N,
    };
    let length = |extent: usize| i32::try_from(extent).map_err(candle_core::Error::wrap);
    let [rows, columns, depth] = [length(n)?, length(m)?, length(k)?];
    let [of_a, of_b, of_c] = [
        length(a.distance)?,
        length(b.distance)?,
        length(c.distance)?,
    ];
    let (one, kept) = (1f32, if add { 1f32 } else { 0f32 });
    let float = sys::cudaDataType::CUDA_R_32F;
    let compute = match candle_core::cuda::gemm_reduced_precision_f32() {
        true => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32,
        false => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
    };
    let blas = device.cublas_handle();
    // SAFETY: the caller vouches for the memory; the factors are read before the call returns.
    unsafe {
        gemm_ex(
            *blas.handle(),
            operation(b),
            operation(a),
            rows,
            columns,
            depth,
            (&raw const one).cast(),
            b.address as *const _,
            float,
            of_b,
            a.address as *const _,
            float,
            of_a,
            (&raw const kept).cast(),
            c.address as *mut _,
            float,
            of_c,
            compute,
            sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
        )
    }
    .w()
}
