//! Raw files by the vocabulary of a data set that was prepared before: tomorrow's day in today's ids.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::Instant;

use super::encode_report::{EncodeReport, UnseenReport};
use super::line_form::LineForm;
use super::parse::parse_rows;
use super::row_encoder::RowEncoder;
use super::unseen::Unseen;
use super::{DENSE_FEATURES, PassReport, RowFieldDefect, SplitReport, TABLES};
use crate::batch::Batch;
use crate::criteo::error::Error as CriteoError;
use crate::error::{Error, Result};
use crate::packed::{PackedDataset, PackedWriter, Provenance, SourceFile, WriterOptions};
use crate::progress::{Progress, Stage, staged};
use crate::split::{Split, SplitRows};
use crate::text::Error as TextError;
use crate::text::{
    BadRows, Chunk, SkipLog, SkippedRows, check_output, folder_bytes, read_all, stored_bytes,
};

/// What to encode, by which vocabulary, and where to write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodeOptions {
    /// Raw text, plain or compressed; several files are read in this order as if they were one.
    /// Lines may have commas between their fields, the number of the sample in front and no label,
    /// and a header may name the columns; the first line tells.
    pub raw: Vec<PathBuf>,
    /// Folder of the packed data set whose vocabulary and options are used.
    pub vocabulary: PathBuf,
    /// Folder of the new packed data set.
    pub out: PathBuf,
    /// The split that gets all rows.
    pub split: Split,
    /// What becomes of categories that the vocabulary does not have.
    pub unseen: Unseen,
    /// What becomes of lines that are no rows; `None`: what became of them in the first data set.
    pub bad_rows: Option<BadRows>,
    /// Whether an output folder that holds something is replaced.
    pub force: bool,
    /// Most rows of one output file.
    pub shard_rows: u64,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        let WriterOptions { force, shard_rows } = WriterOptions::default();
        Self {
            raw: Vec::new(),
            vocabulary: PathBuf::new(),
            out: PathBuf::new(),
            split: Split::Test,
            unseen: Unseen::default(),
            bad_rows: None,
            force,
            shard_rows,
        }
    }
}

/// Encodes Criteo rows by the vocabulary of a data set that was prepared before, so that a model trained on that one takes them: the
/// tables have the same rows, and every category the same id.
///
/// The first pass counts rows, the second one writes them in file order. Both stream the raw files through the threads of the current
/// rayon pool; the output has the same bytes on any number of them. It appears under its name when it is complete; an error
/// leaves nothing behind. The vocabulary is copied, its counts unchanged; the manifest names the data set that it is of.
///
/// Rows without labels get the label 0, and the manifest says that there are none
/// ([`PackedDataset::has_labels`]), so that nothing trains on them or is evaluated by them.
#[derive(Debug, Clone)]
pub struct EncodeCriteo {
    options: EncodeOptions,
}

impl EncodeCriteo {
    /// An encoding that has not begun.
    pub fn new(options: EncodeOptions) -> Self {
        Self { options }
    }

    /// Does it.
    ///
    /// # Errors
    /// As [`RowEncoder::new`]; a raw file that is missing, empty, damaged or changes meanwhile; a bad row, unless those are skipped;
    /// a category that the vocabulary does not have, where the policy says so; an output folder that holds something, unless it
    /// may be replaced; a full disk.
    pub fn run(&self, progress: &dyn Progress) -> Result<EncodeReport> {
        let start = Instant::now();
        let options = &self.options;
        options.validate()?;
        let sizes: Result<Vec<u64>> = options.raw.iter().map(|path| stored_bytes(path)).collect();
        let bytes = sizes?.iter().sum();
        let lock = check_output(&options.out, &options.raw, options.force)?;
        let data = PackedDataset::open(&options.vocabulary)?;
        let encoder = RowEncoder::new(&data, options.unseen)?;
        let forms: Result<Vec<LineForm>> = options
            .raw
            .iter()
            .map(|path| LineForm::of_file(path))
            .collect();
        let forms = forms?;
        let pass = Pass {
            options,
            encoder: &encoder,
            labels: options.labels(&forms)?,
            forms,
            bad_rows: options.bad_rows.unwrap_or_else(|| bad_rows_of(&data)),
        };

        let ((rows, skipped, sources), count_seconds) =
            staged(progress, Stage::Count, bytes, || pass.count(progress))?;
        let skipped = skipped.into_report(&options.raw);
        let mut split_rows = SplitRows::default();
        *split_rows.of_mut(options.split) = rows;
        let writer_options = WriterOptions {
            force: options.force,
            shard_rows: options.shard_rows,
        };
        let schema = data.schema().clone();
        let mut writer = PackedWriter::create_locked(lock, schema, split_rows, writer_options)?;
        for table in 0..TABLES {
            if let Some(vocabulary) = data.vocabulary(table)? {
                writer.write_vocabulary(table, &vocabulary)?;
            }
        }
        let (written, write_seconds) = staged(progress, Stage::Write, bytes, || {
            pass.write(&mut writer, (rows, &sources), progress)
        })?;
        let unseen: Vec<UnseenReport> = data
            .schema()
            .tables
            .iter()
            .zip(written.unseen)
            .map(|(table, unseen)| UnseenReport {
                table: table.name.clone(),
                rows: unseen,
                share: unseen as f64 / rows as f64,
            })
            .collect();
        let provenance = pass.provenance(&data, &sources, &skipped, &written)?;
        // The vocabulary may lie where the output goes, so nothing is read from it any more.
        drop(data);
        writer.finish(provenance)?;

        let report = |stage, seconds| PassReport {
            stage,
            seconds,
            rows_per_second: rows as f64 / seconds,
        };
        Ok(EncodeReport {
            rows,
            labels: pass.labels,
            clicks: written.clicks,
            split: options.split,
            unseen,
            skipped,
            sources,
            passes: vec![
                report(Stage::Count, count_seconds),
                report(Stage::Write, write_seconds),
            ],
            seconds: start.elapsed().as_secs_f64(),
            packed_bytes: folder_bytes(&options.out)?,
        })
    }
}

