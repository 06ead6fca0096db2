//! The network as a candle graph: plain, the readable reference on any device, or of fused
//! operators, for NVIDIA devices.

use candle_core::{D, Tensor};
use candle_nn::ops::{sigmoid, softmax};

use crate::attention::Attention;
use crate::extents::Seen;
use crate::layout::{Layout, Sequence};
use crate::linear::{Activation, Linear};
use crate::lstm::Lstm;
use crate::multihead::Multihead;
use crate::vectors::SHORTEST;
use crate::{Result, TbsmConfig, normalise_operator};

/// The network as a candle graph.
pub(crate) struct Graph<'a> {
    pub(crate) config: &'a TbsmConfig,
    pub(crate) layout: &'a Layout,
    /// The tower's engine.
    pub(crate) tower: &'a dlrm::Network,
    pub(crate) parameters: &'a Tensor,
    /// Whether fused operators stand where there are some: the tower, biases and activations,
    /// lengths, and the time-series layer's products. Attention and LSTM are graphs between
    /// their layers.
    pub(crate) fused: bool,
}

impl Graph<'_> {
    /// From `dense [batch, positions, dense features]` and `rows [batch, positions, tables, dim]`
    /// to `[batch]`.
    pub(crate) fn forward(&self, dense: &Tensor, rows: &Tensor) -> Result<Tensor> {
        let (config, layout) = (self.config, self.layout);
        let (batch, positions, _) = dense.dims3()?;
        let towers = self.parameters.narrow(0, 0, self.tower.parameter_count())?;
        let (dense, rows) = (dense.flatten(0, 1)?, rows.flatten(0, 1)?);
        let vectors = match self.fused {
            true => self.tower.forward_layers(&towers, &dense, &rows)?,
            false => self.tower.forward_graph(&towers, &dense, &rows)?,
        };
        let vectors = match (config.normalise, self.fused) {
            (true, true) => normalise_operator::normalise(&vectors)?,
            (true, false) => normalise(&vectors)?,
            (false, _) => vectors,
        };
        let vectors = vectors.reshape((batch, positions, config.vector_width()))?;
        let history = vectors.narrow(1, 0, config.history)?;
        let candidate = vectors.narrow(1, config.history, 1)?;
        let candidate = candidate.squeeze(1)?.contiguous()?;
        let mut outputs = Vec::with_capacity(layout.heads.len());
        for (h, head) in layout.heads.iter().enumerate() {
            let context = match &layout.sequence {
                Sequence::Tsl(heads) => self.attend(&heads[h], &vectors, &candidate)?,
                Sequence::Mha(multihead) => {
                    self.multihead_attention(multihead, &history, &candidate)?
                }
                Sequence::Rnn(lstm) => self.last_state(lstm, &history)?,
            };
            let joined = Tensor::cat(&[&context, &candidate], 1)?;
            outputs.push(self.chain(head, joined)?);
        }
        let output = Tensor::cat(&outputs, 1)?;
        Ok(self.chain(&layout.last, output)?.squeeze(1)?)
    }

    fn chain(&self, maps: &[Linear], mut x: Tensor) -> Result<Tensor> {
        for map in maps {
            x = self.apply(map, &x)?;
        }
        Ok(x)
    }

    /// `activation(x W' + b)` for `x [rows, inputs]`.
    fn apply(&self, map: &Linear, x: &Tensor) -> Result<Tensor> {
        let parameters = self.parameters;
        let weight = parameters.narrow(0, map.weight, map.inputs * map.outputs)?;
        let weight = match map.transposed {
            true => weight.reshape((map.inputs, map.outputs))?,
            false => weight.reshape((map.outputs, map.inputs))?.t()?,
        };
        // A device multiplies no rows with gaps between them.
        let mut y = x.contiguous()?.matmul(&weight)?;
        if let Some(bias) = map.bias {
            let bias = parameters.narrow(0, bias, map.outputs)?;
            if self.fused {
                let activation = match map.activation {
                    Activation::None => recsys_model::Activation::None,
                    Activation::Relu => recsys_model::Activation::Relu,
                    Activation::Sigmoid => recsys_model::Activation::Sigmoid,
                };
                return Ok(recsys_model::bias_activation(&y, &bias, activation)?);
            }
            y = y.broadcast_add(&bias)?;
        }
        Ok(match map.activation {
            Activation::None => y,
            Activation::Relu => y.relu()?,
            Activation::Sigmoid => sigmoid(&y)?,
        })
    }

    /// `vectors [batch, positions, width]` and `candidate [batch, width]`, the last of them, to a
    /// context `[batch, width]`.
    fn attend(
        &self,
        attention: &Attention,
        vectors: &Tensor,
        candidate: &Tensor,
    ) -> Result<Tensor> {
        let (positions, span) = (vectors.dim(1)?, attention.span);
        let first = positions - 1 - span;
        let x = self.chain(&attention.inner, candidate.clone())?;
        if self.fused {
            let seen = Seen {
                positions,
                first,
                span,
            };
            let a = seen.compare(vectors, &x)?;
            return Ok(seen.weigh(vectors, &self.chain(&attention.mlp, a)?)?);
        }
        let history = vectors.narrow(1, first, span)?.contiguous()?;
        let a = history.matmul(&x.unsqueeze(2)?)?.squeeze(2)?;
        let y = self.chain(&attention.mlp, a)?;
        Ok(y.unsqueeze(1)?.matmul(&history)?.squeeze(1)?)
    }

    /// The context `[batch, heads · width]`.
    fn multihead_attention(
        &self,
        multihead: &Multihead,
        history: &Tensor,
        candidate: &Tensor,
    ) -> Result<Tensor> {
        let (batch, items, width) = history.dims3()?;
        let heads = multihead.heads;
        // [batch, heads, rows, width]
        let split = |maps: &[Linear], x: &Tensor, rows: usize| -> Result<Tensor> {
            let y = self
                .chain(maps, x.clone())?
                .reshape((batch, rows, heads, width))?;
            Ok(y.transpose(1, 2)?.contiguous()?)
        };
        let items_flat = history.flatten(0, 1)?;
        let query = split(&multihead.query, candidate, 1)?;
        let key = split(&multihead.key, &items_flat, items)?;
        let value = split(&multihead.value, &items_flat, items)?;
        let scores = query.matmul(&key.transpose(2, 3)?.contiguous()?)?;
        let shares = softmax(&(scores / (width as f64).sqrt())?, D::Minus1)?;
        let mixed = shares.matmul(&value)?.reshape((batch, heads * width))?;
        self.chain(&multihead.out, mixed)
    }

    /// The last layer's last state `[batch, width]`.
    fn last_state(&self, lstm: &Lstm, history: &Tensor) -> Result<Tensor> {
        let mut inputs = Vec::with_capacity(lstm.history);
        for t in 0..lstm.history {
            inputs.push(history.narrow(1, t, 1)?.squeeze(1)?);
        }
        let zeros = inputs[0].zeros_like()?;
        for [input, state] in &lstm.layers {
            let (mut h, mut c) = (zeros.clone(), zeros.clone());
            for x in &mut inputs {
                let gates = (self.apply(input, x)? + self.apply(state, &h)?)?;
                let gates = gates.chunk(4, D::Minus1)?;
                let [i, f, o] = [0, 1, 3].map(|k| sigmoid(&gates[k]));
                c = ((f? * c)? + (i? * gates[2].tanh()?)?)?;
                h = (o? * c.tanh()?)?;
                *x = h.clone();
            }
        }
        Ok(inputs.swap_remove(lstm.history - 1))
    }
}

