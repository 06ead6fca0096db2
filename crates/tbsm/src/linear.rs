//! Fully connected layers and bare matrices, one behind the other, on the rows of one block.

use crate::product::{self, Finish, LANES, Rows, add_rows, padded};
use crate::vectors::{mask, sigmoid, sigmoid_backward};
use crate::wide;

/// What follows a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    None,
    Relu,
    Sigmoid,
}

/// One map `y = activation(W x + b)`.
///
/// Its weights exist in three places: in the flat parameters, packed for forward as `[inputs,
/// padded outputs]`, and packed for backward as `[outputs, padded inputs]`. Gradients are summed in
/// the form packed for forward.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// The first value in the flat parameters.
    pub(crate) weight: usize,
    /// Whether the flat parameters hold `W'`.
    pub(crate) transposed: bool,
    pub(crate) bias: Option<usize>,
    pub(crate) activation: Activation,
    /// The weights' place in the forms for forward and for backward; a bias follows the first.
    packed: [usize; 2],
}

impl Linear {
    /// A map whose packed forms lie at `ends`, which move behind them.
    pub(crate) fn new(
        inputs: usize,
        outputs: usize,
        weight: usize,
        transposed: bool,
        bias: Option<usize>,
        activation: Activation,
        ends: &mut [usize; 2],
    ) -> Self {
        let packed = *ends;
        ends[0] += (inputs + usize::from(bias.is_some())) * padded(outputs);
        ends[1] += outputs * padded(inputs);
        Self {
            inputs,
            outputs,
            weight,
            transposed,
            bias,
            activation,
            packed,
        }
    }

    /// Values from row to row in what comes out.
    pub(crate) fn columns(&self) -> usize {
        padded(self.outputs)
    }

    /// Where the flat parameters hold the weight of one input in one output.
    fn flat(&self, input: usize, output: usize) -> usize {
        self.weight
            + match self.transposed {
                false => output * self.inputs + input,
                true => input * self.outputs + output,
            }
    }

    /// Whether the library's matrix product is the faster one.
    fn wide(&self) -> bool {
        self.inputs * self.outputs > wide::WEIGHTS
    }

    fn forward_form(&self) -> std::ops::Range<usize> {
        self.packed[0]..self.packed[0] + self.inputs * self.columns()
    }

    fn bias_form(&self) -> std::ops::Range<usize> {
        let start = self.forward_form().end;
        start..start + self.columns()
    }

    /// Writes the form for forward into a buffer whose padding is zero.
    pub(crate) fn pack_forward(&self, parameters: &[f32], into: &mut [f32]) {
        let columns = self.columns();
        for (input, row) in into[self.forward_form()]
            .chunks_exact_mut(columns)
            .enumerate()
        {
            for (output, value) in row[..self.outputs].iter_mut().enumerate() {
                *value = parameters[self.flat(input, output)];
            }
        }
        if let Some(bias) = self.bias {
            into[self.bias_form()][..self.outputs]
                .copy_from_slice(&parameters[bias..bias + self.outputs]);
        }
    }

    /// Writes the form for backward into a buffer whose padding is zero.
    pub(crate) fn pack_backward(&self, parameters: &[f32], into: &mut [f32]) {
        let columns = padded(self.inputs);
        let form = &mut into[self.packed[1]..][..self.outputs * columns];
        for (output, row) in form.chunks_exact_mut(columns).enumerate() {
            for (input, value) in row[..self.inputs].iter_mut().enumerate() {
                *value = parameters[self.flat(input, output)];
            }
        }
    }

    /// Adds gradients summed in the form for forward to flat ones.
    pub(crate) fn add_gradients(&self, sums: &[f32], gradients: &mut [f32]) {
        let columns = self.columns();
        for (input, row) in sums[self.forward_form()].chunks_exact(columns).enumerate() {
            for (output, value) in row[..self.outputs].iter().enumerate() {
                gradients[self.flat(input, output)] += value;
            }
        }
        if let Some(bias) = self.bias {
            let sums = &sums[self.bias_form()][..self.outputs];
            for (gradient, sum) in gradients[bias..].iter_mut().zip(sums) {
                *gradient += sum;
            }
        }
    }

    /// `y = activation(W x + b)` for `n` rows.
    pub(crate) fn forward(&self, packed: &[f32], n: usize, x: Rows<'_>, y: &mut [f32]) {
        let finish = match self.activation {
            Activation::Relu => Finish::Relu,
            Activation::None | Activation::Sigmoid => Finish::Keep,
        };
        self.forward_to(packed, n, x, finish, y);
        if self.activation == Activation::Sigmoid {
            sigmoid(&mut y[..n * self.columns()]);
        }
    }

