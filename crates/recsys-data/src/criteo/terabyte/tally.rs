//! How often categories occur, and where first: in memory that does not grow beyond a limit.

/// A category with its occurrences and the row of the first one.
///
/// One number of 128 bits: key, row, count from the highest bit down, so that numbers are in the order of their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tally(u128);

/// Key of the missing value; categories lie below.
pub(super) const MISSING: u64 = 1 << 32;
/// Key of all rare categories together.
pub(super) const OTHER: u64 = 1 << 33;

const COUNT_BITS: u32 = 48;
const ROW_BITS: u32 = 46;

impl Tally {
    const EMPTY: Self = Self(0);
    /// Size on disk.
    pub(super) const BYTES: usize = 16;

    /// # Panics
    /// In debug builds: numbers beyond 34, 48 and 46 bits. That is 70 million million rows.
    #[inline]
    pub(super) fn new(key: u64, count: u64, first: u64) -> Self {
        debug_assert!(key <= OTHER && count < 1 << COUNT_BITS && first < 1 << ROW_BITS);
        Self(
            u128::from(key) << (COUNT_BITS + ROW_BITS)
                | u128::from(first) << COUNT_BITS
                | u128::from(count),
        )
    }

    #[inline]
    pub(super) fn key(self) -> u64 {
        (self.0 >> (COUNT_BITS + ROW_BITS)) as u64
    }

    #[inline]
    pub(super) fn count(self) -> u64 {
        self.0 as u64 & ((1 << COUNT_BITS) - 1)
    }

    /// The row of the first occurrence.
    #[inline]
    pub(super) fn first(self) -> u64 {
        (self.0 >> COUNT_BITS) as u64 & ((1 << ROW_BITS) - 1)
    }

    /// This one and `more` occurrences of the same key.
    pub(super) fn and(self, more: Self) -> Self {
        let first = self.first().min(more.first());
        Self::new(self.key(), self.count() + more.count(), first)
    }

    /// The same occurrences under another key.
    pub(super) fn under(self, key: u64) -> Self {
        Self::new(key, self.count(), self.first())
    }

    /// Smaller for more occurrences, then for an earlier first one.
    #[inline]
    pub(super) fn by_rank(self) -> u128 {
        let rarity = (1u64 << COUNT_BITS) - self.count();
        u128::from(rarity) << 64 | u128::from(self.first())
    }

    /// Smaller for an earlier first occurrence.
    #[inline]
    pub(super) fn by_appearance(self) -> u128 {
        u128::from(self.first())
    }

    /// Smaller for a smaller key.
    #[inline]
    pub(super) fn by_key(self) -> u128 {
        self.0
    }

    pub(super) fn to_bytes(self) -> [u8; Self::BYTES] {
        self.0.to_le_bytes()
    }

    pub(super) fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(u128::from_le_bytes(bytes))
    }
}

/// Counts categories in an open-addressing table (linear probing, at most 3/4 full) that doubles up to a limit.
///
/// Unlike [`CategoryCounts`](crate::category_counts::CategoryCounts) it keeps everything about a category in one slot of 16
/// bytes, and says when it is full.
#[derive(Debug)]
pub(super) struct TallyTable {
    slots: Vec<Tally>,
    shift: u32,
    len: usize,
    most_slots: usize,
}

impl TallyTable {
    /// A table of at most so many slots, a power of two.
    pub(super) fn new(most_slots: usize) -> Self {
        const LEAST: usize = 1 << 8;
        let slots = LEAST.min(most_slots).max(2);
        Self {
            slots: vec![Tally::EMPTY; slots],
            shift: 64 - slots.ilog2(),
            len: 0,
            most_slots,
        }
    }

    /// Makes room for `more` new keys; `false` where the limit does not allow it.
    pub(super) fn reserve(&mut self, more: usize) -> bool {
        while (self.len + more) * 4 > self.slots.len() * 3 {
            if self.slots.len() * 2 > self.most_slots {
                return false;
            }
            self.grow();
        }
        true
    }

