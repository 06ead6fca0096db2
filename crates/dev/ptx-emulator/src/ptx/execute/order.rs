//! Orders that depend on a seed only.

/// Makes permutations of a seed (SplitMix64).
pub(super) struct Order {
    state: u64,
    /// Whether everything stays where it is.
    natural: bool,
}

impl Order {
    /// Seed 0 leaves the order of indices.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            state: seed,
            natural: seed == 0,
        }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// The numbers below `count`, each once: by steps of one length from any of them, which costs no memory.
    pub(super) fn permutation(&mut self, count: usize) -> impl Iterator<Item = u32> + use<> {
        let n = count as u64;
        let (start, step) = if self.natural || n < 2 {
            (0, 1)
        } else {
            let mut step = 1 + self.next() % (n - 1);
            while greatest_common_divisor(step, n) != 1 {
                step = 1 + step % (n - 1);
            }
            (self.next() % n, step)
        };
        let mut next = start;
        (0..n).map(move |_| {
            let this = next;
            next += step;
            if next >= n {
                next -= n;
            }
            this as u32
        })
    }
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_once() {
        for seed in 0..20 {
            let mut order = Order::new(seed);
            for count in [0, 1, 2, 3, 32, 100, 1024] {
                let mut numbers: Vec<u32> = order.permutation(count).collect();
                if seed == 0 {
                    assert!(numbers.is_sorted());
                }
                numbers.sort_unstable();
                assert!(numbers.iter().copied().eq(0..count as u32));
            }
        }
    }
}
