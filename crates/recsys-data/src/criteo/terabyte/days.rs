//! The days as they were parsed.

use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Limits;
use super::columns::ColumnFile;
use super::work_folder::WorkFolder;
use crate::criteo::error::Error as CriteoError;
use crate::error::{Error, Result};
use crate::packed::SourceFile;
use crate::text::SkippedRows;

/// What a day holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Day {
    pub(super) source: SourceFile,
    /// Rows kept.
    pub(super) rows: u64,
    /// Those with label 1.
    pub(super) clicks: u64,
    /// Rows left out by sub-sampling.
    pub(super) dropped: u64,
    pub(super) skipped: Vec<SkippedRows>,
}

impl Day {
    fn name(day: usize) -> String {
        format!("days/{day:02}.json")
    }

    pub(super) fn columns_name(day: usize) -> String {
        format!("days/{day:02}.columns")
    }

    /// A day that was parsed before.
    ///
    /// # Errors
    /// Its raw file has another size now.
    pub(super) fn load(
        folder: &WorkFolder,
        day: usize,
        path: &Path,
        bytes: u64,
    ) -> Result<Option<Self>> {
        let found: Option<Self> = folder.load(&Self::name(day))?;
        match found {
            Some(found) if found.source.bytes != bytes => {
                Err(Error::Criteo(CriteoError::ParsedSourceChanged {
                    path: path.to_path_buf(),
                    before: found.source.bytes,
                    now: bytes,
                }))
            }
            found => Ok(found),
        }
    }

    /// Whether any day was parsed.
    pub(super) fn any(folder: &WorkFolder, days: usize) -> bool {
        (0..days).any(|day| folder.has(&Self::name(day)))
    }

    /// From now on the day is not parsed again.
    pub(super) fn save(&self, folder: &WorkFolder, day: usize) -> Result<()> {
        folder.save(&Self::name(day), self)
    }
}

/// All days, and the rows numbered through.
#[derive(Debug)]
pub(super) struct Days {
    pub(super) days: Vec<Day>,
    pub(super) files: Vec<ColumnFile>,
    /// Rows before each day, and in all.
    starts: Vec<u64>,
}

/// A block of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) day: usize,
    pub(super) block: usize,
    /// Its rows among all rows.
    pub(super) rows: Range<u64>,
}

impl Days {
    pub(super) fn new(folder: &WorkFolder, days: Vec<Day>, limits: Limits) -> Self {
        let mut starts = vec![0];
        starts.extend(days.iter().scan(0, |rows, day| {
            *rows += day.rows;
            Some(*rows)
        }));
        let file = |(day, of): (usize, &Day)| ColumnFile {
            path: folder.at(&Day::columns_name(day)),
            rows: of.rows,
            block_rows: limits.block_rows,
        };
        let files = days.iter().enumerate().map(file).collect();
        Self {
            days,
            files,
            starts,
        }
    }

    pub(super) fn rows(&self) -> u64 {
        self.starts.last().copied().unwrap_or(0)
    }

    /// Rows of a day among all rows.
    pub(super) fn rows_of(&self, day: usize) -> Range<u64> {
        self.starts[day]..self.starts[day + 1]
    }

    /// The blocks that hold rows `rows`, in order.
    pub(super) fn blocks(&self, rows: Range<u64>) -> impl Iterator<Item = Block> + '_ {
        let days = 0..self.days.len();
        let blocks = days.flat_map(move |day| {
            let start = self.starts[day];
            (0..self.files[day].blocks()).map(move |block| {
                let rows = self.files[day].rows_of(block);
                Block {
                    day,
                    block,
                    rows: start + rows.start..start + rows.end,
                }
            })
        });
        blocks.filter(move |block| block.rows.start < rows.end && rows.start < block.rows.end)
    }
}
