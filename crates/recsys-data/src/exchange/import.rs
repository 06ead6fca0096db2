//! Samples of other programs to a packed data set, in two passes.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rayon::prelude::*;

use super::cuts::Cuts;
use super::dictionary::TableIds;
use super::foreign::{Bags, Columns, Foreign, ForeignReader, Place};
use super::mlperf::MlPerfFiles;
use super::npz::{NpzFiles, read_counts};
use super::options::{ImportFormat, ImportOptions, ImportReport};
use super::rules::ForeignIds;
use super::table::{DenseColumn, Measure, Scale, Transform, open_table};
use super::torchrec::TorchRecFiles;
use crate::batch::Batch;
use crate::criteo::{PassReport, SplitReport};
use crate::error::{Error, Result};
use crate::packed::{PackedWriter, Provenance, SourceFile, WriterOptions};
use crate::progress::{Progress, Stage, staged};
use crate::rank_on::RankOn;
use crate::schema::{Schema, TableSchema};
use crate::text::Error as TextError;
use crate::text::{SkippedRows, check_output, folder_bytes, stored_bytes};

/// Imports samples of other programs: pass one counts categories, pass two writes ids.
///
/// Memory is that of some thousand samples, and 20 to 35 bytes for each distinct category, to which the length of texts comes.
/// The output has the same bytes on any number of threads. It appears under its name when it is complete; an error leaves
/// nothing behind.
#[derive(Debug, Clone)]
pub struct ImportForeign {
    options: ImportOptions,
}

impl ImportForeign {
    /// An import that has not begun.
    pub fn new(options: ImportOptions) -> Self {
        Self { options }
    }

    /// Does it.
    ///
    /// # Errors
    /// A file that is missing, damaged, of another form or changes meanwhile; a value that is out of its range, with its file,
    /// sample and column; an output folder that holds something, unless it may be replaced; a full disk.
    pub fn run(&self, progress: &dyn Progress) -> Result<ImportReport> {
        let start = Instant::now();
        let options = &self.options;
        options.validate()?;
        let names: Vec<PathBuf> = options
            .parts
            .files()
            .into_iter()
            .map(|(_, path)| path.to_path_buf())
            .collect();
        let mut reader = self.reader(&names)?;
        let files: Vec<PathBuf> = names.iter().flat_map(|name| reader.files(name)).collect();
        let sizes: Result<Vec<u64>> = files.iter().map(|path| stored_bytes(path)).collect();
        let bytes = sizes?.iter().sum();
        let lock = check_output(&options.out, &files, options.force)?;

        let columns = reader.columns().clone();
        let keep = options.ids == ForeignIds::Keep;
        let new = |column| TableIds::new(column, keep);
        let mut tables: Vec<TableIds> = columns.tables.iter().map(new).collect();
        let (counted, count_seconds) = staged(progress, Stage::Count, bytes, || {
            let rule = CountRule::new(options);
            count(&*reader, &names, rule, &mut tables, progress)
        })?;
        let rows: u64 = counted.rows.iter().sum();
        if rows == 0 {
            let skipped = counted.skipped.iter().map(|kind| kind.rows).sum();
            return Err(Error::Text(TextError::NoRows { skipped }));
        }
        let cuts = Cuts::new(&options.parts, &counted.rows);
        let mut passes = vec![PassReport::new(Stage::Count, rows, count_seconds)];
        if CountRule::new(options) == CountRule::BeforeCut {
            let train = cuts.rows().train;
            let ((), seconds) = staged(progress, Stage::Rank, bytes, || {
                forget_from(train, &*reader, &names, &counted, &mut tables, progress)
            })?;
            passes.push(PassReport::new(Stage::Rank, rows - train, seconds));
        }
        tables.par_iter_mut().for_each(TableIds::rank);

        let mut scales = Vec::new();
        if !reader.standardised().is_empty() {
            let (measured, seconds) = staged(progress, Stage::Measure, bytes, || {
                measure(&*reader, &names, cuts.rows().train, progress)
            })?;
            reader.standardise(&measured);
            passes.push(PassReport::new(Stage::Measure, rows, seconds));
            scales = measured;
        }
        let writer_options = WriterOptions {
            force: options.force,
            shard_rows: options.shard_rows,
        };
        let schema = schema(&columns, &tables);
        let categories = schema.table_rows();
        let mut writer = PackedWriter::create_locked(lock, schema, cuts.rows(), writer_options)?;
        for (place, table) in tables.iter().enumerate() {
            if let Some(vocabulary) = table.vocabulary() {
                writer.write_vocabulary(place, &vocabulary)?;
            }
        }
        let pass = WritePass {
            tables: &tables,
            cuts: &cuts,
            multi_hot: columns.multi_hot,
        };
        let (splits, write_seconds) = staged(progress, Stage::Write, bytes, || {
            pass.run(&*reader, &names, &counted, &mut writer, progress)
        })?;
        passes.push(PassReport::new(Stage::Write, rows, write_seconds));
        writer.finish(self.provenance(&counted, &splits, &categories, &scales))?;

        Ok(ImportReport {
            rows,
            categories,
            splits,
            skipped: counted.skipped,
            sources: counted.sources,
            passes,
            seconds: start.elapsed().as_secs_f64(),
            packed_bytes: folder_bytes(&options.out)?,
        })
    }

