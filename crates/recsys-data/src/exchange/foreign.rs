//! Samples of other programs, on their way to a packed data set.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use super::rules::DenseValues;
use super::table::Scale;
use crate::criteo::logarithm;
use crate::error::{Error, Result};
use crate::exchange::error::Error as ExchangeError;
use crate::packed::SourceFile;
use crate::text::SkippedRows;
use crate::vocabulary::{Category, Texts};

/// The columns that files of another program hold.
#[derive(Debug, Clone, Default)]
pub(super) struct Columns {
    pub(super) dense: Vec<String>,
    pub(super) tables: Vec<TableColumn>,
    /// Whether a sample may have any number of categories in a table.
    pub(super) multi_hot: bool,
}

/// A categorical column.
#[derive(Debug, Clone)]
pub(super) struct TableColumn {
    pub(super) name: String,
    /// Whether its categories are texts and not numbers.
    pub(super) text: bool,
    /// Whether the texts `3` and `3.0` may not both be categories.
    pub(super) apart: bool,
    /// Every number is below this, where the files say so.
    pub(super) bound: Option<u64>,
}

/// Files that can be read as often as needed.
pub(super) trait ForeignReader: Sync {
    /// What they hold.
    fn columns(&self) -> &Columns;

    /// The files that a name on the command line stands for.
    fn files(&self, path: &Path) -> Vec<PathBuf> {
        vec![path.to_path_buf()]
    }

    /// The dense columns that are standardised and whose scale is not known, ascending.
    fn standardised(&self) -> &[usize] {
        &[]
    }

    /// Says what standardises each of those.
    fn standardise(&mut self, _: &[Scale]) {}

    /// Shows all samples behind a name, in their order, and returns the identity of its files.
    fn read(
        &self,
        path: &Path,
        consume: &mut dyn FnMut(Foreign) -> Result<()>,
    ) -> Result<Vec<SourceFile>>;
}

/// Some samples.
#[derive(Debug, Default)]
pub(super) struct Foreign {
    pub(super) label: Vec<f32>,
    /// `[samples, dense features]`.
    pub(super) dense: Vec<f32>,
    pub(super) tables: Vec<Bags>,
    /// Where every sample stands in its file, in units of `unit`, where messages may need it.
    pub(super) numbers: Vec<u64>,
    pub(super) unit: &'static str,
    /// `[samples, standardised columns]`, before that is done; NaN where they are missing.
    pub(super) unscaled: Vec<f64>,
    /// Rows among these samples that were left out.
    pub(super) skipped: Vec<SkippedRows>,
    /// Bytes of the files that these samples took, for progress.
    pub(super) stored_bytes: u64,
}

impl Foreign {
    /// Only the first samples, with that number of dense values, and of what the next one began to add.
    pub(super) fn truncate(&mut self, samples: usize, dense: usize, unscaled: usize) {
        self.label.truncate(samples);
        self.dense.truncate(samples * dense);
        self.unscaled.truncate(samples * unscaled);
        let multi_hot = self.tables.iter().any(|bags| !bags.ends.is_empty());
        for bags in &mut self.tables {
            bags.ends.truncate(samples);
            let values = match bags.ends.last() {
                Some(&end) => end,
                None if multi_hot => 0,
                None => samples,
            };
            bags.truncate(values);
        }
    }

    /// One more row was left out.
    pub(super) fn skip(&mut self, place: Place<'_>, bad: BadRow) {
        let file = place.path.file_name().unwrap_or_default();
        let row = SkippedRows {
            kind: bad.kind.into(),
            rows: 1,
            file: file.to_string_lossy().into_owned(),
            line: place.number,
            example: bad.to_string(),
        };
        row.add_to(&mut self.skipped);
    }
}

/// The categories of some samples in one table.
#[derive(Debug)]
pub(super) struct Bags {
    pub(super) values: Values,
    /// Which values are missing; empty where none is.
    pub(super) missing: Vec<bool>,
    /// Where each sample's values end; empty where every sample has exactly one.
    pub(super) ends: Vec<usize>,
}

/// Categories one after the other.
#[derive(Debug)]
pub(super) enum Values {
    Numbers(Vec<u64>),
    Texts(Texts),
}

impl Values {
    /// Adds a category; what is missing takes a place that means nothing.
    pub(super) fn push(&mut self, category: Category<'_>) {
        match (self, category) {
            (Self::Numbers(numbers), Category::Number(number)) => numbers.push(number),
            (Self::Numbers(numbers), _) => numbers.push(0),
            (Self::Texts(texts), Category::Text(text)) => texts.push(text),
            (Self::Texts(texts), _) => texts.push(""),
        }
    }
}

