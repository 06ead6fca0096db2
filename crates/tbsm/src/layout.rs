//! Where each layer's parameters lie in the one flat buffer.

use std::ops::Range;

use recsys_model::ParameterSpec;

use crate::attention::Attention;
use crate::linear::{Activation, Linear};
use crate::lstm::Lstm;
use crate::multihead::Multihead;
use crate::{Inner, Mechanism, Result, SequenceLayer, TbsmConfig};

/// How a parameter tensor's first values are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Draw {
    /// `N(0, deviation)`.
    Normal(f64),
    /// `U(-bound, bound)`.
    Uniform(f64),
    /// Zeros.
    Zero,
}

/// The sequence layer's maps.
#[derive(Debug, Clone)]
pub(crate) enum Sequence {
    /// One attention per head.
    Tsl(Vec<Attention>),
    Mha(Multihead),
    Rnn(Lstm),
}

/// All maps of the model, in the order of the flat buffer.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) specs: Vec<ParameterSpec>,
    /// One for each of `specs`.
    pub(crate) draws: Vec<Draw>,
    pub(crate) bottom: Vec<Linear>,
    pub(crate) top: Vec<Linear>,
    pub(crate) sequence: Sequence,
    pub(crate) heads: Vec<Vec<Linear>>,
    /// The final MLP over several heads; empty with one.
    pub(crate) last: Vec<Linear>,
    /// Every map once, in the order they were made.
    pub(crate) maps: Vec<Linear>,
    pub(crate) parameters: usize,
    /// Values of the packed forms that forward and backward read.
    pub(crate) packed: [usize; 2],
}

impl Layout {
    /// The layout of a valid configuration.
    pub(crate) fn new(config: &TbsmConfig) -> Self {
        let mut builder = Builder::default();
        let tower = &config.tower;
        let top: Vec<usize> = std::iter::once(tower.interaction_width())
            .chain(tower.top.iter().copied())
            .collect();
        let bottom = builder.mlp("dlrm.bot_l", &tower.bottom, Activation::Relu);
        let top = builder.mlp("dlrm.top_l", &top, Activation::Relu);
        let width = config.vector_width();
        let sequence = match &config.sequence {
            SequenceLayer::Tsl {
                inner,
                mechanism,
                mlp,
                ..
            } => Sequence::Tsl(
                config
                    .spans()
                    .enumerate()
                    .map(|(head, span)| {
                        builder.attention(head, span, width, *inner, *mechanism, mlp)
                    })
                    .collect(),
            ),
            SequenceLayer::Mha { heads } => {
                Sequence::Mha(builder.multihead(width, *heads, config.history))
            }
            SequenceLayer::Rnn { layers } => {
                Sequence::Rnn(builder.lstm(width, *layers, config.history))
            }
        };
        let joined = [config.context_width() + width];
        let widths: Vec<usize> = joined.iter().chain(&config.head).copied().collect();
        let count = config.heads();
        // The last sigmoid of the model belongs to the loss.
        let end = match count {
            1 => Activation::None,
            _ => Activation::Sigmoid,
        };
        let heads = (0..count)
            .map(|head| builder.mlp(&format!("mlps.{head}"), &widths, end))
            .collect();
        let last = match count {
            1 => Vec::new(),
            _ => builder.mlp("final_mlp", &[count, count + 4, 1], Activation::None),
        };
        Self {
            specs: builder.specs,
            draws: builder.draws,
            bottom,
            top,
            sequence,
            heads,
            last,
            maps: builder.maps,
            parameters: builder.end,
            packed: builder.packed,
        }
    }
}

/// Hands out places in the flat buffer and in its packed forms.
#[derive(Default)]
pub(crate) struct Builder {
    specs: Vec<ParameterSpec>,
    draws: Vec<Draw>,
    maps: Vec<Linear>,
    end: usize,
    packed: [usize; 2],
}

impl Builder {
    /// The next parameter tensor.
    pub(crate) fn parameter(
        &mut self,
        name: String,
        shape: Vec<usize>,
        draw: Draw,
    ) -> Range<usize> {
        let range = self.end..self.end + shape.iter().product::<usize>();
        self.end = range.end;
        self.draws.push(draw);
        self.specs.push(ParameterSpec {
            name,
            shape,
            range: range.clone(),
        });
        range
    }

    /// A map with the given parameters: `weight` starts `[outputs, inputs]` values, or `[inputs,
    /// outputs]` where `transposed`.
    pub(crate) fn map(
        &mut self,
        inputs: usize,
        outputs: usize,
        weight: usize,
        transposed: bool,
        bias: Option<usize>,
        activation: Activation,
    ) -> Linear {
        let map = Linear::new(
            inputs,
            outputs,
            weight,
            transposed,
            bias,
            activation,
            &mut self.packed,
        );
        self.maps.push(map.clone());
        map
    }

