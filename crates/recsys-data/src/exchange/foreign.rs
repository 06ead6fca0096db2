//! Samples of other programs, on their way to a packed data set.

use std::path::{Path, PathBuf};

use super::rules::DenseValues;
use crate::criteo::logarithm;
use crate::error::{Error, Result};
use crate::exchange::error::Error as ExchangeError;
use crate::packed::SourceFile;
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
    /// Bytes of the files that these samples took, for progress.
    pub(super) stored_bytes: u64,
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
        problem: impl Into<String>,
    ) -> Error {
        Error::Exchange(ExchangeError::BadForeignValue {
            path: self.path.to_path_buf(),
            unit: self.unit,
            number: self.number,
            column: column.into(),
            value: value.to_string().into(),
            problem: problem.into(),
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
