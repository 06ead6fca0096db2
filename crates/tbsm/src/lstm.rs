//! A stacked LSTM over the history, as `torch.nn.LSTM` computes it from zero states.

use crate::attention::Vectors;
use crate::gradients::Gradients;
use crate::linear::{Linear, grow};
use crate::product::{Finish, Rows, padded};
use crate::vectors::add_strided;

/// Per layer, with `x_t` the item (or the layer below's `h_t`): `[i, f, g, o] = W_ih x_t + b_ih +
/// W_hh h_(t-1) + b_hh`, `c_t = σ(f) c_(t-1) + σ(i) tanh(g)`, `h_t = σ(o) tanh(c_t)`. The context
/// is the last layer's last `h`.
#[derive(Debug, Clone)]
pub(crate) struct Lstm {
    pub(crate) width: usize,
    pub(crate) history: usize,
    /// The maps of input and of state, bottom layer first.
    pub(crate) layers: Vec<[Linear; 2]>,
}

/// What backward needs again: per layer and step, in this order.
#[derive(Debug, Default)]
pub(crate) struct LstmActivations {
    /// The activated gates, `[layers, history, n, padded 4 width]`.
    gates: Vec<f32>,
    /// The cells and their tanh, `[layers, history, n, columns]`.
    cells: Vec<f32>,
    squashed: Vec<f32>,
    /// The hidden states, likewise.
    states: Vec<f32>,
    /// A state of zeros, `[n, columns]`.
    zeros: Vec<f32>,
}

/// Room that backward needs.
#[derive(Debug, Default)]
pub(crate) struct LstmScratch {
    gates: Vec<f32>,
    cell: Vec<f32>,
    state: Vec<f32>,
    /// Gradients of a layer's inputs, `[history, n, columns]`.
    inputs: Vec<f32>,
    outputs: Vec<f32>,
}

impl Lstm {
    fn columns(&self) -> usize {
        padded(self.width)
    }

    fn gate_columns(&self) -> usize {
        padded(4 * self.width)
    }

    pub(crate) fn fit(&self, n: usize, into: &mut LstmActivations) {
        let cells = self.layers.len() * self.history * n;
        grow(&mut into.gates, cells * self.gate_columns());
        for buffer in [&mut into.cells, &mut into.squashed, &mut into.states] {
            grow(buffer, cells * self.columns());
        }
        grow(&mut into.zeros, n * self.columns());
    }

    pub(crate) fn fit_backward(&self, n: usize, into: &mut LstmScratch) {
        grow(&mut into.gates, n * self.gate_columns());
        for buffer in [&mut into.cell, &mut into.state] {
            grow(buffer, n * self.columns());
        }
        for buffer in [&mut into.inputs, &mut into.outputs] {
            grow(buffer, self.history * n * self.columns());
        }
    }

    /// Writes each sequence's context to the start of its row in `joined`.
    pub(crate) fn forward(
        &self,
        packed: &[f32],
        vectors: Vectors<'_>,
        into: &mut LstmActivations,
        joined: &mut [f32],
        stride: usize,
    ) {
        let (n, columns, width) = (vectors.n, self.columns(), self.width);
        let (size, gates_size) = (n * columns, n * self.gate_columns());
        for (l, [input, state]) in self.layers.iter().enumerate() {
            for t in 0..self.history {
                let step = l * self.history + t;
                let (before, now) = into.states.split_at_mut(step * size);
                let x = match l {
                    0 => Rows::new(&vectors.data[t * columns..], vectors.stride()),
                    _ => Rows::new(&before[(step - self.history) * size..], columns),
                };
                let (cells_before, cells) = into.cells.split_at_mut(step * size);
                let (h, c) = match t {
                    0 => (into.zeros.as_slice(), into.zeros.as_slice()),
                    _ => (
                        &before[(step - 1) * size..],
                        &cells_before[(step - 1) * size..],
                    ),
                };
                let gates = &mut into.gates[step * gates_size..][..gates_size];
                input.forward_to(packed, n, x, Finish::Keep, gates);
                state.forward_to(packed, n, Rows::new(h, columns), Finish::Add, gates);
                let squashed = &mut into.squashed[step * size..][..size];
                for (s, gates) in gates.chunks_exact_mut(self.gate_columns()).enumerate() {
                    for d in 0..width {
                        for gate in [0, 1, 3] {
                            gates[gate * width + d] = sigmoid(gates[gate * width + d]);
                        }
                        gates[2 * width + d] = gates[2 * width + d].tanh();
                        let at = s * columns + d;
                        let (i, f) = (gates[d], gates[width + d]);
                        let (g, o) = (gates[2 * width + d], gates[3 * width + d]);
                        cells[at] = f * c[at] + i * g;
                        squashed[at] = cells[at].tanh();
                        now[at] = o * squashed[at];
                    }
                }
            }
        }
        let last = (self.layers.len() * self.history - 1) * size;
        let contexts = into.states[last..][..size].chunks_exact(columns);
        for (context, row) in contexts.zip(joined.chunks_exact_mut(stride)) {
            row[..width].copy_from_slice(&context[..width]);
        }
    }