    /// An MLP under the names of the reference program, whose numbers count layers and activations:
    /// 0, 2, 4 …
    pub(crate) fn mlp(&mut self, prefix: &str, widths: &[usize], last: Activation) -> Vec<Linear> {
        let layers = widths.len() - 1;
        (0..layers)
            .map(|k| {
                let (inputs, outputs) = (widths[k], widths[k + 1]);
                let deviation = (2.0 / (inputs + outputs) as f64).sqrt();
                let weight = self.parameter(
                    format!("{prefix}.{}.weight", 2 * k),
                    vec![outputs, inputs],
                    Draw::Normal(deviation),
                );
                let bias = self.parameter(
                    format!("{prefix}.{}.bias", 2 * k),
                    vec![outputs],
                    Draw::Normal((1.0 / outputs as f64).sqrt()),
                );
                let activation = if k + 1 < layers {
                    Activation::Relu
                } else {
                    last
                };
                self.map(
                    inputs,
                    outputs,
                    weight.start,
                    false,
                    Some(bias.start),
                    activation,
                )
            })
            .collect()
    }

    fn attention(
        &mut self,
        head: usize,
        span: usize,
        width: usize,
        inner: Inner,
        mechanism: Mechanism,
        hidden: &[usize],
    ) -> Attention {
        // The reference draws the MLP before the matrix.
        let mlp = match mechanism {
            Mechanism::Mul => Vec::new(),
            Mechanism::Mlp => {
                let widths: Vec<usize> = std::iter::once(span)
                    .chain(hidden.iter().copied())
                    .chain([span])
                    .collect();
                self.mlp(&format!("ams.{head}.mlp"), &widths, Activation::Sigmoid)
            }
        };
        let mut inner_maps = Vec::new();
        if inner != Inner::Dot {
            let draw = Draw::Normal((1.0 / width as f64).sqrt());
            let start = self
                .parameter(format!("ams.{head}.A"), vec![1, width, width], draw)
                .start;
            inner_maps.push(self.map(width, width, start, false, None, Activation::None));
            if inner == Inner::Def {
                inner_maps.push(self.map(width, width, start, true, None, Activation::None));
            }
        }
        Attention {
            span,
            inner: inner_maps,
            mlp,
        }
    }

    fn multihead(&mut self, width: usize, heads: usize, history: usize) -> Multihead {
        let wide = heads * width;
        let normal = Draw::Normal((1.0 / width as f64).sqrt());
        let [q, k, v] = ["Q", "K", "V"].map(|name| {
            let shape = vec![1, width, wide];
            self.parameter(format!("ams.0.{name}"), shape, normal).start
        });
        // torch.nn.MultiheadAttention: Xavier's bound for [3 wide, wide], zero biases, 1 /
        // sqrt(wide) behind.
        let bound = (6.0 / (4.0 * wide as f64)).sqrt();
        let mut named = |name: &str, shape: Vec<usize>, draw: Draw| {
            self.parameter(format!("ams.0.multihead_attn.{name}"), shape, draw)
                .start
        };
        let weight = named("in_proj_weight", vec![3 * wide, wide], Draw::Uniform(bound));
        let bias = named("in_proj_bias", vec![3 * wide], Draw::Zero);
        let bound = (1.0 / wide as f64).sqrt();
        let out_weight = named("out_proj.weight", vec![wide, wide], Draw::Uniform(bound));
        let out_bias = named("out_proj.bias", vec![wide], Draw::Zero);
        let mut chain = |first: usize, part: usize| {
            let (weight, bias) = (weight + part * wide * wide, bias + part * wide);
            vec![
                self.map(width, wide, first, true, None, Activation::None),
                self.map(wide, wide, weight, false, Some(bias), Activation::None),
            ]
        };
        let (query, key, value) = (chain(q, 0), chain(k, 1), chain(v, 2));
        let out = vec![self.map(
            wide,
            wide,
            out_weight,
            false,
            Some(out_bias),
            Activation::None,
        )];
        Multihead {
            heads,
            history,
            query,
            key,
            value,
            out,
        }
    }

    fn lstm(&mut self, width: usize, layers: usize, history: usize) -> Lstm {
        // torch.nn.LSTM: everything uniform within 1 / sqrt(hidden width).
        let draw = Draw::Uniform((1.0 / width as f64).sqrt());
        let layers = (0..layers)
            .map(|layer| {
                let mut named = |name: &str, shape: Vec<usize>| {
                    self.parameter(format!("rnn.{name}_l{layer}"), shape, draw)
                        .start
                };
                let weights = [
                    named("weight_ih", vec![4 * width, width]),
                    named("weight_hh", vec![4 * width, width]),
                ];
                let biases = [
                    named("bias_ih", vec![4 * width]),
                    named("bias_hh", vec![4 * width]),
                ];
                [0, 1].map(|k| {
                    self.map(
                        width,
                        4 * width,
                        weights[k],
                        false,
                        Some(biases[k]),
                        Activation::None,
                    )
                })
            })
            .collect();
        Lstm {
            width,
            history,
            layers,
        }
    }
}

