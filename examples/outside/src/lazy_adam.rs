//! A rule by which rows move.

use embedding_store::{Optimizer, RowRule};

/// Adam on the rows that a batch touches. Each row has two moments an element, and is corrected for
/// its start by the number of the store's updates.
#[derive(Debug, Clone, Copy)]
pub struct LazyAdam {
    /// Decay of the two moments.
    pub betas: [f32; 2],
}

impl Default for LazyAdam {
    fn default() -> Self {
        Self {
            betas: [0.9, 0.999],
        }
    }
}

impl RowRule for LazyAdam {
    fn name(&self) -> &str {
        "lazy-adam"
    }

    fn parameters(&self) -> Vec<(String, f64)> {
        let [first, second] = self.betas.map(f64::from);
        vec![("beta1".into(), first), ("beta2".into(), second)]
    }

    fn validate(&self) -> Result<(), String> {
        match self.betas.iter().all(|beta| (0.0..1.0).contains(beta)) {
            true => Ok(()),
            false => Err(format!(
                "betas are {:?}; give numbers from 0 to below 1",
                self.betas
            )),
        }
    }

    fn state_width(&self, dim: usize) -> usize {
        2 * dim
    }

    fn step(&self, gradient: &[f32], row: &mut [f32], state: &mut [f32], rate: f32, step: u64) {
        let (means, squares) = state.split_at_mut(row.len());
        let steps = i32::try_from(step + 1).unwrap_or(i32::MAX);
        let [mean_part, square_part] = self.betas.map(|beta| 1.0 - beta.powi(steps));
        let moments = means.iter_mut().zip(squares);
        for ((weight, &g), (mean, square)) in row.iter_mut().zip(gradient).zip(moments) {
            *mean += (1.0 - self.betas[0]) * (g - *mean);
            *square += (1.0 - self.betas[1]) * (g * g - *square);
            *weight -= rate * (*mean / mean_part) / ((*square / square_part).sqrt() + 1e-8);
        }
    }

    fn dense(&self) -> Optimizer {
        Optimizer::adagrad()
    }
}
