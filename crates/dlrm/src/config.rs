//! What a DLRM looks like.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How the bottom output and the embedding rows meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interaction {
    /// The dot products of all pairs of features, behind the bottom output:
    /// `[x, Z[i, j] for i in 0..features for j < i]`, where `Z = T T'` and `T = [x; e_1; …;
    /// e_tables]`.
    Dot {
        /// Keep the products of a feature with itself too (`j <= i`).
        with_self: bool,
    },
    /// The features one behind the other: `[x, e_1, …, e_tables]`.
    Cat,
}

/// Activation of the last top layer. The sigmoid of a click probability belongs to the loss, which
/// is computed from logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// None: the output is the logit.
    #[default]
    Linear,
    /// ReLU, as in the towers of TBSM.
    Relu,
}

/// Samples per slice of a batch. A slice is the unit of parallel work and of gradient summation, so
/// this size changes the last bits of the results, and the number of threads does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SliceSize {
    /// The batch is cut into the smallest even number of equal slices of at most 512 samples; a
    /// slice has at least 32. Batches of up to 1,024 samples are thus cut in halves. Matrix
    /// products lose little above 256 rows a slice and about a tenth at 64, so machines with
    /// many cores and small batches may want [`SliceSize::Fixed`].
    #[default]
    Auto,
    /// This many samples, the last slice taking what is left.
    Fixed(usize),
}

impl SliceSize {
    /// Samples per slice for a batch of `batch` samples (the last slice may be shorter).
    pub fn samples(self, batch: usize) -> usize {
        const LARGEST: usize = 512;
        const SMALLEST: usize = 32;
        match self {
            SliceSize::Auto => {
                let slices = 2 * batch.div_ceil(2 * LARGEST).max(1);
                batch.div_ceil(slices).max(SMALLEST)
            }
            SliceSize::Fixed(samples) => samples.max(1),
        }
    }
}

/// The shape of a deep learning recommendation model (Naumov et al., arXiv 1906.00091).
///
/// The default is the Criteo Kaggle model: 26 tables of dimension 16, bottom MLP 13-512-256-64-16,
/// top MLP 512-256-1 behind a dot interaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DlrmConfig {
    /// Number of embedding tables, that is of pooled rows per sample.
    pub tables: usize,
    /// Width of an embedding row.
    pub dim: usize,
    /// All widths of the bottom MLP: the number of dense features first, `dim` last. ReLU after
    /// every layer. Empty for samples without dense features: rows alone then interact.
    pub bottom: Vec<usize>,
    /// Widths of the top MLP after the interaction, whose width follows from the other fields.
    /// ReLU after every layer but the last, where `output` decides.
    pub top: Vec<usize>,
    /// How bottom output and embedding rows meet.
    pub interaction: Interaction,
    /// Activation of the last top layer.
    #[serde(default)]
    pub output: Output,
    /// Samples per slice of a batch.
    #[serde(default)]
    pub slice: SliceSize,
}

impl Default for DlrmConfig {
    fn default() -> Self {
        Self {
            tables: 26,
            dim: 16,
            bottom: vec![13, 512, 256, 64, 16],
            top: vec![512, 256, 1],
            interaction: Interaction::Dot { with_self: false },
            output: Output::Linear,
            slice: SliceSize::Auto,
        }
    }
}

impl DlrmConfig {
    /// Checks that the fields fit together.
    ///
    /// # Errors
    /// Names the field, and the values on both sides where two fields disagree.
    pub fn validate(&self) -> Result<()> {
        if self.tables == 0 {
            return Err(Error::NoTables);
        }
        let zero = |what: String| Err(Error::ZeroExtent { what });
        if self.dim == 0 {
            return zero("dim".to_owned());
        }
        if self.bottom.len() == 1 {
            return Err(Error::BottomTooShort { widths: 1 });
        }
        if self.top.is_empty() {
            return Err(Error::TopEmpty);
        }
        for (name, widths) in [("bottom", &self.bottom), ("top", &self.top)] {
            if let Some(index) = widths.iter().position(|&width| width == 0) {
                return zero(format!("{name}[{index}]"));
            }
        }
        if self.slice == SliceSize::Fixed(0) {
            return zero("slice".to_owned());
        }
        if let Some(&last) = self.bottom.last().filter(|&&last| last != self.dim) {
            return Err(Error::BottomWidth {
                last,
                dim: self.dim,
            });
        }
        if self.interaction_width() == 0 {
            return Err(Error::NothingInteracts);
        }
        self.check_size()
    }

    /// Number of features that interact: the bottom output, where there is one, and one row per
    /// table.
    pub fn features(&self) -> usize {
        self.tables
            .saturating_add(usize::from(!self.bottom.is_empty()))
    }

    /// Values of the bottom output, which stand in front of the products: `dim`, or 0 without a
    /// bottom MLP.
    pub(crate) fn lead(&self) -> usize {
        if self.bottom.is_empty() { 0 } else { self.dim }
    }

    /// Number of dense features per sample.
    pub fn dense_features(&self) -> usize {
        self.bottom.first().copied().unwrap_or(0)
    }

