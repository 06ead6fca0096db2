//! The preparation from its options to the data set under its name.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::encode::Categories;
use super::super::prepare::schema;
use super::budget::Budget;
use super::count_stage::CountStage;
use super::days::{Day, Days};
use super::dictionary::groups;
use super::encode_stage::{EncodeStage, encoded};
use super::meter::RowMeter;
use super::numbering::Numbered;
use super::parse_stage::ParseStage;
use super::report::{DayReport, Resumed, TerabyteReport};
use super::work_folder::WorkFolder;
use super::write_stage::{WriteStage, shards};
use super::{Limits, TerabyteOptions, disk, splits};
use crate::criteo::TABLES;
use crate::criteo::report::PassReport;
use crate::error::{Error, Result};
use crate::packed::{
    MANIFEST_FILE, OutputLock, Provenance, check_target, publish, write_manifest, xxh3_hex,
};
use crate::progress::{Progress, Stage, staged};
use crate::rank_on::RankOn;
use crate::text::Error as TextError;
use crate::text::{SkippedRows, check_contents, folder_bytes, stored_bytes};

/// Prepares Criteo's click logs by days, in bounded memory, and continues where it was interrupted.
///
/// Text is parsed once, several days at a time, on the threads of the current rayon pool. Columns, counts and finished shards lie in
/// the folder `.NAME.work` beside the output until that is complete; the same preparation continues from there, with any
/// memory and any number of threads. The output has the same bytes whatever these are and wherever it was interrupted.
///
/// After an error the folder stays if a day is complete in it, so that the work is not lost.
#[derive(Debug, Clone)]
pub struct PrepareTerabyte {
    options: TerabyteOptions,
    limits: Limits,
}

/// Written before the data set gets its name, so that a kill between that and the end is recognised.
#[derive(Serialize, Deserialize)]
struct Published {
    manifest_xxh3: String,
    report: TerabyteReport,
}

const PUBLISHED: &str = "published.json";

impl PrepareTerabyte {
    /// A preparation that has not begun.
    pub fn new(options: TerabyteOptions) -> Self {
        Self {
            options,
            limits: Limits::default(),
        }
    }

    #[cfg(test)]
    pub(super) fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Does it, or what is left of it.
    ///
    /// # Errors
    /// An option without meaning; a raw file that is missing, empty or damaged; a bad row, unless those are skipped; an output folder
    /// that holds something, unless it may be replaced; an interrupted preparation with other options, or one that another process is
    /// at; too little memory or disk.
    pub fn run(&self, progress: &dyn Progress) -> Result<TerabyteReport> {
        let options = &self.options;
        options.validate()?;
        let sizes = options.raw.iter().map(|path| stored_bytes(path));
        let sizes = sizes.collect::<Result<Vec<u64>>>()?;
        let budget = Budget::new(options.memory, rayon::current_num_threads(), self.limits)?;
        let lock = OutputLock::take(&options.out)?;
        let target = lock.target();
        WorkFolder::remove_closed(target)?;
        if options.restart || !WorkFolder::has_in(target, PUBLISHED) {
            check_contents(&options.out, &options.raw, options.force)?;
            check_target(target, options.force)?;
        }
        let folder = WorkFolder::open(target, &self.state(), options.restart)?;
        if let Some(report) = self.published(target, &folder)? {
            folder.close()?;
            return Ok(report);
        }
        let run = Run {
            options,
            limits: self.limits,
            budget,
            folder: &folder,
            progress,
            start: Instant::now(),
        };
        let result = run.prepare(&sizes, target);
        // Nothing is lost with a folder that has no complete day.
        if result.is_ok() || !Day::any(&folder, options.raw.len()) {
            folder.close()?;
        }
        result
    }

    /// The report of a data set that got its name just before a kill.
    fn published(&self, target: &Path, folder: &WorkFolder) -> Result<Option<TerabyteReport>> {
        let Some(published) = folder.load::<Published>(PUBLISHED)? else {
            return Ok(None);
        };
        let manifest = fs::read(target.join(MANIFEST_FILE)).unwrap_or_default();
        let there = xxh3_hex(&manifest) == published.manifest_xxh3;
        Ok(there.then_some(published.report))
    }

