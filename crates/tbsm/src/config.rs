//! What a TBSM looks like.

use dlrm::{DlrmConfig, Interaction, Output, SliceSize};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How a head of the time-series layer turns the candidate `w` before it is compared with the
/// history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Inner {
    /// Not at all: `x = w`.
    Dot,
    /// By a matrix: `x = A w`, an indefinite inner product.
    Ind,
    /// By a matrix and its transpose: `x = A'(A w)`, a positive semi-definite inner product.
    Def,
}

/// How a head weighs the history by its inner products with the candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mechanism {
    /// By an MLP on all of them: `y = MLP(a)`.
    Mlp,
    /// By themselves: `y = a`.
    Mul,
}

/// What runs over the vectors of a sequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SequenceLayer {
    /// The time-series layer: attention of one or several heads, each with a head MLP of its own.
    Tsl {
        /// Number of heads. With more than one, a final MLP of widths `heads`, `heads + 4`, 1
        /// follows.
        heads: usize,
        /// How the candidate is turned.
        inner: Inner,
        /// How the history is weighed.
        mechanism: Mechanism,
        /// Hidden widths of the attention MLP; its input and output are as wide as the head's
        /// history. Unused by [`Mechanism::Mul`].
        mlp: Vec<usize>,
        /// Whether head `h` of `n` sees only the last `round(history / n · (n - h))` items, half
        /// to even.
        sequential: bool,
    },
    /// Multi-head attention of the candidate over the history, each head as wide as a vector.
    Mha {
        /// Number of attention heads.
        heads: usize,
    },
    /// A stacked LSTM over the history, as wide as a vector. The context is the last layer's last
    /// hidden state.
    Rnn {
        /// Number of layers.
        layers: usize,
    },
}

/// The shape of a time-based sequence model (Ishkhanov et al., arXiv 2008.11922).
///
/// The default is the Taobao model: a tower of 3 tables of dimension 16, bottom MLP 1-16, top MLP
/// 15-15 behind a dot interaction; 20 items of history; one head `def` with an attention MLP
/// 20-15-15-20; head MLP 30-60-1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TbsmConfig {
    /// The model that turns each position into a vector. Its output must be [`Output::Relu`]; its
    /// last top width is the vector's. Its `slice` counts sequences here.
    pub tower: DlrmConfig,
    /// Items of the history. A sequence has one position more, the candidate, which comes last.
    pub history: usize,
    /// Whether every vector is divided by its length (by 1e-12, if it is shorter). The original
    /// does so for [`SequenceLayer::Tsl`] alone.
    pub normalise: bool,
    /// What runs over the vectors.
    pub sequence: SequenceLayer,
    /// Widths of the head MLP after `[context, candidate]`; the last is 1.
    pub head: Vec<usize>,
}

impl Default for TbsmConfig {
    fn default() -> Self {
        Self {
            tower: DlrmConfig {
                tables: 3,
                dim: 16,
                bottom: vec![1, 16],
                top: vec![15, 15],
                interaction: Interaction::Dot { with_self: false },
                output: Output::Relu,
                slice: SliceSize::Auto,
            },
            history: 20,
            normalise: true,
            sequence: SequenceLayer::Tsl {
                heads: 1,
                inner: Inner::Def,
                mechanism: Mechanism::Mlp,
                mlp: vec![15, 15],
                sequential: false,
            },
            head: vec![60, 1],
        }
    }
}

