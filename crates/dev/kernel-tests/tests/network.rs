//! The kernels of `dlrm` against its operators on the CPU, bit for bit: both add in the same order, and both fuse the same
//! products. Only the sigmoid may differ, by the last bits of the exponential function. The operators themselves are compared
//! with the plain candle graph in `dlrm`'s tests; here the kernels are too, up to the order of its sums.

use std::ptr::null;

use candle_core::{Device, Result, Tensor, Var};
use dlrm::parts::dot_interaction;
use kernel_tests::Launch;
use proptest::prelude::*;
use recsys_model::{Activation, bias_activation};
use testing::values;

unsafe extern "C" {
    fn interaction_forward(
        bottom: *const f32,
        rows: *const f32,
        output: *mut f32,
        batch: u64,
        tables: u32,
        dim: u32,
        with_self: u32,
        samples: u32,
        columns: u32,
    );
    fn interaction_backward(
        bottom: *const f32,
        rows: *const f32,
        output_grad: *const f32,
        bottom_grad: *mut f32,
        rows_grad: *mut f32,
        batch: u64,
        tables: u32,
        dim: u32,
        with_self: u32,
        samples: u32,
        columns: u32,
    );
    fn bias_activation_forward(
        x: *const f32,
        bias: *const f32,
        y: *mut f32,
        rows: u64,
        columns: u32,
        rows_each: u32,
        activation: u32,
    );
    fn bias_activation_backward(
        y: *const f32,
        y_grad: *const f32,
        x_grad: *mut f32,
        sums: *mut f32,
        rows: u64,
        columns: u32,
        rows_each: u32,
        activation: u32,
        stride: u32,
    );
    fn bias_gradient(
        sums: *const f32,
        bias_grad: *mut f32,
        count: u64,
        columns: u32,
        places: *const u32,
    );
}

fn flat(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1()
}

/// The value of a function of some variables, and their gradients for the gradient `output_grad` of the value.
fn differentiate<const N: usize>(
    vars: [&Var; N],
    output: &Tensor,
    output_grad: &[f32],
) -> Result<(Vec<f32>, [Vec<f32>; N])> {
    let weights = Tensor::from_slice(output_grad, output.shape(), &Device::Cpu)?;
    let gradients = (output * weights)?.sum_all()?.backward()?;
    let mut grads = std::array::from_fn(|_| Vec::new());
    for (grad, var) in grads.iter_mut().zip(vars) {
        match gradients.get(var) {
            Some(found) => *grad = flat(found)?,
            None => candle_core::bail!("a variable without a gradient"),
        }
    }
    Ok((flat(output)?, grads))
}

/// How a model is cut into blocks: any cut must give the same numbers.
#[derive(Debug, Clone, Copy)]
struct Cut {
    samples: usize,
    columns: usize,
    threads: u32,
}

#[derive(Debug, Clone, Copy)]
struct Extents {
    batch: usize,
    tables: usize,
    dim: usize,
    with_self: bool,
}

impl Extents {
    fn width(self) -> usize {
        let features = self.tables + 1;
        self.dim + features * (self.tables + 2 * usize::from(self.with_self)) / 2
    }

    fn launch(self, cut: Cut, floats_of_a_sample: usize) -> Launch {
        Launch {
            blocks: self.batch.div_ceil(cut.samples) as u32,
            threads: cut.threads,
            shared_bytes: 4 * cut.samples * floats_of_a_sample,
        }
    }
}

fn kernel_forward(extents: Extents, cut: Cut, bottom: &[f32], rows: &[f32]) -> Vec<f32> {
    let Extents {
        batch, tables, dim, ..
    } = extents;
    let mut output = vec![f32::NAN; batch * extents.width()];
    let into = output.as_mut_ptr();
    let floats = (tables + 1) * (cut.columns | 1);
    // SAFETY: the slices have the lengths of their shapes, and shared memory is what the kernel asks for.
    extents.launch(cut, floats).run(|| unsafe {
        interaction_forward(
            bottom.as_ptr(),
            rows.as_ptr(),
            into,
            batch as u64,
            tables as u32,
            dim as u32,
            u32::from(extents.with_self),
            cut.samples as u32,
            cut.columns as u32,
        );
    });
    output
}

