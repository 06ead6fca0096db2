//! Columns to numbered tables, several tables at a time.
//!
//! A table is scanned once. Its counts are kept in memory; when they outgrow their share, they are written out as a *run*, sorted by
//! category, and counting goes on from there. Where the runs are cut does not show in their merge.

use std::fs;

use super::budget::Budget;
use super::columns::{Column, GROUP};
use super::days::Days;
use super::meter::RowMeter;
use super::numbering::{Numbered, number};
use super::tally::{MISSING, TallyTable};
use super::tasks::in_order;
use super::work_folder::WorkFolder;
use super::{TerabyteOptions, table_name};
use crate::criteo::TABLES;
use crate::criteo::error::Error as CriteoError;
use crate::error::{Error, Result};

/// What all tables are counted with.
pub(super) struct CountStage<'a> {
    pub(super) options: &'a TerabyteOptions,
    pub(super) folder: &'a WorkFolder,
    pub(super) days: &'a Days,
    /// Rows that count; those behind them have categories, too.
    pub(super) counted: u64,
    pub(super) budget: Budget,
}

/// Counts of the rows `start..end` of a table, on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    start: u64,
    end: u64,
}

impl Run {
    fn name(self, table: usize) -> String {
        format!(
            "tables/{}.{}-{}.run",
            table_name(table),
            self.start,
            self.end
        )
    }
}

impl CountStage<'_> {
    /// Numbers all tables; those that were numbered before are taken as they are.
    ///
    /// # Errors
    /// A full disk, or a table of more categories than ids.
    pub(super) fn run(&self, progress: &RowMeter<'_>) -> Result<Vec<Numbered>> {
        let workers = self.budget.counters();
        let table = || TallyTable::new(self.budget.count_slots());
        in_order(TABLES, workers, table, |counts, table| {
            if Numbered::load(self.folder, table)?.is_some() {
                return Ok(());
            }
            let runs = self.count(table, counts, progress)?;
            let names: Vec<String> = runs.iter().map(|run| run.name(table)).collect();
            number(self.options, self.folder, &self.budget, table, &names)
        })?;
        let load = |table| {
            Numbered::load(self.folder, table)?.ok_or_else(|| {
                Error::Criteo(CriteoError::WorkFile {
                    path: self.folder.at(&Numbered::name(table)),
                    problem: "is missing",
                })
            })
        };
        (0..TABLES).map(load).collect()
    }

    /// Bytes that are still to be read.
    pub(super) fn bytes(&self) -> Result<u64> {
        let mut bytes = 0;
        for table in 0..TABLES {
            if Numbered::load(self.folder, table)?.is_none() {
                let start = self.runs(table)?.last().map_or(0, |run| run.end);
                bytes += (self.days.rows() - start) * 4;
            }
        }
        Ok(bytes)
    }

    /// The runs of a table that an interrupted preparation left, without a gap from the first row on.
    fn runs(&self, table: usize) -> Result<Vec<Run>> {
        let folder = self.folder.at("tables");
        let mut runs = Vec::new();
        for entry in fs::read_dir(&folder).map_err(Error::io("cannot read", &folder))? {
            let name = entry
                .map_err(Error::io("cannot read", &folder))?
                .file_name();
            let name = name.to_string_lossy();
            let rows = name
                .strip_prefix(&format!("{}.", table_name(table)))
                .and_then(|rest| rest.strip_suffix(".run")?.split_once('-'));
            if let Some((Ok(start), Ok(end))) =
                rows.map(|(start, end)| (start.parse(), end.parse()))
            {
                runs.push(Run { start, end });
            }
        }
        runs.sort_unstable();
        let mut end = 0;
        runs.retain(|run| {
            run.start == end && {
                end = run.end;
                true
            }
        });
        Ok(runs)
    }

    fn count(
        &self,
        table: usize,
        counts: &mut TallyTable,
        progress: &RowMeter<'_>,
    ) -> Result<Vec<Run>> {
        let mut runs = self.runs(table)?;
        let mut start = runs.last().map_or(0, |run| run.end);
        let rows = self.days.rows();
        let mut bytes = Vec::new();
        let mut open = None;
        counts.clear();
        for block in self.days.blocks(start..rows) {
            let file = &self.days.files[block.day];
            let columns = match open.take() {
                Some((day, columns)) if day == block.day => columns,
                _ => file.open()?,
            };
            let layout = file.layout(block.block);
            columns.read(block.block, layout.column(table), &mut bytes)?;
            open = Some((block.day, columns));
            let column = Column::new(layout, &bytes);
            let from = start.max(block.rows.start);
            let first = (from - block.rows.start) as usize / GROUP;
            for group in first..column.groups() {
                let row = block.rows.start + (group * GROUP) as u64;
                if !counts.reserve(GROUP) {
                    runs.push(self.write_run(table, counts, start, row)?);
                    start = row;
                }
                count_group(column, group, row, self.counted, counts);
            }
            progress.advance((block.rows.end - from) * 4, block.rows.end - from);
        }
        if !counts.is_empty() {
            runs.push(self.write_run(table, counts, start, rows)?);
        }
        Ok(runs)
    }

    fn write_run(
        &self,
        table: usize,
        counts: &mut TallyTable,
        start: u64,
        end: u64,
    ) -> Result<Run> {
        use std::io::Write;
        let run = Run { start, end };
        let tallies = counts.sort();
        self.folder.write(&run.name(table), |writer| {
            let mut tallies = tallies.iter();
            tallies.try_for_each(|tally| writer.write_all(&tally.to_bytes()))
        })?;
        counts.clear();
        Ok(run)
    }
}

#[inline]
fn count_group(column: Column<'_>, group: usize, row: u64, counted: u64, counts: &mut TallyTable) {
    let mut keys = [0; GROUP];
    let len = column.keys(group, MISSING, &mut keys);
    let keys = &keys[..len];
    keys.iter().for_each(|&key| counts.prefetch(key));
    for (row, &key) in (row..).zip(keys) {
        counts.add(key, row, u64::from(row < counted));
    }
}
