//! Samples as rows of numbers: a label, dense values, and one id for every table.

use std::io::Read;

use super::foreign::{Bags, Columns, Foreign, Place, TableColumn, Values};
use super::rules::DenseValues;
use crate::error::Result;
use crate::numpy::Array;

/// Samples read at a time.
pub(super) const SAMPLES: usize = 1 << 13;

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

/// Samples of which the numbers were read.
pub(super) struct IdRows<L, D, I> {
    /// `[samples]`.
    pub(super) labels: L,
    /// `[samples, dense features]`.
    pub(super) dense: D,
    /// `[samples, tables]`.
    pub(super) ids: I,
}

impl<L, D, I> IdRows<L, D, I>
where
    L: ExactSizeIterator<Item = f64>,
    D: Iterator<Item = f64>,
    I: Iterator<Item = f64>,
{
    /// Checks the numbers; `first` is the place of the first sample.
    ///
    /// # Errors
    /// A label that is none, a dense value that the rule does not take, or an id that is none or is beyond its table.
    pub(super) fn check(
        mut self,
        first: Place<'_>,
        columns: &Columns,
        rule: DenseValues,
    ) -> Result<Foreign> {
        let samples = self.labels.len();
        let mut foreign = Foreign::default();
        foreign.label.reserve_exact(samples);
        foreign.dense.reserve_exact(samples * columns.dense.len());
        let mut ids: Vec<Vec<u64>> = columns
            .tables
            .iter()
            .map(|_| Vec::with_capacity(samples))
            .collect();
        for (number, label) in (first.number..).zip(self.labels) {
            let place = Place { number, ..first };
            foreign.label.push(place.label("label", label)?);
            for (name, value) in columns.dense.iter().zip(&mut self.dense) {
                foreign.dense.push(place.dense(name, value, rule)?);
            }
            for ((table, ids), value) in columns.tables.iter().zip(&mut ids).zip(&mut self.ids) {
                ids.push(place.id(table, value)?);
            }
        }
        let ids = ids.into_iter();
        foreign.tables = ids.map(|ids| Bags::new(Values::Numbers(ids))).collect();
        Ok(foreign)
    }
}

/// The bytes of a file that some of its samples stand for.
pub(super) fn share(bytes: u64, done: u64, samples: u64, count: usize) -> u64 {
    let until =
        |done: u64| (u128::from(bytes) * u128::from(done) / u128::from(samples.max(1))) as u64;
    until(done + count as u64) - until(done)
}
