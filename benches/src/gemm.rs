//! The matrix products of a DLRM step and nothing else: what a step could cost at best with this library.

use dlrm::DlrmConfig;
use gemm::Parallelism;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use recsys_model::simd::multiply_add;

/// All matrix products of one forward and backward pass of a DLRM, on warm buffers: per layer the output, the weight
/// gradient and, but for the first bottom layer, the input gradient.
///
/// The batch is cut into the slices that the model itself cuts it into, each running its products one behind the other
/// on one thread of the current rayon pool. Layers of width 1 are left out: they are matrix-vector products, and the
/// model does not spend a matrix product on them.
pub struct GemmRoofline {
    layers: Vec<Layer>,
    weights: Vec<Vec<f32>>,
    slices: Vec<Slice>,
    batch: usize,
}

struct Layer {
    inputs: usize,
    outputs: usize,
    input_grad: bool,
}

/// Buffers of one slice, one per layer.
struct Slice {
    samples: usize,
    inputs: Vec<Vec<f32>>,
    outputs: Vec<Vec<f32>>,
    output_grads: Vec<Vec<f32>>,
    input_grads: Vec<Vec<f32>>,
    weight_grads: Vec<Vec<f32>>,
}

impl GemmRoofline {
    /// The products of `config` at a batch of `batch` samples.
    pub fn new(config: &DlrmConfig, batch: usize) -> Self {
        let top: Vec<usize> = std::iter::once(config.interaction_width())
            .chain(config.top.iter().copied())
            .collect();
        let chain = |widths: &[usize], first_input_grad: bool| -> Vec<Layer> {
            let layer = |(k, pair): (usize, &[usize])| Layer {
                inputs: pair[0],
                outputs: pair[1],
                input_grad: first_input_grad || k > 0,
            };
            widths.windows(2).enumerate().map(layer).collect()
        };
        let mut layers = chain(&config.bottom, false);
        layers.extend(chain(&top, true));
        layers.retain(|layer| layer.outputs > 1);

        let mut random = <rand_chacha::ChaCha8Rng as rand::SeedableRng>::seed_from_u64(1);
        let mut normal = |count: usize| -> Vec<f32> {
            (0..count)
                .map(|_| StandardNormal.sample(&mut random))
                .collect()
        };
        let weights = layers
            .iter()
            .map(|layer| normal(layer.outputs * layer.inputs))
            .collect();
        let samples = config.slice.samples(batch);
        let slices = (0..batch)
            .step_by(samples)
            .map(|start| {
                let samples = samples.min(batch - start);
                Slice {
                    samples,
                    inputs: layers
                        .iter()
                        .map(|layer| normal(samples * layer.inputs))
                        .collect(),
                    outputs: layers
                        .iter()
                        .map(|layer| normal(samples * layer.outputs))
                        .collect(),
                    output_grads: layers
                        .iter()
                        .map(|layer| normal(samples * layer.outputs))
                        .collect(),
                    input_grads: layers
                        .iter()
                        .map(|layer| normal(samples * layer.inputs))
                        .collect(),
                    weight_grads: layers
                        .iter()
                        .map(|layer| normal(layer.outputs * layer.inputs))
                        .collect(),
                }
            })
            .collect();
        Self {
            layers,
            weights,
            slices,
            batch,
        }
    }

    /// Samples of the batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Floating-point operations of one [`GemmRoofline::run`], a multiplication and an addition counted as two.
    pub fn operations(&self) -> u64 {
        let products = |layer: &Layer| {
            2 * (2 + u64::from(layer.input_grad)) * (layer.inputs * layer.outputs) as u64
        };
        self.layers.iter().map(products).sum::<u64>() * self.batch as u64
    }