    /// Asks the processor for the slot of a key that will be counted soon.
    #[inline]
    pub(super) fn prefetch(&self, key: u64) {
        super::prefetch(&self.slots, self.home(key));
    }

    /// Counts `count` occurrences, 0 or 1, in row `row`; rows come in order, and row 0 counts.
    /// There must be room, see [`TallyTable::reserve`].
    #[inline]
    pub(super) fn add(&mut self, key: u64, row: u64, count: u64) {
        let place = self.place(key);
        let slot = &mut self.slots[place];
        if *slot == Tally::EMPTY {
            *slot = Tally::new(key, count, row);
            self.len += 1;
        } else {
            slot.0 += u128::from(count);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The tallies in the order of their keys, in the memory of the table, which is useless until [`TallyTable::clear`].
    pub(super) fn sort(&mut self) -> &[Tally] {
        let mut filled = 0;
        for place in 0..self.slots.len() {
            if self.slots[place] != Tally::EMPTY {
                self.slots.swap(place, filled);
                filled += 1;
            }
        }
        self.slots[..filled].sort_unstable();
        &self.slots[..filled]
    }

    pub(super) fn clear(&mut self) {
        self.slots.fill(Tally::EMPTY);
        self.len = 0;
    }

    #[inline]
    fn home(&self, key: u64) -> usize {
        // Fibonacci hashing (Knuth, volume 3, section 6.4): the high bits of the product are well mixed.
        (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize
    }

    /// The slot that holds `key`, or the empty one where it belongs.
    #[inline]
    fn place(&self, key: u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut place = self.home(key);
        loop {
            let slot = self.slots[place];
            if slot == Tally::EMPTY || slot.key() == key {
                return place;
            }
            place = (place + 1) & mask;
        }
    }

    fn grow(&mut self) {
        self.shift -= 1;
        let slots = vec![Tally::EMPTY; self.slots.len() * 2];
        for slot in std::mem::replace(&mut self.slots, slots) {
            if slot != Tally::EMPTY {
                let place = self.place(slot.key());
                self.slots[place] = slot;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn orders() {
        let often = Tally::new(7, 9, 5);
        let early = Tally::new(9, 2, 0);
        let late = Tally::new(3, 2, 1);
        assert_eq!((often.key(), often.count(), often.first()), (7, 9, 5));
        assert!(often.by_rank() < early.by_rank() && early.by_rank() < late.by_rank());
        assert!(early.by_appearance() < late.by_appearance());
        assert!(late.by_key() < often.by_key());
        assert_eq!(early.and(late.under(9)), Tally::new(9, 4, 0));
        let largest = Tally::new(OTHER, (1 << COUNT_BITS) - 1, (1 << ROW_BITS) - 1);
        assert_eq!(Tally::from_bytes(largest.to_bytes()), largest);
        assert_eq!(largest.key(), OTHER);
    }

    proptest! {
        #[test]
        fn a_table_agrees_with_a_map(keys in prop::collection::vec(prop_oneof![0u64..50, 0..=MISSING], 0..600)) {
            let mut table = TallyTable::new(1 << 20);
            let mut expected: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
            for (row, &key) in (0..).zip(&keys) {
                prop_assert!(table.reserve(1));
                let count = u64::from(row % 3 != 1);
                table.add(key, row, count);
                expected.entry(key).or_insert((0, row)).0 += count;
            }
            let expected: Vec<Tally> = expected.into_iter().map(|(key, (count, first))| Tally::new(key, count, first)).collect();
            prop_assert_eq!(table.sort(), expected);
            table.clear();
            prop_assert!(table.is_empty() && table.sort().is_empty());
        }
    }

    #[test]
    fn a_table_is_full_at_its_limit() {
        let mut table = TallyTable::new(16);
        for key in 0..12 {
            assert!(table.reserve(1));
            table.add(key, key, 1);
        }
        assert!(!table.reserve(1));
    }
}
