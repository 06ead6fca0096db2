//! Lines that were left out.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What is wrong with a line, of one kind of files.
pub(crate) trait Defect: std::fmt::Display {
    /// A short name for the kind of defect, under which skipped lines are counted.
    fn kind(&self) -> &'static str;
}

/// What becomes of lines that are no rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BadRows {
    /// The first one ends the preparation.
    #[default]
    Error,
    /// They are left out, counted by kind and reported.
    Skip,
}

/// Lines that were left out for one kind of defect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedRows {
    /// The kind, as in [`RowDefect::kind`](crate::criteo::RowDefect::kind) or [`EventDefect::kind`](crate::taobao::EventDefect::kind).
    pub kind: Cow<'static, str>,
    /// How many lines.
    pub rows: u64,
    /// File name of the first one.
    pub file: String,
    /// Line number of the first one, counted from 1.
    pub line: u64,
    /// What is wrong with the first one.
    pub example: String,
}

/// Lines left out so far. Logs of neighbouring pieces of text are merged in their order.
#[derive(Debug)]
pub(crate) struct SkipLog<D>(BTreeMap<&'static str, Skipped<D>>);

impl<D> Default for SkipLog<D> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

#[derive(Debug)]
struct Skipped<D> {
    rows: u64,
    file: usize,
    line: u64,
    defect: D,
}

impl<D: Defect> SkipLog<D> {
    pub(crate) fn add(&mut self, file: usize, line: u64, defect: D) {
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
        let report = |(kind, skipped): (&'static str, Skipped<D>)| SkippedRows {
            kind: kind.into(),
            rows: skipped.rows,
            file: name(skipped.file),
            line: skipped.line,
            example: skipped.defect.to_string(),
        };
        self.0.into_iter().map(report).collect()
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