impl TbsmConfig {
    /// Checks that the fields fit together.
    ///
    /// # Errors
    /// Names the field, and the values on both sides where two fields disagree.
    pub fn validate(&self) -> Result<()> {
        self.tower.validate()?;
        if self.tower.bottom.is_empty() {
            return Err(Error::NoDense);
        }
        if self.tower.output != Output::Relu {
            return Err(Error::TowerOutput { found: "linear" });
        }
        let zero = |what: String| Err(Error::ZeroExtent { what });
        if self.history == 0 {
            return zero("history".to_owned());
        }
        let Some(&last) = self.head.last() else {
            return Err(Error::HeadEmpty);
        };
        if let Some(index) = self.head.iter().position(|&width| width == 0) {
            return zero(format!("head[{index}]"));
        }
        if last != 1 {
            return Err(Error::HeadWidth { last });
        }
        match &self.sequence {
            SequenceLayer::Tsl { heads: 0, .. } | SequenceLayer::Mha { heads: 0 } => {
                return zero("sequence.heads".to_owned());
            }
            SequenceLayer::Rnn { layers: 0 } => return zero("sequence.layers".to_owned()),
            SequenceLayer::Tsl { mlp, .. } => {
                if let Some(index) = mlp.iter().position(|&width| width == 0) {
                    return zero(format!("sequence.mlp[{index}]"));
                }
            }
            SequenceLayer::Mha { .. } | SequenceLayer::Rnn { .. } => {}
        }
        self.check_size()?;
        let (heads, history) = (self.heads(), self.history);
        if self.span(heads - 1) > 0 {
            return Ok(());
        }
        // Spans never grow from one head to the next.
        let (mut seeing, mut head) = (0, heads - 1);
        while seeing < head {
            let middle = seeing + (head - seeing) / 2;
            match self.span(middle) {
                0 => head = middle,
                _ => seeing = middle + 1,
            }
        }
        Err(Error::EmptySpan {
            head,
            heads,
            history,
        })
    }

    /// Positions of a sequence: the history and the candidate.
    pub fn positions(&self) -> usize {
        self.history.saturating_add(1)
    }

    /// Width of the vector that the tower makes of a position.
    pub fn vector_width(&self) -> usize {
        self.tower.output_width()
    }

    /// Width of the context that the sequence layer hands to a head MLP.
    pub fn context_width(&self) -> usize {
        match self.sequence {
            SequenceLayer::Mha { heads } => heads.saturating_mul(self.vector_width()),
            SequenceLayer::Tsl { .. } | SequenceLayer::Rnn { .. } => self.vector_width(),
        }
    }

    /// Number of head MLPs.
    pub fn heads(&self) -> usize {
        match self.sequence {
            SequenceLayer::Tsl { heads, .. } => heads,
            SequenceLayer::Mha { .. } | SequenceLayer::Rnn { .. } => 1,
        }
    }

    /// Items of the history that each head of the time-series layer sees, the last ones of the
    /// history.
    pub fn spans(&self) -> impl Iterator<Item = usize> {
        (0..self.heads()).map(|head| self.span(head))
    }

    fn span(&self, head: usize) -> usize {
        let (history, heads) = (self.history, self.heads());
        match self.sequence {
            SequenceLayer::Tsl {
                sequential: true, ..
            } => {
                // The reference's order of operations, in 64-bit floats.
                let share = history as f64 / heads as f64 * heads.saturating_sub(head) as f64;
                history.min(share.round_ties_even() as usize)
            }
            _ => history,
        }
    }