    /// What the contents of the work folder depend on.
    fn state(&self) -> Value {
        let name = |path: &std::path::PathBuf| {
            let name = path.file_name().unwrap_or_default();
            name.to_string_lossy().into_owned()
        };
        let sources: Vec<String> = self.options.raw.iter().map(name).collect();
        let mut state = self.options.to_json();
        state["raw"] = json!(sources);
        state["block_rows"] = json!(self.limits.block_rows);
        state["partition"] = json!(self.limits.partition);
        state["tool_version"] = json!(env!("CARGO_PKG_VERSION"));
        state
    }
}

/// A run with its work folder.
struct Run<'a> {
    options: &'a TerabyteOptions,
    limits: Limits,
    budget: Budget,
    folder: &'a WorkFolder,
    progress: &'a dyn Progress,
    start: Instant,
}

impl Run<'_> {
    fn prepare(&self, sizes: &[u64], target: &Path) -> Result<TerabyteReport> {
        let (options, folder, progress) = (self.options, self.folder, self.progress);
        let mut resumed = Resumed::default();
        let (days, disk_bytes, parse_seconds) = self.parse(sizes, &mut resumed)?;
        let rows = days.rows();
        let divided = splits::divide(&days, options.split);
        let split_reports = splits::report(folder, &days, &divided)?;

        let train = splits::train(&divided).end;
        let count = CountStage {
            options,
            folder,
            days: &days,
            counted: match options.ids.ranks_on(options.rank_on) {
                Some(RankOn::Train) => train,
                Some(RankOn::All) | None => rows,
            },
            budget: self.budget,
        };
        for table in 0..TABLES {
            resumed.tables += u64::from(Numbered::load(folder, table)?.is_some());
        }
        let (tables, count_seconds) = staged(progress, Stage::Count, count.bytes()?, || {
            count.run(&RowMeter::new(progress, TABLES as u64))
        })?;

        let schema = schema(tables.iter().map(|table| table.rows));
        let (workers, dictionaries) = self.budget.encoders();
        let shards = shards(&divided, options.shard_rows);
        let write = WriteStage {
            folder,
            days: &days,
            tables: &tables,
            schema: &schema,
            shards: &shards,
            workers,
        };
        let encode = EncodeStage {
            folder,
            days: &days,
            tables: &tables,
            workers,
        };
        let mut encoded = encoded(folder)?;
        let groups = groups(&tables, &encoded, dictionaries);
        disk::check_writing(&write, &groups, &encoded, progress)?;
        let (last, before) = groups
            .split_last()
            .map_or((&[][..], &[][..]), |(last, before)| (&last[..], before));
        let patched: u64 = before.iter().flatten().count() as u64 * 4 * rows;
        let (finished, write_seconds) =
            staged(progress, Stage::Write, write.bytes()? + patched, || {
                for group in before {
                    encode.run(group, &mut encoded, progress)?;
                }
                write.run(last, &encoded, progress)
            })?;
        resumed.shards = finished;

        let pass = |stage, seconds| PassReport {
            stage,
            seconds,
            rows_per_second: rows as f64 / seconds,
        };
        let days = &days.days;
        let report = TerabyteReport {
            days: day_reports(days),
            rows,
            clicks: days.iter().map(|day| day.clicks).sum(),
            dropped: days.iter().map(|day| day.dropped).sum(),
            categories: schema.table_rows(),
            splits: split_reports,
            skipped: skipped(days),
            passes: vec![
                pass(Stage::Parse, parse_seconds),
                pass(Stage::Count, count_seconds),
                pass(Stage::Write, write_seconds),
            ],
            seconds: 0.0,
            packed_bytes: 0,
            disk_bytes,
            count_runs: tables.iter().map(|table| table.runs).sum(),
            encode_passes: groups.len() as u64,
            resumed,
        };
        self.publish(&write, report, target)
    }

    fn parse(&self, sizes: &[u64], resumed: &mut Resumed) -> Result<(Days, u64, f64)> {
        let (options, folder) = (self.options, self.folder);
        let mut days = Vec::new();
        for (day, (path, &bytes)) in options.raw.iter().zip(sizes).enumerate() {
            days.push(Day::load(folder, day, path, bytes)?);
        }
        let left = days.iter().zip(sizes).filter(|(day, _)| day.is_none());
        let bytes: u64 = left.map(|(_, bytes)| bytes).sum();
        resumed.days = days.iter().flatten().count() as u64;
        let disk_bytes = if bytes == 0 {
            0
        } else {
            let parsed: Vec<_> = days
                .iter()
                .map(|day| day.as_ref().map(|day| day.rows))
                .collect();
            disk::check_before(
                options,
                sizes,
                &parsed,
                &self.budget,
                self.limits,
                folder.path(),
                self.progress,
            )?
        };
        let stage = ParseStage {
            options,
            folder,
            categories: Categories::new(options.max_ind_range, options.ids),
            block_rows: self.limits.block_rows,
            workers: self.budget.parsers(),
        };
        let (days, seconds) = staged(self.progress, Stage::Parse, bytes, || {
            stage.run(days, self.progress)
        })?;
        let days = Days::new(folder, days, self.limits);
        if days.rows() == 0 {
            let skipped = days.days.iter().flat_map(|day| &day.skipped);
            return Err(Error::Text(TextError::NoRows {
                skipped: skipped.map(|kind| kind.rows).sum(),
            }));
        }
        Ok((days, disk_bytes, seconds))
    }

    /// Writes the manifest and gives the data set its name.
    fn publish(
        &self,
        write: &WriteStage<'_>,
        mut report: TerabyteReport,
        target: &Path,
    ) -> Result<TerabyteReport> {
        let folder = self.folder;
        let data = folder.at("data");
        // A killed run may have come as far as this.
        folder.remove(&format!("data/{MANIFEST_FILE}"))?;
        let vocabulary = write.tables.iter().map(|table| table.vocabulary.clone());
        let provenance = self.provenance(&report);
        write_manifest(
            &data,
            write.schema.clone(),
            write.splits()?,
            vocabulary.collect(),
            provenance,
        )?;
        report.packed_bytes = folder_bytes(&data)?;
        report.seconds = self.start.elapsed().as_secs_f64();
        let path = data.join(MANIFEST_FILE);
        let manifest = fs::read(&path).map_err(Error::io("cannot read", &path))?;
        let manifest_xxh3 = xxh3_hex(&manifest);
        let published = Published {
            manifest_xxh3,
            report,
        };
        folder.save(PUBLISHED, &published)?;
        publish(&data, target, self.options.force)?;
        Ok(published.report)
    }

    fn provenance(&self, report: &TerabyteReport) -> Provenance {
        let days = report.days.iter();
        let days: Vec<Value> = days
            .map(|day| json!({ "rows": day.rows, "clicks": day.clicks, "dropped": day.dropped }))
            .collect();
        Provenance {
            dataset: "criteo-terabyte".to_owned(),
            sources: report.days.iter().map(|day| day.source.clone()).collect(),
            options: self.options.to_json(),
            report: json!({
                "rows": report.rows,
                "days": days,
                "splits": report.splits,
                "skipped": report.skipped,
            }),
        }
    }
}

fn day_reports(days: &[Day]) -> Vec<DayReport> {
    let report = |(number, day): (usize, &Day)| DayReport {
        source: day.source.clone(),
        splits: splits::of_day(number, days.len()),
        rows: day.rows,
        clicks: day.clicks,
        dropped: day.dropped,
    };
    days.iter().enumerate().map(report).collect()
}

/// Lines left out of all days, the first example of each kind.
fn skipped(days: &[Day]) -> Vec<SkippedRows> {
    let mut kinds: BTreeMap<&str, SkippedRows> = BTreeMap::new();
    for kind in days.iter().flat_map(|day| &day.skipped) {
        match kinds.get_mut(&*kind.kind) {
            Some(first) => first.rows += kind.rows,
            None => {
                kinds.insert(&kind.kind, kind.clone());
            }
        }
    }
    kinds.into_values().collect()
}