    fn reader(&self, names: &[PathBuf]) -> Result<Box<dyn ForeignReader>> {
        let ImportOptions { dense, ids, .. } = self.options;
        // Temporary files go beside the output.
        let scratch = match self.options.out.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        let counts = self
            .options
            .counts
            .as_deref()
            .map(read_counts)
            .transpose()?;
        Ok(match &self.options.format {
            ImportFormat::Npz => Box::new(NpzFiles::open(names, counts, (dense, ids), scratch)?),
            ImportFormat::MlPerf => Box::new(MlPerfFiles::open(names, counts, dense)?),
            ImportFormat::TorchRec => {
                Box::new(TorchRecFiles::open(names, counts, (dense, ids), scratch)?)
            }
            ImportFormat::Table(mapping) => open_table(mapping, names, ids, self.options.bad_rows)?,
        })
    }

    fn provenance(
        &self,
        counted: &CountedFiles,
        splits: &[SplitReport],
        categories: &[u64],
        scales: &[Scale],
    ) -> Provenance {
        let options = &self.options;
        let mut provenance = Provenance {
            dataset: format!("{} files", options.format.name()),
            sources: counted.sources.clone(),
            options: serde_json::json!({
                "format": options.format.name(),
                "mapping": null,
                "split": options.parts.to_json(),
                "ids": options.ids,
                "rank_on": (options.ids == ForeignIds::Rank).then_some(options.rank_on),
                "dense": options.dense,
                "shard_rows": options.shard_rows,
            }),
            report: serde_json::json!({ "splits": splits, "categories": categories }),
        };
        if let ImportFormat::Table(mapping) = &options.format {
            let is_standardised =
                |column: &&DenseColumn| column.transform.contains(&Transform::Standardise);
            let columns = mapping.dense.iter().filter(is_standardised);
            let scales: serde_json::Map<_, _> = columns
                .zip(scales)
                .map(|(column, scale)| (column.name.clone(), serde_json::json!(scale)))
                .collect();
            provenance.options["mapping"] = serde_json::json!(mapping);
            provenance.options["bad_rows"] = serde_json::json!(options.bad_rows);
            provenance.options["standardised"] = scales.into();
            provenance.report["skipped"] = serde_json::json!(counted.skipped);
        }
        provenance
    }
}

/// What pass one found.
struct CountedFiles {
    /// Samples behind every name.
    rows: Vec<u64>,
    skipped: Vec<SkippedRows>,
    sources: Vec<SourceFile>,
}

/// Which samples count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CountRule {
    All,
    /// Those of the first files, as many as this says.
    Files(usize),
    /// Those before the cut, which is known when all are counted.
    BeforeCut,
}

impl CountRule {
    fn new(options: &ImportOptions) -> Self {
        let ranks = options.ids == ForeignIds::Rank && options.rank_on == RankOn::Train;
        match options.parts.training_files() {
            _ if !ranks => Self::All,
            (files, true) => Self::Files(files),
            (_, false) => Self::BeforeCut,
        }
    }
}

