//! Initial parameters.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal, StandardUniform};
use recsys_model::{Result, room_for};

use crate::layout::{Draw, Layout};

/// Draws the parameters of the reference program in 64 bits, in the order of the flat buffer: the
/// tower's values are those of a DLRM with the same seed.
pub(crate) fn initial_parameters(layout: &Layout, seed: u64) -> Result<Vec<f32>> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut parameters = room_for(layout.parameters)?;
    for (spec, draw) in layout.specs.iter().zip(&layout.draws) {
        parameters.extend(spec.range.clone().map(|_| match *draw {
            Draw::Normal(deviation) => {
                let unit: f64 = StandardNormal.sample(&mut random);
                (unit * deviation) as f32
            }
            Draw::Uniform(bound) => {
                let unit: f64 = StandardUniform.sample(&mut random);
                ((2.0 * unit - 1.0) * bound) as f32
            }
            Draw::Zero => 0.0,
        }));
    }
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

    use candle_core::Device;
    use dlrm::Dlrm;

    use super::*;
    use crate::{SequenceLayer, TbsmConfig};

    fn deviation(values: &[f32]) -> f64 {
        (values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
    }

    #[test]
    fn the_tower_is_that_of_a_dlrm_and_the_rest_follows_the_formulas() -> crate::Result<()> {
        let config = TbsmConfig::default();
        let layout = Layout::new(&config);
        let parameters = initial_parameters(&layout, 1).unwrap();
        assert_eq!(parameters.len(), layout.parameters);
        assert_eq!(parameters, initial_parameters(&layout, 1).unwrap());
        assert_ne!(parameters, initial_parameters(&layout, 2).unwrap());
        let tower = Dlrm::new(config.tower, 1, &Device::Cpu)?;
        let tower = tower.parameters().to_vec1::<f32>()?;
        assert_eq!(parameters[..tower.len()], tower);
        for (name, expected, tolerance) in [
            ("ams.0.A", (1.0 / 15.0_f64).sqrt(), 0.15),
            ("ams.0.mlp.2.weight", (2.0 / 30.0_f64).sqrt(), 0.15),
            ("mlps.0.0.weight", (2.0 / 90.0_f64).sqrt(), 0.06),
            ("mlps.0.0.bias", (1.0 / 60.0_f64).sqrt(), 0.3),
        ] {
            let spec = layout.specs.iter().find(|spec| spec.name == name);
            let found = spec.map_or(0.0, |spec| deviation(&parameters[spec.range.clone()]));
            assert!(
                (found / expected - 1.0).abs() < tolerance,
                "{name}: {found} {expected}"
            );
        }
        Ok(())
    }

    #[test]
    fn uniform_values_fill_their_bounds() {
        let config = TbsmConfig {
            sequence: SequenceLayer::Rnn { layers: 3 },
            ..TbsmConfig::default()
        };
        let layout = Layout::new(&config);
        let parameters = initial_parameters(&layout, 1).unwrap();
        let bound = (1.0 / 15.0_f32).sqrt();
        for spec in layout
            .specs
            .iter()
            .filter(|spec| spec.name.starts_with("rnn.weight"))
        {
            let values = &parameters[spec.range.clone()];
            let largest = values.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            assert!(
                largest <= bound && largest > 0.98 * bound,
                "{}: {largest}",
                spec.name
            );
        }
    }
}