    /// Computes all products once. What is timed is this call.
    pub fn run(&mut self) {
        let (layers, weights) = (&self.layers, &self.weights);
        self.slices
            .par_iter_mut()
            .with_max_len(1)
            .for_each(|slice| {
                let n = slice.samples;
                for (k, layer) in layers.iter().enumerate() {
                    let (x, w) = (
                        View::rows(&slice.inputs[k], layer.inputs),
                        View::rows(&weights[k], layer.inputs),
                    );
                    multiply(
                        [n, layer.outputs, layer.inputs],
                        x,
                        w.transposed(),
                        &mut slice.outputs[k],
                    );
                }
                for (k, layer) in layers.iter().enumerate().rev() {
                    let (x, w) = (
                        View::rows(&slice.inputs[k], layer.inputs),
                        View::rows(&weights[k], layer.inputs),
                    );
                    let dy = View::rows(&slice.output_grads[k], layer.outputs);
                    multiply(
                        [layer.outputs, layer.inputs, n],
                        dy.transposed(),
                        x,
                        &mut slice.weight_grads[k],
                    );
                    if layer.input_grad {
                        multiply(
                            [n, layer.inputs, layer.outputs],
                            dy,
                            w,
                            &mut slice.input_grads[k],
                        );
                    }
                }
            });
    }
}

/// Multiply-adds of 32-bit values in registers on every thread of the current rayon pool, as many as the processor takes: what no
/// arithmetic of this width outruns.
pub struct MultiplyAdds {
    /// Floating-point operations of one [`MultiplyAdds::run`].
    pub operations: u64,
}

/// Independent sums, enough to hide that each takes some cycles.
const SUMS: usize = 12;
const LANES: usize = 8;

impl MultiplyAdds {
    /// So many operations a run, a multiplication and an addition counted as two, rounded up to whole turns of every thread.
    pub fn new(operations: u64) -> Self {
        let turn = (2 * SUMS * LANES * rayon::current_num_threads()) as u64;
        Self {
            operations: operations.div_ceil(turn) * turn,
        }
    }

    /// Computes them. What is timed is this call.
    pub fn run(&mut self) {
        let turns = self.operations / (2 * SUMS * LANES * rayon::current_num_threads()) as u64;
        rayon::broadcast(|_| std::hint::black_box(multiply_adds(turns)));
    }
}

fn multiply_adds(turns: u64) -> f32 {
    let mut sum = 0.0;
    add_up(turns, &mut sum);
    sum
}

recsys_model::dispatch! {
    /// The sum of what `turns` turns have left.
    fn add_up => add_up_body(turns: u64, into: &mut f32)
}
#[inline(always)]
fn add_up_body<const WIDE: bool>(turns: u64, into: &mut f32) {
    let [factor, term] = std::hint::black_box([[0.999f32; LANES], [1e-3f32; LANES]]);
    let mut sums = [[1.0f32; LANES]; SUMS];
    for _ in 0..turns {
        for sum in &mut sums {
            for lane in 0..LANES {
                sum[lane] = multiply_add::<WIDE>(sum[lane], factor[lane], term[lane]);
            }
        }
    }
    *into = sums.as_flattened().iter().sum();
}

/// A matrix of `data`, with the values from row to row and from column to column.
#[derive(Clone, Copy)]
struct View<'a> {
    data: &'a [f32],
    row_stride: usize,
    column_stride: usize,
}

impl<'a> View<'a> {
    fn rows(data: &'a [f32], columns: usize) -> Self {
        Self {
            data,
            row_stride: columns,
            column_stride: 1,
        }
    }

    fn transposed(self) -> Self {
        Self {
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// `into [m, n] = left [m, k] · right [k, n]`.
fn multiply([m, n, k]: [usize; 3], left: View<'_>, right: View<'_>, into: &mut [f32]) {
    assert!(left.data.len() == m * k && right.data.len() == k * n && into.len() == m * n);
    // SAFETY: the three buffers hold exactly the matrices, as just asserted, row-major or column-major without gaps,
    // and `into` is borrowed exclusively.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            into.as_mut_ptr(),
            1,
            n as isize,
            false,
            left.data.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.data.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
