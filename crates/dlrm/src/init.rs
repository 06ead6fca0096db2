//! Initial parameters.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use recsys_model::{Result, room_for};

use crate::layout::Layout;

/// Draws the parameters of the reference program: a layer of `n` inputs and `m` outputs has weights
/// `N(0, sqrt(2 / (m + n)))` and biases `N(0, sqrt(1 / m))`, drawn in 64 bits in the order of the
/// flat buffer.
pub(crate) fn initial_parameters(layout: &Layout, seed: u64) -> Result<Vec<f32>> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut parameters = room_for(layout.parameters)?;
    for layer in layout.bottom.iter().chain(&layout.top) {
        let (inputs, outputs) = (layer.inputs as f64, layer.outputs as f64);
        let deviations = [
            (layer.weight.len(), (2.0 / (outputs + inputs)).sqrt()),
            (layer.outputs, (1.0 / outputs).sqrt()),
        ];
        for (count, deviation) in deviations {
            parameters.extend((0..count).map(|_| {
                let unit: f64 = StandardNormal.sample(&mut random);
                (unit * deviation) as f32
            }));
        }
    }
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

    use super::*;
    use crate::DlrmConfig;

    fn deviation(values: &[f32]) -> f64 {
        (values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
    }

    #[test]
    fn moments_are_those_of_the_formula_and_seeds_differ() {
        let layout = Layout::new(&DlrmConfig::default());
        let parameters = initial_parameters(&layout, 1).unwrap();
        assert_eq!(parameters.len(), layout.parameters);
        assert_eq!(parameters, initial_parameters(&layout, 1).unwrap());
        assert_ne!(parameters, initial_parameters(&layout, 2).unwrap());
        let layer = &layout.top[0];
        let weight = deviation(&parameters[layer.weight.clone()]);
        let expected = (2.0 / (367.0 + 512.0_f64)).sqrt();
        assert!(
            (weight / expected - 1.0).abs() < 0.01,
            "{weight} {expected}"
        );
        let bias = deviation(&parameters[layer.bias.clone()]);
        let expected = (1.0 / 512.0_f64).sqrt();
        assert!((bias / expected - 1.0).abs() < 0.15, "{bias} {expected}");
    }
}
