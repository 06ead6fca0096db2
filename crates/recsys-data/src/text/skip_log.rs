//! Lines that were left out.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::line_defect::{FieldDefect, LineDefect};

/// What becomes of lines that are no rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum BadRows {
    /// The first one ends the preparation.
    #[default]
    Error,
    /// They are left out, counted by kind and reported.
    Skip,
}

/// Lines that were left out for one kind of defect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SkippedRows {
    /// The kind, as in [`LineDefect::kind`].
    pub kind: Cow<'static, str>,
    /// How many lines.
    pub rows: u64,
    /// File name of the first one.
    pub file: String,
    /// Line number of the first one, counted from 1; in files without lines the row's.
    pub line: u64,
    /// What is wrong with the first one.
    pub example: String,
}

impl SkippedRows {
    /// Adds lines that come after those of a list.
    pub(crate) fn add_to(self, list: &mut Vec<Self>) {
        match list.iter_mut().find(|known| known.kind == self.kind) {
            Some(known) => known.rows += self.rows,
            None => list.push(self),
        }
    }
}

/// Lines left out so far. Logs of neighbouring pieces of text are merged in their order.
#[derive(Debug)]
pub(crate) struct SkipLog<F: FieldDefect>(BTreeMap<&'static str, Skipped<F>>);

impl<F: FieldDefect> Default for SkipLog<F> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

#[derive(Debug)]
struct Skipped<F: FieldDefect> {
    rows: u64,
    file: usize,
    line: u64,
    defect: LineDefect<F>,
}

impl<F: FieldDefect> SkipLog<F> {
    pub(crate) fn add(&mut self, file: usize, line: u64, defect: LineDefect<F>) {
        let skipped = self.0.entry(defect.kind()).or_insert(Skipped {
            rows: 0,
            file,
            line,
            defect,
        });
        skipped.rows += 1;
    }

    /// Adds the log of text that comes later.
    pub(crate) fn append(&mut self, later: Self) {
        for (kind, more) in later.0 {
            match self.0.get_mut(kind) {
                Some(skipped) => skipped.rows += more.rows,
                None => {
                    self.0.insert(kind, more);
                }
            }
        }
    }

    pub(crate) fn rows(&self) -> u64 {
        self.0.values().map(|skipped| skipped.rows).sum()
    }

    pub(crate) fn into_report(self, files: &[PathBuf]) -> Vec<SkippedRows> {
        let name = |file: usize| {
            files[file]
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        };
        let report = |(kind, skipped): (&'static str, Skipped<F>)| SkippedRows {
            kind: kind.into(),
            rows: skipped.rows,
            file: name(skipped.file),
            line: skipped.line,
            example: skipped.defect.to_string(),
        };
        self.0.into_iter().map(report).collect()
    }
}

/// `hint` where a first field that should be a number may be the name of a column.
pub(crate) fn header_hint(text: &str, hint: &'static str) -> &'static str {
    match text.starts_with(char::is_alphabetic) {
        true => hint,
        false => "",
    }
}

/// The text of a field for a message: control characters escaped, at most 40 characters.
pub(crate) fn shorten(text: &[u8]) -> String {
    const SHOWN: usize = 40;
    let text = String::from_utf8_lossy(text);
    let mut shown: String = text
        .chars()
        .take(SHOWN)
        .collect::<String>()
        .escape_debug()
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}