fn kernel_backward(
    extents: Extents,
    cut: Cut,
    bottom: &[f32],
    rows: &[f32],
    output_grad: &[f32],
) -> [Vec<f32>; 2] {
    let Extents {
        batch, tables, dim, ..
    } = extents;
    let mut grads = [vec![f32::NAN; bottom.len()], vec![f32::NAN; rows.len()]];
    let [bottom_grad, rows_grad] = grads.each_mut().map(|grad| grad.as_mut_ptr());
    let floats = (tables + 1) * ((tables + 1).next_multiple_of(4) + cut.columns);
    // SAFETY: as in `kernel_forward`.
    extents.launch(cut, floats).run(|| unsafe {
        interaction_backward(
            bottom.as_ptr(),
            rows.as_ptr(),
            output_grad.as_ptr(),
            bottom_grad,
            rows_grad,
            batch as u64,
            tables as u32,
            dim as u32,
            u32::from(extents.with_self),
            cut.samples as u32,
            cut.columns as u32,
        );
    });
    grads
}

/// The dot interaction from candle's own operators.
fn graph(bottom: &Tensor, rows: &Tensor, with_self: bool) -> Result<Tensor> {
    let features = Tensor::cat(&[&bottom.unsqueeze(1)?, rows], 1)?;
    let count = features.dim(1)?;
    let products = features.matmul(&features.t()?.contiguous()?)?;
    let row = |i: usize| (0..i + usize::from(with_self)).map(move |j| (i * count + j) as u32);
    let triangle: Vec<u32> = (0..count).flat_map(row).collect();
    let triangle = Tensor::new(triangle, bottom.device())?;
    let products = products.flatten_from(1)?.index_select(&triangle, 1)?;
    Tensor::cat(&[bottom, &products], 1)
}

/// Sums of `terms` products of values below 1, in two orders. A step rounds by at most half a unit in the last place of a sum
/// that is at most the number of terms: the two differ by at most `terms²` halves of it each; signs are mixed here, so that sums
/// grow as the root of that number.
fn close(found: &[f32], expected: &[f32], terms: usize) -> bool {
    let tolerance = f32::EPSILON * (terms as f32).powf(1.5).max(4.0);
    found.len() == expected.len()
        && found
            .iter()
            .zip(expected)
            .all(|(f, e)| (f - e).abs() <= tolerance)
}

fn check_interaction(extents: Extents, forward: Cut, backward: Cut) -> Result<()> {
    let Extents {
        batch,
        tables,
        dim,
        with_self,
    } = extents;
    let (bottom, rows) = (values(batch * dim, 1), values(batch * tables * dim, 2));
    let output_grad = values(batch * extents.width(), 3);
    let bottom_var = Var::from_slice(&bottom, (batch, dim), &Device::Cpu)?;
    let rows_var = Var::from_slice(&rows, (batch, tables, dim), &Device::Cpu)?;
    let vars = [&bottom_var, &rows_var];
    let output = kernel_forward(extents, forward, &bottom, &rows);
    let grads = kernel_backward(extents, backward, &bottom, &rows, &output_grad);

    let operator = dot_interaction(&bottom_var, &rows_var, with_self)?;
    let (expected, expected_grads) = differentiate(vars, &operator, &output_grad)?;
    assert_eq!(output, expected, "{extents:?} {forward:?}");
    assert_eq!(grads, expected_grads, "{extents:?} {backward:?}");

    let plain = graph(&bottom_var, &rows_var, with_self)?;
    let (expected, expected_grads) = differentiate(vars, &plain, &output_grad)?;
    assert!(close(&output, &expected, dim), "{extents:?}");
    for (grad, expected) in grads.iter().zip(&expected_grads) {
        assert!(close(grad, expected, tables + 2), "{extents:?}");
    }
    Ok(())
}

fn cut() -> impl Strategy<Value = Cut> {
    let threads = prop_oneof![Just(1u32), Just(32), Just(96), Just(128), Just(256)];
    (1usize..6, 1usize..513, threads).prop_map(|(samples, columns, threads)| Cut {
        samples,
        columns,
        threads,
    })
}

fn failed(error: candle_core::Error) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_interaction_in_any_cut(
        batch in 1usize..8,
        tables in 1usize..12,
        dim in 1usize..513,
        with_self: bool,
        forward in cut(),
        backward in cut(),
    ) {
        let extents = Extents { batch, tables, dim, with_self };
        check_interaction(extents, forward, backward).map_err(failed)?;
    }

    #[test]
    fn many_tables(
        batch in 1usize..3,
        tables in 12usize..104,
        dim in 1usize..40,
        with_self: bool,
        forward in cut(),
        backward in cut(),
    ) {
        let extents = Extents { batch, tables, dim, with_self };
        check_interaction(extents, forward, backward).map_err(failed)?;
    }

    #[test]
    fn any_layer_in_any_cut(
        rows in 1usize..200,
        columns in 1usize..80,
        which in 0usize..3,
        rows_each in 1u32..40,
        threads in prop_oneof![Just(1u32), Just(64), Just(256)],
        last_threads in prop_oneof![Just(32u32), Just(64), Just(256)],
    ) {
        check_layer(rows, columns, which, rows_each, threads, last_threads).map_err(failed)?;
    }
}

