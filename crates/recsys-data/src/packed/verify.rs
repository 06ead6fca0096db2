//! The check of every byte of a packed data set.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rayon::prelude::*;
use serde_json::Value;

use super::layout::ShardLayout;
use super::manifest::{Manifest, ShardFile, VocabularyFile};
use super::reader::read_vocabulary;
use super::shard::Shard;
use super::verify_report::{Defect, FileContent, FileReport, VerifyReport};
use super::{MANIFEST_FILE, VOCABULARY_FOLDER};
use crate::error::{Error, Result};
use crate::input_file::read_regular;
use crate::packed::error::Error as PackedError;
use crate::progress::{Progress, Stage, staged};
use crate::schema::Schema;
use crate::split::{Split, SplitRows};

/// Blocks that a thread checks between two reports of progress: some megabytes.
const BLOCKS_AT_ONCE: u64 = 64;

/// Checks every checksum, bound and count of a packed data set, and goes on after the first defect.
///
/// Every byte of every file in the manifest is covered: the manifest by its own checksum, headers, the tensors of checksums and
/// vocabularies by those in the manifest, samples by those of their blocks. Beyond that: labels lie between 0 and 1, dense values
/// are finite, ids are below the rows of their tables, vocabularies have a category for every row, and what the preparation counted
/// (samples, positive samples, categories) is what lies there. Blocks are checked on the threads of the current rayon pool.
///
/// ```no_run
/// let report = recsys_data::packed::Verify::new("kaggle").run(&())?;
/// for file in report.files.iter().filter(|file| !file.is_sound()) {
///     println!("{}: {:?}", file.file, file.defects);
/// }
/// # Ok::<(), recsys_data::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Verify {
    folder: PathBuf,
    most_defects: usize,
}

impl Verify {
    /// A check of the data set in a folder.
    pub fn new(folder: impl AsRef<Path>) -> Self {
        Self {
            folder: folder.as_ref().to_path_buf(),
            most_defects: 100,
        }
    }

    /// Lists at most so many defects of each file (100 if nobody says otherwise); others are counted.
    #[must_use]
    pub fn with_most_defects(mut self, most_defects: usize) -> Self {
        self.most_defects = most_defects.max(1);
        self
    }

    /// Does it.
    ///
    /// # Errors
    /// A folder that is missing or holds no packed data set of this version. Defects are no error but part of the report; where
    /// the manifest is damaged, the other files are compared with what can be read of it.
    pub fn run(&self, progress: &dyn Progress) -> Result<VerifyReport> {
        let start = Instant::now();
        let (manifest, error) = read_manifest(&self.folder)?;
        let mut report = VerifyReport {
            dataset: String::new(),
            rows: SplitRows::default(),
            files: vec![FileReport::new(
                MANIFEST_FILE,
                FileContent::Manifest,
                size(&self.folder.join(MANIFEST_FILE)),
            )],
            unlisted: Vec::new(),
            sources: Vec::new(),
            bytes: 0,
            seconds: 0.0,
        };
        if let Some(error) = error {
            self.add(&mut report.files[0], &error);
        }
        if let Some(manifest) = manifest {
            let shards = Split::ALL.map(|split| &manifest.splits.of(split).shards);
            let listed = shards.into_iter().flatten().map(|shard| shard.bytes);
            let vocabulary = manifest.vocabulary.iter().map(|file| file.bytes);
            let bytes = listed.chain(vocabulary).fold(0, u64::saturating_add);
            let ((), _) = staged(progress, Stage::Verify, bytes, || {
                self.check_files(&manifest, &mut report, progress);
                Ok(())
            })?;
            self.check_counts(&manifest, &mut report);
            report.unlisted = unlisted(&self.folder, &report.files)?;
            report.rows = SplitRows {
                train: manifest.rows(Split::Train),
                validation: manifest.rows(Split::Validation),
                test: manifest.rows(Split::Test),
            };
            report.dataset = manifest.provenance.dataset;
            report.sources = manifest.provenance.sources;
        }
        report.bytes = report.files.iter().map(|file| file.bytes).sum();
        report.seconds = start.elapsed().as_secs_f64();
        Ok(report)
    }