    /// From the gradient of the context those of the parameters, and, added up, of the vectors.
    pub(crate) fn backward(
        &self,
        packed: &[f32],
        vectors: Vectors<'_>,
        from: &LstmActivations,
        scratch: &mut LstmScratch,
        grads: &mut Gradients<'_>,
    ) {
        let (n, columns, width) = (vectors.n, self.columns(), self.width);
        let (size, gate_columns) = (n * columns, self.gate_columns());
        scratch.outputs[..self.history * size].fill(0.0);
        scratch.outputs[(self.history - 1) * size..][..size]
            .copy_from_slice(&grads.context[..size]);
        for (l, [input, state]) in self.layers.iter().enumerate().rev() {
            scratch.cell[..size].fill(0.0);
            scratch.state[..size].fill(0.0);
            for t in (0..self.history).rev() {
                let step = l * self.history + t;
                let at_step = |values: &'_ [f32], step: usize| {
                    step * size..(step * size + size).min(values.len())
                };
                let zeros = &from.zeros[..size];
                let (h, c) = match t {
                    0 => (zeros, zeros),
                    _ => (
                        &from.states[at_step(&from.states, step - 1)],
                        &from.cells[at_step(&from.cells, step - 1)],
                    ),
                };
                let squashed = &from.squashed[at_step(&from.squashed, step)];
                let gates = from.gates[step * n * gate_columns..].chunks_exact(gate_columns);
                let gate_grads = scratch.gates.chunks_exact_mut(gate_columns);
                let output_grad = &scratch.outputs[t * size..][..size];
                for (s, (gates, gate_grads)) in gates.zip(gate_grads).take(n).enumerate() {
                    for d in 0..width {
                        let at = s * columns + d;
                        let (i, f) = (gates[d], gates[width + d]);
                        let (g, o) = (gates[2 * width + d], gates[3 * width + d]);
                        let h_grad = output_grad[at] + scratch.state[at];
                        let tanh = squashed[at];
                        let c_grad = scratch.cell[at] + h_grad * o * (1.0 - tanh * tanh);
                        gate_grads[d] = c_grad * g * i * (1.0 - i);
                        gate_grads[width + d] = c_grad * c[at] * f * (1.0 - f);
                        gate_grads[2 * width + d] = c_grad * i * (1.0 - g * g);
                        gate_grads[3 * width + d] = h_grad * tanh * o * (1.0 - o);
                        scratch.cell[at] = c_grad * f;
                    }
                }
                let x = match l {
                    0 => Rows::new(&vectors.data[t * columns..], vectors.stride()),
                    _ => Rows::new(&from.states[(step - self.history) * size..], columns),
                };
                let (dy, sums) = (&scratch.gates, &mut *grads.sums);
                input.backward_parameters(n, x, dy, sums);
                state.backward_parameters(n, Rows::new(h, columns), dy, sums);
                let x_grad = &mut scratch.inputs[t * size..][..size];
                input.backward_input(packed, n, dy, Finish::Keep, x_grad);
                state.backward_input(packed, n, dy, Finish::Keep, &mut scratch.state);
            }
            std::mem::swap(&mut scratch.inputs, &mut scratch.outputs);
        }
        // What is left in `outputs` is the gradient of the first layer's inputs.
        for t in 0..self.history {
            let grad = Rows::new(&scratch.outputs[t * size..], columns);
            let into = &mut grads.vectors[t * columns..];
            add_strided(columns, grad, into, vectors.stride(), n);
        }
    }
}

fn sigmoid(value: f32) -> f32 {
    1.0 / (1.0 + (-value).exp())
}
