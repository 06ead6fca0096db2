//! The preprocessing experiment: raw text to a packed data set, in two passes.

use std::time::Instant;

use rayon::prelude::*;

use super::count_pass::{CountedRows, count};
use super::encode::{Categories, Encoder, number};
use super::report::{PassReport, PrepareReport, SplitReport};
use super::split::RowDivision;
use super::write_pass::WritePass;
use super::{DENSE_FEATURES, PrepareOptions, field_name};
use crate::error::Result;
use crate::packed::{PackedWriter, Provenance, SourceFile, WriterOptions};
use crate::progress::{Progress, Stage, staged};
use crate::rank_on::RankOn;
use crate::schema::{Schema, TableSchema};
use crate::text::{SkippedRows, check_output, folder_bytes, stored_bytes};
use crate::vocabulary::Vocabulary;

/// Prepares Criteo rows: pass one counts categories, pass two writes ids.
///
/// Both passes stream the raw files through the threads of the current rayon pool. Memory is that of a few megabytes of text for each
/// thread, and of one dictionary: 20 to 35 bytes for each distinct category. The output has the same bytes on any number of
/// threads. It appears under its name when it is complete; an error leaves nothing behind.
#[derive(Debug, Clone)]
pub struct PrepareCriteo {
    options: PrepareOptions,
}

impl PrepareCriteo {
    /// A preparation that has not begun.
    pub fn new(options: PrepareOptions) -> Self {
        Self { options }
    }

    /// Does it.
    ///
    /// # Errors
    /// An option without meaning; a raw file that is missing, empty, damaged or changes meanwhile; a bad row, unless those are
    /// skipped; an output folder that holds something, unless it may be replaced; a full disk.
    pub fn run(&self, progress: &dyn Progress) -> Result<PrepareReport> {
        let start = Instant::now();
        let options = &self.options;
        options.validate()?;
        let sizes: Result<Vec<u64>> = options.raw.iter().map(|path| stored_bytes(path)).collect();
        let bytes = sizes?.iter().sum();
        let lock = check_output(&options.out, &options.raw, options.force)?;

        let categories = Categories::new(options.max_ind_range, options.ids);
        let (mut counted, count_seconds) = staged(progress, Stage::Count, bytes, || {
            count(options, categories, progress)
        })?;
        let rows = counted.rows;
        let division = RowDivision::new(options.split, rows)?;
        let mut rank_pass = None;
        if options.ids.ranks_on(options.rank_on) == Some(RankOn::Train) {
            let train = division.rows().train;
            let ((), seconds) = staged(progress, Stage::Rank, bytes, || {
                counted.forget_from(train, options, categories, progress)
            })?;
            rank_pass = Some(PassReport::new(Stage::Rank, rows - train, seconds));
        }
        let CountedRows {
            mut tables,
            skipped,
            sources,
            ..
        } = counted;
        let skipped = skipped.into_report(&options.raw);
        let vocabularies: Vec<Vocabulary> = tables
            .par_iter_mut()
            .map(|table| number(table, options.ids, options.min_count))
            .collect();
        let schema = schema(vocabularies.iter().map(|of| of.categories.len() as u64));
        let table_rows = schema.table_rows();

        let writer_options = WriterOptions {
            force: options.force,
            shard_rows: options.shard_rows,
        };
        let mut writer =
            PackedWriter::create_locked(lock, schema, division.rows(), writer_options)?;
        for (table, vocabulary) in vocabularies.into_iter().enumerate() {
            writer.write_vocabulary(table, &vocabulary)?;
        }

        let encoder = Encoder::new(categories, tables);
        let pass = WritePass {
            options,
            encoder: &encoder,
            division: &division,
            rows,
            sources: &sources,
        };
        let (splits, write_seconds) = staged(progress, Stage::Write, bytes, || {
            pass.run(&mut writer, progress)
        })?;
        writer.finish(self.provenance(&sources, &skipped, rows, &splits))?;

        let pass = |stage, seconds| PassReport::new(stage, rows, seconds);
        let count = pass(Stage::Count, count_seconds);
        let write = pass(Stage::Write, write_seconds);
        Ok(PrepareReport {
            rows,
            clicks: splits.iter().map(|split| split.clicks).sum(),
            categories: table_rows,
            splits,
            skipped,
            sources,
            passes: [Some(count), rank_pass, Some(write)]
                .into_iter()
                .flatten()
                .collect(),
            seconds: start.elapsed().as_secs_f64(),
            packed_bytes: folder_bytes(&options.out)?,
        })
    }

    fn provenance(
        &self,
        sources: &[SourceFile],
        skipped: &[SkippedRows],
        rows: u64,
        splits: &[SplitReport],
    ) -> Provenance {
        Provenance {
            dataset: "criteo-kaggle".to_owned(),
            sources: sources.to_vec(),
            options: self.options.to_json(),
            report: serde_json::json!({ "rows": rows, "splits": splits, "skipped": skipped }),
        }
    }
}

/// The columns, for tables of so many rows.
pub(super) fn schema(rows: impl IntoIterator<Item = u64>) -> Schema {
    let table = |(table, rows): (usize, u64)| TableSchema {
        name: field_name(1 + DENSE_FEATURES + table),
        rows,
    };
    Schema {
        dense: (1..=DENSE_FEATURES).map(field_name).collect(),
        tables: rows.into_iter().enumerate().map(table).collect(),
        ..Schema::default()
    }
}
