//! Runs of counts to ids: the vocabulary of a table, and the dictionary that leads from categories to ids.
//!
//! The runs are merged by category and cut into *partitions* of neighbouring categories, each sorted in the order of ids. The merge
//! of the partitions gives the ids one after the other; each goes into the vocabulary and into the dictionary of its partition.

use std::fs::{File, OpenOptions};
use std::io::Write;

use serde::{Deserialize, Serialize};

use super::budget::Budget;
use super::merge::{TallyReader, count_before, merge};
use super::tally::{MISSING, OTHER, Tally};
use super::vocabulary_writer::VocabularyWriter;
use super::work_folder::WorkFolder;
use super::{TerabyteOptions, table_name};
use crate::category_counts::CategoryCounts;
use crate::criteo::options::Numbering;
use crate::error::{Error, Result};
use crate::packed::{VOCABULARY_FOLDER, VocabularyFile};

/// A table whose categories have ids.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Numbered {
    /// Number of ids.
    pub(super) rows: u64,
    pub(super) missing: Option<u32>,
    pub(super) other: Option<u32>,
    /// In the order of their categories.
    pub(super) partitions: Vec<Partition>,
    /// Runs that were merged.
    pub(super) runs: u64,
    pub(super) vocabulary: VocabularyFile,
}

/// Categories below `end` and not below the end of the partition before.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Partition {
    pub(super) end: u64,
    pub(super) categories: u64,
}

impl Numbered {
    pub(super) fn name(table: usize) -> String {
        format!("tables/{}.json", table_name(table))
    }

    /// The file of a partition's categories and ids, eight bytes each.
    pub(super) fn dictionary_name(table: usize, partition: usize) -> String {
        format!("tables/{}.{partition}.dictionary", table_name(table))
    }

    /// What was found before, if it was.
    pub(super) fn load(folder: &WorkFolder, table: usize) -> Result<Option<Self>> {
        folder.load(&Self::name(table))
    }
}

/// Numbers a table by its runs, and removes them.
///
/// # Errors
/// A full disk, or more categories than ids.
pub(super) fn number(
    options: &TerabyteOptions,
    folder: &WorkFolder,
    budget: &Budget,
    table: usize,
    runs: &[String],
) -> Result<()> {
    let order = match options.ids {
        Numbering::Rank => Tally::by_rank,
        Numbering::Reference => Tally::by_appearance,
    };
    let merging = Merging {
        options,
        folder,
        budget,
        table,
        order,
    };
    let partitioned = merging.partition(runs)?;
    let numbered = merging.number(partitioned, runs.len() as u64)?;
    folder.save(&Numbered::name(table), &numbered)?;
    let partitions = 0..numbered.partitions.len();
    let ranked = partitions.map(|partition| merging.ranked_name(partition));
    ranked
        .chain(runs.iter().cloned())
        .try_for_each(|name| folder.remove(&name))
}

struct Merging<'a> {
    options: &'a TerabyteOptions,
    folder: &'a WorkFolder,
    budget: &'a Budget,
    table: usize,
    order: fn(Tally) -> u128,
}

/// What the merge of the runs gave.
#[derive(Default)]
struct Partitioned {
    partitions: Vec<Partition>,
    /// Tallies that belong to no partition: those of the missing value and of rare categories.
    special: Vec<Tally>,
    /// That of the id of missing values, which may be one of a partition's.
    missing: Option<Tally>,
}

