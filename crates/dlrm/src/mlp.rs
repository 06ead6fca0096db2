//! One fully connected layer, forward and backward, on the samples of one slice.

use recsys_model::simd::{keep_above_zero, multiply_add};
use recsys_model::{Matrix, dispatch, multiply};

use crate::layout::Layer;

/// Samples of one slice: row `r` starts at `data[r * stride]`.
#[derive(Clone, Copy)]
pub(crate) struct Samples<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) stride: usize,
}

impl Layer {
    /// `y = relu(x W' + b)`, `x` being `[n, inputs]`, `y` `[n, outputs]`.
    pub(crate) fn forward(&self, parameters: &[f32], n: usize, x: Samples<'_>, y: &mut [f32]) {
        let (weight, bias) = (
            &parameters[self.weight.clone()],
            &parameters[self.bias.clone()],
        );
        let y = &mut y[..n * self.outputs];
        if self.outputs == 1 {
            // A matrix-vector product: a gemm would pack more than it multiplies.
            dot_rows(x, weight, y);
        } else {
            let left = Matrix::new(x.data, n, self.inputs, x.stride);
            let right = Matrix::new(weight, self.outputs, self.inputs, self.inputs).transposed();
            multiply(left, right, y, self.outputs, false);
        }
        if self.relu {
            add_bias_relu(bias, y);
        } else {
            add_bias(bias, y);
        }
    }

    /// From `dy`, the gradient of `y` (masked in place where ReLU cut), the gradients of weight and
    /// bias in `gradients` (flat, added to what is there with `accumulate`) and, where wanted,
    /// of `x`.
    pub(crate) fn backward(
        &self,
        parameters: &[f32],
        n: usize,
        x: Samples<'_>,
        y: &[f32],
        dy: &mut [f32],
        dx: Option<(&mut [f32], usize)>,
        gradients: &mut [f32],
        accumulate: bool,
    ) {
        let weight = &parameters[self.weight.clone()];
        let (weight_grad, bias_grad) =
            gradients[self.weight.start..self.bias.end].split_at_mut(self.weight.len());
        if !accumulate {
            bias_grad.fill(0.0);
        }
        let (y, dy) = (&y[..n * self.outputs], &mut dy[..n * self.outputs]);
        if self.relu {
            mask_and_sum(y, dy, bias_grad);
        } else {
            sum(dy, bias_grad);
        }
        if self.outputs == 1 {
            if !accumulate {
                weight_grad.fill(0.0);
            }
            add_scaled_rows(x, dy, weight_grad);
            if let Some((dx, stride)) = dx {
                scale_rows(weight, dy, dx, stride);
            }
            return;
        }
        let dy = Matrix::new(dy, n, self.outputs, self.outputs);
        multiply(
            dy.transposed(),
            Matrix::new(x.data, n, self.inputs, x.stride),
            weight_grad,
            self.inputs,
            accumulate,
        );
        if let Some((dx, stride)) = dx {
            multiply(
                dy,
                Matrix::new(weight, self.outputs, self.inputs, self.inputs),
                dx,
                stride,
                false,
            );
        }
    }
}

/// NaN stays NaN (unlike `f32::max`), so that a diverged model is seen in its loss.
#[inline(always)]
fn relu(value: f32) -> f32 {
    if value < 0.0 { 0.0 } else { value }
}

dispatch! {
    /// `y = relu(y + bias)` on rows as long as the bias.
    fn add_bias_relu => add_bias_relu_body(bias: &[f32], y: &mut [f32])
}
#[inline(always)]
fn add_bias_relu_body<const WIDE: bool>(bias: &[f32], y: &mut [f32]) {
    for row in y.chunks_exact_mut(bias.len()) {
        for (y, b) in row.iter_mut().zip(bias) {
            *y = relu(*y + b);
        }
    }
}

