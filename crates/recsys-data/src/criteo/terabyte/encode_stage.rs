//! Ids on disk, for dictionaries that do not fit the memory at once.
//!
//! All groups of dictionaries but the last put their ids into a file beside the columns of every day, at the place of the row. Doing
//! that twice gives the same bytes, so a killed preparation repeats the group that it was at.

use std::fs::{File, OpenOptions};

use rayon::prelude::*;

use super::columns::{Column, GROUP};
use super::days::{Block, Days};
use super::dictionary::{Dictionary, Part};
use super::numbering::Numbered;
use super::positional::{read_exact_at, write_all_at};
use super::tasks::in_order;
use super::work_folder::WorkFolder;
use crate::criteo::TABLES;
use crate::criteo::error::Error as CriteoError;
use crate::error::{Error, Result};
use crate::progress::Progress;

const ENCODED: &str = "encoded.json";

/// Partitions of each table, from the first on, whose ids lie on disk.
pub(super) type Encoded = [usize; TABLES];

/// What ids are put on disk with.
pub(super) struct EncodeStage<'a> {
    pub(super) folder: &'a WorkFolder,
    pub(super) days: &'a Days,
    pub(super) tables: &'a [Numbered],
    pub(super) workers: usize,
}

/// What earlier groups, perhaps of a killed preparation, have put on disk.
pub(super) fn encoded(folder: &WorkFolder) -> Result<Encoded> {
    Ok(folder.load(ENCODED)?.unwrap_or_default())
}

/// Reads the dictionaries of a group, several at a time.
pub(super) fn load_group(
    folder: &WorkFolder,
    tables: &[Numbered],
    group: &[Part],
) -> Result<Vec<Dictionary>> {
    let load = |part| Dictionary::load(folder, tables, part);
    group.par_iter().map(load).collect()
}

/// The error for a category that the columns have and the counts lack.
pub(super) fn unknown_category(days: &Days, day: usize) -> Error {
    Error::Criteo(CriteoError::WorkFile {
        path: days.files[day].path.clone(),
        problem: "does not hold the categories that were counted",
    })
}

/// The file of ids of a day: block by block, in each table by table.
pub(super) struct IdFile {
    path: std::path::PathBuf,
    file: File,
    block_rows: usize,
}

impl IdFile {
    /// Opens the file, which need not be there.
    pub(super) fn open(folder: &WorkFolder, days: &Days, day: usize) -> Result<Self> {
        let path = folder.at(&Self::name(day));
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        Ok(Self {
            file: file.map_err(Error::io("cannot open", &path))?,
            path,
            block_rows: days.files[day].block_rows,
        })
    }

    pub(super) fn name(day: usize) -> String {
        format!("ids/{day:02}.ids")
    }

    fn position(&self, block: usize, table: usize, rows: usize) -> u64 {
        (block * self.block_rows * TABLES + table * rows) as u64 * 4
    }

    /// Fills `into` with the ids of a table in the rows of a block.
    pub(super) fn read(
        &self,
        block: usize,
        table: usize,
        rows: usize,
        into: &mut Vec<u8>,
    ) -> Result<()> {
        into.resize(rows * 4, 0);
        read_exact_at(&self.file, into, self.position(block, table, rows))
            .map_err(Error::io("cannot read", &self.path))
    }

    fn write(&self, block: usize, table: usize, rows: usize, ids: &[u8]) -> Result<()> {
        write_all_at(&self.file, ids, self.position(block, table, rows))
            .map_err(Error::io("cannot write", &self.path))
    }
}

/// The ids of a group of rows out of the bytes of a table.
pub(super) fn ids_of(bytes: &[u8], group: usize) -> [u32; GROUP] {
    let mut ids = [0; GROUP];
    let stored = bytes.as_chunks().0.iter().skip(group * GROUP);
    for (id, stored) in ids.iter_mut().zip(stored) {
        *id = u32::from_le_bytes(*stored);
    }
    ids
}

impl EncodeStage<'_> {
    /// Puts the ids of a group's dictionaries on disk, for the days whose rows are not written yet.
    ///
    /// # Errors
    /// A full disk, or damaged files.
    pub(super) fn run(
        &self,
        group: &[Part],
        done: &mut Encoded,
        progress: &dyn Progress,
    ) -> Result<()> {
        let dictionaries = load_group(self.folder, self.tables, group)?;
        let blocks: Vec<Block> = self.days.blocks(0..self.days.rows()).collect();
        let there = |block: &Block| self.days.files[block.day].path.exists();
        let blocks: Vec<Block> = blocks.into_iter().filter(there).collect();
        let work = |memory: &mut (Vec<u8>, Vec<u8>), task: usize| {
            let block: &Block = &blocks[task];
            let rows = block.rows.end - block.rows.start;
            for dictionary in &dictionaries {
                let table = dictionary.part.table;
                self.patch(dictionary, done[table] > 0, block, memory)?;
                progress.advance(rows * 4, 0);
            }
            Ok(())
        };
        in_order(
            blocks.len(),
            self.workers,
            <(Vec<u8>, Vec<u8>)>::default,
            work,
        )?;
        let mut days: Vec<usize> = blocks.iter().map(|block| block.day).collect();
        days.dedup();
        for day in days {
            let ids = IdFile::open(self.folder, self.days, day)?;
            ids.file
                .sync_all()
                .map_err(Error::io("cannot write", &ids.path))?;
        }
        for part in group {
            done[part.table] = part.partitions.end;
        }
        self.folder.save(ENCODED, done)
    }

    fn patch(
        &self,
        dictionary: &Dictionary,
        begun: bool,
        place: &Block,
        (bytes, ids): &mut (Vec<u8>, Vec<u8>),
    ) -> Result<()> {
        let (file, table) = (&self.days.files[place.day], dictionary.part.table);
        let layout = file.layout(place.block);
        file.open()?
            .read(place.block, layout.column(table), bytes)?;
        let column = Column::new(layout, bytes);
        let id_file = IdFile::open(self.folder, self.days, place.day)?;
        if begun {
            id_file.read(place.block, table, layout.rows, ids)?;
        } else {
            ids.clear();
            ids.resize(layout.rows * 4, 0);
        }
        for group in 0..column.groups() {
            let mut found = ids_of(ids, group);
            // Where it has no id at all, no other part of the table knows it either.
            if !dictionary.encode(column, group, &mut found) {
                return Err(unknown_category(self.days, place.day));
            }
            let stored = ids.as_chunks_mut().0.iter_mut().skip(group * GROUP);
            for (stored, id) in stored.zip(found) {
                *stored = id.to_le_bytes();
            }
        }
        id_file.write(place.block, table, layout.rows, ids)
    }
}
