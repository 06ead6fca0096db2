//! Where each layer's parameters lie in the one flat buffer.

use std::ops::Range;

use recsys_model::ParameterSpec;

use crate::config::{DlrmConfig, Output};
use crate::error::Result;

/// One fully connected layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layer {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// `[outputs, inputs]`, row-major; the bias follows it immediately.
    pub(crate) weight: Range<usize>,
    pub(crate) bias: Range<usize>,
    pub(crate) relu: bool,
}

/// All layers: bottom first, then top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) bottom: Vec<Layer>,
    pub(crate) top: Vec<Layer>,
    pub(crate) parameters: usize,
}

impl Layout {
    /// The layout of a valid configuration.
    pub(crate) fn new(config: &DlrmConfig) -> Self {
        let mut end = 0;
        let mut chain = |widths: &[usize], last_relu: bool| -> Vec<Layer> {
            let layers = widths.len().saturating_sub(1);
            (0..layers)
                .map(|k| {
                    let (inputs, outputs) = (widths[k], widths[k + 1]);
                    let weight = end..end + inputs * outputs;
                    let bias = weight.end..weight.end + outputs;
                    end = bias.end;
                    Layer {
                        inputs,
                        outputs,
                        weight,
                        bias,
                        relu: last_relu || k + 1 < layers,
                    }
                })
                .collect()
        };
        let top: Vec<usize> = std::iter::once(config.interaction_width())
            .chain(config.top.iter().copied())
            .collect();
        let bottom = chain(&config.bottom, true);
        let top = chain(&top, config.output == Output::Relu);
        Self {
            bottom,
            top,
            parameters: end,
        }
    }

    pub(crate) fn specs(&self) -> Vec<ParameterSpec> {
        let mut specs = Vec::new();
        for (prefix, layers) in [("bot_l", &self.bottom), ("top_l", &self.top)] {
            for (k, layer) in layers.iter().enumerate() {
                specs.push(ParameterSpec {
                    name: format!("{prefix}.{}.weight", 2 * k),
                    shape: vec![layer.outputs, layer.inputs],
                    range: layer.weight.clone(),
                });
                specs.push(ParameterSpec {
                    name: format!("{prefix}.{}.bias", 2 * k),
                    shape: vec![layer.outputs],
                    range: layer.bias.clone(),
                });
            }
        }
        specs
    }
}

impl DlrmConfig {
    /// The named parameters in the order of the flat buffer, which they cover without gaps.
    ///
    /// # Errors
    /// Those of [`DlrmConfig::validate`].
    pub fn parameters(&self) -> Result<Vec<ParameterSpec>> {
        self.validate()?;
        Ok(Layout::new(self).specs())
    }

    /// Number of values in the flat buffer.
    ///
    /// # Errors
    /// Those of [`DlrmConfig::validate`].
    pub fn parameter_count(&self) -> Result<usize> {
        self.validate()?;
        Ok(Layout::new(self).parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_shapes_and_ranges_are_those_of_the_reference() -> Result<()> {
        let config = DlrmConfig::default();
        let specs = config.parameters()?;
        let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        let bottom = ["bot_l.0", "bot_l.2", "bot_l.4", "bot_l.6"];
        let top = ["top_l.0", "top_l.2", "top_l.4"];
        let expected: Vec<String> = bottom
            .iter()
            .chain(&top)
            .flat_map(|l| [format!("{l}.weight"), format!("{l}.bias")])
            .collect();
        assert_eq!(names, expected);
        assert_eq!(specs[0].shape, [512, 13]);
        assert_eq!(specs[8].shape, [512, 367]);
        let mut end = 0;
        for spec in &specs {
            assert_eq!(spec.range.start, end);
            assert_eq!(spec.range.len(), spec.shape.iter().product::<usize>());
            end = spec.range.end;
        }
        assert_eq!(end, config.parameter_count()?);
        Ok(())
    }
}