    fn add(&self, file: &mut FileReport, error: &Error) {
        file.add(Defect::of_error(error), self.most_defects);
    }

    fn check_files(&self, manifest: &Manifest, report: &mut VerifyReport, progress: &dyn Progress) {
        for split in Split::ALL {
            let mut first_sample = 0u64;
            for (number, entry) in (0..).zip(&manifest.splits.of(split).shards) {
                let layout = ShardLayout::new(&manifest.schema, split, number, entry.rows);
                let file = self.shard(entry, layout, first_sample, &manifest.schema, progress);
                report.files.push(file);
                first_sample = first_sample.saturating_add(entry.rows);
            }
        }
        let expected = counted_lookups(manifest);
        let files = manifest.vocabulary.par_iter().map(|entry| {
            let file = self.vocabulary(entry, &manifest.schema, expected);
            progress.advance(file.bytes, 0);
            file
        });
        report.files.par_extend(files);
    }

    fn shard(
        &self,
        entry: &ShardFile,
        layout: ShardLayout,
        first_sample: u64,
        schema: &Schema,
        progress: &dyn Progress,
    ) -> FileReport {
        let (split, samples) = (layout.split, layout.rows);
        let bytes = size(&self.folder.join(&entry.file));
        let content = |positives| FileContent::Shard {
            split,
            samples,
            positives,
        };
        let mut file = FileReport::new(&entry.file, content(0), bytes);
        let shard = match Shard::open(&self.folder, entry, layout, first_sample) {
            Ok(shard) => shard,
            Err(error) => {
                self.add(&mut file, &error);
                progress.advance(entry.bytes, 0);
                return file;
            }
        };
        if let Some(problem) = shard.uncovered() {
            file.add(Defect::of_file(problem), self.most_defects);
        }
        let blocks = shard.blocks();
        let groups: Vec<_> = (0..blocks.div_ceil(BLOCKS_AT_ONCE))
            .into_par_iter()
            .map(|group| {
                let (mut errors, mut positives) = (Vec::new(), 0);
                let group = group * BLOCKS_AT_ONCE..blocks.min((group + 1) * BLOCKS_AT_ONCE);
                let share = (group.end - group.start) as f64 / blocks as f64;
                for block in group.clone() {
                    shard.examine(block, schema, &mut errors);
                    positives += shard.positives(block);
                }
                let rows = shard.rows_of(group);
                progress.advance((bytes as f64 * share) as u64, rows.end - rows.start);
                (errors, positives)
            })
            .collect();
        for error in groups.iter().flat_map(|(errors, _)| errors) {
            self.add(&mut file, error);
        }
        file.content = content(groups.iter().map(|(_, positives)| positives).sum());
        file
    }

    /// `expected` is the sum of its counts, where that is known.
    fn vocabulary(
        &self,
        entry: &VocabularyFile,
        schema: &Schema,
        expected: Option<u64>,
    ) -> FileReport {
        let table = schema.tables.iter().find(|table| table.name == entry.table);
        let content = FileContent::Vocabulary {
            table: entry.table.clone(),
            rows: table.map_or(0, |table| table.rows),
        };
        let bytes = size(&self.folder.join(&entry.file));
        let mut file = FileReport::new(&entry.file, content, bytes);
        let Some(table) = table else {
            file.add(
                Defect::of_file("it belongs to no table of the schema"),
                self.most_defects,
            );
            return file;
        };
        match read_vocabulary(&self.folder, entry, table) {
            Err(error) => self.add(&mut file, &error),
            Ok(vocabulary) => {
                let sum = vocabulary
                    .counts
                    .iter()
                    .fold(0, |sum: u64, &count| sum.saturating_add(count));
                if let Some(expected) = expected.filter(|&expected| expected != sum) {
                    file.add(
                        Defect::of_file(format!(
                            "its counts add up to {sum}, and {expected} were counted"
                        )),
                        self.most_defects,
                    );
                }
            }
        }
        file
    }