impl Bags {
    pub(super) fn new(values: Values) -> Self {
        Self {
            values,
            missing: Vec::new(),
            ends: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        match &self.values {
            Values::Numbers(numbers) => numbers.len(),
            Values::Texts(texts) => texts.len(),
        }
    }

    /// Adds a value.
    pub(super) fn push(&mut self, category: Category<'_>) {
        let missing = category == Category::Missing;
        if missing || !self.missing.is_empty() {
            self.missing.resize(self.len(), false);
            self.missing.push(missing);
        }
        self.values.push(category);
    }

    fn truncate(&mut self, values: usize) {
        self.missing.truncate(values);
        match &mut self.values {
            Values::Numbers(numbers) => numbers.truncate(values),
            Values::Texts(texts) => texts.truncate(values),
        }
    }

    /// The sample that a value belongs to.
    pub(super) fn sample(&self, value: usize) -> usize {
        if self.ends.is_empty() {
            return value;
        }
        self.ends.partition_point(|&end| end <= value)
    }

    /// All values in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Category<'_>> {
        (0..self.len()).map(|index| {
            if self.missing.get(index).copied().unwrap_or(false) {
                return Category::Missing;
            }
            match &self.values {
                Values::Numbers(numbers) => Category::Number(numbers[index]),
                Values::Texts(texts) => Category::Text(texts.get(index).unwrap_or_default()),
            }
        })
    }
}

/// Why a row cannot be imported.
#[derive(Debug)]
pub(super) struct BadRow {
    /// Under which skipped rows are counted.
    kind: &'static str,
    /// The column and its value, where it is one value that is wrong.
    value: Option<(Box<str>, Box<str>)>,
    problem: Cow<'static, str>,
}

/// Something of a row.
pub(super) type Row<T> = std::result::Result<T, Box<BadRow>>;

impl BadRow {
    pub(super) fn value(
        kind: &'static str,
        column: &str,
        value: String,
        problem: &'static str,
    ) -> Box<Self> {
        Box::new(Self {
            kind,
            value: Some((column.into(), value.into())),
            problem: problem.into(),
        })
    }

    pub(super) fn line(kind: &'static str, problem: impl Into<Cow<'static, str>>) -> Box<Self> {
        Box::new(Self {
            kind,
            value: None,
            problem: problem.into(),
        })
    }

    /// The error with its place.
    pub(super) fn at(self, place: Place<'_>) -> Error {
        match self.value {
            Some((column, value)) => place.bad(&column, value, self.problem),
            None => Error::Exchange(ExchangeError::BadLine {
                path: place.path.to_path_buf(),
                line: place.number,
                problem: self.problem.into_owned(),
            }),
        }
    }
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((column, value)) = &self.value {
            write!(f, "column {column}: {value} ")?;
        }
        f.write_str(&self.problem)
    }
}

/// Where a value stands, for messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) path: &'a Path,
    /// "sample", counted from 0, or "line", counted from 1.
    pub(super) unit: &'static str,
    pub(super) number: u64,
}

impl Place<'_> {
    /// The value cannot be imported.
    pub(super) fn bad(
        self,
        column: &str,
        value: impl ToString,
        problem: impl Into<Cow<'static, str>>,
    ) -> Error {
        Error::Exchange(ExchangeError::BadForeignValue {
            path: self.path.to_path_buf(),
            unit: self.unit,
            number: self.number,
            column: column.into(),
            value: value.to_string().into(),
            problem: problem.into().into_owned(),
        })
    }

    /// A label, if it is one.
    pub(super) fn label(self, column: &str, value: f64) -> Result<f32> {
        if (0.0..=1.0).contains(&value) {
            return Ok(value as f32);
        }
        Err(self.bad(
            column,
            value,
            "is no label; labels are 0, 1 or between: map other values before",
        ))
    }

    /// A dense value, under a rule.
    #[inline]
    pub(super) fn dense(self, column: &str, value: f64, rule: DenseValues) -> Result<f32> {
        let problem = match rule {
            DenseValues::AsIs => {
                let single = value as f32;
                if single.is_finite() {
                    return Ok(single);
                }
                "is no finite number in single precision: replace it, or leave the sample out"
            }
            DenseValues::Log => {
                let integer = value as i32;
                if f64::from(integer) == value {
                    return Ok(logarithm(integer));
                }
                "is no integer of 32 bits, of which the logarithm is taken: take values that are \
                 logarithms already with `DenseValues::AsIs`"
            }
        };
        Err(self.bad(column, value, problem))
    }

    /// An id of a table.
    #[inline]
    pub(super) fn id(self, table: &TableColumn, value: f64) -> Result<u64> {
        let id = value as u32;
        if f64::from(id) != value {
            return Err(self.bad(&table.name, value, "is no id from 0 to 4294967295"));
        }
        self.bounded(table, u64::from(id))
    }

    /// A number below the bound of its table.
    #[inline]
    pub(super) fn bounded(self, table: &TableColumn, id: u64) -> Result<u64> {
        match table.bound {
            Some(bound) if id >= bound => {
                let problem = format!(
                    "is beyond its table, which the counts give {bound} rows: are they the counts of these files?"
                );
                Err(self.bad(&table.name, id, problem))
            }
            _ => Ok(id),
        }
    }
}
