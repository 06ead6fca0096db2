//! The categories of one table with their counts, and later their ids.

use hashbrown::HashTable;

use super::foreign::{Bags, Place, TableColumn, Values};
use super::ranking::Ranking;
use super::table::{is_integer, whole_part};
use crate::category_counts::CategoryCounts;
use crate::error::{Error, Result};
use crate::vocabulary::{Category, Texts, Vocabulary, WideCategories};

/// What leads from a category to its id.
#[derive(Debug)]
pub(super) enum TableIds {
    Ranked(RankedCategories),
    /// Numbers are ids.
    Kept {
        /// Above every id.
        rows: u64,
    },
}

impl TableIds {
    pub(super) fn new(column: &TableColumn, keep: bool) -> Self {
        if keep {
            let rows = column.bound.unwrap_or(0);
            return Self::Kept { rows };
        }
        Self::Ranked(RankedCategories::new(column.text))
    }

    /// Takes in all values; `counts`: whether they count for ranks; `place` says where the value of
    /// a sample stands.
    ///
    /// # Errors
    /// More categories than there are ids; texts that may be one number.
    pub(super) fn count<'p>(
        &mut self,
        table: &TableColumn,
        bags: &Bags,
        counts: bool,
        place: impl Fn(usize) -> Place<'p>,
    ) -> Result<()> {
        match self {
            Self::Ranked(dictionary) => {
                for (value, category) in bags.iter().enumerate() {
                    let is_new = dictionary.add(category, u64::from(counts));
                    let twin = || dictionary.twin(category);
                    if let Some(twin) = (is_new && table.apart).then(twin).flatten() {
                        let problem = format!(
                            "stands beside {twin:?}: map the column with type = \"integer\" where it holds \
                             integers, or say with merge_numbers = true or false whether these two are one"
                        );
                        let value_of = format!("\"{category}\"");
                        return Err(place(bags.sample(value)).bad(&table.name, value_of, problem));
                    }
                }
                if dictionary.counts.len() > CategoryCounts::MOST {
                    let table = table.name.clone();
                    return Err(Error::TooManyCategories { table });
                }
            }
            Self::Kept { rows } => {
                if let Values::Numbers(numbers) = &bags.values {
                    let most = numbers.iter().max().map_or(0, |id| id.saturating_add(1));
                    *rows = most.max(*rows);
                }
            }
        }
        Ok(())
    }

    /// Takes back the counts of values from one on.
    pub(super) fn forget(&mut self, bags: &Bags, first: usize) {
        if let Self::Ranked(dictionary) = self {
            bags.iter()
                .skip(first)
                .for_each(|category| dictionary.forget(category));
        }
    }

    /// Gives ids to what was counted. A table of which no sample has a value gets one row, since a
    /// table cannot be empty.
    pub(super) fn rank(&mut self) {
        match self {
            Self::Ranked(dictionary) => {
                if dictionary.counts.is_empty() {
                    dictionary.insert(Category::Missing, 0);
                }
                dictionary.rank();
            }
            Self::Kept { rows } => *rows = (*rows).max(1),
        }
    }

    /// Rows of the table.
    pub(super) fn rows(&self) -> u64 {
        match self {
            Self::Ranked(dictionary) => dictionary.counts.len() as u64,
            Self::Kept { rows } => *rows,
        }
    }

    /// What the ids stand for, where they are not what they were.
    pub(super) fn vocabulary(&self) -> Option<Vocabulary> {
        match self {
            Self::Ranked(dictionary) => Some(dictionary.vocabulary()),
            Self::Kept { .. } => None,
        }
    }

    /// The ids of all values; `None` where one was not counted.
    pub(super) fn ids(&self, bags: &Bags) -> Option<Vec<u32>> {
        let id = |category| match (self, category) {
            (Self::Ranked(dictionary), category) => dictionary.entry(category),
            (Self::Kept { .. }, Category::Number(id)) => u32::try_from(id).ok(),
            (Self::Kept { .. }, _) => None,
        };
        bags.iter().map(id).collect()
    }
}

/// Categories in the order in which they came, later in that of their ids.
#[derive(Debug)]
pub(super) struct RankedCategories {
    /// Entries, found by the hash of their key.
    slots: HashTable<u32>,
    keys: Values,
    counts: Vec<u64>,
    /// The entry of missing values; its key means nothing.
    missing: Option<u32>,
}

impl RankedCategories {
    fn new(text: bool) -> Self {
        Self {
            slots: HashTable::new(),
            keys: if text {
                Values::Texts(Texts::default())
            } else {
                Values::Numbers(Vec::new())
            },
            counts: Vec::new(),
            missing: None,
        }
    }

    /// Takes in a value; says whether it is the first of its category.
    fn add(&mut self, category: Category<'_>, count: u64) -> bool {
        match self.entry(category) {
            Some(entry) => {
                self.counts[entry as usize] += count;
                false
            }
            None => {
                self.insert(category, count);
                true
            }
        }
    }

    fn forget(&mut self, category: Category<'_>) {
        if let Some(entry) = self.entry(category) {
            let count = &mut self.counts[entry as usize];
            *count = count.saturating_sub(1);
        }
    }

    /// The other way to write the number that a text is, where that is a category.
    fn twin(&self, category: Category<'_>) -> Option<String> {
        let Category::Text(text) = category else {
            return None;
        };
        let twin = match whole_part(text) {
            Some(whole) => whole.to_owned(),
            None => is_integer(text).then(|| format!("{text}.0"))?,
        };
        self.entry(Category::Text(&twin)).is_some().then_some(twin)
    }