    /// Compares what the preparation says it wrote with what lies there, for splits whose files are sound.
    fn check_counts(&self, manifest: &Manifest, report: &mut VerifyReport) {
        for split in Split::ALL {
            let mut positives = Some(0);
            for file in &report.files {
                if let FileContent::Shard {
                    split: of,
                    positives: more,
                    ..
                } = file.content
                    && of == split
                {
                    positives = positives
                        .filter(|_| file.is_sound())
                        .map(|sum: u64| sum + more);
                }
            }
            let reported = manifest.provenance.report["splits"].as_array();
            let Some(reported) = reported
                .and_then(|splits| splits.iter().find(|entry| entry["split"] == split.name()))
            else {
                continue;
            };
            let found = [
                ("samples", "rows", Some(manifest.rows(split))),
                ("positive samples", "clicks", positives),
            ];
            for (what, key, found) in found {
                let Some((found, expected)) = found.zip(reported[key].as_u64()) else {
                    continue;
                };
                if found != expected {
                    report.files[0].add(
                        Defect::of_file(format!(
                            "{split} has {found} {what}, and the preparation counted {expected}"
                        )),
                        self.most_defects,
                    );
                }
            }
        }
    }
}

/// The manifest as far as it can be read, and what is wrong with it.
fn read_manifest(folder: &Path) -> Result<(Option<Manifest>, Option<Error>)> {
    match Manifest::read(folder) {
        Ok(manifest) => Ok((Some(manifest), None)),
        Err(
            error @ (Error::Packed(PackedError::Altered { .. })
            | Error::Packed(PackedError::Manifest { .. })),
        ) => {
            let path = folder.join(MANIFEST_FILE);
            let bytes = read_regular(&path).map_err(Error::io("cannot read", &path))?;
            let manifest: Option<Manifest> = serde_json::from_slice(&bytes).ok();
            let manifest =
                manifest.filter(|manifest| manifest.adds_up() && manifest.outside().is_none());
            Ok((manifest, Some(error)))
        }
        Err(error) => Err(error),
    }
}

/// Size of a file; 0 where there is none.
fn size(path: &Path) -> u64 {
    path.metadata().map_or(0, |metadata| metadata.len())
}

/// What the counts of every vocabulary add up to, where the manifest says what was counted.
fn counted_lookups(manifest: &Manifest) -> Option<u64> {
    let Manifest {
        schema, provenance, ..
    } = manifest;
    let (options, report) = (&provenance.options, &provenance.report);
    let positions = schema.positions() as u64;
    match provenance.dataset.as_str() {
        // The vocabulary is that of another data set.
        _ if !options["vocabulary"].is_null() => None,
        "criteo-kaggle" | "criteo-terabyte" | "taobao-userbehavior"
            if options["rank_on"] == "train" =>
        {
            manifest.rows(Split::Train).checked_mul(positions)
        }
        // Rows that sub-sampling left out are neither counted nor reported.
        "criteo-kaggle" | "criteo-terabyte" => report["rows"].as_u64(),
        "taobao-userbehavior" if options["import"] == Value::Null => report["events"].as_u64(),
        // Every position of every sample is counted.
        "taobao-userbehavior" => {
            let samples = Split::ALL
                .into_iter()
                .try_fold(0u64, |sum, split| sum.checked_add(manifest.rows(split)));
            samples?.checked_mul(positions)
        }
        _ => None,
    }
}

/// Names of files in the folder that are not among `files`, in order.
fn unlisted(folder: &Path, files: &[FileReport]) -> Result<Vec<String>> {
    let listed: BTreeSet<&str> = files.iter().map(|file| file.file.as_str()).collect();
    let mut found = BTreeSet::new();
    for (below, prefix) in [
        (None, String::new()),
        (Some(VOCABULARY_FOLDER), format!("{VOCABULARY_FOLDER}/")),
    ] {
        let path = below.map_or(folder.to_path_buf(), |below| folder.join(below));
        if below.is_some() && !path.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(&path).map_err(Error::io("cannot read", &path))? {
            let name = entry.map_err(Error::io("cannot read", &path))?.file_name();
            let name = format!("{prefix}{}", name.to_string_lossy());
            if name != VOCABULARY_FOLDER && !listed.contains(name.as_str()) {
                found.insert(name);
            }
        }
    }
    Ok(found.into_iter().collect())
}
