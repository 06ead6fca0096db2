//! Which inputs are hot.

use rayon::prelude::*;
use recsys_data::Dataset;

use crate::classify::{HotRows, classify};
use crate::sample::Sample;
use crate::visit::visit_ids;
use crate::{Error, Result};

/// Samples of one entry of the directory.
const REGION: u64 = 2048;
const WORDS: usize = (REGION / 64) as usize;

/// Every sample of a data set, hot or cold. A sample is hot if every one of its ids is that of a hot row; a sample without
/// any id is hot.
///
/// Memory is one bit a sample, plus 3% for a directory that finds the `k`-th hot or cold sample in O(log samples).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    len: u64,
    /// Bit `k % 64` of word `k / 64` says whether sample `k` is hot.
    words: Vec<u64>,
    /// Hot samples before each region, and all of them at the end.
    ranks: Vec<u64>,
}

impl Partition {
    /// Classifies every sample, in parallel.
    ///
    /// # Errors
    /// A list of another length than the data set's tables, more hot rows than a table has, or data that cannot be read.
    pub fn classify(dataset: &dyn Dataset, hot_rows: &[u64]) -> Result<Self> {
        check_hot_rows(dataset, hot_rows)?;
        let hot = HotRows::new(hot_rows, dataset.schema())?;
        let chunks = Sample::all(dataset.len()).map_chunks(|numbers, scratch| {
            let mut bits = Bits::with_capacity(numbers.len());
            visit_ids(dataset, numbers, scratch, &mut |block| {
                classify(&hot, block, &mut |samples, word| bits.push(samples, word));
                Ok(())
            })?;
            Ok(bits.finish())
        })?;
        Ok(Self::from_words(dataset.len(), chunks.concat()))
    }

    fn from_words(len: u64, words: Vec<u64>) -> Self {
        let hot = |words: &[u64]| words.iter().map(|word| u64::from(word.count_ones())).sum();
        let regions: Vec<u64> = words.par_chunks(WORDS).map(hot).collect();
        let mut ranks = Vec::with_capacity(regions.len() + 1);
        let mut rank = 0;
        ranks.push(0);
        for hot in regions {
            rank += hot;
            ranks.push(rank);
        }
        Self { len, words, ranks }
    }

    /// Number of samples.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of hot samples.
    pub fn hot_len(&self) -> u64 {
        self.ranks.last().copied().unwrap_or(0)
    }

    /// Number of cold samples.
    pub fn cold_len(&self) -> u64 {
        self.len - self.hot_len()
    }

    /// Whether a sample is hot; `None` where there is no such sample.
    pub fn is_hot(&self, sample: u64) -> Option<bool> {
        (sample < self.len).then(|| self.words[(sample / 64) as usize] >> (sample % 64) & 1 == 1)
    }

    /// The number of the `k`-th hot sample, ascending; `None` where there are not that many.
    pub fn hot(&self, k: u64) -> Option<u64> {
        self.select(k, self.hot_len(), |rank, _| rank, |word| word)
    }

    /// The number of the `k`-th cold sample, ascending; `None` where there are not that many.
    pub fn cold(&self, k: u64) -> Option<u64> {
        let cold =
            |hot_before: u64, region: usize| (region as u64 * REGION).min(self.len) - hot_before;
        self.select(k, self.cold_len(), cold, |word| !word)
    }

    /// The numbers of all hot samples, ascending.
    pub fn iter_hot(&self) -> impl Iterator<Item = u64> + '_ {
        self.ones(|word| word)
    }

    /// The numbers of all cold samples, ascending.
    pub fn iter_cold(&self) -> impl Iterator<Item = u64> + '_ {
        self.ones(|word| !word)
    }

    /// Size in memory.
    pub fn memory_bytes(&self) -> u64 {
        8 * (self.words.len() + self.ranks.len()) as u64
    }

    fn select(
        &self,
        k: u64,
        count: u64,
        before: impl Fn(u64, usize) -> u64,
        bits: impl Fn(u64) -> u64,
    ) -> Option<u64> {
        if k >= count {
            return None;
        }
        // The last region that begins with at most k of them.
        let (mut low, mut high) = (0, self.ranks.len() - 1);
        while high - low > 1 {
            let middle = low.midpoint(high);
            if before(self.ranks[middle], middle) <= k {
                low = middle;
            } else {
                high = middle;
            }
        }
        let mut left = k - before(self.ranks[low], low);
        let first = low * WORDS;
        for (at, &word) in self.words[first..].iter().enumerate() {
            let mut bits = bits(word);
            let ones = u64::from(bits.count_ones());
            if left < ones {
                for _ in 0..left {
                    bits &= bits - 1;
                }
                return Some((first + at) as u64 * 64 + u64::from(bits.trailing_zeros()));
            }
            left -= ones;
        }
        None
    }

    fn ones(&self, bits: impl Fn(u64) -> u64) -> impl Iterator<Item = u64> {
        self.words.iter().enumerate().flat_map(move |(at, &word)| {
            let mut bits = bits(word);
            let first = at as u64 * 64;
            // The last word of a split is not full; cold bits beyond the end mean nothing.
            let valid = self.len - first;
            if valid < 64 {
                bits &= (1 << valid) - 1;
            }
            std::iter::from_fn(move || {
                let bit = bits.trailing_zeros();
                (bit < 64).then(|| {
                    bits &= bits - 1;
                    first + u64::from(bit)
                })
            })
        })
    }
}

/// One bit for each sample of a chunk, pushed in groups of at most 64.
#[derive(Debug)]
struct Bits {
    words: Vec<u64>,
    current: u64,
    used: u32,
}

impl Bits {
    fn with_capacity(samples: usize) -> Self {
        Self {
            words: Vec::with_capacity(samples.div_ceil(64)),
            current: 0,
            used: 0,
        }
    }

    #[inline]
    fn push(&mut self, samples: u32, word: u64) {
        self.current |= word << self.used;
        let free = 64 - self.used;
        if samples < free {
            self.used += samples;
            return;
        }
        self.words.push(self.current);
        self.used = samples - free;
        self.current = if self.used == 0 { 0 } else { word >> free };
    }

    fn finish(mut self) -> Vec<u64> {
        if self.used > 0 {
            self.words.push(self.current);
        }
        self.words
    }
}

/// Checks that a hot set fits a data set's tables.
pub(crate) fn check_hot_rows(dataset: &dyn Dataset, hot_rows: &[u64]) -> Result<()> {
    let tables = &dataset.schema().tables;
    if hot_rows.len() != tables.len() {
        return Err(Error::TableCount {
            what: "numbers of hot rows",
            found: hot_rows.len(),
            expected: tables.len(),
        });
    }
    for (table, &hot_rows) in tables.iter().zip(hot_rows) {
        if hot_rows > table.rows {
            return Err(Error::HotRowsBeyondTable {
                table: table.name.clone(),
                hot_rows,
                rows: table.rows,
            });
        }
    }
    Ok(())
}