dispatch! {
    /// `y += bias` on rows as long as the bias.
    fn add_bias => add_bias_body(bias: &[f32], y: &mut [f32])
}
#[inline(always)]
fn add_bias_body<const WIDE: bool>(bias: &[f32], y: &mut [f32]) {
    for row in y.chunks_exact_mut(bias.len()) {
        for (y, b) in row.iter_mut().zip(bias) {
            *y += b;
        }
    }
}

dispatch! {
    /// Sets `dy` to zero where `y` is, then adds its rows to `sums`.
    fn mask_and_sum => mask_and_sum_body(y: &[f32], dy: &mut [f32], sums: &mut [f32])
}
#[inline(always)]
fn mask_and_sum_body<const WIDE: bool>(y: &[f32], dy: &mut [f32], sums: &mut [f32]) {
    for (dy, y) in dy
        .chunks_exact_mut(sums.len())
        .zip(y.chunks_exact(sums.len()))
    {
        for ((dy, y), sum) in dy.iter_mut().zip(y).zip(&mut *sums) {
            *dy = keep_above_zero(*y, *dy);
            *sum += *dy;
        }
    }
}

dispatch! {
    /// Adds the rows of `dy` to `sums`.
    fn sum => sum_body(dy: &[f32], sums: &mut [f32])
}
#[inline(always)]
fn sum_body<const WIDE: bool>(dy: &[f32], sums: &mut [f32]) {
    for dy in dy.chunks_exact(sums.len()) {
        for (sum, dy) in sums.iter_mut().zip(dy) {
            *sum += dy;
        }
    }
}

