//! The comparison of ids with the number of hot rows.

use recsys_data::{IdBlock, Schema};

use crate::Result;
use crate::visit::bags;

/// The largest hot id of every bag of a sample, that is of its table; a sequence has a bag for every position and table.
///
/// Ids have 32 bits, and a table may have as many rows as there are ids, so the last hot id is kept instead of their
/// number; a table without hot rows has none.
#[derive(Debug, Clone)]
pub(crate) struct HotRows {
    last: Vec<u32>,
    none: Vec<bool>,
    any_none: bool,
}

impl HotRows {
    /// Of a data set's tables.
    ///
    /// # Errors
    /// Sequences of more bags than can be held.
    pub(crate) fn new(hot_rows: &[u64], schema: &Schema) -> Result<Self> {
        bags(schema)?;
        let hot_rows = hot_rows.repeat(schema.positions());
        let last = |&rows: &u64| u32::try_from(rows.saturating_sub(1)).unwrap_or(u32::MAX);
        let none: Vec<bool> = hot_rows.iter().map(|&rows| rows == 0).collect();
        Ok(Self {
            last: hot_rows.iter().map(last).collect(),
            any_none: none.contains(&true),
            none,
        })
    }

    /// Bags of a sample.
    pub(crate) fn bags(&self) -> usize {
        self.last.len()
    }

    /// Whether the row that a bag's id means is hot.
    #[inline]
    pub(crate) fn contains(&self, bag: usize, id: u32) -> bool {
        id <= self.last[bag] && !self.none[bag]
    }
}

/// Calls `emit(samples, bits)` with one bit for every sample of a block, at most 64 at a time: 1 where all ids are hot.
pub(crate) fn classify(hot: &HotRows, block: IdBlock<'_>, emit: &mut impl FnMut(u32, u64)) {
    let bags = hot.bags();
    if !block.offsets.is_empty() {
        return classify_bags(hot, block, emit);
    }
    if hot.any_none || bags == 0 {
        let bits = if bags == 0 { u64::MAX } else { 0 };
        let mut left = block.samples;
        while left > 0 {
            let samples = left.min(64);
            emit(samples as u32, bits & (u64::MAX >> (64 - samples)));
            left -= samples;
        }
        return;
    }
    for ids in block.ids.chunks(64 * bags) {
        let samples = ids.len() / bags;
        let hot = !cold_bits(&hot.last, ids) & (u64::MAX >> (64 - samples));
        emit(samples as u32, hot);
    }
}

fn classify_bags(hot: &HotRows, block: IdBlock<'_>, emit: &mut impl FnMut(u32, u64)) {
    let bags = hot.bags();
    let all_hot = |offsets: &[u32]| {
        offsets.windows(2).enumerate().all(|(bag, ends)| {
            block.ids[ends[0] as usize..ends[1] as usize]
                .iter()
                .all(|&id| hot.contains(bag, id))
        })
    };
    for sample in 0..block.samples {
        let offsets = &block.offsets[sample * bags..=(sample + 1) * bags];
        emit(1, u64::from(all_hot(offsets)));
    }
}

/// Bits of at most 64 samples with one id in every bag: 1 where some id is larger than its bag's `last`. Without a
/// branch on the data, so that the inner loop compares a register full of ids at a time.
#[inline(always)]
fn compare(last: &[u32], ids: &[u32]) -> u64 {
    let mut word = 0;
    for (sample, ids) in ids.chunks_exact(last.len()).enumerate() {
        let cold = ids
            .iter()
            .zip(last)
            .fold(0u32, |cold, (id, last)| cold | u32::from(id > last));
        word |= u64::from(cold) << sample;
    }
    word
}

/// [`compare`], compiled for AVX2 where the processor has it.
#[inline]
pub(crate) fn cold_bits(last: &[u32], ids: &[u32]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2")]
        fn wide(last: &[u32], ids: &[u32]) -> u64 {
            compare(last, ids)
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the feature was detected on this processor.
            return unsafe { wide(last, ids) };
        }
    }
    compare(last, ids)
}
