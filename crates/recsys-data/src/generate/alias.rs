//! Numbers drawn by given weights in constant time.

/// Draws are 32-bit fractions.
const ONE: f64 = (1u64 << 32) as f64;

/// The alias method (Walker 1977, tables made as in Vose 1991): 8 bytes a number, one memory access a draw.
#[derive(Debug, Clone)]
pub(crate) struct Alias {
    /// Per column: below which 32-bit fraction its own number is drawn, and the number drawn otherwise.
    columns: Vec<(u32, u32)>,
}

impl Alias {
    /// Number `i` is drawn with a probability proportional to `weights[i]`; there is at least one weight, fewer than
    /// `u32::MAX`, and their sum is positive.
    pub(crate) fn new(mut weights: Vec<f64>) -> Self {
        let numbers = weights.len() as u32;
        // In units of a column's capacity.
        let scale = f64::from(numbers) * (1.0 / weights.iter().sum::<f64>());
        weights.iter_mut().for_each(|weight| *weight *= scale);
        let mut columns: Vec<(u32, u32)> = (0..numbers).map(|number| (u32::MAX, number)).collect();
        let (mut small, mut large): (Vec<u32>, Vec<u32>) =
            (0..numbers).partition(|&number| weights[number as usize] < 1.0);
        while let (Some(receiver), Some(&giver)) = (small.pop(), large.last()) {
            let share = weights[receiver as usize];
            columns[receiver as usize] = ((share * ONE) as u32, giver);
            weights[giver as usize] -= 1.0 - share;
            if weights[giver as usize] < 1.0 {
                large.pop();
                small.push(giver);
            }
        }
        Self { columns }
    }

    /// How many numbers there are.
    pub(crate) fn len(&self) -> u64 {
        self.columns.len() as u64
    }

    /// Per column: below which 32-bit fraction its own number is drawn, and the number drawn otherwise.
    pub(crate) fn columns(&self) -> &[(u32, u32)] {
        &self.columns
    }

    /// The number that 64 random bits stand for.
    #[inline]
    pub(crate) fn draw(&self, bits: u64) -> u32 {
        let column = ((bits >> 32) * self.columns.len() as u64) >> 32;
        let (threshold, alias) = self.columns[column as usize];
        if (bits as u32) < threshold {
            column as u32
        } else {
            alias
        }
    }
}