fn count(
    reader: &dyn ForeignReader,
    names: &[PathBuf],
    rule: CountRule,
    tables: &mut [TableIds],
    progress: &dyn Progress,
) -> Result<CountedFiles> {
    let columns = reader.columns();
    let mut counted = CountedFiles {
        rows: Vec::new(),
        skipped: Vec::new(),
        sources: Vec::new(),
    };
    for (file, name) in names.iter().enumerate() {
        let counts = match rule {
            CountRule::Files(files) => file < files,
            CountRule::All | CountRule::BeforeCut => true,
        };
        let mut rows = 0;
        let sources = reader.read(name, &mut |foreign| {
            let work = tables
                .par_iter_mut()
                .zip(&columns.tables)
                .zip(&foreign.tables);
            let place = |sample: usize| Place {
                path: name,
                unit: foreign.unit,
                number: foreign.numbers.get(sample).copied().unwrap_or(0),
            };
            work.try_for_each(|((ids, column), bags)| ids.count(column, bags, counts, place))?;
            rows += foreign.label.len() as u64;
            progress.advance(foreign.stored_bytes, foreign.label.len() as u64);
            for kind in foreign.skipped {
                kind.add_to(&mut counted.skipped);
            }
            Ok(())
        })?;
        counted.rows.push(rows);
        counted.sources.extend(sources);
    }
    Ok(counted)
}

/// Takes back what samples from `first` on counted; their categories stay.
fn forget_from(
    first: u64,
    reader: &dyn ForeignReader,
    names: &[PathBuf],
    counted: &CountedFiles,
    tables: &mut [TableIds],
    progress: &dyn Progress,
) -> Result<()> {
    let mut next = 0;
    for (name, &rows) in names.iter().zip(&counted.rows) {
        if next + rows <= first {
            next += rows;
            continue;
        }
        reader.read(name, &mut |foreign| {
            let samples = foreign.label.len() as u64;
            let from = first.saturating_sub(next).min(samples) as usize;
            let work = tables.par_iter_mut().zip(&foreign.tables);
            work.for_each(|(ids, bags)| ids.forget(bags, first_value(bags, from)));
            next += samples;
            progress.advance(foreign.stored_bytes, samples - from as u64);
            Ok(())
        })?;
    }
    Ok(())
}

/// What standardises columns, over the first `rows` samples.
fn measure(
    reader: &dyn ForeignReader,
    names: &[PathBuf],
    rows: u64,
    progress: &dyn Progress,
) -> Result<Vec<Scale>> {
    let mut measures = vec![Measure::default(); reader.standardised().len()];
    let mut left = rows;
    for name in names {
        if left == 0 {
            break;
        }
        reader.read(name, &mut |foreign| {
            let values = foreign.unscaled.chunks_exact(measures.len());
            let samples = values.len() as u64;
            for sample in values.take(usize::try_from(left).unwrap_or(usize::MAX)) {
                for (measure, value) in measures.iter_mut().zip(sample) {
                    if !value.is_nan() {
                        measure.add(*value);
                    }
                }
            }
            left = left.saturating_sub(samples);
            progress.advance(foreign.stored_bytes, samples);
            Ok(())
        })?;
    }
    Ok(measures.into_iter().map(Measure::scale).collect())
}

fn schema(columns: &Columns, tables: &[TableIds]) -> Schema {
    let tables = columns.tables.iter().zip(tables);
    Schema {
        dense: columns.dense.clone(),
        tables: tables
            .map(|(column, ids)| TableSchema {
                name: column.name.clone(),
                rows: ids.rows(),
            })
            .collect(),
        multi_hot: columns.multi_hot,
        sequence_length: None,
    }
}

/// Pass two: the samples again, now with their ids.
struct WritePass<'a> {
    tables: &'a [TableIds],
    cuts: &'a Cuts,
    multi_hot: bool,
}