impl TbsmConfig {
    /// The named parameters in the order of the flat buffer, which they cover without gaps: the
    /// tower's first.
    ///
    /// # Errors
    /// Those of [`TbsmConfig::validate`].
    pub fn parameters(&self) -> Result<Vec<ParameterSpec>> {
        self.validate()?;
        Ok(Layout::new(self).specs)
    }

    /// Number of values in the flat buffer.
    ///
    /// # Errors
    /// Those of [`TbsmConfig::validate`].
    pub fn parameter_count(&self) -> Result<usize> {
        self.validate()?;
        Ok(Layout::new(self).parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(config: &TbsmConfig) -> Result<Vec<ParameterSpec>> {
        let specs = config.parameters()?;
        let mut end = 0;
        for spec in &specs {
            assert_eq!(spec.range.start, end);
            assert_eq!(spec.range.len(), spec.shape.iter().product::<usize>());
            end = spec.range.end;
        }
        assert_eq!(end, config.parameter_count()?);
        Ok(specs)
    }

    #[test]
    fn names_and_shapes_are_those_of_the_reference() -> Result<()> {
        let config = TbsmConfig {
            sequence: SequenceLayer::Tsl {
                heads: 2,
                inner: Inner::Ind,
                mechanism: Mechanism::Mlp,
                mlp: vec![7],
                sequential: true,
            },
            ..TbsmConfig::default()
        };
        let specs = covered(&config)?;
        let tower = config.tower.parameters()?;
        for (spec, tower) in specs.iter().zip(&tower) {
            assert_eq!(spec.name, format!("dlrm.{}", tower.name));
            assert_eq!((&spec.shape, &spec.range), (&tower.shape, &tower.range));
        }
        let found: Vec<(&str, &[usize])> = specs[tower.len()..]
            .iter()
            .filter(|spec| !spec.name.ends_with("bias"))
            .map(|spec| (spec.name.as_str(), spec.shape.as_slice()))
            .collect();
        let expected: [(&str, &[usize]); 12] = [
            ("ams.0.mlp.0.weight", &[7, 20]),
            ("ams.0.mlp.2.weight", &[20, 7]),
            ("ams.0.A", &[1, 15, 15]),
            ("ams.1.mlp.0.weight", &[7, 10]),
            ("ams.1.mlp.2.weight", &[10, 7]),
            ("ams.1.A", &[1, 15, 15]),
            ("mlps.0.0.weight", &[60, 30]),
            ("mlps.0.2.weight", &[1, 60]),
            ("mlps.1.0.weight", &[60, 30]),
            ("mlps.1.2.weight", &[1, 60]),
            ("final_mlp.0.weight", &[6, 2]),
            ("final_mlp.2.weight", &[1, 6]),
        ];
        assert_eq!(found, expected);
        Ok(())
    }

    #[test]
    fn the_other_layers_have_the_names_of_pytorch() -> Result<()> {
        let with = |sequence| TbsmConfig {
            sequence,
            ..TbsmConfig::default()
        };
        let shape = |specs: &[ParameterSpec], name: &str| {
            specs
                .iter()
                .find(|spec| spec.name == name)
                .map(|spec| spec.shape.clone())
        };
        let mha = covered(&with(SequenceLayer::Mha { heads: 2 }))?;
        for (name, expected) in [
            ("ams.0.Q", vec![1, 15, 30]),
            ("ams.0.multihead_attn.in_proj_weight", vec![90, 30]),
            ("ams.0.multihead_attn.in_proj_bias", vec![90]),
            ("ams.0.multihead_attn.out_proj.weight", vec![30, 30]),
            ("ams.0.multihead_attn.out_proj.bias", vec![30]),
            ("mlps.0.0.weight", vec![60, 45]),
        ] {
            assert_eq!(shape(&mha, name), Some(expected), "{name}");
        }
        let rnn = covered(&with(SequenceLayer::Rnn { layers: 2 }))?;
        for (name, expected) in [
            ("rnn.weight_ih_l0", vec![60, 15]),
            ("rnn.weight_hh_l1", vec![60, 15]),
            ("rnn.bias_ih_l1", vec![60]),
            ("rnn.bias_hh_l0", vec![60]),
            ("mlps.0.0.weight", vec![60, 30]),
        ] {
            assert_eq!(shape(&rnn, name), Some(expected), "{name}");
        }
        Ok(())
    }
}