#[test]
fn the_shapes_of_the_papers() -> Result<()> {
    // Kaggle, Terabyte, the towers of TBSM for Taobao; the cuts are like those that a device gets.
    for (tables, dim, samples) in [(26, 16, 1), (26, 64, 1), (3, 16, 8)] {
        let cut = Cut {
            samples,
            columns: dim,
            threads: 128,
        };
        for with_self in [false, true] {
            let extents = Extents {
                batch: 19,
                tables,
                dim,
                with_self,
            };
            check_interaction(extents, cut, cut)?;
        }
    }
    Ok(())
}

/// More rows than the lanes of the last sum take at once.
#[test]
fn a_batch_of_many_sums() -> Result<()> {
    check_layer(32 * 32 * 2 + 17, 3, 1, 8, 256, 256)
}

/// Rows that a bias gradient sums at a time, as the operator has it.
const ROWS_SUMMED: usize = 32;
const ACTIVATIONS: [Activation; 3] = [Activation::None, Activation::Relu, Activation::Sigmoid];

fn check_layer(
    rows: usize,
    columns: usize,
    which: usize,
    rows_each: u32,
    threads: u32,
    last_threads: u32,
) -> Result<()> {
    let activation = ACTIVATIONS[which];
    let what = format!("{rows} {columns} {activation:?}");
    let (x, bias) = (values(rows * columns, 1), values(columns, 2));
    let y_grad = values(rows * columns, 3);
    let x_var = Var::from_slice(&x, (rows, columns), &Device::Cpu)?;
    let bias_var = Var::from_slice(&bias, columns, &Device::Cpu)?;
    let operator = bias_activation(&x_var, &bias_var, activation)?;
    let (expected, [expected_x, expected_bias]) =
        differentiate([&x_var, &bias_var], &operator, &y_grad)?;

    let launch = |items: usize, threads: u32| Launch {
        blocks: (items as u32).div_ceil(threads),
        threads,
        shared_bytes: 0,
    };
    let mut y = vec![f32::NAN; x.len()];
    let into = y.as_mut_ptr();
    let chunks = rows.div_ceil(rows_each as usize);
    // SAFETY: the slices have the lengths of their shapes.
    launch(chunks * columns, threads).run(|| unsafe {
        bias_activation_forward(
            x.as_ptr(),
            bias.as_ptr(),
            into,
            rows as u64,
            columns as u32,
            rows_each,
            which as u32,
        );
    });
    // The exponential functions of C and Rust may differ by a unit in the last place, which the sigmoid does not enlarge.
    let tolerance = if which == 2 { 2.0 * f32::EPSILON } else { 0.0 };
    let mut pairs = y.iter().zip(&expected);
    assert!(pairs.all(|(f, e)| (f - e).abs() <= tolerance), "{what}");

    let chunks = rows.div_ceil(ROWS_SUMMED);
    let mut x_grad = vec![f32::NAN; y.len()];
    let mut sums = vec![f32::NAN; chunks * columns];
    let mut bias_grad = vec![f32::NAN; columns];
    let (x_into, sums_into) = (x_grad.as_mut_ptr(), sums.as_mut_ptr());
    // SAFETY: as above. The output is the operator's own, so that both start from the same values.
    launch(chunks * columns, threads).run(|| unsafe {
        bias_activation_backward(
            expected.as_ptr(),
            y_grad.as_ptr(),
            x_into,
            sums_into,
            rows as u64,
            columns as u32,
            ROWS_SUMMED as u32,
            which as u32,
            columns as u32,
        );
    });
    let last = Launch {
        blocks: (columns as u32).div_ceil(last_threads / 32),
        threads: last_threads,
        shared_bytes: 4 * last_threads as usize,
    };
    let bias_into = bias_grad.as_mut_ptr();
    // SAFETY: as above; a float of shared memory a thread.
    last.run(|| unsafe {
        bias_gradient(sums_into, bias_into, chunks as u64, columns as u32, null())
    });
    if activation != Activation::None {
        assert_eq!(x_grad, expected_x, "{what}");
    }
    assert_eq!(bias_grad, expected_bias, "{what}");
    Ok(())
}
