//! Items, the category that each belongs to, and how popular both are.

use rayon::prelude::*;

use super::alias::Alias;
use super::counter::Counter;

/// Share of the items, at the head, that are about equally popular.
const FLAT_ITEMS: f64 = 1.0 / 4000.0;

/// Share of the categories, at the head, that are about equally popular before items are dealt out.
const FLAT_CATEGORIES: f64 = 1.0 / 1000.0;

/// A category and an item of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) item: u32,
    pub(crate) category: u32,
}

/// Items and categories, both numbered by popularity, 0 the most popular one. 12 bytes an item, 24 a category.
#[derive(Debug, Clone)]
pub(crate) struct Catalogue {
    categories: Vec<Category>,
    popularity: Alias,
    columns: Vec<AliasColumn>,
}

#[derive(Debug, Clone)]
struct Category {
    /// Its part of the popularity of all items.
    share: f64,
    /// Where its columns begin, and how many there are: one an item.
    first: u32,
    items: u32,
}

/// A column of the alias method ([`Alias`]) over the items of one category that names the items themselves, so that a
/// draw touches one cache line.
#[derive(Debug, Clone)]
struct AliasColumn {
    threshold: u32,
    own: u32,
    other: u32,
}

impl Catalogue {
    /// Deals `items` out to `categories`, each of which gets one at least, so there are no fewer items than categories.
    ///
    /// Item `r` has the popularity `∝ 1 / (r + 1 + items / 4000)^item_exponent`. Its category is drawn by the same law with
    /// a flat head of a thousandth, for the least popular items excepted: of the last ones each category gets one.
    pub(crate) fn new(
        counter: Counter,
        items: u32,
        categories: u32,
        item_exponent: f64,
        category_exponent: f64,
    ) -> Self {
        let weight = skew(items, FLAT_ITEMS, item_exponent);
        let drawn = Alias::new(
            (0..categories)
                .map(skew(categories, FLAT_CATEGORIES, category_exponent))
                .collect(),
        );
        let mut dealt: Vec<Vec<u32>> = vec![Vec::new(); categories as usize];
        for item in 0..items {
            let category = if items - item <= categories {
                items - item - 1
            } else {
                drawn.draw(counter.sample(u64::from(item)).bits())
            };
            dealt[category as usize].push(item);
        }
        let mut shelves: Vec<(f64, Vec<AliasColumn>)> = dealt
            .into_par_iter()
            .map(|items| {
                let weights: Vec<f64> = items.iter().map(|&item| weight(item)).collect();
                let share = weights.iter().sum();
                let columns = Alias::new(weights)
                    .columns()
                    .iter()
                    .zip(&items)
                    .map(|(&(threshold, other), &own)| AliasColumn {
                        threshold,
                        own,
                        other: items[other as usize],
                    })
                    .collect();
                (share, columns)
            })
            .collect();
        // What was drawn is the order of popularity but for chance: make it exact.
        shelves.sort_by(|left, right| right.0.total_cmp(&left.0));
        let total: f64 = shelves.iter().map(|(share, _)| share).sum();
        let mut columns = Vec::with_capacity(items as usize);
        let categories: Vec<Category> = shelves
            .into_iter()
            .map(|(share, shelf)| {
                let category = Category {
                    share: share / total,
                    first: columns.len() as u32,
                    items: shelf.len() as u32,
                };
                columns.extend(shelf);
                category
            })
            .collect();
        Self {
            popularity: Alias::new(categories.iter().map(|category| category.share).collect()),
            categories,
            columns,
        }
    }

    /// Number of items.
    pub(crate) fn items(&self) -> u64 {
        self.columns.len() as u64
    }

    /// Number of categories.
    pub(crate) fn categories(&self) -> u64 {
        self.categories.len() as u64
    }

    /// The probability of a category among popular draws.
    #[inline]
    pub(crate) fn share(&self, category: u32) -> f64 {
        self.categories[category as usize].share
    }

    /// A category by popularity.
    #[inline]
    pub(crate) fn category(&self, bits: u64) -> u32 {
        self.popularity.draw(bits)
    }

    /// An item of a category by popularity.
    #[inline]
    pub(crate) fn item_of(&self, category: u32, bits: u64) -> Choice {
        let &Category { first, items, .. } = &self.categories[category as usize];
        let place = ((bits >> 32) * u64::from(items)) >> 32;
        let column = &self.columns[first as usize + place as usize];
        Choice {
            item: if (bits as u32) < column.threshold {
                column.own
            } else {
                column.other
            },
            category,
        }
    }
}

/// The popularity of rank `r` of `rows`, not normalised: a power law whose head, a share `flat` of the rows, is level.
fn skew(rows: u32, flat: f64, exponent: f64) -> impl Fn(u32) -> f64 + Sync {
    let head = flat * f64::from(rows) + 1.0;
    move |rank| (f64::from(rank) + head).powf(-exponent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_item_has_one_category_and_every_category_an_item(
            categories in 1u32..60, more in 0u32..500, exponent in 0.0..2.0f64, seed: u64
        ) {
            let items = categories + more;
            let catalogue = Catalogue::new(Counter::new(seed, 0), items, categories, exponent, exponent);
            let mut dealt: Vec<u32> = catalogue.columns.iter().map(|column| column.own).collect();
            dealt.sort_unstable();
            prop_assert_eq!(dealt, (0..items).collect::<Vec<_>>());
            let mut first = 0;
            for category in &catalogue.categories {
                prop_assert_eq!(category.first, first);
                prop_assert!(category.items > 0);
                first += category.items;
            }
            prop_assert_eq!(first, items);
            prop_assert!(catalogue.categories.is_sorted_by(|left, right| left.share >= right.share));
            let total: f64 = (0..categories).map(|category| catalogue.share(category)).sum();
            prop_assert!((total - 1.0).abs() < 1e-9);
        }
    }
}
