//! Raw rows to the numbers of the packed format.

use std::cmp::Reverse;

use super::{Numbering, RawRow, TABLES};
use crate::batch::Batch;
use crate::category_counts::CategoryCounts;
use crate::vocabulary::Vocabulary;

/// What happens to a category before it is counted or looked up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Categories {
    /// Every value is taken modulo this.
    pub(super) modulus: Option<u32>,
    /// Whether a missing value is the category 0 rather than one of its own.
    pub(super) missing_is_zero: bool,
}

impl Categories {
    pub(super) fn new(max_ind_range: Option<u64>, numbering: Numbering) -> Self {
        // A modulus beyond 32 bits changes no value.
        let modulus = max_ind_range.and_then(|range| u32::try_from(range).ok());
        Self {
            modulus,
            missing_is_zero: numbering == Numbering::Reference,
        }
    }

    /// Applies the rules to a row.
    #[inline]
    pub(super) fn apply(self, row: &mut RawRow) {
        if let Some(modulus) = self.modulus {
            for value in &mut row.categories {
                *value %= modulus;
            }
        }
        if self.missing_is_zero {
            row.missing = 0;
        }
    }
}

/// Numbers the categories of a table. From now on [`CategoryCounts::entry`] gives ids.
pub(super) fn number(
    table: &mut CategoryCounts,
    numbering: Numbering,
    min_count: u64,
) -> Vocabulary {
    let missing = match numbering {
        Numbering::Rank => table.missing(),
        Numbering::Reference => table.entry(0),
    };
    // Each id is a group: its first entry, its occurrences and whether it is that of the rare categories.
    let mut groups: Vec<(u32, u64)> = Vec::with_capacity(table.len());
    let mut rare: Option<usize> = None;
    // Categories that do not train have no count, and 1 changes nothing.
    let is_rare =
        |entry: u32, count: u64| min_count > 1 && count < min_count && Some(entry) != missing;
    for (entry, &count) in (0u32..).zip(table.counts()) {
        match rare.filter(|_| is_rare(entry, count)) {
            Some(group) => groups[group].1 += count,
            None => {
                if is_rare(entry, count) {
                    rare = Some(groups.len());
                }
                groups.push((entry, count));
            }
        }
    }
    let rare_entry = rare.map(|group| groups[group].0);
    if numbering == Numbering::Rank {
        groups.sort_unstable_by_key(|&(entry, count)| (Reverse(count), entry));
    }

    let mut ids = vec![u32::MAX; table.len()];
    for (id, &(entry, _)) in (0u32..).zip(&groups) {
        ids[entry as usize] = id;
    }
    let other = rare_entry.map(|entry| ids[entry as usize]);
    if let Some(other) = other {
        // Only the first rare entry has its group's id so far.
        ids.iter_mut()
            .filter(|id| **id == u32::MAX)
            .for_each(|id| *id = other);
    }
    let value = |entry: u32| {
        if rare_entry == Some(entry) {
            0
        } else {
            table.values()[entry as usize]
        }
    };
    let vocabulary = Vocabulary {
        categories: groups.iter().map(|&(entry, _)| value(entry)).collect(),
        wide: None,
        counts: groups.iter().map(|&(_, count)| count).collect(),
        missing: missing.map(|entry| ids[entry as usize]),
        other,
    };
    drop(groups);
    table.renumber(&ids);
    vocabulary
}

/// Turns rows into samples by the numbering of pass one.
pub(super) struct Encoder {
    pub(super) categories: Categories,
    /// One per table, numbered.
    pub(super) tables: Vec<CategoryCounts>,
    logarithms: Logarithms,
}

impl Encoder {
    pub(super) fn new(categories: Categories, tables: Vec<CategoryCounts>) -> Self {
        Self {
            categories,
            tables,
            logarithms: Logarithms::new(),
        }
    }

    /// Appends a row to a batch. `false` where a category is not in the vocabulary; the batch is then of no use.
    #[inline]
    pub(super) fn encode(&self, mut row: RawRow, into: &mut Batch) -> bool {
        self.categories.apply(&mut row);
        // Slots are anywhere in memory: all of the row's are on their way while its dense values are computed.
        for (table, &category) in self.tables.iter().zip(&row.categories) {
            table.prefetch(category);
        }
        into.label.push(f32::from(row.label));
        into.dense
            .extend(row.dense.iter().map(|&value| self.logarithms.of(value)));
        let mut ids = [0; TABLES];
        let mut known = true;
        for (table, id) in ids.iter_mut().enumerate() {
            let found = self.id(&row, table);
            known &= found.is_some();
            *id = found.unwrap_or(0);
        }
        into.sparse.ids.extend_from_slice(&ids);
        known
    }

    /// The dense value of an integer.
    #[inline]
    pub(super) fn dense(&self, value: i32) -> f32 {
        self.logarithms.of(value)
    }

