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
    /// Id of every category by number.
    categories: Vec<u32>,
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
        let (user_ids, user_vocabulary) =
            rank(users.values(), users.counts(), |count| count > 0, false);
        let (item_ids, item_vocabulary) =
            rank(items.values(), items.counts(), |count| count > 0, padding);
        let (category_ids, category_vocabulary) =
            rank(numbers.values(), &counts, |count| count > 0, padding);
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
            categories: category_ids,
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

/// Ids by how often they occur in samples, in place of those by events.
///
/// Samples are drawn by the latter, so that the same ones are made whatever is counted.
pub(super) struct SampleRanks {
    /// The new id of every old one: users, items, categories.
    pub(super) new_ids: [Vec<u32>; 3],
    /// What the new ids stand for, with their counts.
    pub(super) vocabularies: [Vocabulary; 3],
}

impl SampleRanks {
    /// Ranks the ids of every table by `counts`, ties in order of first appearance; padding stays
    /// 0.
    pub(super) fn new(ids: &Ids, counts: &[Vec<u64>; 3]) -> Self {
        let items: Vec<u32> = ids.items.iter().map(|&[item, _]| item).collect();
        let [of_users, of_items, of_categories] = &ids.vocabularies;
        let [user_counts, item_counts, category_counts] = counts;
        let (users, user_vocabulary) = reranked(&ids.users, of_users, user_counts, false);
        let (items, item_vocabulary) = reranked(&items, of_items, item_counts, ids.padding);
        let (categories, category_vocabulary) =
            reranked(&ids.categories, of_categories, category_counts, ids.padding);
        Self {
            new_ids: [users, items, categories],
            vocabularies: [user_vocabulary, item_vocabulary, category_vocabulary],
        }
    }
}

/// New ids by the old ones, which `old_ids` has in order of first appearance.
fn reranked(
    old_ids: &[u32],
    old: &Vocabulary,
    counts: &[u64],
    padding: bool,
) -> (Vec<u32>, Vocabulary) {
    let mut order: Vec<u32> = old_ids.iter().copied().filter(|&id| id != NO_ID).collect();
    // Stable, so that ties stay in order of first appearance.
    order.sort_by_key(|&id| Reverse(counts[id as usize]));
    if padding {
        order.insert(0, 0);
    }
    let mut new_ids = vec![0; order.len()];
    for (new, &id) in (0u32..).zip(&order) {
        new_ids[id as usize] = new;
    }
    let vocabulary = Vocabulary {
        categories: order
            .iter()
            .map(|&id| old.categories[id as usize])
            .collect(),
        wide: None,
        counts: order.iter().map(|&id| counts[id as usize]).collect(),
        missing: old.missing,
        other: None,
    };
    (new_ids, vocabulary)
}

/// Stands for what has no event left.
const NO_ID: u32 = u32::MAX;

/// The ids of values in order of first appearance, as far as their counts are ones to keep.
pub(super) fn rank(
    values: &[u32],
    counts: &[u64],
    keep: impl Fn(u64) -> bool,
    padding: bool,
) -> (Vec<u32>, Vocabulary) {
    let mut order: Vec<u32> = (0..values.len() as u32)
        .filter(|&number| keep(counts[number as usize]))
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
