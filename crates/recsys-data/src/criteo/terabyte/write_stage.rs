//! Columns and dictionaries to shards, several at a time.

use std::ops::Range;
use std::sync::Mutex;

use super::columns::{COLUMN_ROW_BYTES, Column, GROUP};
use super::days::{Block, Day, Days};
use super::dictionary::{Dictionary, Part};
use super::encode_stage::{Encoded, IdFile, ids_of, load_group, unknown_category};
use super::numbering::Numbered;
use super::tasks::in_order;
use super::work_folder::WorkFolder;
use crate::batch::Batch;
use crate::criteo::{DENSE_FEATURES, TABLES};
use crate::error::Result;
use crate::packed::{ShardPlace, ShardWriter, Splits};
use crate::progress::Progress;
use crate::schema::Schema;
use crate::split::Split;

/// A shard, and its rows among all rows.
#[derive(Debug, Clone)]
pub(super) struct PlannedShard {
    pub(super) place: ShardPlace,
    pub(super) rows: Range<u64>,
}

/// The shards of all splits in the order of their rows.
pub(super) fn shards(splits: &[(Split, Range<u64>)], shard_rows: u64) -> Vec<PlannedShard> {
    let mut shards = Vec::new();
    for (split, rows) in splits {
        let count = (rows.end - rows.start).div_ceil(shard_rows);
        for shard in 0..count {
            let start = rows.start + shard * shard_rows;
            let end = rows.end.min(start.saturating_add(shard_rows));
            let place = ShardPlace {
                split: *split,
                shard,
                rows: end - start,
            };
            shards.push(PlannedShard {
                place,
                rows: start..end,
            });
        }
    }
    shards
}

/// What shards are written with.
pub(super) struct WriteStage<'a> {
    pub(super) folder: &'a WorkFolder,
    pub(super) days: &'a Days,
    pub(super) tables: &'a [Numbered],
    pub(super) schema: &'a Schema,
    pub(super) shards: &'a [PlannedShard],
    pub(super) workers: usize,
}

/// A thread's memory.
#[derive(Default)]
struct Memory {
    block: Vec<u8>,
    /// Per table, empty where its ids are not on disk.
    ids: [Vec<u8>; TABLES],
    batch: Batch,
}

