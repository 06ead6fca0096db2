//! A packed data set with other ids: ranks.

use std::path::PathBuf;
use std::time::Instant;

use rayon::prelude::*;

use super::id_rows::SAMPLES;
use super::options::ImportReport;
use super::ranking::Ranking;
use crate::batch::Batch;
use crate::criteo::{PassReport, SplitReport};
use crate::dataset::Dataset;
use crate::error::Result;
use crate::packed::{
    MANIFEST_FILE, OutputLock, PackedDataset, PackedWriter, Provenance, WriterOptions,
};
use crate::progress::{Progress, Stage, staged};
use crate::rank_on::RankOn;
use crate::split::{Split, SplitRows};
use crate::text::{check_output, folder_bytes, identity};
use crate::vocabulary::{Texts, Vocabulary, WideCategories};

/// What to renumber, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RerankOptions {
    /// Folder of the packed data set.
    pub data: PathBuf,
    /// Folder of the new one.
    pub out: PathBuf,
    /// Over which samples ranks are counted.
    pub rank_on: RankOn,
    /// Whether an output folder that holds a packed data set is replaced.
    pub force: bool,
    /// Most samples of one output file.
    pub shard_rows: u64,
}

/// Writes a packed data set again with the ids of every table renumbered by frequency over the
/// training samples or all of them (all positions and values of theirs), ties by the old id. Tables
/// keep their rows; vocabularies follow, or say what the old ids were.
///
/// Memory is 16 bytes for each row of the tables.
#[derive(Debug, Clone)]
pub struct Rerank {
    options: RerankOptions,
}

impl Rerank {
    /// A renumbering that has not begun.
    pub fn new(options: RerankOptions) -> Self {
        Self { options }
    }

    /// Does it.
    ///
    /// # Errors
    /// A data set that is damaged; an output folder that holds something, unless it may be replaced; a full disk.
    pub fn run(&self, progress: &dyn Progress) -> Result<ImportReport> {
        let start = Instant::now();
        let options = &self.options;
        let data = PackedDataset::open(&options.data)?;
        let manifest_path = options.data.join(MANIFEST_FILE);
        let lock = check_output(
            &options.out,
            std::slice::from_ref(&manifest_path),
            options.force,
        )?;
        let rows: u64 = Split::ALL
            .iter()
            .map(|&split| data.manifest().rows(split))
            .sum();
        let bytes = rows * sample_bytes(&data);

        let (counts, count_seconds) = staged(progress, Stage::Count, bytes, || {
            count(&data, options.rank_on, progress)
        })?;
        let rankings: Vec<Ranking> = counts
            .par_iter()
            .map(|counts| Ranking::by_count(counts))
            .collect();
        let mut writer = self.writer(lock, &data)?;
        for (table, (ranking, counts)) in rankings.iter().zip(&counts).enumerate() {
            let old = data.vocabulary(table)?;
            writer.write_vocabulary(table, &reordered(old, ranking, counts))?;
        }
        drop(counts);
        let (splits, write_seconds) = staged(progress, Stage::Write, bytes, || {
            write(&data, &rankings, &mut writer, progress)
        })?;
        let categories = data.schema().table_rows();
        let sources = vec![identity(&manifest_path)?];
        let mut written = serde_json::json!({
            "rank_on": options.rank_on,
            "shard_rows": options.shard_rows,
            "of": data.manifest().provenance.options,
        });
        if !data.has_labels() {
            written["labels"] = serde_json::json!(false);
        }
        writer.finish(Provenance {
            dataset: data.manifest().provenance.dataset.clone(),
            sources: sources.clone(),
            options: written,
            report: serde_json::json!({ "splits": splits, "categories": categories }),
        })?;
        Ok(ImportReport {
            rows,
            categories,
            splits,
            skipped: Vec::new(),
            sources,
            passes: vec![
                PassReport::new(Stage::Count, rows, count_seconds),
                PassReport::new(Stage::Write, rows, write_seconds),
            ],
            seconds: start.elapsed().as_secs_f64(),
            packed_bytes: folder_bytes(&options.out)?,
        })
    }