impl EncodeOptions {
    fn validate(&self) -> Result<()> {
        let invalid = |option, value: &str, allowed| {
            Err(Error::InvalidOption {
                option,
                value: value.to_owned(),
                allowed,
            })
        };
        if self.raw.is_empty() {
            return invalid("raw", "[]", "at least one raw file");
        }
        if self.out.as_os_str().is_empty() {
            return invalid("out", "\"\"", "the folder of the packed data set");
        }
        let same = self
            .out
            .canonicalize()
            .ok()
            .zip(self.vocabulary.canonicalize().ok());
        if same.is_some_and(|(out, vocabulary)| out == vocabulary) {
            return invalid(
                "out",
                "the folder of the vocabulary",
                "another folder: a model needs the data set it was trained on",
            );
        }
        Ok(())
    }
}

impl EncodeOptions {
    /// Whether the files have labels.
    ///
    /// # Errors
    /// Some have, and some have not.
    fn labels(&self, forms: &[LineForm]) -> Result<bool> {
        let first = |labelled| {
            let place = forms.iter().position(|form| form.labelled == labelled)?;
            Some(self.raw[place].clone())
        };
        match (first(true), first(false)) {
            (Some(labelled), Some(unlabelled)) => Err(Error::Criteo(CriteoError::MixedLabels {
                labelled,
                unlabelled,
            })),
            (labelled, _) => Ok(labelled.is_some()),
        }
    }
}

/// What the preparation of a data set did with bad rows.
fn bad_rows_of(data: &PackedDataset) -> BadRows {
    let option = data.manifest().provenance.options["bad_rows"].clone();
    serde_json::from_value(option).unwrap_or_default()
}

struct Pass<'a> {
    options: &'a EncodeOptions,
    encoder: &'a RowEncoder,
    bad_rows: BadRows,
    /// Of every file.
    forms: Vec<LineForm>,
    labels: bool,
}

/// What was written.
#[derive(Default)]
struct Written {
    rows: u64,
    clicks: u64,
    unseen: [u64; TABLES],
}

struct Encoded {
    batch: Batch,
    unseen: [u64; TABLES],
    stored_bytes: u64,
}

