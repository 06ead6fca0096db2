//! Samples as rows of numbers: a label, dense values, and one id for every table.

use std::io::Read;
use std::path::Path;

use super::foreign::{Bags, Columns, Foreign, Place, TableColumn, Values};
use super::rules::DenseValues;
use crate::error::Result;
use crate::numpy::Array;

/// Samples read at a time.
pub(super) const SAMPLES: usize = 1 << 13;

/// Samples of `width` numbers that are read at a time: at most [`SAMPLES`], and fewer where they
/// are wide.
pub(super) fn block(width: usize) -> usize {
    const NUMBERS: usize = 1 << 21;
    (NUMBERS / width.max(1)).clamp(1, SAMPLES)
}

/// The columns of an array `[samples, columns]`.
///
/// # Errors
/// Another shape, or more columns than any data set has, which is damage.
pub(super) fn width<R: Read>(array: &Array<R>) -> Result<u64> {
    const MOST: u64 = 1 << 12;
    match *array.shape.as_slice() {
        [_, width] if width <= MOST => Ok(width),
        _ => Err(array.damaged(format!(
            "has shape {:?} instead of [samples, columns], with at most {MOST} columns",
            array.shape
        ))),
    }
}

/// The columns of such samples: `label`, `I1` and up, `C1` and up.
pub(super) fn columns(dense: u64, tables: u64, counts: Option<&[u64]>) -> Columns {
    let table = |number: u64| TableColumn {
        name: format!("C{}", number + 1),
        text: false,
        apart: false,
        bound: counts.and_then(|counts| counts.get(number as usize).copied()),
    };
    Columns {
        dense: (1..=dense).map(|number| format!("I{number}")).collect(),
        tables: (0..tables).map(table).collect(),
        multi_hot: false,
    }
}

/// The files that the numbers of samples stand in, for messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct NumberFiles<'a> {
    pub(super) labels: &'a Path,
    pub(super) dense: &'a Path,
    pub(super) ids: &'a Path,
}

impl<'a> NumberFiles<'a> {
    /// One file with everything.
    pub(super) fn one(path: &'a Path) -> Self {
        Self {
            labels: path,
            dense: path,
            ids: path,
        }
    }
}

/// Numbers that become samples.
pub(super) struct IdRows<'a> {
    pub(super) files: NumberFiles<'a>,
    /// Number of the first sample.
    pub(super) first: u64,
    pub(super) columns: &'a Columns,
    pub(super) rule: DenseValues,
}

impl IdRows<'_> {
    fn place<'p>(&self, path: &'p Path, sample: usize) -> Place<'p> {
        Place {
            path,
            unit: "sample",
            number: self.first + sample as u64,
        }
    }

    /// Samples without ids, of labels `[samples]` and dense values `[samples, dense features]`.
    ///
    /// # Errors
    /// A label that is none, or a dense value that the rule does not take.
    pub(super) fn dense(
        &self,
        labels: impl ExactSizeIterator<Item = f64>,
        mut dense: impl Iterator<Item = f64>,
    ) -> Result<Foreign> {
        let mut foreign = Foreign::default();
        foreign.label.reserve_exact(labels.len());
        foreign
            .dense
            .reserve_exact(labels.len() * self.columns.dense.len());
        for (sample, label) in labels.enumerate() {
            let place = self.place(self.files.labels, sample);
            foreign.label.push(place.label("label", label)?);
            let place = self.place(self.files.dense, sample);
            for (name, value) in self.columns.dense.iter().zip(&mut dense) {
                foreign.dense.push(place.dense(name, value, self.rule)?);
            }
        }
        Ok(foreign)
    }

    /// One id for every table, of `[samples, tables]`.
    ///
    /// # Errors
    /// An id that is none or is beyond its table.
    pub(super) fn ids(&self, ids: impl ExactSizeIterator<Item = f64>) -> Result<Vec<Bags>> {
        let tables = &self.columns.tables;
        let samples = ids.len() / tables.len().max(1);
        let mut found: Vec<Vec<u64>> = tables.iter().map(|_| Vec::with_capacity(samples)).collect();
        let mut ids = ids;
        for sample in 0..samples {
            let place = self.place(self.files.ids, sample);
            for ((table, found), value) in tables.iter().zip(&mut found).zip(&mut ids) {
                found.push(place.id(table, value)?);
            }
        }
        let found = found.into_iter();
        Ok(found.map(|ids| Bags::new(Values::Numbers(ids))).collect())
    }

    /// The bags of one table, `width` ids for every sample.
    ///
    /// # Errors
    /// As [`Self::ids`].
    pub(super) fn bags(
        &self,
        table: &TableColumn,
        width: usize,
        ids: impl ExactSizeIterator<Item = f64>,
    ) -> Result<Bags> {
        let samples = ids.len() / width.max(1);
        let ids = ids.enumerate().map(|(at, id)| {
            let place = self.place(self.files.ids, at / width.max(1));
            place.id(table, id)
        });
        let ids: Result<Vec<u64>> = ids.collect();
        Ok(Bags {
            ends: (1..=samples).map(|sample| sample * width).collect(),
            ..Bags::new(Values::Numbers(ids?))
        })
    }
}

/// A raw hash of 32 bits, which lies in some files as a signed number.
pub(super) fn unsigned_hash(value: f64) -> f64 {
    match value as i32 {
        hash if f64::from(hash) == value => f64::from(hash as u32),
        _ => value,
    }
}

/// The bytes of a file that some of its samples stand for.
pub(super) fn share(bytes: u64, done: u64, samples: u64, count: usize) -> u64 {
    let until =
        |done: u64| (u128::from(bytes) * u128::from(done) / u128::from(samples.max(1))) as u64;
    until(done + count as u64) - until(done)
}