impl WritePass<'_> {
    fn run(
        &self,
        reader: &dyn ForeignReader,
        names: &[PathBuf],
        counted: &CountedFiles,
        writer: &mut PackedWriter,
        progress: &dyn Progress,
    ) -> Result<Vec<SplitReport>> {
        let mut splits = SplitReport::none();
        let changed = |path: &Path| {
            Error::Text(TextError::SourceChanged {
                path: path.to_path_buf(),
            })
        };
        let (mut next, mut before) = (0, counted.sources.iter());
        for (name, &rows) in names.iter().zip(&counted.rows) {
            let end = next + rows;
            let sources = reader.read(name, &mut |foreign| {
                let samples = next..next + foreign.label.len() as u64;
                next = samples.end;
                if next > end {
                    return Err(changed(name));
                }
                let stored_bytes = foreign.stored_bytes;
                let batch = self.batch(foreign).ok_or_else(|| changed(name))?;
                progress.advance(stored_bytes, batch.len() as u64);
                self.write(writer, samples, &batch, &mut splits)
            })?;
            if next != end || !sources.iter().all(|now| Some(now) == before.next()) {
                return Err(changed(name));
            }
        }
        Ok(splits.into())
    }

    /// Samples with ids; `None` where a category was not counted.
    fn batch(&self, foreign: Foreign) -> Option<Batch> {
        let tables = self.tables.par_iter().zip(&foreign.tables);
        let ids: Option<Vec<Vec<u32>>> = tables.map(|(table, bags)| table.ids(bags)).collect();
        let ids = ids?;
        let mut batch = Batch {
            label: foreign.label,
            dense: foreign.dense,
            ..Batch::default()
        };
        let sparse = &mut batch.sparse;
        if self.multi_hot {
            sparse.offsets.push(0);
            for sample in 0..batch.label.len() {
                for (ids, bags) in ids.iter().zip(&foreign.tables) {
                    sparse.ids.extend_from_slice(ids.get(bag(bags, sample))?);
                    sparse.offsets.push(u32::try_from(sparse.ids.len()).ok()?);
                }
            }
        } else {
            sparse.ids.reserve_exact(batch.label.len() * ids.len());
            for sample in 0..batch.label.len() {
                for ids in &ids {
                    sparse.ids.push(*ids.get(sample)?);
                }
            }
        }
        Some(batch)
    }

    fn write(
        &self,
        writer: &mut PackedWriter,
        samples: Range<u64>,
        batch: &Batch,
        splits: &mut [SplitReport; 3],
    ) -> Result<()> {
        let mut part = Batch::default();
        for (split, range) in self.cuts.cut(samples) {
            let whole = range.len() == batch.len();
            if !whole {
                copy_samples(batch, range, writer.schema(), &mut part);
            }
            let batch = if whole { batch } else { &part };
            splits[split as usize].add(&batch.label);
            writer.append(split, batch)?;
        }
        Ok(())
    }
}

/// Where the values of samples from one on begin.
fn first_value(bags: &Bags, sample: usize) -> usize {
    match sample.checked_sub(1) {
        Some(before) if !bags.ends.is_empty() => bags.ends[before],
        _ => sample,
    }
}

/// The values of a sample in a table.
fn bag(bags: &Bags, sample: usize) -> Range<usize> {
    match bags.ends.get(sample) {
        Some(&end) => first_value(bags, sample)..end,
        None => sample..sample + 1,
    }
}

/// Copies some samples of a batch.
fn copy_samples(batch: &Batch, samples: Range<usize>, schema: &Schema, into: &mut Batch) {
    let part = |width: usize| samples.start * width..samples.end * width;
    into.clear();
    into.label.extend_from_slice(&batch.label[part(1)]);
    into.dense
        .extend_from_slice(&batch.dense[part(schema.dense_values())]);
    let bags = part(schema.bags());
    if batch.sparse.is_single_hot() {
        into.sparse.ids.extend_from_slice(&batch.sparse.ids[bags]);
        return;
    }
    let offsets = &batch.sparse.offsets[bags.start..=bags.end];
    let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
    into.sparse
        .offsets
        .extend(offsets.iter().map(|offset| offset - first));
    into.sparse
        .ids
        .extend_from_slice(&batch.sparse.ids[first as usize..last as usize]);
}