    /// Everything that is multiplied later is multiplied here once with room to spare.
    fn check_size(&self) -> Result<()> {
        let (width, history) = (self.vector_width(), self.history);
        let pair = |a: usize, b: usize| a.checked_add(9)?.checked_mul(b.checked_add(9)?);
        let chain = |first: usize, widths: &[usize]| -> Option<usize> {
            let inputs = std::iter::once(&first).chain(widths);
            inputs
                .zip(widths)
                .try_fold(0usize, |sum, (&a, &b)| sum.checked_add(pair(a, b)?))
        };
        let parameters = || -> Option<usize> {
            let sequence = match &self.sequence {
                SequenceLayer::Tsl { heads, mlp, .. } => {
                    let widths = || mlp.iter().copied().chain([history]);
                    let first = widths().zip(std::iter::once(history).chain(widths()));
                    let mlp = first
                        .map(|(a, b)| pair(a, b))
                        .try_fold(0usize, |sum, size| sum.checked_add(size?))?;
                    let head = chain(2usize.checked_mul(width)?, &self.head)?;
                    let last = pair(*heads, *heads)?.checked_mul(2)?;
                    mlp.checked_add(pair(width, width)?)?
                        .checked_add(head)?
                        .checked_mul(*heads)?
                        .checked_add(last)?
                }
                SequenceLayer::Mha { heads } => {
                    let wide = heads.checked_mul(width)?;
                    let head = chain(wide.checked_add(width)?, &self.head)?;
                    pair(wide, wide)?.checked_mul(8)?.checked_add(head)?
                }
                SequenceLayer::Rnn { layers } => {
                    let gates = pair(width.checked_mul(4)?, width)?;
                    let head = chain(2usize.checked_mul(width)?, &self.head)?;
                    gates
                        .checked_mul(2)?
                        .checked_mul(*layers)?
                        .checked_add(head)?
                }
            };
            // Packed forms and padding take a small multiple of the parameters.
            isize::try_from(sequence.checked_mul(64)?).ok()?;
            let position = self.tower.tables.checked_mul(self.tower.dim)?;
            let sequence_values = position
                .checked_add(width)?
                .checked_mul(history.checked_add(1)?)?;
            isize::try_from(sequence_values.checked_mul(64)?).ok()?;
            Some(sequence)
        };
        parameters().map(|_| ()).ok_or(Error::TooLarge {
            what: "the number of parameters",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(change: impl FnOnce(&mut TbsmConfig)) -> String {
        let mut config = TbsmConfig::default();
        change(&mut config);
        match config.validate() {
            Ok(()) => "no error".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    fn tsl(heads: usize, mlp: Vec<usize>, sequential: bool) -> SequenceLayer {
        SequenceLayer::Tsl {
            heads,
            inner: Inner::Dot,
            mechanism: Mechanism::Mlp,
            mlp,
            sequential,
        }
    }

    #[test]
    fn taobao_widths() {
        let config = TbsmConfig::default();
        assert!(config.validate().is_ok());
        assert_eq!(config.tower.interaction_width(), 22);
        assert_eq!((config.positions(), config.vector_width()), (21, 15));
        assert_eq!((config.context_width(), config.heads()), (15, 1));
        let wide = TbsmConfig {
            sequence: SequenceLayer::Mha { heads: 8 },
            ..config
        };
        assert_eq!(wide.context_width(), 120);
    }

    #[test]
    fn sequential_heads_round_half_to_even() {
        let spans = |history, heads| {
            let config = TbsmConfig {
                history,
                sequence: tsl(heads, vec![], true),
                ..TbsmConfig::default()
            };
            config.spans().collect::<Vec<_>>()
        };
        // Python: [min(20, round(20 / 3 * j)) for j in (3, 2, 1)], and so on.
        assert_eq!(spans(20, 3), [20, 13, 7]);
        assert_eq!(spans(5, 2), [5, 2]);
        assert_eq!(spans(7, 2), [7, 4]);
        assert_eq!(spans(1, 1), [1]);
    }

    #[test]
    fn errors_name_the_field_and_both_values() {
        assert!(error(|c| c.tower.output = Output::Linear).contains("relu"));
        assert!(error(|c| c.tower.dim = 8).contains("dimension is 8"));
        assert!(error(|c| c.history = 0).contains("history is 0"));
        assert!(error(|c| c.head.clear()).contains("no layer"));
        assert!(error(|c| c.head = vec![0, 1]).contains("head[0] is 0"));
        assert!(error(|c| c.head = vec![4, 3]).contains("width 3"));
        assert!(error(|c| c.sequence = tsl(0, vec![], false)).contains("heads is 0"));
        assert!(error(|c| c.sequence = tsl(1, vec![3, 0], false)).contains("mlp[1] is 0"));
        assert!(error(|c| c.sequence = SequenceLayer::Mha { heads: 0 }).contains("heads is 0"));
        assert!(error(|c| c.sequence = SequenceLayer::Rnn { layers: 0 }).contains("layers is 0"));
        let span = error(|c| {
            c.history = 1;
            c.sequence = tsl(3, vec![], true);
        });
        assert!(
            span.contains("head 2 of 3") && span.contains("history of 1"),
            "{span}"
        );
        for large in [usize::MAX, usize::MAX / 64, usize::MAX / 4_096] {
            assert!(error(|c| c.history = large).contains("too large"));
            assert!(error(|c| c.head[0] = large).contains("too large"));
            assert!(
                error(|c| c.sequence = SequenceLayer::Mha { heads: large }).contains("too large")
            );
            assert!(
                error(|c| c.sequence = SequenceLayer::Rnn { layers: large }).contains("too large")
            );
            assert!(error(|c| c.sequence = tsl(large, vec![2], false)).contains("too large"));
        }
    }
}
