//! The network as a plain candle graph: the readable reference, on any device.

use candle_core::{D, Tensor};
use candle_nn::ops::{sigmoid, softmax};

use crate::attention::Attention;
use crate::layout::{Layout, Sequence};
use crate::linear::{Activation, Linear};
use crate::lstm::Lstm;
use crate::multihead::Multihead;
use crate::vectors::SHORTEST;
use crate::{Result, TbsmConfig};

/// From `dense [batch, positions, dense features]` and `rows [batch, positions, tables, dim]` to `[batch]`. `tower` is
/// the tower's engine.
pub(crate) fn forward(
    config: &TbsmConfig,
    layout: &Layout,
    tower: &dlrm::Network,
    parameters: &Tensor,
    dense: &Tensor,
    rows: &Tensor,
) -> Result<Tensor> {
    let (batch, positions, _) = dense.dims3()?;
    let towers = parameters.narrow(0, 0, tower.parameter_count())?;
    let vectors = tower.forward_graph(&towers, &dense.flatten(0, 1)?, &rows.flatten(0, 1)?)?;
    let vectors = match config.normalise {
        true => normalise(&vectors)?,
        false => vectors,
    };
    let vectors = vectors.reshape((batch, positions, config.vector_width()))?;
    let history = vectors.narrow(1, 0, config.history)?;
    let candidate = vectors.narrow(1, config.history, 1)?.squeeze(1)?;
    let mut outputs = Vec::with_capacity(layout.heads.len());
    for (h, head) in layout.heads.iter().enumerate() {
        let context = match &layout.sequence {
            Sequence::Tsl(heads) => attend(&heads[h], parameters, &history, &candidate)?,
            Sequence::Mha(multihead) => {
                multihead_attention(multihead, parameters, &history, &candidate)?
            }
            Sequence::Rnn(lstm) => last_state(lstm, parameters, &history)?,
        };
        let joined = Tensor::cat(&[&context, &candidate], 1)?;
        outputs.push(chain(head, parameters, joined)?);
    }
    let output = Tensor::cat(&outputs, 1)?;
    Ok(chain(&layout.last, parameters, output)?.squeeze(1)?)
}

fn chain(maps: &[Linear], parameters: &Tensor, mut x: Tensor) -> Result<Tensor> {
    for map in maps {
        x = apply(map, parameters, &x)?;
    }
    Ok(x)
}

/// `activation(x W' + b)` for `x [rows, inputs]`.
fn apply(map: &Linear, parameters: &Tensor, x: &Tensor) -> Result<Tensor> {
    let weight = parameters.narrow(0, map.weight, map.inputs * map.outputs)?;
    let weight = match map.transposed {
        true => weight.reshape((map.inputs, map.outputs))?,
        false => weight.reshape((map.outputs, map.inputs))?.t()?,
    };
    let mut y = x.matmul(&weight)?;
    if let Some(bias) = map.bias {
        y = y.broadcast_add(&parameters.narrow(0, bias, map.outputs)?)?;
    }
    Ok(match map.activation {
        Activation::None => y,
        Activation::Relu => y.relu()?,
        Activation::Sigmoid => sigmoid(&y)?,
    })
}

/// Rows divided by their lengths. The bound is taken under the root, where its derivative is finite for a row of zeros.
fn normalise(vectors: &Tensor) -> Result<Tensor> {
    let squares = vectors.sqr()?.sum_keepdim(1)?;
    let lengths = squares.maximum(SHORTEST * SHORTEST)?.sqrt()?;
    Ok(vectors.broadcast_div(&lengths)?)
}

/// `history [batch, history, width]` and `candidate [batch, width]` to a context `[batch, width]`.
fn attend(
    attention: &Attention,
    parameters: &Tensor,
    history: &Tensor,
    candidate: &Tensor,
) -> Result<Tensor> {
    let seen = history.dim(1)? - attention.span;
    let history = history.narrow(1, seen, attention.span)?.contiguous()?;
    let x = chain(&attention.inner, parameters, candidate.clone())?;
    let a = history.matmul(&x.unsqueeze(2)?)?.squeeze(2)?;
    let y = chain(&attention.mlp, parameters, a)?;
    Ok(y.unsqueeze(1)?.matmul(&history)?.squeeze(1)?)
}

/// The context `[batch, heads · width]`.
fn multihead_attention(
    multihead: &Multihead,
    parameters: &Tensor,
    history: &Tensor,
    candidate: &Tensor,
) -> Result<Tensor> {
    let (batch, items, width) = history.dims3()?;
    let heads = multihead.heads;
    // [batch, heads, rows, width]
    let split = |maps: &[Linear], x: &Tensor, rows: usize| -> Result<Tensor> {
        let y = chain(maps, parameters, x.clone())?.reshape((batch, rows, heads, width))?;
        Ok(y.transpose(1, 2)?.contiguous()?)
    };
    let items_flat = history.flatten(0, 1)?;
    let query = split(&multihead.query, candidate, 1)?;
    let key = split(&multihead.key, &items_flat, items)?;
    let value = split(&multihead.value, &items_flat, items)?;
    let scores = query.matmul(&key.transpose(2, 3)?.contiguous()?)?;
    let shares = softmax(&(scores / (width as f64).sqrt())?, D::Minus1)?;
    let mixed = shares.matmul(&value)?.reshape((batch, heads * width))?;
    chain(&multihead.out, parameters, mixed)
}

/// The last layer's last state `[batch, width]`.
fn last_state(lstm: &Lstm, parameters: &Tensor, history: &Tensor) -> Result<Tensor> {
    let mut inputs = Vec::with_capacity(lstm.history);
    for t in 0..lstm.history {
        inputs.push(history.narrow(1, t, 1)?.squeeze(1)?);
    }
    let zeros = inputs[0].zeros_like()?;
    for [input, state] in &lstm.layers {
        let (mut h, mut c) = (zeros.clone(), zeros.clone());
        for x in &mut inputs {
            let gates = (apply(input, parameters, x)? + apply(state, parameters, &h)?)?;
            let gates = gates.chunk(4, D::Minus1)?;
            let [i, f, o] = [0, 1, 3].map(|k| sigmoid(&gates[k]));
            c = ((f? * c)? + (i? * gates[2].tanh()?)?)?;
            h = (o? * c.tanh()?)?;
            *x = h.clone();
        }
    }
    Ok(inputs.swap_remove(lstm.history - 1))
}
