//! From categories to ids, for some partitions of a table.

use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::Range;

use super::columns::{Column, GROUP};
use super::numbering::Numbered;
use super::tally::MISSING;
use super::work_folder::WorkFolder;
use crate::criteo::TABLES;
use crate::criteo::error::Error as CriteoError;
use crate::error::{Error, Result};

/// No entry: an id that no table has.
const EMPTY: u64 = u64::MAX;

/// Some neighbouring partitions of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) table: usize,
    pub(super) partitions: Range<usize>,
}

/// Slots for so many categories, three of four filled.
fn slots(categories: u64) -> u64 {
    categories + categories / 3 + 8
}

/// Bytes of the dictionary of so many categories.
fn bytes(categories: u64) -> u64 {
    8 * slots(categories)
}

/// Divides the partitions from `done[table]` on into groups whose dictionaries fit `memory` at a time. The last group is empty
/// only if nothing is left.
pub(super) fn groups(tables: &[Numbered], done: &[usize; TABLES], memory: u64) -> Vec<Vec<Part>> {
    let mut groups: Vec<Vec<Part>> = vec![Vec::new()];
    let mut used = 0;
    for (table, numbered) in tables.iter().enumerate() {
        for partition in done[table]..numbered.partitions.len() {
            let more = bytes(numbered.partitions[partition].categories);
            if used > 0 && used + more > memory {
                groups.push(Vec::new());
                used = 0;
            }
            used += more;
            let partitions = partition..partition + 1;
            push(&mut groups, Part { table, partitions });
        }
    }
    // A table of special ids alone has no partition, and a part all the same.
    let special = (0..tables.len()).filter(|&table| tables[table].partitions.is_empty());
    for table in special {
        let partitions = 0..0;
        push(&mut groups, Part { table, partitions });
    }
    groups
}

fn push(groups: &mut [Vec<Part>], part: Part) {
    let Some(group) = groups.last_mut() else {
        return;
    };
    match group.last_mut() {
        Some(last) if last.table == part.table => last.partitions.end = part.partitions.end,
        _ => group.push(part),
    }
}

/// The ids of one part of a table (open addressing, linear probing).
#[derive(Debug)]
pub(super) struct Dictionary {
    pub(super) part: Part,
    /// Category in the upper half, id in the lower.
    slots: Vec<u64>,
    /// The categories that it knows about.
    range: Range<u64>,
    missing: Option<u32>,
    other: Option<u32>,
}

impl Dictionary {
    /// Reads a part into memory.
    ///
    /// # Errors
    /// A file that is missing or has another size than it was written with.
    pub(super) fn load(folder: &WorkFolder, tables: &[Numbered], part: &Part) -> Result<Self> {
        let table = &tables[part.table];
        let partitions = &table.partitions[part.partitions.clone()];
        let categories = partitions.iter().map(|part| part.categories).sum();
        let start = match part.partitions.start {
            0 => 0,
            first => table.partitions[first - 1].end,
        };
        let end = match part.partitions.end {
            // What is beyond the last category is not known to any partition; it is this one's to say so.
            end if end >= table.partitions.len() => MISSING,
            end => table.partitions[end - 1].end,
        };
        let mut dictionary = Self {
            part: part.clone(),
            slots: vec![EMPTY; slots(categories) as usize],
            range: start..end,
            missing: table.missing,
            other: table.other,
        };
        for (number, partition) in part.partitions.clone().zip(partitions) {
            let name = Numbered::dictionary_name(part.table, number);
            dictionary.read(folder, &name, partition.categories)?;
        }
        Ok(dictionary)
    }

    fn read(&mut self, folder: &WorkFolder, name: &str, categories: u64) -> Result<()> {
        let path = folder.at(name);
        let file = File::open(&path).map_err(Error::io("cannot open", &path))?;
        let found = file
            .metadata()
            .map_err(Error::io("cannot read", &path))?
            .len();
        if found != categories * 8 {
            let problem = "was truncated or replaced";
            return Err(Error::Criteo(CriteoError::WorkFile { path, problem }));
        }
        let mut file = BufReader::with_capacity(1 << 18, file);
        let mut entry = [0; 8];
        for _ in 0..categories {
            file.read_exact(&mut entry)
                .map_err(Error::io("cannot read", &path))?;
            let entry = u64::from_le_bytes(entry);
            let place = self.place((entry >> 32) as u32);
            self.slots[place] = entry;
        }
        Ok(())
    }

    #[inline]
    fn home(&self, category: u32) -> usize {
        // The upper bits of a product are well mixed; they choose among any number of slots (Lemire 2019).
        let mixed = category.wrapping_mul(0x9e37_79b1);
        ((u64::from(mixed) * self.slots.len() as u64) >> 32) as usize
    }

    #[inline]
    fn place(&self, category: u32) -> usize {
        let mut place = self.home(category);
        loop {
            let slot = self.slots[place];
            if slot == EMPTY || (slot >> 32) as u32 == category {
                return place;
            }
            place += 1;
            if place == self.slots.len() {
                place = 0;
            }
        }
    }

    /// Puts the ids of rows of a group of a column into `ids`, from row `64 * group` on, as far as they are this part's. Other
    /// places stay as they are. `false` where a category has no id.
    #[inline]
    pub(super) fn encode(&self, column: Column<'_>, group: usize, ids: &mut [u32; GROUP]) -> bool {
        let mut keys = [0; GROUP];
        let len = column.keys(group, MISSING, &mut keys);
        let keys = &keys[..len];
        for &key in keys {
            super::prefetch(&self.slots, self.home(key as u32));
        }
        let mut known = true;
        for (id, &key) in ids.iter_mut().zip(keys) {
            let found = if key == MISSING {
                self.missing
            } else if self.range.contains(&key) {
                match self.slots[self.place(key as u32)] {
                    EMPTY => self.other,
                    slot => Some(slot as u32),
                }
            } else {
                Some(*id)
            };
            known &= found.is_some();
            *id = found.unwrap_or(0);
        }
        known
    }
}
