//! Stores that grow, and rows from one store to another.

use crate::backing::Backing;
use crate::cpu_store::CpuStore;
use crate::error::{Error, Result};
use crate::hot_rows::Held;
use crate::layout::Part;
use crate::store::{EmbeddingStore, StoreOptions};

/// Rows that are copied together.
const ROWS_A_COPY: u64 = 1 << 16;

/// Copies all rows, their optimizer state and the number of updates from one store into another of
/// the same tables, or of the same with more rows: those beyond stay as they are. With it a store
/// grows wherever its rows lie: make a larger one and copy.
///
/// # Errors
/// Stores of different kinds of tables or state, or fewer rows than there are; nothing is changed
/// then. A copy that fails.
pub fn copy_rows<From, Into>(from: &From, into: &mut Into) -> Result<()>
where
    From: EmbeddingStore + ?Sized,
    Into: EmbeddingStore + ?Sized,
{
    check(from, into)?;
    for (number, part) in from.parts().iter().enumerate() {
        let mut first = 0;
        while first < part.rows {
            let end = part.rows.min(first + ROWS_A_COPY);
            into.import(number, first, &from.export(number, first..end)?)?;
            first = end;
        }
    }
    into.continue_from(from.updates());
    Ok(())
}

/// That the rows of the one are rows of the other.
fn check<From, Into>(from: &From, into: &Into) -> Result<()>
where
    From: EmbeddingStore + ?Sized,
    Into: EmbeddingStore + ?Sized,
{
    let refused = |problem: String| Err(Error::Growth { problem });
    let (own, others) = (from.parts(), into.parts());
    if own.len() != others.len() || from.tables().len() != into.tables().len() {
        return refused(format!(
            "one has {} tables, the other {}",
            from.tables().len(),
            into.tables().len()
        ));
    }
    for (table, (own, other)) in from.tables().iter().zip(into.tables()).enumerate() {
        if own.encoding != other.encoding || own.rows > other.rows {
            return refused(format!(
                "table {table} is {own:?} in one, {other:?} in the other"
            ));
        }
    }
    for (own, other) in own.iter().zip(others) {
        let kind = |part: &Part| (part.dim, part.state_width);
        if kind(own) != kind(other) || own.rows > other.rows {
            return refused(format!("{own:?} is {other:?} in the other"));
        }
    }
    Ok(())
}

impl CpuStore {
    /// Lets tables grow to that many rows, one number for each. Rows stay as they are; new ones are
    /// those that a store made with that many rows starts with, without optimizer state. Plans made
    /// before are for other tables then.
    ///
    /// Old and new rows are held together for a moment. Rows in a [`Backing::Folder`] do not grow
    /// where they are: make a store of more rows in another folder and [`copy_rows`] into it. So
    /// does whatever else is not a whole `CpuStore`.
    ///
    /// # Errors
    /// Another number than tables, fewer rows than there are, impossible tables, a store that does
    /// not hold all rows or has them in a folder, or too little memory or disk; the store is
    /// unchanged then.
    pub fn grow(&mut self, rows: &[u64]) -> Result<()> {
        let refused = |problem: &str| {
            Err(Error::Growth {
                problem: problem.into(),
            })
        };
        if rows.len() != self.layout.specs.len() {
            return refused("give a number of rows for each table");
        }
        if !self.is_whole() {
            return refused("it holds some of the rows; make a larger one and use copy_rows");
        }
        let backing = match self.backing() {
            Backing::Folder(_) => {
                return refused("its rows are in a folder; make one in another and use copy_rows");
            }
            backing => backing,
        };
        let mut tables = self.layout.specs.clone();
        for (spec, &rows) in tables.iter_mut().zip(rows) {
            if rows < spec.rows {
                return refused("a table cannot have fewer rows than before");
            }
            spec.rows = rows;
        }
        let options = StoreOptions {
            dim: self.dim,
            optimizer: self.optimizer.clone(),
            initialization: self.initialization,
            seed: self.seed,
            ..StoreOptions::default()
        };
        let mut grown = Self::with_backing(tables, options, Held::All, &backing)?;
        copy_rows(self, &mut grown)?;
        grown.updates = self.updates;
        *self = grown;
        Ok(())
    }
}
