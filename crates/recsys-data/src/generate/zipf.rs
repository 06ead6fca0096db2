//! Zipf-distributed ranks in constant time per draw, and topics that shift them.

use super::alias::Alias;
use super::counter::mix;

/// Ranks of one table, `P(rank) ∝ 1 / (rank + 1)^exponent`: 8 bytes a row, one memory access a draw.
#[derive(Debug, Clone)]
pub(crate) struct Zipf {
    ranks: Alias,
    exponent: f64,
    /// One over the sum of all weights.
    scale: f64,
}

impl Zipf {
    /// The distribution over `rows` ranks; `rows` is at least 1 and below `u32::MAX`.
    pub(crate) fn new(rows: u64, exponent: f64) -> Self {
        let weights: Vec<f64> = (0..rows).map(|rank| weight(rank, exponent)).collect();
        Self {
            scale: 1.0 / weights.iter().sum::<f64>(),
            ranks: Alias::new(weights),
            exponent,
        }
    }

    /// Number of ranks.
    pub(crate) fn rows(&self) -> u64 {
        self.ranks.len()
    }

    /// The probability of a rank.
    pub(crate) fn probability(&self, rank: u64) -> f64 {
        weight(rank, self.exponent) * self.scale
    }

    /// The rank that 64 random bits stand for.
    #[inline]
    pub(crate) fn rank(&self, bits: u64) -> u32 {
        self.ranks.draw(bits)
    }

    /// The rank whose probability is closest to `share`.
    pub(crate) fn rank_of_share(&self, share: f64) -> u32 {
        let distance = |rank: u64| (self.probability(rank) - share).abs();
        // Probabilities fall with the rank: stop at the first one that is farther away than its predecessor.
        (1..self.rows())
            .take_while(|&rank| distance(rank) < distance(rank - 1))
            .last()
            .unwrap_or(0) as u32
    }
}

fn weight(rank: u64, exponent: f64) -> f64 {
    ((rank + 1) as f64).powf(-exponent)
}

/// A permutation of the ranks of one table for every topic, which keeps the skew.
///
/// Ranks are cut into bands (0–6, 7–62, 63–510, …: factors of 8); a topic turns every band by an amount of its own. A
/// topic so has favourites of its own among equally popular rows, and over all topics a rank stays about as frequent
/// as its band.
#[derive(Debug, Clone)]
pub(crate) struct TopicShifts {
    /// `[bands, topics]`.
    shifts: Vec<u32>,
    /// First rank and size of every band.
    bands: Vec<(u32, u32)>,
    topics: u32,
}

impl TopicShifts {
    /// The permutations of a table of `rows` rows; `key` makes tables differ.
    pub(crate) fn new(rows: u64, topics: u32, key: u64) -> Self {
        let bands: Vec<(u32, u32)> = (0..)
            .map(|band| (8u64.pow(band) - 1, 8u64.pow(band + 1) - 1))
            .take_while(|&(first, _)| first < rows)
            .map(|(first, end)| (first as u32, (end.min(rows) - first) as u32))
            .collect();
        let shifts = bands
            .iter()
            .enumerate()
            .flat_map(|(band, &(_, size))| {
                (0..topics).map(move |topic| {
                    (mix(key ^ mix((band as u64) << 32 | u64::from(topic))) % u64::from(size))
                        as u32
                })
            })
            .collect();
        Self {
            shifts,
            bands,
            topics,
        }
    }

    /// The rank that takes the place of `rank` in a topic.
    #[inline]
    pub(crate) fn shifted(&self, rank: u32, topic: u32) -> u32 {
        let band = ((u64::from(rank) + 1).ilog2() / 3) as usize;
        let (first, size) = self.bands[band];
        let moved = u64::from(rank - first)
            + u64::from(self.shifts[band * self.topics as usize + topic as usize]);
        first
            + if moved >= u64::from(size) {
                moved - u64::from(size)
            } else {
                moved
            } as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::counter::Counter;

    #[test]
    fn ranks_are_drawn_as_often_as_their_probability_says() {
        for (rows, exponent) in [(1, 1.0), (2, 0.0), (50, 1.1), (3000, 1.2)] {
            let zipf = Zipf::new(rows, exponent);
            let mut counts = vec![0u64; rows as usize];
            let draws = 200_000;
            for k in 0..draws {
                counts[zipf.rank(Counter::new(1, 0).sample(k).bits()) as usize] += 1;
            }
            let total: f64 = (0..rows).map(|rank| zipf.probability(rank)).sum();
            assert!((total - 1.0).abs() < 1e-9);
            for (rank, &count) in counts.iter().enumerate() {
                let share = zipf.probability(rank as u64);
                let deviation = (share * (1.0 - share) * draws as f64).sqrt();
                assert!(
                    (count as f64 - share * draws as f64).abs() <= 5.5 * deviation + 1.0,
                    "{rows} rows, rank {rank}"
                );
            }
        }
    }

    #[test]
    fn every_topic_permutes_the_ranks_within_their_bands() {
        for rows in [1u64, 5, 7, 8, 64, 1000] {
            let shifts = TopicShifts::new(rows, 6, 99);
            for topic in 0..6 {
                let mut seen = vec![false; rows as usize];
                for rank in 0..rows as u32 {
                    let moved = shifts.shifted(rank, topic);
                    assert_eq!((rank + 1).ilog2() / 3, (moved + 1).ilog2() / 3);
                    assert!(!std::mem::replace(&mut seen[moved as usize], true));
                }
            }
        }
    }

    #[test]
    fn the_rank_closest_to_a_share_is_found() {
        let zipf = Zipf::new(1000, 1.0);
        assert_eq!(zipf.rank_of_share(1.0), 0);
        assert_eq!(zipf.rank_of_share(zipf.probability(17)), 17);
        assert_eq!(zipf.rank_of_share(0.0), 999);
    }
}
