//! Raw categories that 32 bits cannot hold: large numbers and texts.

use std::fmt;

/// The raw categories of a table, in the order of their ids, where they are no numbers of 32 bits.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WideCategories {
    /// Numbers.
    Numbers(Vec<u64>),
    /// Texts.
    Texts(Texts),
}

impl WideCategories {
    /// Number of categories.
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.len(),
            Self::Texts(texts) => texts.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How the categories of a data set are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notation {
    /// Eight hexadecimal digits, as in Criteo's text.
    Hexadecimal,
    /// Whole numbers, as in Taobao's.
    Decimal,
}

impl Notation {
    /// That of a data set, by its name in the manifest.
    pub fn of(dataset: &str) -> Self {
        if dataset.starts_with("criteo") {
            Self::Hexadecimal
        } else {
            Self::Decimal
        }
    }
}

/// What an id stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Category<'a> {
    /// A number; Criteo: the value of eight hexadecimal digits.
    Number(u64),
    /// A text.
    Text(&'a str),
    /// No category was given.
    Missing,
    /// Any of the rare categories that share an id.
    Other,
}

impl Category<'_> {
    /// As the raw text of a data set writes it: no category as `-`, rare ones together as `other`.
    pub fn written(self, notation: Notation) -> String {
        match (self, notation) {
            (Self::Missing, _) => "-".to_owned(),
            (Self::Other, _) => "other".to_owned(),
            (Self::Number(number), Notation::Hexadecimal) => format!("{number:08x}"),
            (Self::Number(number), Notation::Decimal) => number.to_string(),
            (Self::Text(text), _) => text.to_owned(),
        }
    }
}

impl fmt::Display for Category<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
            Self::Missing => f.write_str("(missing)"),
            Self::Other => f.write_str("(other)"),
        }
    }
}

/// Texts one after the other in one piece of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts {
    text: String,
    /// Where each text starts, and the end of the last.
    offsets: Vec<u64>,
}

impl Default for Texts {
    fn default() -> Self {
        Self {
            text: String::new(),
            offsets: vec![0],
        }
    }
}

impl Texts {
    /// The texts of `text` that start and end at `offsets`; `None` unless those cut all of it, between characters.
    pub(crate) fn from_parts(text: String, offsets: Vec<u64>) -> Option<Self> {
        let ordered = offsets.is_sorted() && offsets.first() == Some(&0);
        let whole = offsets.last() == Some(&(text.len() as u64));
        let between = |&offset: &u64| text.is_char_boundary(offset as usize);
        (ordered && whole && offsets.iter().all(between)).then_some(Self { text, offsets })
    }

    /// All texts without gaps, and where each starts, the end of the last included.
    pub(crate) fn parts(&self) -> (&str, &[u64]) {
        (&self.text, &self.offsets)
    }

    /// Adds a text behind the others.
    pub fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.offsets.push(self.text.len() as u64);
    }

    /// Only the first texts.
    pub(crate) fn truncate(&mut self, texts: usize) {
        self.offsets.truncate(texts + 1);
        let end = self.offsets.last().copied().unwrap_or(0);
        self.text.truncate(end as usize);
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Text number `index`, if there are so many.
    pub fn get(&self, index: usize) -> Option<&str> {
        let (start, end) = (self.offsets.get(index)?, self.offsets.get(index + 1)?);
        self.text.get(*start as usize..*end as usize)
    }

    /// All texts in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

impl<'a> FromIterator<&'a str> for Texts {
    fn from_iter<I: IntoIterator<Item = &'a str>>(texts: I) -> Self {
        let mut all = Self::default();
        texts.into_iter().for_each(|text| all.push(text));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_kept_apart() {
        let texts: Texts = ["", "Grüße", "", "b"].into_iter().collect();
        assert_eq!(
            (texts.len(), texts.get(1), texts.get(4)),
            (4, Some("Grüße"), None)
        );
        assert!(texts.iter().eq(["", "Grüße", "", "b"]));
        let (text, offsets) = texts.parts();
        assert_eq!(
            Texts::from_parts(text.to_owned(), offsets.to_vec()),
            Some(texts)
        );
    }

    #[test]
    fn offsets_that_do_not_cut_the_text_are_refused() {
        for offsets in [
            &[][..],
            &[0],
            &[1, 3],
            &[0, 4, 2, 3],
            &[0, 2, 3],
            &[0, 3, 9],
        ] {
            assert_eq!(
                Texts::from_parts("aß".to_owned(), offsets.to_vec()),
                None,
                "{offsets:?}"
            );
        }
        assert!(Texts::from_parts("aß".to_owned(), vec![0, 1, 1, 3]).is_some());
    }
}
