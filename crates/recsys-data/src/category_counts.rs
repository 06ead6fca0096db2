//! How often each category of a table occurs.

/// Stands for no entry.
const NONE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Slot {
    value: u32,
    entry: u32,
}

const EMPTY: Slot = Slot {
    value: 0,
    entry: NONE,
};

/// The categories of one table in order of first appearance, with their counts.
///
/// An open-addressing table (linear probing, at most 3/4 full) leads from a category to its entry; the entries lie in the order in
/// which they came. A missing value is an entry without a slot.
#[derive(Debug)]
pub(crate) struct CategoryCounts {
    slots: Vec<Slot>,
    shift: u32,
    occupied: usize,
    /// Category of every entry; 0 for the missing one.
    values: Vec<u32>,
    counts: Vec<u64>,
    missing: Option<u32>,
}

impl CategoryCounts {
    /// More entries than this are close to what 32 bits can number; the caller stops there.
    pub(crate) const MOST: usize = (u32::MAX - (1 << 28)) as usize;

    pub(crate) fn new() -> Self {
        const BITS: u32 = 6;
        let slots = vec![EMPTY; 1 << BITS];
        Self {
            slots,
            shift: 64 - BITS,
            occupied: 0,
            values: Vec::new(),
            counts: Vec::new(),
            missing: None,
        }
    }

    /// Counts one occurrence of a category and returns its entry.
    #[inline]
    pub(crate) fn add(&mut self, value: u32) -> u32 {
        let place = self.place(value);
        let slot = &mut self.slots[place];
        if slot.entry != NONE {
            self.counts[slot.entry as usize] += 1;
            return slot.entry;
        }
        let entry = self.values.len() as u32;
        *slot = Slot { value, entry };
        self.values.push(value);
        self.counts.push(1);
        self.occupied += 1;
        if self.occupied * 4 > self.slots.len() * 3 {
            self.grow();
        }
        entry
    }

    /// Asks the processor for the slot of a category that will be counted soon.
    #[inline]
    pub(crate) fn prefetch(&self, value: u32) {
        let place = self.first_place(value);
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch reads nothing as far as the program can tell, and `place` is a slot of the table.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(self.slots.as_ptr().add(place).cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = place;
    }

    /// Takes back one occurrence of an entry, which stays.
    pub(crate) fn remove(&mut self, entry: u32) {
        self.counts[entry as usize] -= 1;
    }

    /// Counts one missing value.
    pub(crate) fn add_missing(&mut self) {
        match self.missing {
            Some(entry) => self.counts[entry as usize] += 1,
            None => {
                self.missing = Some(self.values.len() as u32);
                self.values.push(0);
                self.counts.push(1);
            }
        }
    }

    /// Number of entries.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// Entry of every category, in order of first appearance.
    pub(crate) fn values(&self) -> &[u32] {
        &self.values
    }

    /// Occurrences of every entry.
    pub(crate) fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The entry of missing values.
    pub(crate) fn missing(&self) -> Option<u32> {
        self.missing
    }

    /// The entry of a category.
    #[inline]
    pub(crate) fn entry(&self, value: u32) -> Option<u32> {
        let entry = self.slots[self.place(value)].entry;
        (entry != NONE).then_some(entry)
    }

    /// Replaces the number of every entry by `ids[entry]`, which [`CategoryCounts::entry`] then returns; counts and values go.
    pub(crate) fn renumber(&mut self, ids: &[u32]) {
        for slot in &mut self.slots {
            if slot.entry != NONE {
                slot.entry = ids[slot.entry as usize];
            }
        }
        self.missing = self.missing.map(|entry| ids[entry as usize]);
        self.values = Vec::new();
        self.counts = Vec::new();
    }

    /// Where the search for `value` begins.
    #[inline]
    fn first_place(&self, value: u32) -> usize {
        // Fibonacci hashing (Knuth, volume 3, section 6.4): the high bits of the product are well mixed.
        (u64::from(value).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize
    }

    /// The slot that holds `value`, or the empty one where it belongs.
    #[inline]
    fn place(&self, value: u32) -> usize {
        let mask = self.slots.len() - 1;
        let mut place = self.first_place(value);
        loop {
            let slot = self.slots[place];
            if slot.entry == NONE || slot.value == value {
                return place;
            }
            place = (place + 1) & mask;
        }
    }

    fn grow(&mut self) {
        self.shift -= 1;
        let slots = vec![EMPTY; self.slots.len() * 2];
        for slot in std::mem::replace(&mut self.slots, slots) {
            if slot.entry != NONE {
                let place = self.place(slot.value);
                self.slots[place] = slot;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn counts_agree_with_a_plain_list(values in prop::collection::vec(prop_oneof![0u32..50, any::<u32>()], 0..600)) {
            let mut counts = CategoryCounts::new();
            let mut expected: Vec<(u32, u64)> = Vec::new();
            for &value in &values {
                counts.add(value);
                match expected.iter_mut().find(|(known, _)| *known == value) {
                    Some((_, count)) => *count += 1,
                    None => expected.push((value, 1)),
                }
            }
            let found: Vec<(u32, u64)> = counts.values().iter().copied().zip(counts.counts().iter().copied()).collect();
            prop_assert_eq!(&found, &expected);
            for (entry, &(value, _)) in expected.iter().enumerate() {
                prop_assert_eq!(counts.entry(value), Some(entry as u32));
            }
        }
    }

    #[test]
    fn missing_is_apart_from_zero() {
        let mut counts = CategoryCounts::new();
        counts.add(0);
        counts.add_missing();
        counts.add(0);
        counts.add_missing();
        counts.add_missing();
        assert_eq!(
            (counts.len(), counts.counts(), counts.missing()),
            (2, &[2, 3][..], Some(1))
        );
        counts.renumber(&[1, 0]);
        assert_eq!(
            (counts.entry(0), counts.missing(), counts.entry(1)),
            (Some(1), Some(0), None)
        );
    }
}