impl WriteStage<'_> {
    /// Writes the shards that are not finished; columns whose rows all lie in finished shards are removed. Returns how many shards
    /// were finished before.
    ///
    /// # Errors
    /// A full disk, or damaged files.
    pub(super) fn run(
        &self,
        group: &[Part],
        encoded: &Encoded,
        progress: &dyn Progress,
    ) -> Result<u64> {
        let left = self.left()?;
        let before = (self.shards.len() - left.len()) as u64;
        if left.is_empty() {
            return Ok(before);
        }
        let loaded = load_group(self.folder, self.tables, group)?;
        let mut dictionaries = [None; TABLES];
        for dictionary in &loaded {
            dictionaries[dictionary.part.table] = Some(dictionary);
        }
        let unfinished = Mutex::new(left.clone());
        in_order(left.len(), self.workers, Memory::default, |memory, task| {
            let shard = &self.shards[left[task]];
            self.write(shard, &dictionaries, encoded, memory, progress)?;
            // A poisoned lock means that a panic is on its way through the program.
            let Ok(mut unfinished) = unfinished.lock() else {
                return Ok(());
            };
            unfinished.retain(|&shard| shard != left[task]);
            self.remove_days(&unfinished)
        })?;
        Ok(before)
    }

    /// The shards that are not finished.
    ///
    /// # Errors
    /// A file that is in the place of one.
    pub(super) fn left(&self) -> Result<Vec<usize>> {
        let data = self.folder.at("data");
        let mut left = Vec::new();
        for (number, shard) in self.shards.iter().enumerate() {
            if shard.place.finished(self.schema, &data)?.is_none() {
                left.push(number);
            }
        }
        Ok(left)
    }

    /// Bytes of columns that the unfinished shards are made of.
    pub(super) fn bytes(&self) -> Result<u64> {
        let rows = |shard: usize| self.shards[shard].place.rows;
        let rows: u64 = self.left()?.into_iter().map(rows).sum();
        Ok(rows * COLUMN_ROW_BYTES)
    }

    /// Bytes of the columns of days that lie before a row and are still there.
    pub(super) fn columns_before(&self, row: u64) -> u64 {
        let files = self.days.files.iter().enumerate();
        files
            .filter(|(day, file)| self.days.rows_of(*day).end <= row && file.path.exists())
            .map(|(_, file)| file.bytes())
            .sum()
    }

    /// The shards as the manifest has them.
    pub(super) fn splits(&self) -> Result<Splits> {
        let data = self.folder.at("data");
        let mut splits = Splits::default();
        for shard in self.shards {
            let files = splits.of_mut(shard.place.split);
            files.rows += shard.place.rows;
            files
                .shards
                .extend(shard.place.finished(self.schema, &data)?);
        }
        Ok(splits)
    }

    /// Removes the columns of days that no unfinished shard needs.
    fn remove_days(&self, unfinished: &[usize]) -> Result<()> {
        let needed: Vec<&Range<u64>> = unfinished
            .iter()
            .map(|&shard| &self.shards[shard].rows)
            .collect();
        for day in 0..self.days.days.len() {
            let rows = self.days.rows_of(day);
            let is_needed = |other: &&Range<u64>| other.start < rows.end && rows.start < other.end;
            if !needed.iter().any(is_needed) {
                self.folder.remove(&Day::columns_name(day))?;
                self.folder.remove(&IdFile::name(day))?;
            }
        }
        Ok(())
    }

    fn write(
        &self,
        shard: &PlannedShard,
        dictionaries: &[Option<&Dictionary>; TABLES],
        encoded: &Encoded,
        memory: &mut Memory,
        progress: &dyn Progress,
    ) -> Result<()> {
        let (writing, data) = (self.folder.unfinished(""), self.folder.at("data"));
        let mut writer = ShardWriter::create(self.schema, shard.place, &writing, &data)?;
        for block in self.days.blocks(shard.rows.clone()) {
            let rows = block.rows.start.max(shard.rows.start)..block.rows.end.min(shard.rows.end);
            self.write_block(
                &block,
                rows.clone(),
                dictionaries,
                encoded,
                memory,
                &mut writer,
            )?;
            let rows = rows.end - rows.start;
            progress.advance(rows * COLUMN_ROW_BYTES, rows);
        }
        writer.finish()
    }

    /// Adds rows `rows`, which lie in a block, to a shard.
    fn write_block(
        &self,
        place: &Block,
        rows: Range<u64>,
        dictionaries: &[Option<&Dictionary>; TABLES],
        encoded: &Encoded,
        memory: &mut Memory,
        writer: &mut ShardWriter<'_>,
    ) -> Result<()> {
        /// Rows that are added at a time: a block of the packed format.
        const ROWS: usize = 512;
        let Memory { block, ids, batch } = memory;
        let file = &self.days.files[place.day];
        let layout = file.layout(place.block);
        file.open()?.read(place.block, 0..layout.bytes(), block)?;
        if encoded.iter().any(|&partitions| partitions > 0) {
            let id_file = IdFile::open(self.folder, self.days, place.day)?;
            for (table, ids) in ids.iter_mut().enumerate() {
                if encoded[table] > 0 {
                    id_file.read(place.block, table, layout.rows, ids)?;
                }
            }
        }
        let columns: [Column<'_>; TABLES] =
            std::array::from_fn(|table| Column::new(layout, &block[layout.column(table)]));
        let (dense, labels) = (&block[layout.dense()], &block[layout.labels()]);
        let rows = (rows.start - place.rows.start) as usize..(rows.end - place.rows.start) as usize;
        let mut known = true;
        for first in (rows.start / GROUP * GROUP..rows.end).step_by(ROWS) {
            let part = first.max(rows.start)..rows.end.min(first + ROWS);
            batch.clear();
            batch
                .label
                .extend(labels[part.clone()].iter().map(|&label| f32::from(label)));
            let dense =
                &dense.as_chunks().0[part.start * DENSE_FEATURES..part.end * DENSE_FEATURES];
            batch
                .dense
                .extend(dense.iter().map(|value| f32::from_le_bytes(*value)));
            batch.sparse.ids.resize(part.len() * TABLES, 0);
            for (table, column) in columns.iter().enumerate() {
                for group in part.start / GROUP..part.end.div_ceil(GROUP) {
                    let mut found = ids_of(&ids[table], group);
                    if let Some(dictionary) = dictionaries[table] {
                        known &= dictionary.encode(*column, group, &mut found);
                    }
                    let start = group * GROUP;
                    let inside = part.start.max(start)..part.end.min(start + GROUP);
                    let into = batch.sparse.ids[(inside.start - part.start) * TABLES..]
                        .iter_mut()
                        .skip(table)
                        .step_by(TABLES);
                    let found = &found[inside.start - start..inside.end - start];
                    into.zip(found).for_each(|(into, id)| *into = *id);
                }
            }
            writer.append(batch)?;
        }
        if known {
            Ok(())
        } else {
            Err(unknown_category(self.days, place.day))
        }
    }
}
