//! Rows under other ids than the data set's.

use std::collections::HashMap;

use recsys_data::vocabulary::{Category, Vocabulary};

/// Where the rows of a table are in weights that were trained under other ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowMap {
    /// Rows of the table there.
    pub rows: u64,
    /// For every id here, its id there; `None` for a category that is not there.
    pub from: Vec<Option<u32>>,
}

impl RowMap {
    /// Finds the ids of `here` in `there`: the same category, the id of missing ones, the id of
    /// rare ones. The original programs take missing categories for the category 0, so that
    /// this one is found there too.
    pub fn between(there: &Vocabulary, here: &Vocabulary) -> Self {
        let known: HashMap<Category<'_>, u32> = categories(there)
            .filter(|(_, category)| !matches!(category, Category::Missing | Category::Other))
            .map(|(id, category)| (category, id))
            .collect();
        let find = |(_, category): (u32, Category<'_>)| match category {
            Category::Missing => there.missing,
            Category::Other => there.other,
            category => {
                let same = known.get(&category).copied();
                same.or(there.missing.filter(|_| category == Category::Number(0)))
            }
        };
        Self {
            rows: there.rows() as u64,
            from: categories(here).map(find).collect(),
        }
    }

    /// Ids here that have no row there.
    pub fn absent(&self) -> u64 {
        self.from.iter().filter(|id| id.is_none()).count() as u64
    }
}

/// Every id with what it stands for.
fn categories(vocabulary: &Vocabulary) -> impl Iterator<Item = (u32, Category<'_>)> {
    let ids = (0u32..).take(vocabulary.rows());
    ids.filter_map(|id| Some((id, vocabulary.category(id)?)))
}

#[cfg(test)]
mod tests {
    use recsys_data::vocabulary::WideCategories;

    use super::*;

    #[test]
    fn categories_are_found_under_their_other_ids() {
        let there = Vocabulary {
            categories: vec![7, 9, 0, 5],
            missing: Some(2),
            ..Vocabulary::default()
        };
        let here = Vocabulary {
            categories: vec![0, 5, 8, 7, 0, 0],
            missing: Some(0),
            other: Some(4),
            ..Vocabulary::default()
        };
        let map = RowMap::between(&there, &here);
        assert_eq!(map.rows, 4);
        assert_eq!(map.from, [Some(2), Some(3), None, Some(0), None, Some(2)]);
        assert_eq!(map.absent(), 2);
    }
    #[test]
    fn texts_are_found_too() {
        let texts = |texts: &[&str]| Vocabulary {
            wide: Some(WideCategories::Texts(texts.iter().copied().collect())),
            ..Vocabulary::default()
        };
        let map = RowMap::between(&texts(&["a", "b"]), &texts(&["c", "b", "a"]));
        assert_eq!((map.rows, map.from), (2, vec![None, Some(1), Some(0)]));
    }
}