    fn writer(&self, lock: OutputLock, data: &PackedDataset) -> Result<PackedWriter> {
        let rows = |split| data.manifest().rows(split);
        let rows = SplitRows {
            train: rows(Split::Train),
            validation: rows(Split::Validation),
            test: rows(Split::Test),
        };
        let options = WriterOptions {
            force: self.options.force,
            shard_rows: self.options.shard_rows,
        };
        PackedWriter::create_locked(lock, data.schema().clone(), rows, options)
    }
}

fn sample_bytes(data: &PackedDataset) -> u64 {
    let schema = data.schema();
    4 * (1 + schema.dense_values() + schema.bags()) as u64
}

/// Shows all samples, split by split, in their order.
fn for_each_batch(
    data: &PackedDataset,
    progress: &dyn Progress,
    mut show: impl FnMut(Split, &mut Batch) -> Result<()>,
) -> Result<()> {
    let sample_bytes = sample_bytes(data);
    let mut batch = Batch::default();
    for split in Split::ALL {
        let samples = data.split(split);
        for first in (0..samples.len()).step_by(SAMPLES) {
            let numbers: Vec<u64> = (first..samples.len().min(first + SAMPLES as u64)).collect();
            samples.read(&numbers, &mut batch)?;
            show(split, &mut batch)?;
            let count = numbers.len() as u64;
            progress.advance(count * sample_bytes, count);
        }
    }
    Ok(())
}

/// Calls `work` with the table of every id of a batch.
fn for_each_id(batch: &mut Batch, tables: usize, mut work: impl FnMut(usize, &mut u32)) {
    let sparse = &mut batch.sparse;
    if sparse.offsets.is_empty() {
        for row in sparse.ids.chunks_exact_mut(tables.max(1)) {
            row.iter_mut()
                .enumerate()
                .for_each(|(table, id)| work(table, id));
        }
        return;
    }
    for (bag, bounds) in sparse.offsets.windows(2).enumerate() {
        for id in &mut sparse.ids[bounds[0] as usize..bounds[1] as usize] {
            work(bag % tables, id);
        }
    }
}

/// How often each id of each table occurs.
fn count(data: &PackedDataset, rank_on: RankOn, progress: &dyn Progress) -> Result<Vec<Vec<u64>>> {
    let tables = &data.schema().tables;
    let mut counts: Vec<Vec<u64>> = tables
        .iter()
        .map(|table| vec![0; table.rows as usize])
        .collect();
    for_each_batch(data, progress, |split, batch| {
        if rank_on == RankOn::Train && split != Split::Train {
            return Ok(());
        }
        for_each_id(batch, tables.len(), |table, id| {
            counts[table][*id as usize] += 1
        });
        Ok(())
    })?;
    Ok(counts)
}

/// The vocabulary of the new ids; without one of the old ids, those are the categories.
fn reordered(old: Option<Vocabulary>, ranking: &Ranking, counts: &[u64]) -> Vocabulary {
    let new = |id: u32| ranking.new_ids().get(id as usize).copied();
    let old = old.unwrap_or_default();
    let wide = old.wide.map(|wide| match wide {
        WideCategories::Numbers(numbers) => WideCategories::Numbers(ranking.reordered(&numbers)),
        WideCategories::Texts(texts) => {
            let text = |&id: &u32| texts.get(id as usize).unwrap_or_default();
            WideCategories::Texts(ranking.old_ids().iter().map(text).collect::<Texts>())
        }
    });
    let categories = match (&wide, old.categories.is_empty()) {
        (Some(_), _) => Vec::new(),
        (None, true) => ranking.old_ids().to_vec(),
        (None, false) => ranking.reordered(&old.categories),
    };
    Vocabulary {
        categories,
        wide,
        counts: ranking.reordered(counts),
        missing: old.missing.and_then(new),
        other: old.other.and_then(new),
    }
}

fn write(
    data: &PackedDataset,
    rankings: &[Ranking],
    writer: &mut PackedWriter,
    progress: &dyn Progress,
) -> Result<Vec<SplitReport>> {
    let mut splits = SplitReport::none();
    for_each_batch(data, progress, |split, batch| {
        for_each_id(batch, rankings.len(), |table, id| {
            *id = rankings[table].new_ids()[*id as usize];
        });
        splits[split as usize].add(&batch.label);
        writer.append(split, batch)
    })?;
    Ok(splits.into())
}
