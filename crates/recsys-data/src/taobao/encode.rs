//! Ids by frequency for users, items and categories.

use std::cmp::Reverse;

use crate::category_counts::CategoryCounts;
use crate::vocabulary::Vocabulary;

/// The ids of everything, and what they stand for.
pub(super) struct Ids {
    /// Id of every user by number.
    pub(super) users: Vec<u32>,
    /// Ids of every item and its category, by the item's number.
    pub(super) items: Vec<[u32; 2]>,
    /// The category's id by the item's id; at padding, that of padding.
    pub(super) category_of: Vec<u32>,
    /// Whether id 0 of items and categories is padding.
    pub(super) padding: bool,
    /// Users, items, categories.
    pub(super) vocabularies: [Vocabulary; 3],
}

impl Ids {
    /// Numbers everything that has events: 0 is the most frequent, ties in order of first appearance. With `padding`, 0 is padding
    /// in the tables of items and categories, and the others follow.
    ///
    /// The three arguments are in order of first appearance; `categories` is that of every item.
    pub(super) fn new(
        users: &CategoryCounts,
        items: &CategoryCounts,
        categories: &[u32],
        padding: bool,
    ) -> Self {
        let mut numbers = CategoryCounts::new();
        let mut counts: Vec<u64> = Vec::new();
        // The first item of a category is as early in the text as the category itself.
        let category_numbers: Vec<u32> = categories
            .iter()
            .zip(items.counts())
            .map(|(&category, &count)| {
                let number = numbers.add(category);
                counts.resize(numbers.len(), 0);
                counts[number as usize] += count;
                number
            })
            .collect();
        let (user_ids, user_vocabulary) = rank(users.values(), users.counts(), false);
        let (item_ids, item_vocabulary) = rank(items.values(), items.counts(), padding);
        let (category_ids, category_vocabulary) = rank(numbers.values(), &counts, padding);
        let items: Vec<[u32; 2]> = item_ids
            .iter()
            .zip(&category_numbers)
            .map(|(&item, &category)| [item, category_ids[category as usize]])
            .collect();
        let mut category_of = vec![0; item_vocabulary.categories.len()];
        for &[item, category] in &items {
            if item != NO_ID {
                category_of[item as usize] = category;
            }
        }
        Self {
            users: user_ids,
            items,
            category_of,
            padding,
            vocabularies: [user_vocabulary, item_vocabulary, category_vocabulary],
        }
    }

    /// Rows of the three tables.
    pub(super) fn rows(&self) -> [u64; 3] {
        let rows = |vocabulary: &Vocabulary| vocabulary.categories.len() as u64;
        self.vocabularies.each_ref().map(rows)
    }

    /// Distinct items, and the id of the first one.
    pub(super) fn item_range(&self) -> (u64, u32) {
        let first = u32::from(self.padding);
        (self.category_of.len() as u64 - u64::from(first), first)
    }
}

/// Stands for what has no event left.
const NO_ID: u32 = u32::MAX;

/// The ids of values in order of first appearance.
pub(super) fn rank(values: &[u32], counts: &[u64], padding: bool) -> (Vec<u32>, Vocabulary) {
    let mut order: Vec<u32> = (0..values.len() as u32)
        .filter(|&number| counts[number as usize] > 0)
        .collect();
    order.sort_unstable_by_key(|&number| (Reverse(counts[number as usize]), number));
    let mut ids = vec![NO_ID; values.len()];
    for (id, &number) in (u32::from(padding)..).zip(&order) {
        ids[number as usize] = id;
    }
    let padded = padding.then_some(0);
    let of = |number: &u32| *number as usize;
    let vocabulary = Vocabulary {
        categories: padded
            .into_iter()
            .chain(order.iter().map(|number| values[of(number)]))
            .collect(),
        wide: None,
        counts: padded
            .into_iter()
            .map(u64::from)
            .chain(order.iter().map(|number| counts[of(number)]))
            .collect(),
        missing: padded,
        other: None,
    };
    (ids, vocabulary)
}