    /// The id of a row in a table, where the vocabulary has one; the rules must have been applied to the row.
    #[inline]
    pub(super) fn id(&self, row: &RawRow, table: usize) -> Option<u32> {
        if row.missing >> table & 1 == 1 {
            self.tables[table].missing()
        } else {
            self.tables[table].entry(row.categories[table])
        }
    }
}

/// The dense values of the packed format, looked up where they are small counts, as most are.
pub(super) struct Logarithms(Vec<f32>);

impl Logarithms {
    pub(super) fn new() -> Self {
        const TABULATED: i32 = 1 << 12;
        Self((0..TABULATED).map(logarithm).collect())
    }

    /// `ln(max(value, 0) + 1)`.
    #[inline]
    pub(super) fn of(&self, value: i32) -> f32 {
        let value = value.max(0);
        self.0
            .get(value as usize)
            .copied()
            .unwrap_or_else(|| logarithm(value))
    }
}

/// `ln(x + 1)` in single precision throughout, as the original computes it.
pub(crate) fn logarithm(value: i32) -> f32 {
    (value.max(0) as f32 + 1.0).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// a a b c c c, d, and two missing values in between.
    fn table() -> CategoryCounts {
        let mut table = CategoryCounts::new();
        for value in [0xa, 0xa, 0xb] {
            table.add(value);
        }
        table.add_missing();
        for value in [0xc, 0xc, 0xc, 0xd] {
            table.add(value);
        }
        table.add_missing();
        table
    }

    #[test]
    fn ranks_follow_frequency_then_first_appearance() {
        let mut table = table();
        let vocabulary = number(&mut table, Numbering::Rank, 0);
        assert_eq!(vocabulary.categories, [0xc, 0xa, 0, 0xb, 0xd]);
        assert_eq!(vocabulary.counts, [3, 2, 2, 1, 1]);
        assert_eq!((vocabulary.missing, vocabulary.other), (Some(2), None));
        assert_eq!(
            [0xa, 0xb, 0xc, 0xd].map(|value| table.entry(value)),
            [Some(1), Some(3), Some(0), Some(4)]
        );
        assert_eq!(table.missing(), Some(2));
    }

    #[test]
    fn rare_categories_share_one_id_ranked_by_what_they_are_together() {
        let mut counts = table();
        let vocabulary = number(&mut counts, Numbering::Rank, 3);
        // a (2), b (1) and d (1) are four together; the missing category stays.
        assert_eq!(vocabulary.categories, [0, 0xc, 0]);
        assert_eq!(vocabulary.counts, [4, 3, 2]);
        assert_eq!((vocabulary.missing, vocabulary.other), (Some(2), Some(0)));
        assert_eq!(
            [0xa, 0xb, 0xc, 0xd].map(|value| counts.entry(value)),
            [Some(0), Some(0), Some(1), Some(0)]
        );
    }

    #[test]
    fn reference_ids_count_up_in_order_of_appearance() {
        let mut counts = CategoryCounts::new();
        for value in [7, 0, 7, 9, 9] {
            counts.add(value);
        }
        let vocabulary = number(&mut counts, Numbering::Reference, 0);
        assert_eq!(vocabulary.categories, [7, 0, 9]);
        assert_eq!(vocabulary.counts, [2, 1, 2]);
        assert_eq!((vocabulary.missing, vocabulary.other), (Some(1), None));
    }

    #[test]
    fn dense_values_are_logarithms_and_nothing_below_zero() {
        let encoder = Encoder::new(
            Categories::new(None, Numbering::Rank),
            std::iter::repeat_with(CategoryCounts::new)
                .take(TABLES)
                .collect(),
        );
        let mut batch = Batch::default();
        let mut row = RawRow {
            label: 1,
            ..RawRow::default()
        };
        row.dense[..5].copy_from_slice(&[0, -2, 1, 4095, i32::MAX]);
        // No table knows a category.
        assert!(!encoder.encode(row, &mut batch));
        assert_eq!(batch.label, [1.0]);
        assert_eq!(
            batch.dense[..5],
            [0.0, 0.0, 2f32.ln(), 4096f32.ln(), 2_147_483_648f32.ln()]
        );
        assert_eq!(logarithm(5000), 5001f32.ln());
    }

    #[test]
    fn a_modulus_beyond_32_bits_changes_nothing() {
        let mut row = RawRow {
            missing: 1,
            ..RawRow::default()
        };
        row.categories[3] = 1_003;
        let mut same = row;
        Categories::new(Some(1 << 40), Numbering::Rank).apply(&mut same);
        assert_eq!(same, row);
        Categories::new(Some(1_000), Numbering::Reference).apply(&mut row);
        assert_eq!((row.categories[3], row.missing), (3, 0));
    }
}