impl Pass<'_> {
    fn changed(&self, file: usize) -> Error {
        Error::Text(TextError::SourceChanged {
            path: self.options.raw[file].clone(),
        })
    }

    /// Counts rows and lines that are none.
    fn count(
        &self,
        progress: &dyn Progress,
    ) -> Result<(u64, SkipLog<RowFieldDefect>, Vec<SourceFile>)> {
        let (mut rows, mut skipped) = (0, SkipLog::default());
        let work = |chunk: Chunk| {
            let (mut rows, mut skipped) = (0u64, SkipLog::default());
            let form = self.forms[chunk.file];
            let (text, first_line) = form.rows(&chunk);
            parse_rows(
                &text,
                |_| rows += 1,
                |line, defect| {
                    let line = first_line + line;
                    match self.bad_rows {
                        BadRows::Skip => skipped.add(chunk.file, line, defect),
                        BadRows::Error => {
                            let path = self.options.raw[chunk.file].clone();
                            return Err(Error::Criteo(match form.is_usual() {
                                true => CriteoError::BadRow { path, line, defect },
                                false => CriteoError::BadRowOfOtherForm { path, line, defect },
                            }));
                        }
                    }
                    Ok(())
                },
            )?;
            Ok((rows, skipped, chunk.stored_bytes))
        };
        let consume = |chunks: Vec<(u64, SkipLog<RowFieldDefect>, u64)>| {
            for (more, log, stored_bytes) in chunks {
                rows += more;
                skipped.append(log);
                progress.advance(stored_bytes, more);
            }
            Ok(())
        };
        let sources = read_all(&self.options.raw, work, consume)?;
        if rows == 0 {
            return Err(Error::Text(TextError::NoRows {
                skipped: skipped.rows(),
            }));
        }
        Ok((rows, skipped, sources))
    }

    /// Reads the files again and writes every row; `counted` is what the first pass found.
    fn write(
        &self,
        writer: &mut PackedWriter,
        (rows, sources): (u64, &[SourceFile]),
        progress: &dyn Progress,
    ) -> Result<Written> {
        let mut written = Written::default();
        let consume = |chunks: Vec<Encoded>| {
            for chunk in chunks {
                let of_chunk = chunk.batch.len() as u64;
                written.rows += of_chunk;
                if written.rows > rows {
                    return Err(self.changed(0));
                }
                for (sum, unseen) in written.unseen.iter_mut().zip(chunk.unseen) {
                    *sum += unseen;
                }
                let clicks = chunk.batch.label.iter().filter(|&&label| label == 1.0);
                written.clicks += clicks.count() as u64;
                writer.append(self.options.split, &chunk.batch)?;
                progress.advance(chunk.stored_bytes, of_chunk);
            }
            Ok(())
        };
        let again = read_all(&self.options.raw, |chunk| self.encode(&chunk), consume)?;
        match again
            .iter()
            .zip(sources)
            .position(|(now, before)| now != before)
        {
            Some(file) => Err(self.changed(file)),
            None => Ok(written),
        }
    }

    fn encode(&self, chunk: &Chunk) -> Result<Encoded> {
        let lines = chunk.lines as usize;
        let mut encoded = Encoded {
            batch: Batch::default(),
            unseen: [0; TABLES],
            stored_bytes: chunk.stored_bytes,
        };
        let batch = &mut encoded.batch;
        batch.label.reserve_exact(lines);
        batch.dense.reserve_exact(lines * DENSE_FEATURES);
        batch.sparse.ids.reserve_exact(lines * TABLES);
        // Lines so far, good and bad ones, which two closures count.
        let (text, first_line) = self.forms[chunk.file].rows(chunk);
        let line = Cell::new(first_line);
        let mut refused = None;
        let good = |row: &super::RawRow| {
            match self.encoder.try_encode(row) {
                Ok(row_of) => {
                    batch.label.push(f32::from(row.label));
                    batch.dense.extend_from_slice(&row_of.dense);
                    batch.sparse.ids.extend_from_slice(&row_of.ids);
                    let mut unseen = row_of.unseen;
                    while unseen != 0 {
                        encoded.unseen[unseen.trailing_zeros() as usize] += 1;
                        unseen &= unseen - 1;
                    }
                }
                Err(unseen) => {
                    refused.get_or_insert_with(|| {
                        Error::Criteo(CriteoError::UnseenInLine {
                            path: self.options.raw[chunk.file].clone(),
                            line: line.get(),
                            unseen,
                        })
                    });
                }
            }
            line.set(line.get() + 1);
        };
        parse_rows(&text, good, |_, _| {
            line.set(line.get() + 1);
            match self.bad_rows {
                BadRows::Skip => Ok(()),
                // The first pass found none.
                BadRows::Error => Err(self.changed(chunk.file)),
            }
        })?;
        refused.map_or(Ok(encoded), Err)
    }

    fn provenance(
        &self,
        data: &PackedDataset,
        sources: &[SourceFile],
        skipped: &[SkippedRows],
        written: &Written,
    ) -> Result<Provenance> {
        let of = &data.manifest().provenance;
        let mut options = of.options.clone();
        options["bad_rows"] = serde_json::json!(self.bad_rows);
        options["shard_rows"] = serde_json::json!(self.options.shard_rows);
        options["split"] = serde_json::json!(self.options.split);
        if !self.labels {
            options["labels"] = serde_json::json!(false);
        }
        options["unseen"] = serde_json::json!(self.options.unseen);
        options["vocabulary"] = serde_json::json!({
            "dataset": of.dataset,
            "manifest_xxh3": data.manifest_xxh3()?,
            "sources": of.sources.iter().map(|source| &source.name).collect::<Vec<_>>(),
        });
        let splits = Split::ALL.map(|split| {
            let here = split == self.options.split;
            SplitReport {
                split,
                rows: if here { written.rows } else { 0 },
                clicks: if here { written.clicks } else { 0 },
            }
        });
        Ok(Provenance {
            dataset: of.dataset.clone(),
            sources: sources.to_vec(),
            options,
            report: serde_json::json!({
                "rows": written.rows,
                "splits": splits,
                "skipped": skipped,
                "unseen": written.unseen,
            }),
        })
    }
}