    /// Width of the last top layer, 1 for a click model.
    pub fn output_width(&self) -> usize {
        self.top.last().copied().unwrap_or(0)
    }

    /// Width of the interaction's output, the first top layer's input: `F(F-1)/2 + dim` for `dot`
    /// with `F = tables + 1` (`F(F+1)/2 + dim` with self), `F · dim` for `cat`. Without a bottom
    /// MLP, `F = tables` and `+ dim` falls away. The largest number where a configuration that
    /// was not [validated](Self::validate) has no such width.
    pub fn interaction_width(&self) -> usize {
        let features = self.features();
        let pairs = |more: usize| features.saturating_mul(more) / 2;
        match self.interaction {
            Interaction::Dot { with_self: false } => {
                pairs(features.saturating_sub(1)).saturating_add(self.lead())
            }
            Interaction::Dot { with_self: true } => {
                pairs(features.saturating_add(1)).saturating_add(self.lead())
            }
            Interaction::Cat => features.saturating_mul(self.dim),
        }
    }

    /// Everything that is multiplied later is multiplied here once with room to spare.
    fn check_size(&self) -> Result<()> {
        let too_large = |what| Error::TooLarge { what };
        let features = self
            .tables
            .checked_add(1)
            .ok_or_else(|| too_large("the number of features"))?;
        let pairs = features
            .checked_mul(features.saturating_add(1))
            .and_then(|pairs| pairs.checked_add(features.checked_mul(self.dim)?))
            .and_then(|width| isize::try_from(width).ok());
        pairs.ok_or_else(|| too_large("the interaction's width"))?;
        let mut count = 0usize;
        let chain = |widths: &[usize], count: &mut usize| -> Option<()> {
            for pair in widths.windows(2) {
                *count = pair[1]
                    .checked_mul(pair[0].checked_add(1)?)?
                    .checked_add(*count)?;
            }
            Some(())
        };
        let top: Vec<usize> = std::iter::once(self.interaction_width())
            .chain(self.top.iter().copied())
            .collect();
        chain(&self.bottom, &mut count)
            .and_then(|()| chain(&top, &mut count))
            .and_then(|()| isize::try_from(count.checked_mul(size_of::<f32>())?).ok())
            .map(|_| ())
            .ok_or_else(|| too_large("the number of parameters"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(change: impl FnOnce(&mut DlrmConfig)) -> String {
        let mut config = DlrmConfig::default();
        change(&mut config);
        match config.validate() {
            Ok(()) => "no error".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn kaggle_widths() {
        let config = DlrmConfig::default();
        assert!(config.validate().is_ok());
        assert_eq!(config.interaction_width(), 367);
        let with_self = DlrmConfig {
            interaction: Interaction::Dot { with_self: true },
            ..config.clone()
        };
        assert_eq!(with_self.interaction_width(), 367 + 27);
        assert_eq!(
            DlrmConfig {
                interaction: Interaction::Cat,
                ..config
            }
            .interaction_width(),
            27 * 16
        );
    }

    #[test]
    fn without_a_bottom_rows_alone_interact() {
        let mut config = DlrmConfig {
            tables: 3,
            bottom: Vec::new(),
            ..DlrmConfig::default()
        };
        assert!(config.validate().is_ok());
        assert_eq!(
            (config.interaction_width(), config.dense_features()),
            (3, 0)
        );
        config.interaction = Interaction::Cat;
        assert_eq!(config.interaction_width(), 3 * 16);
        let message = error(|c| (c.tables, c.bottom) = (1, Vec::new()));
        assert!(message.contains("`interact_self`"), "{message}");
    }

    #[test]
    fn errors_name_both_values() {
        assert!(error(|c| c.tables = 0).contains("tables = 0"));
        assert!(error(|c| c.dim = 0).contains("dim is 0"));
        assert!(error(|c| c.bottom = vec![13]).contains("1 width"));
        assert!(error(|c| c.top.clear()).contains("no layer"));
        assert!(error(|c| c.bottom[1] = 0).contains("bottom[1] is 0"));
        assert!(error(|c| c.top[2] = 0).contains("top[2] is 0"));
        assert!(error(|c| c.slice = SliceSize::Fixed(0)).contains("slice is 0"));
        let both = error(|c| c.dim = 8);
        assert!(
            both.contains("width 16") && both.contains("dimension is 8"),
            "{both}"
        );
        assert!(error(|c| c.top[0] = usize::MAX / 8).contains("too large"));
        assert!(error(|c| c.tables = usize::MAX).contains("too large"));
    }

    #[test]
    fn slices_follow_the_batch_alone() {
        let cases = [
            (1, 32),
            (64, 32),
            (128, 64),
            (600, 300),
            (1_024, 512),
            (1_025, 257),
            (1_536, 384),
            (2_048, 512),
        ];
        for (batch, samples) in cases {
            assert_eq!(SliceSize::Auto.samples(batch), samples, "batch {batch}");
        }
        assert_eq!(SliceSize::Fixed(7).samples(1_024), 7);
    }
}
