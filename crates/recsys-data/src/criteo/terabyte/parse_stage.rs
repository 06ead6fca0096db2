//! Text to columns, several days at a time.

use std::path::Path;
use std::sync::Mutex;

use super::super::RowFieldDefect;
use super::super::encode::{Categories, Logarithms};
use super::super::parse::parse_rows;
use super::TerabyteOptions;
use super::columns::ColumnWriter;
use super::days::Day;
use super::sub_sample::SubSample;
use super::tasks::in_order;
use super::work_folder::WorkFolder;
use crate::criteo::error::Error as CriteoError;
use crate::error::{Error, Result};
use crate::packed::SourceFile;
use crate::progress::Progress;
use crate::text::{BadRows, Chunk, Chunks, SkipLog, Source};

/// What all days are parsed with.
pub(super) struct ParseStage<'a> {
    pub(super) options: &'a TerabyteOptions,
    pub(super) folder: &'a WorkFolder,
    pub(super) categories: Categories,
    pub(super) block_rows: usize,
    pub(super) workers: usize,
}

impl ParseStage<'_> {
    /// Parses the days that `days` lacks.
    ///
    /// # Errors
    /// A file that cannot be read, a bad row unless those are skipped, a full disk. Days that were complete by then are kept.
    pub(super) fn run(&self, days: Vec<Option<Day>>, progress: &dyn Progress) -> Result<Vec<Day>> {
        let logarithms = Logarithms::new();
        let missing: Vec<usize> = (0..days.len()).filter(|&day| days[day].is_none()).collect();
        let parsed = Mutex::new(days);
        in_order(missing.len(), self.workers, Vec::new, |memory, task| {
            let day = missing[task];
            let found = self.parse(day, &logarithms, memory, progress)?;
            // The lock is held for an assignment, which does not panic.
            if let Ok(mut parsed) = parsed.lock() {
                parsed[day] = Some(found);
            }
            Ok(())
        })?;
        let parsed = parsed.into_inner().unwrap_or_default();
        Ok(parsed.into_iter().flatten().collect())
    }

    fn parse(
        &self,
        day: usize,
        logarithms: &Logarithms,
        memory: &mut Vec<u8>,
        progress: &dyn Progress,
    ) -> Result<Day> {
        let unfinished = self.folder.unfinished(&format!("{day:02}.columns"));
        let path = &self.options.raw[day];
        let mut parser = DayParser {
            stage: self,
            path,
            sub_sample: SubSample::new(self.options, day),
            writer: ColumnWriter::create(
                &unfinished,
                logarithms,
                self.block_rows,
                std::mem::take(memory),
            )?,
            day: Day {
                source: SourceFile::default(),
                rows: 0,
                clicks: 0,
                dropped: 0,
                skipped: Vec::new(),
            },
            skipped: SkipLog::default(),
        };
        let mut chunks = Chunks::new(Source::text(path)?, day);
        while let Some(chunk) = chunks.next()? {
            let before = parser.day.rows + parser.day.dropped;
            parser.chunk(&chunk)?;
            let rows = parser.day.rows + parser.day.dropped - before;
            progress.advance(chunk.stored_bytes, rows);
        }
        let DayParser {
            writer,
            day: mut found,
            skipped,
            ..
        } = parser;
        *memory = writer.finish()?;
        found.source = chunks.into_source().identity();
        found.skipped = skipped.into_report(&self.options.raw);
        self.folder.keep(&unfinished, &Day::columns_name(day))?;
        found.save(self.folder, day)?;
        Ok(found)
    }
}

struct DayParser<'a> {
    stage: &'a ParseStage<'a>,
    path: &'a Path,
    sub_sample: SubSample,
    writer: ColumnWriter<'a>,
    day: Day,
    skipped: SkipLog<RowFieldDefect>,
}

impl DayParser<'_> {
    fn chunk(&mut self, chunk: &Chunk) -> Result<()> {
        let Self {
            stage,
            path,
            sub_sample,
            writer,
            day,
            skipped,
        } = self;
        let mut written = Ok(());
        let good = |row: &super::super::RawRow| {
            let number = day.rows + day.dropped;
            if sub_sample.drops(number, row.label) {
                day.dropped += 1;
                return;
            }
            day.rows += 1;
            day.clicks += u64::from(row.label);
            let mut row = *row;
            stage.categories.apply(&mut row);
            if written.is_ok() {
                written = writer.push(&row);
            }
        };
        parse_rows(&chunk.text, good, |line, defect| {
            let line = chunk.first_line + line;
            match stage.options.bad_rows {
                BadRows::Skip => skipped.add(chunk.file, line, defect),
                BadRows::Error => {
                    let path = path.to_path_buf();
                    return Err(Error::Criteo(CriteoError::BadRow { path, line, defect }));
                }
            }
            Ok(())
        })?;
        written
    }
}
