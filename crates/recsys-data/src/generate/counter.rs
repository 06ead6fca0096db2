//! Counter-based random numbers: draw `i` of sample `k` is a pure function of (seed, `k`, `i`).
//!
//! That makes generated data sets random access and independent of the number of threads. The mixing function is
//! SplitMix64's finaliser (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014).

/// The odd constant of SplitMix64, 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A bijection on 64-bit words whose output bits all depend on all input bits.
#[inline]
pub(crate) fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// The random numbers of one data set, in numbered families that do not influence each other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counter {
    key: u64,
}

impl Counter {
    /// The numbers that belong to `seed` and to a family, such as "samples" or "calibration".
    pub(crate) fn new(seed: u64, family: u64) -> Self {
        Self {
            key: mix(mix(seed.wrapping_add(GOLDEN)) ^ family.wrapping_mul(GOLDEN)),
        }
    }

    /// The draws of one sample.
    #[inline]
    pub(crate) fn sample(self, sample: u64) -> Draws {
        Draws {
            state: mix(self.key ^ mix(sample.wrapping_add(GOLDEN))),
        }
    }
}

/// The draws of one sample, one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draws {
    state: u64,
}

impl Draws {
    /// The next 64 random bits.
    #[inline]
    pub(crate) fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mix(self.state)
    }

    /// The next number of `U[0, 1)`, 53 random bits.
    #[inline]
    pub(crate) fn uniform(&mut self) -> f64 {
        unit(self.bits())
    }

    /// The next number of an exponential distribution with mean 1.
    #[inline]
    pub(crate) fn exponential(&mut self) -> f64 {
        -(1.0 - self.uniform()).ln()
    }

    /// The next standard normal number, of two uniform ones (Box and Muller 1958).
    #[inline]
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (2.0 * self.exponential()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// The upper 53 bits as a number of `U[0, 1)`.
#[inline]
pub(crate) fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_depend_on_seed_family_and_sample_alone() {
        let first = Counter::new(7, 0).sample(3).bits();
        assert_eq!(first, Counter::new(7, 0).sample(3).bits());
        assert_ne!(first, Counter::new(8, 0).sample(3).bits());
        assert_ne!(first, Counter::new(7, 1).sample(3).bits());
        assert_ne!(first, Counter::new(7, 0).sample(4).bits());
    }

    #[test]
    fn uniform_draws_have_the_mean_and_variance_of_the_unit_interval() {
        let counter = Counter::new(1, 0);
        let draws: Vec<f64> = (0..20_000)
            .flat_map(|k| {
                let mut d = counter.sample(k);
                [d.uniform(), d.uniform()]
            })
            .collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|u| (u - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        assert!((mean - 0.5).abs() < 0.006, "{mean}");
        assert!((variance - 1.0 / 12.0).abs() < 0.002, "{variance}");
        assert!(draws.iter().all(|u| (0.0..1.0).contains(u)));
    }

    #[test]
    fn normal_and_exponential_draws_have_their_moments() {
        let counter = Counter::new(2, 0);
        let count = 40_000;
        let (mut normal, mut squared, mut exponential) = (0.0, 0.0, 0.0);
        for k in 0..count {
            let mut draws = counter.sample(k);
            let z = draws.normal();
            normal += z;
            squared += z * z;
            exponential += draws.exponential();
        }
        let mean = |sum: f64| sum / count as f64;
        assert!(mean(normal).abs() < 0.02, "{}", mean(normal));
        assert!((mean(squared) - 1.0).abs() < 0.03, "{}", mean(squared));
        assert!(
            (mean(exponential) - 1.0).abs() < 0.02,
            "{}",
            mean(exponential)
        );
    }
}