    /// `W x + b`, stored as `finish` says.
    pub(crate) fn forward_to(
        &self,
        packed: &[f32],
        n: usize,
        x: Rows<'_>,
        finish: Finish<'_>,
        y: &mut [f32],
    ) {
        let bias = self.bias.map(|_| &packed[self.bias_form()]);
        let weight = &packed[self.forward_form()];
        let product = if self.wide() {
            wide::product
        } else {
            product::product
        };
        product(x, n, self.inputs, weight, bias, finish, y, self.columns());
    }

    /// Adds the gradients of weight and bias to `sums`, `dy` being that of `W x + b`.
    pub(crate) fn backward_parameters(&self, n: usize, x: Rows<'_>, dy: &[f32], sums: &mut [f32]) {
        let columns = self.columns();
        let dy = &dy[..n * columns];
        let add_outer = if self.wide() {
            wide::add_outer
        } else {
            product::add_outer
        };
        add_outer(
            x,
            n,
            self.inputs,
            Rows::new(dy, columns),
            &mut sums[self.forward_form()],
        );
        if self.bias.is_some() {
            add_rows(dy, &mut sums[self.bias_form()]);
        }
    }

    /// The gradient of `x`, `dy` being that of `W x + b`.
    pub(crate) fn backward_input(
        &self,
        packed: &[f32],
        n: usize,
        dy: &[f32],
        finish: Finish<'_>,
        dx: &mut [f32],
    ) {
        let columns = padded(self.inputs);
        let weight = &packed[self.packed[1]..][..self.outputs * columns];
        let dy = Rows::new(dy, self.columns());
        let product = if self.wide() {
            wide::product
        } else {
            product::product
        };
        product(dy, n, self.outputs, weight, None, finish, dx, columns);
    }
}

/// All maps one behind the other, each into its own output.
pub(crate) fn forward(
    maps: &[Linear],
    packed: &[f32],
    n: usize,
    x: Rows<'_>,
    outputs: &mut [Vec<f32>],
) {
    for (k, map) in maps.iter().enumerate() {
        let (before, rest) = outputs.split_at_mut(k);
        let input = match before.last() {
            Some(before) => Rows::new(before, padded(map.inputs)),
            None => x,
        };
        map.forward(packed, n, input, &mut rest[0]);
    }
}

/// What [`forward`] ends in, or `x` where there is no map.
pub(crate) fn end<'a>(maps: &[Linear], outputs: &'a [Vec<f32>], x: Rows<'a>) -> Rows<'a> {
    match maps.last() {
        Some(map) => Rows::new(&outputs[maps.len() - 1], map.columns()),
        None => x,
    }
}

/// From the gradient of the last output in `upper` (padded rows) the gradients of all parameters
/// and, where `input` asks for it, of `x`, which is left in `upper`. Only the last map's activation
/// may be a sigmoid.
pub(crate) fn backward(
    maps: &[Linear],
    packed: &[f32],
    n: usize,
    x: Rows<'_>,
    outputs: &[Vec<f32>],
    upper: &mut Vec<f32>,
    lower: &mut Vec<f32>,
    sums: &mut [f32],
    input: bool,
) {
    if let Some(map) = maps.last() {
        let len = n * map.columns();
        let (y, dy) = (&outputs[maps.len() - 1][..len], &mut upper[..len]);
        match map.activation {
            Activation::None => {}
            Activation::Relu => mask(y, dy),
            Activation::Sigmoid => sigmoid_backward(y, dy),
        }
    }
    for (k, map) in maps.iter().enumerate().rev() {
        let (x, finish) = match k {
            0 => (x, Finish::Keep),
            _ => {
                let before = &outputs[k - 1];
                let finish = match maps[k - 1].activation {
                    Activation::Relu => Finish::MaskBy(before),
                    Activation::None | Activation::Sigmoid => Finish::Keep,
                };
                (Rows::new(before, padded(map.inputs)), finish)
            }
        };
        map.backward_parameters(n, x, upper, sums);
        if k > 0 || input {
            map.backward_input(packed, n, upper, finish, lower);
            std::mem::swap(upper, lower);
        }
    }
}

/// Makes room for the outputs of `n` rows.
pub(crate) fn fit(maps: &[Linear], n: usize, outputs: &mut Vec<Vec<f32>>) {
    if outputs.len() < maps.len() {
        outputs.resize_with(maps.len(), Vec::new);
    }
    for (output, map) in outputs.iter_mut().zip(maps) {
        grow(output, n * map.columns());
    }
}

/// The widest row, padded, that any of the maps reads or writes.
pub(crate) fn widest<'a>(maps: impl IntoIterator<Item = &'a Linear>) -> usize {
    let widths = maps.into_iter().map(|map| map.inputs.max(map.outputs));
    padded(widths.max().unwrap_or(LANES))
}

/// Lengthens a buffer that is shorter than `len`.
pub(crate) fn grow(buffer: &mut Vec<f32>, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
}