/// Rows divided by their lengths. The bound is taken under the root, where its derivative is finite
/// for a row of zeros.
fn normalise(vectors: &Tensor) -> Result<Tensor> {
    let squares = vectors.sqr()?.sum_keepdim(1)?;
    let lengths = squares.maximum(SHORTEST * SHORTEST)?.sqrt()?;
    Ok(vectors.broadcast_div(&lengths)?)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};
    use dlrm::{DlrmConfig, Interaction, Output, SliceSize};

    use super::*;
    use crate::{Inner, Mechanism, Network, SequenceLayer};

    type TestResult = std::result::Result<(), Box<dyn std::error::Error>>;

    fn values(count: usize, seed: usize) -> Vec<f32> {
        let value = |k: usize| ((k * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0;
        (0..count).map(value).collect()
    }

    fn close(found: &Tensor, expected: &Tensor, what: &str) -> TestResult {
        assert_eq!(found.dims(), expected.dims(), "{what}");
        let found = found.flatten_all()?.to_vec1::<f32>()?;
        let expected = expected.flatten_all()?.to_vec1::<f32>()?;
        let largest = expected.iter().fold(1e-3f32, |m, v| m.max(v.abs()));
        for (k, (f, e)) in found.iter().zip(&expected).enumerate() {
            // Sums in another order, through a dozen layers.
            let near = (f - e).abs() <= 5e-5 * largest;
            assert!(near, "{what}[{k}]: {f} but {e} (largest {largest})");
        }
        Ok(())
    }

    fn compare(sequence: SequenceLayer, normalise: bool) -> TestResult {
        let config = TbsmConfig {
            tower: DlrmConfig {
                tables: 2,
                dim: 4,
                bottom: vec![2, 4],
                top: vec![6, 5],
                interaction: Interaction::Dot { with_self: false },
                output: Output::Relu,
                slice: SliceSize::Auto,
            },
            history: 5,
            normalise,
            sequence,
            head: vec![7, 1],
        };
        let (batch, device) = (9, &Device::Cpu);
        let network = Network::new(config.clone())?;
        let tower = dlrm::Network::new(config.tower.clone())?;
        let count = network.parameter_count();
        let parameters = Var::from_vec(values(count, 1), count, device)?;
        let dense = Var::from_vec(values(batch * 6 * 2, 2), (batch, 6, 2), device)?;
        let rows = Var::from_vec(values(batch * 6 * 2 * 4, 3), (batch, 6, 2, 4), device)?;
        let weights = Tensor::from_vec(values(batch, 4), batch, device)?;
        let run = |fused: bool| -> Result<_> {
            let graph = Graph {
                config: &config,
                layout: network.layout(),
                tower: &tower,
                parameters: &parameters,
                fused,
            };
            let output = graph.forward(&dense, &rows)?;
            let gradients = (&output * &weights)?.sum_all()?.backward()?;
            Ok((output, gradients))
        };
        let ((found, found_grads), (expected, expected_grads)) = (run(true)?, run(false)?);
        close(&found, &expected, "output")?;
        for (what, var) in [
            ("parameters", &parameters),
            ("dense", &dense),
            ("rows", &rows),
        ] {
            let grads = (found_grads.get(var), expected_grads.get(var));
            let (Some(found), Some(expected)) = grads else {
                return Err(format!("no gradient of {what}").into());
            };
            close(found, expected, what)?;
        }
        Ok(())
    }

    #[test]
    fn fused_operators_give_the_plain_graph() -> TestResult {
        for inner in [Inner::Dot, Inner::Ind, Inner::Def] {
            for mechanism in [Mechanism::Mlp, Mechanism::Mul] {
                for (heads, sequential) in [(1, false), (3, true)] {
                    for normalise in [false, true] {
                        let mlp = vec![3];
                        let layer = SequenceLayer::Tsl {
                            heads,
                            inner,
                            mechanism,
                            mlp,
                            sequential,
                        };
                        compare(layer, normalise)?;
                    }
                }
            }
        }
        compare(SequenceLayer::Mha { heads: 2 }, true)?;
        compare(SequenceLayer::Rnn { layers: 2 }, false)
    }

    #[test]
    fn a_vector_of_zeros_has_a_finite_gradient() -> TestResult {
        let vectors = Var::new(&[[0.0f32, 0.0], [3.0, 4.0]], &Device::Cpu)?;
        let units = normalise_operator::normalise(&vectors)?;
        assert_eq!(units.to_vec2::<f32>()?, [[0.0, 0.0], [0.6, 0.8]]);
        let gradients = units.sum_all()?.backward()?;
        let gradient = gradients.get(&vectors).ok_or("no gradient")?;
        assert!(
            gradient
                .to_vec2::<f32>()?
                .iter()
                .flatten()
                .all(|g| g.is_finite())
        );
        Ok(())
    }
}
