//! How often every row is looked up.

use std::sync::atomic::{AtomicU32, Ordering};

use rayon::prelude::*;
use recsys_data::{Batch, Dataset, IdBlock, TableSchema};

use crate::sample::Sample;
use crate::visit::visit_ids;
use crate::{Error, Result};

/// Which samples are counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CountOptions {
    /// Share of the samples that is drawn, without replacement, in (0, 1]; 1 counts them all.
    pub sample: f64,
    /// Seed of the draw.
    pub seed: u64,
}

impl Default for CountOptions {
    /// Every sample.
    fn default() -> Self {
        Self {
            sample: 1.0,
            seed: 0,
        }
    }
}

/// Accesses of every row of every table.
///
/// Memory is 4 bytes a row, whatever the number of samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessCounts {
    tables: Vec<Vec<u32>>,
    accesses: Vec<u64>,
    samples: u64,
    population: u64,
}

impl AccessCounts {
    /// Counts the lookups of a data set, in parallel. The result is the same on any number of threads.
    ///
    /// # Errors
    /// A sampling rate outside (0, 1], data that cannot be read, an id beyond its table, or a row with 2^32 accesses.
    pub fn count(dataset: &dyn Dataset, options: &CountOptions) -> Result<Self> {
        let sample = Sample::draw(dataset.len(), options.sample, options.seed)?;
        Self::of_sample(dataset, &sample)
    }

    pub(crate) fn of_sample(dataset: &dyn Dataset, sample: &Sample) -> Result<Self> {
        let shared = Shared::new(&dataset.schema().tables)?;
        sample.map_chunks(|numbers, scratch| shared.count_chunk(dataset, numbers, scratch))?;
        let tables = shared.counts.into_iter().map(|counts| {
            counts
                .into_iter()
                .map(AtomicU32::into_inner)
                .collect::<Vec<_>>()
        });
        let mut counts = Self::from_tables(tables.collect());
        counts.samples = sample.size();
        counts.population = sample.population();
        Ok(counts)
    }

    /// Counts that were made elsewhere, one list for each table. The number of samples is unknown and taken as 0.
    pub fn from_tables(tables: Vec<Vec<u32>>) -> Self {
        let accesses = tables
            .iter()
            .map(|counts| counts.iter().map(|&count| u64::from(count)).sum())
            .collect();
        Self {
            tables,
            accesses,
            samples: 0,
            population: 0,
        }
    }

    /// Number of tables.
    pub fn tables(&self) -> usize {
        self.tables.len()
    }

    /// Accesses of every row of a table, by id.
    ///
    /// # Panics
    /// Panics if there is no such table.
    pub fn table(&self, table: usize) -> &[u32] {
        &self.tables[table]
    }

    /// All accesses of a table.
    ///
    /// # Panics
    /// Panics if there is no such table.
    pub fn accesses(&self, table: usize) -> u64 {
        self.accesses[table]
    }

    /// Tables whose ids are no ranks of what was counted, by their number: a row is looked up more
    /// often than one of a smaller id. Id 0, which may be padding, is not looked at.
    pub fn unranked(&self) -> Vec<usize> {
        let ranked = |counts: &[u32]| counts.iter().skip(1).is_sorted_by(|a, b| a >= b);
        let tables = self.tables.iter().enumerate();
        tables
            .filter(|(_, counts)| !ranked(counts))
            .map(|(table, _)| table)
            .collect()
    }

    /// Samples counted.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Samples of the data set.
    pub fn population(&self) -> u64 {
        self.population
    }

    /// Whether every sample of the data set was counted.
    pub fn is_exact(&self) -> bool {
        self.samples == self.population
    }
}

/// Ids below this are counted by each task for itself: on skewed data they are most lookups, and threads that add to the
/// same counters would wait for each other. 4 KiB a table fit the second-level cache for 26 tables and more.
const HEAD: usize = 1024;

/// Samples whose counters are asked for before they are added to.
const AHEAD: usize = 8;

/// Counters that all threads add to. Sums do not depend on the order of their terms.
struct Shared<'a> {
    schema: &'a [TableSchema],
    counts: Vec<Vec<AtomicU32>>,
}

impl<'a> Shared<'a> {
    fn new(schema: &'a [TableSchema]) -> Result<Self> {
        let counters = |table: &TableSchema| {
            let mut counts = Vec::new();
            let rows = usize::try_from(table.rows).ok();
            match rows.map(|rows| (rows, counts.try_reserve_exact(rows))) {
                Some((rows, Ok(()))) => {
                    counts.resize_with(rows, || AtomicU32::new(0));
                    Ok(counts)
                }
                _ => Err(Error::TooManyRows {
                    table: table.name.clone(),
                    rows: table.rows,
                }),
            }
        };
        let counts: Vec<Result<_>> = schema.par_iter().map(counters).collect();
        let counts = counts.into_iter().collect::<Result<_>>()?;
        Ok(Self { schema, counts })
    }

    fn count_chunk(
        &self,
        dataset: &dyn Dataset,
        numbers: &[u64],
        scratch: &mut Batch,
    ) -> Result<()> {
        let mut heads = vec![[0u32; HEAD]; self.counts.len()];
        visit_ids(dataset, numbers, scratch, &mut |block| {
            self.count_block(&mut heads, block)
        })?;
        for (table, head) in heads.iter().enumerate() {
            for (id, &count) in head.iter().enumerate() {
                if count > 0 {
                    self.add(table, id as u32, count)?;
                }
            }
        }
        Ok(())
    }

    fn count_block(&self, heads: &mut [[u32; HEAD]], block: IdBlock<'_>) -> Result<()> {
        let tables = heads.len();
        let mut access = |table: usize, id: u32| {
            if let Some(count) = heads[table].get_mut(id as usize) {
                *count += 1;
                Ok(())
            } else {
                self.add(table, id, 1)
            }
        };
        if block.offsets.is_empty() {
            let tables = tables.max(1);
            for group in block.ids.chunks(AHEAD * tables) {
                for ids in group.chunks_exact(tables) {
                    self.prefetch(ids);
                }
                for ids in group.chunks_exact(tables) {
                    for (table, &id) in ids.iter().enumerate() {
                        access(table, id)?;
                    }
                }
            }
            return Ok(());
        }
        for (bag, ends) in block.offsets.windows(2).enumerate() {
            for &id in &block.ids[ends[0] as usize..ends[1] as usize] {
                access(bag % tables, id)?;
            }
        }
        Ok(())
    }

    /// Asks for the counters of a sample's rare ids. Atomic additions wait for each other's memory; these requests do not.
    #[inline]
    fn prefetch(&self, ids: &[u32]) {
        #[cfg(target_arch = "x86_64")]
        for (counts, &id) in self.counts.iter().zip(ids) {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            if id as usize >= HEAD {
                // SAFETY: prefetching reads nothing and never faults, whatever the address.
                unsafe {
                    _mm_prefetch::<_MM_HINT_T0>(counts.as_ptr().wrapping_add(id as usize).cast())
                };
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = ids;
    }

    #[inline]
    fn add(&self, table: usize, id: u32, count: u32) -> Result<()> {
        let Some(counter) = self.counts[table].get(id as usize) else {
            let TableSchema { name, rows } = &self.schema[table];
            return Err(Error::IdOutOfRange {
                table: name.clone(),
                id,
                rows: *rows,
            });
        };
        let before = counter.fetch_add(count, Ordering::Relaxed);
        if before.checked_add(count).is_none() {
            return Err(Error::CountOverflow {
                table: self.schema[table].name.clone(),
            });
        }
        Ok(())
    }
}