dispatch! {
    /// `y[r] = x[r] · weight`.
    fn dot_rows => dot_rows_body(x: Samples<'_>, weight: &[f32], y: &mut [f32])
}
#[inline(always)]
fn dot_rows_body<const WIDE: bool>(x: Samples<'_>, weight: &[f32], y: &mut [f32]) {
    const LANES: usize = 32;
    for (r, y) in y.iter_mut().enumerate() {
        let row = &x.data[r * x.stride..][..weight.len()];
        let mut lanes = [0.0f32; LANES];
        let (blocks, weights) = (row.chunks_exact(LANES), weight.chunks_exact(LANES));
        let (row_rest, weight_rest) = (blocks.remainder(), weights.remainder());
        for (x, w) in blocks.zip(weights) {
            for l in 0..LANES {
                lanes[l] = multiply_add::<WIDE>(x[l], w[l], lanes[l]);
            }
        }
        for (lane, (x, w)) in lanes.iter_mut().zip(row_rest.iter().zip(weight_rest)) {
            *lane = multiply_add::<WIDE>(*x, *w, *lane);
        }
        let mut width = LANES / 2;
        while width > 0 {
            for l in 0..width {
                lanes[l] += lanes[l + width];
            }
            width /= 2;
        }
        *y = lanes[0];
    }
}

dispatch! {
    /// `sums += dy[r] · x[r]` over all rows.
    fn add_scaled_rows => add_scaled_rows_body(x: Samples<'_>, dy: &[f32], sums: &mut [f32])
}
#[inline(always)]
fn add_scaled_rows_body<const WIDE: bool>(x: Samples<'_>, dy: &[f32], sums: &mut [f32]) {
    for (r, &dy) in dy.iter().enumerate() {
        let row = &x.data[r * x.stride..][..sums.len()];
        for (sum, x) in sums.iter_mut().zip(row) {
            *sum = multiply_add::<WIDE>(dy, *x, *sum);
        }
    }
}

dispatch! {
    /// `dx[r] = dy[r] · weight`.
    fn scale_rows => scale_rows_body(weight: &[f32], dy: &[f32], dx: &mut [f32], stride: usize)
}
#[inline(always)]
fn scale_rows_body<const WIDE: bool>(weight: &[f32], dy: &[f32], dx: &mut [f32], stride: usize) {
    for (r, &dy) in dy.iter().enumerate() {
        for (dx, w) in dx[r * stride..][..weight.len()].iter_mut().zip(weight) {
            *dx = dy * w;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(n: usize, seed: usize) -> Vec<f32> {
        (0..n)
            .map(|k| (((k * 37 + seed * 101) % 29) as f32 - 14.0) / 8.0)
            .collect()
    }

    #[test]
    fn a_wide_and_a_single_output_agree_with_plain_loops() {
        for (n, inputs, outputs, relu) in [
            (5, 3, 4, true),
            (3, 70, 1, false),
            (4, 33, 1, true),
            (1, 1, 1, true),
            (2, 9, 2, false),
        ] {
            let weight = 0..inputs * outputs;
            let bias = weight.end..weight.end + outputs;
            let layer = Layer {
                inputs,
                outputs,
                weight,
                bias,
                relu,
            };
            let parameters = values(layer.bias.end, 1);
            let stride = inputs + 3;
            let x = values(n * stride, 2);
            let samples = Samples { data: &x, stride };
            let mut y = vec![f32::NAN; n * outputs];
            layer.forward(&parameters, n, samples, &mut y);
            let dy = values(n * outputs, 3);
            let mut gradients = vec![1.0; layer.bias.end];
            let mut dx = vec![f32::NAN; n * stride];
            let mut masked = dy.clone();
            layer.backward(
                &parameters,
                n,
                samples,
                &y,
                &mut masked,
                Some((&mut dx, stride)),
                &mut gradients,
                true,
            );

            let mut expected = vec![1.0f64; layer.bias.end];
            for r in 0..n {
                let mut row_grad = vec![0.0f64; inputs];
                for o in 0..outputs {
                    let w = |i: usize| f64::from(parameters[o * inputs + i]);
                    let sum: f64 = (0..inputs)
                        .map(|i| f64::from(x[r * stride + i]) * w(i))
                        .sum();
                    let raw = sum + f64::from(parameters[layer.bias.start + o]);
                    let value = if relu { raw.max(0.0) } else { raw };
                    assert!((f64::from(y[r * outputs + o]) - value).abs() < 1e-4);
                    let d = if relu && raw <= 0.0 {
                        0.0
                    } else {
                        f64::from(dy[r * outputs + o])
                    };
                    expected[layer.bias.start + o] += d;
                    for i in 0..inputs {
                        expected[o * inputs + i] += d * f64::from(x[r * stride + i]);
                        row_grad[i] += d * w(i);
                    }
                }
                for i in 0..inputs {
                    assert!((f64::from(dx[r * stride + i]) - row_grad[i]).abs() < 1e-4);
                }
            }
            for (found, expected) in gradients.iter().zip(&expected) {
                assert!(
                    (f64::from(*found) - expected).abs() < 1e-3,
                    "{found} {expected}"
                );
            }
        }
    }

    #[test]
    fn relu_passes_nan_on() {
        let mut y = [f32::NAN, -1.0, 2.0];
        add_bias_relu(&[0.0], &mut y);
        assert!(y[0].is_nan());
        assert_eq!(y[1..], [0.0, 2.0]);
    }

    #[test]
    fn portable_bodies_agree_with_the_dispatched_ones() {
        let (x, w) = (values(5 * 70, 4), values(67, 5));
        let samples = Samples {
            data: &x,
            stride: 70,
        };
        let (mut wide, mut portable) = (vec![0.0; 5], vec![0.0; 5]);
        dot_rows(samples, &w, &mut wide);
        dot_rows_body::<false>(samples, &w, &mut portable);
        assert!(
            wide.iter()
                .zip(&portable)
                .all(|(a, b)| (a - b).abs() < 1e-4)
        );
        let (mut wide, mut portable) = (vec![0.0; 67], vec![0.0; 67]);
        add_scaled_rows(samples, &w[..5], &mut wide);
        add_scaled_rows_body::<false>(samples, &w[..5], &mut portable);
        assert!(
            wide.iter()
                .zip(&portable)
                .all(|(a, b)| (a - b).abs() < 1e-4)
        );
    }
}