impl Merging<'_> {
    fn ranked_name(&self, partition: usize) -> String {
        format!("tables/{}.{partition}.ranked", table_name(self.table))
    }

    fn readers(&self, names: impl ExactSizeIterator<Item = String>) -> Result<Vec<TallyReader>> {
        let buffer = self.budget.buffer(names.len());
        names
            .map(|name| TallyReader::new(self.folder.at(&name), buffer))
            .collect()
    }

    fn partition(&self, runs: &[String]) -> Result<Partitioned> {
        let mut found = Partitioned::default();
        let mut rare: Option<Tally> = None;
        // Categories that do not train have no count, and 1 changes nothing.
        let min_count = match self.options.min_count {
            1 => 0,
            count => count,
        };
        let mut categories: Vec<Tally> = Vec::new();
        let missing_key = match self.options.ids {
            Numbering::Rank => MISSING,
            Numbering::Reference => 0,
        };
        let mut add = |tally: Tally| -> Result<()> {
            if tally.key() == missing_key {
                found.missing = Some(tally);
            } else if tally.count() < min_count {
                let tally = tally.under(OTHER);
                rare = Some(rare.map_or(tally, |rare| rare.and(tally)));
                return Ok(());
            }
            if tally.key() == MISSING {
                found.special.push(tally);
                return Ok(());
            }
            categories.push(tally);
            if categories.len() == self.budget.partition() {
                self.write_ranked(&mut categories, &mut found.partitions)?;
            }
            Ok(())
        };
        let mut current: Option<Tally> = None;
        let readers = self.readers(runs.iter().cloned())?;
        merge(readers, Tally::by_key, |tally, _| {
            current = match current.take() {
                Some(same) if same.key() == tally.key() => Some(same.and(tally)),
                before => {
                    before.map_or(Ok(()), &mut add)?;
                    Some(tally)
                }
            };
            Ok(())
        })?;
        current.map_or(Ok(()), &mut add)?;
        if !categories.is_empty() {
            self.write_ranked(&mut categories, &mut found.partitions)?;
        }
        found.special.extend(rare);
        found
            .special
            .sort_unstable_by_key(|&tally| (self.order)(tally));
        Ok(found)
    }

    /// Writes a partition in the order of ids; its categories come sorted.
    fn write_ranked(
        &self,
        categories: &mut Vec<Tally>,
        partitions: &mut Vec<Partition>,
    ) -> Result<()> {
        let end = categories.last().map_or(0, |last| last.key() + 1);
        let count = categories.len() as u64;
        categories.sort_unstable_by_key(|&tally| (self.order)(tally));
        self.folder
            .write(&self.ranked_name(partitions.len()), |writer| {
                let mut categories = categories.iter();
                categories.try_for_each(|tally| writer.write_all(&tally.to_bytes()))
            })?;
        categories.clear();
        partitions.push(Partition {
            end,
            categories: count,
        });
        Ok(())
    }

    /// The id of a tally: how many come before it.
    fn id_of(&self, found: &Partitioned, tally: Tally) -> Result<u32> {
        let before = |other: &&Tally| (self.order)(**other) < (self.order)(tally);
        let mut id = found.special.iter().filter(before).count() as u64;
        for partition in 0..found.partitions.len() {
            let path = self.folder.at(&self.ranked_name(partition));
            id += count_before(&path, self.order, tally)?;
        }
        u32::try_from(id).map_err(|_| self.too_many())
    }

    fn too_many(&self) -> Error {
        Error::TooManyCategories {
            table: table_name(self.table),
        }
    }

    fn number(&self, found: Partitioned, runs: u64) -> Result<Numbered> {
        let partitions = found.partitions.len();
        let categories: u64 = found.partitions.iter().map(|part| part.categories).sum();
        let rows = categories + found.special.len() as u64;
        if rows > CategoryCounts::MOST as u64 {
            return Err(self.too_many());
        }
        let id = |tally: Option<Tally>| tally.map(|tally| self.id_of(&found, tally)).transpose();
        let other = found
            .special
            .iter()
            .copied()
            .find(|tally| tally.key() == OTHER);
        let (missing, other) = (id(found.missing)?, id(other)?);

        let vocabulary_name = format!("{}.safetensors", table_name(self.table));
        let unfinished = self.folder.unfinished(&vocabulary_name);
        let buffer = self.budget.buffer(2 * partitions + 2);
        let mut vocabulary = VocabularyWriter::create(&unfinished, rows, missing, other)?;
        let mut dictionaries = (0..partitions)
            .map(|partition| DictionaryWriter::create(self.folder, self.table, partition, buffer))
            .collect::<Result<Vec<_>>>()?;
        let mut readers =
            self.readers((0..partitions).map(|partition| self.ranked_name(partition)))?;
        readers.push(TallyReader::of(found.special));
        let mut next = 0;
        merge(readers, self.order, |tally, partition| {
            // Special keys are no categories.
            let category = u32::try_from(tally.key()).unwrap_or(0);
            vocabulary.push(category, tally.count())?;
            if let Some(dictionary) = dictionaries.get_mut(partition) {
                dictionary.push(category, next)?;
            }
            next += 1;
            Ok(())
        })?;
        dictionaries
            .into_iter()
            .try_for_each(DictionaryWriter::finish)?;
        let (bytes, xxh3) = vocabulary.finish()?;
        let file = format!("{VOCABULARY_FOLDER}/{vocabulary_name}");
        self.folder.keep(&unfinished, &format!("data/{file}"))?;
        Ok(Numbered {
            rows,
            missing,
            other,
            partitions: found.partitions,
            runs,
            vocabulary: VocabularyFile {
                table: table_name(self.table),
                file,
                bytes,
                xxh3,
            },
        })
    }
}

/// Appends categories and ids to the file of a partition, which is open only while it is written to: there may be many.
struct DictionaryWriter {
    path: std::path::PathBuf,
    buffer: Vec<u8>,
    most: usize,
}

impl DictionaryWriter {
    fn create(folder: &WorkFolder, table: usize, partition: usize, most: usize) -> Result<Self> {
        let path = folder.at(&Numbered::dictionary_name(table, partition));
        File::create(&path).map_err(Error::io("cannot create", &path))?;
        Ok(Self {
            path,
            buffer: Vec::with_capacity(most),
            most,
        })
    }

    #[inline]
    fn push(&mut self, category: u32, id: u32) -> Result<()> {
        let entry = u64::from(category) << 32 | u64::from(id);
        self.buffer.extend(entry.to_le_bytes());
        if self.buffer.len() >= self.most {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let write = || {
            let mut file = OpenOptions::new().append(true).open(&self.path)?;
            file.write_all(&self.buffer)?;
            Ok(file)
        };
        write().map_err(Error::io("cannot write", &self.path))?;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        self.flush()?;
        File::open(&self.path)
            .and_then(|file| file.sync_all())
            .map_err(Error::io("cannot write", &self.path))
    }
}