    fn insert(&mut self, category: Category<'_>, count: u64) {
        let entry = self.counts.len() as u32;
        self.keys.push(category);
        self.counts.push(count);
        if category == Category::Missing {
            self.missing = Some(entry);
            return;
        }
        let keys = &self.keys;
        self.slots
            .insert_unique(hash(category), entry, |&entry| hash(key(keys, entry)));
    }

    /// The entry of a category.
    #[inline]
    fn entry(&self, category: Category<'_>) -> Option<u32> {
        if category == Category::Missing {
            return self.missing;
        }
        let same = |&entry: &u32| key(&self.keys, entry) == category;
        self.slots.find(hash(category), same).copied()
    }

    /// Puts the entries into the order of their frequency; ties by category, a missing one last.
    fn rank(&mut self) {
        let (keys, missing) = (&self.keys, self.missing);
        let of = |entry| (Some(entry) == missing, key(keys, entry));
        let ranking = Ranking::by_count_then(&self.counts, |a, b| of(a).cmp(&of(b)));
        self.counts = ranking.reordered(&self.counts);
        self.keys = match &self.keys {
            Values::Numbers(numbers) => Values::Numbers(ranking.reordered(numbers)),
            Values::Texts(texts) => {
                let of = |&old: &u32| texts.get(old as usize).unwrap_or_default();
                Values::Texts(ranking.old_ids().iter().map(of).collect())
            }
        };
        let new = ranking.new_ids();
        self.slots
            .iter_mut()
            .for_each(|entry| *entry = new[*entry as usize]);
        self.missing = self.missing.map(|entry| new[entry as usize]);
    }

    fn vocabulary(&self) -> Vocabulary {
        let narrow = |numbers: &Vec<u64>| -> Option<Vec<u32>> {
            let numbers = numbers.iter().map(|&number| u32::try_from(number).ok());
            numbers.collect()
        };
        let (categories, wide) = match &self.keys {
            Values::Numbers(numbers) => match narrow(numbers) {
                Some(categories) => (categories, None),
                None => (Vec::new(), Some(WideCategories::Numbers(numbers.clone()))),
            },
            Values::Texts(texts) => (Vec::new(), Some(WideCategories::Texts(texts.clone()))),
        };
        Vocabulary {
            categories,
            wide,
            counts: self.counts.clone(),
            missing: self.missing,
            other: None,
        }
    }
}

#[inline]
fn key(keys: &Values, entry: u32) -> Category<'_> {
    match keys {
        Values::Numbers(numbers) => Category::Number(numbers[entry as usize]),
        Values::Texts(texts) => Category::Text(texts.get(entry as usize).unwrap_or_default()),
    }
}

#[inline]
fn hash(category: Category<'_>) -> u64 {
    match category {
        Category::Number(number) => {
            // Both halves of a wide product: all bits of the number reach all of the hash.
            let product = u128::from(number ^ 0x2545_f491_4f6c_dd1d) * 0x9e37_79b9_7f4a_7c15_u128;
            product as u64 ^ (product >> 64) as u64
        }
        Category::Text(text) => xxhash_rust::xxh3::xxh3_64(text.as_bytes()),
        Category::Missing | Category::Other => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counted(values: &[Option<u64>], text: bool) -> RankedCategories {
        let mut dictionary = RankedCategories::new(text);
        for value in values {
            match value {
                Some(value) if text => dictionary.add(Category::Text(&value.to_string()), 1),
                Some(value) => dictionary.add(Category::Number(*value), 1),
                None => dictionary.add(Category::Missing, 1),
            };
        }
        dictionary.rank();
        dictionary
    }

    #[test]
    fn ties_are_ranked_by_category_and_missing_comes_last() {
        let values = [9, 3, 9, 3, 1 << 40, 5, 5].map(Some);
        let values = [&values[..], &[None, None, Some(7)]].concat();
        let numbers = counted(&values, false);
        let vocabulary = numbers.vocabulary();
        assert_eq!(
            vocabulary.wide,
            Some(WideCategories::Numbers(vec![3, 5, 9, 0, 7, 1 << 40]))
        );
        assert_eq!(
            (vocabulary.counts, vocabulary.missing),
            (vec![2, 2, 2, 2, 1, 1], Some(3))
        );
        assert_eq!(numbers.entry(Category::Number(9)), Some(2));
        assert_eq!(numbers.entry(Category::Number(0)), None);
        let texts = counted(&values, true).vocabulary();
        assert_eq!(texts.category(2), Some(Category::Text("9")));
        assert_eq!(texts.category(4), Some(Category::Text("1099511627776")));
    }

    proptest! {
        #[test]
        fn every_category_is_found_under_its_rank(values in prop::collection::vec(prop::option::of(0u64..60), 0..300), text: bool) {
            let dictionary = counted(&values, text);
            let vocabulary = dictionary.vocabulary();
            prop_assert!(vocabulary.counts.is_sorted_by(|a, b| a >= b));
            prop_assert_eq!(vocabulary.counts.iter().sum::<u64>(), values.len() as u64);
            for id in 0..vocabulary.rows() as u32 {
                let category = vocabulary.category(id).unwrap();
                prop_assert_eq!(dictionary.entry(category), Some(id));
            }
        }
    }
}
