//! Sequences that the original programs prepared, as a packed data set.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use super::encode::rank;
use super::foreign_sequences::ForeignSequences;
use super::npz::read_npz;
use super::sequence_text::{Use, samples_of};
use super::{PointsPerUser, TABLES, schema};
use crate::batch::Batch;
use crate::category_counts::CategoryCounts;
use crate::criteo::{PassReport, SplitReport};
use crate::error::{Error, Result};
use crate::packed::{PackedWriter, Provenance, SourceFile, WriterOptions};
use crate::progress::{Progress, Stage, staged};
use crate::rank_on::RankOn;
use crate::split::{Split, SplitRows};
use crate::taobao::error::Error as TaobaoError;
use crate::text::Error as TextError;
use crate::text::{check_output, folder_bytes, identity, read_all, stored_bytes};

/// Positions of a sample of the original programs.
const POSITIONS: u32 = 21;

/// What becomes of the ids of the original programs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SequenceIds {
    /// They become ranks, 0 the most frequent.
    #[default]
    Rank,
    /// They stay, so that weights of the original programs fit; there is no vocabulary.
    Keep {
        /// Rows of the tables of users, items and categories; `None` for as many as the largest ids
        /// need. Text needs them: users and categories are numbered behind the items there, and
        /// are brought back as the original does.
        rows: Option<[u64; 3]>,
    },
}

/// What to import. Files are `.npz` files (`taobao_train_t20.npz`) or text (`taobao_train.txt`; plain, `.gz`, `.zst` or `.zip`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportOptions {
    /// Training samples; text is windowed.
    pub train: PathBuf,
    /// Validation samples; text is windowed, one window of either sign for each line.
    pub validation: Option<PathBuf>,
    /// Test samples; text gives the end of every sequence, with its label.
    pub test: Option<PathBuf>,
    /// Folder of the packed data set.
    pub out: PathBuf,
    /// Over which samples ranks are counted.
    pub rank_on: RankOn,
    /// What becomes of ids.
    pub ids: SequenceIds,
    /// Text: windows of either sign for lines with at least 40 events; shorter ones give less.
    pub points_per_user: u32,
    /// Text: training lines that are read.
    pub train_lines: u64,
    /// Text: validation lines that are read.
    pub validation_lines: u64,
    /// Text: seed of the windows.
    pub seed: u64,
    /// Whether an output folder that holds something is replaced.
    pub force: bool,
    /// Most samples of one output file.
    pub shard_rows: u64,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self {
            train: PathBuf::new(),
            validation: None,
            test: None,
            out: PathBuf::new(),
            rank_on: RankOn::default(),
            ids: SequenceIds::Rank,
            points_per_user: PointsPerUser::REFERENCE,
            train_lines: 690_000,
            validation_lines: 300_000,
            seed: 0,
            force: false,
            shard_rows: 1 << 21,
        }
    }
}

/// What an import found and did.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ImportReport {
    /// Distinct users, items and categories.
    pub categories: [u64; 3],
    /// Train, validation and test; clicks are samples with label 1.
    pub splits: Vec<SplitReport>,
    /// The files.
    pub sources: Vec<SourceFile>,
    /// The two passes over them.
    pub passes: Vec<PassReport>,
    /// From start to end, in seconds.
    pub seconds: f64,
    /// Size of the data set on disk, in bytes.
    pub packed_bytes: u64,
}

/// Imports sequences: pass one counts their ids, pass two writes ranks, 0 the most frequent over
/// all positions of the training samples or of all, ties in order of first appearance. The
/// vocabulary says which id of the other program a rank is.
///
/// Memory is that of some thousand samples, and 20 to 35 bytes for each distinct id.
#[derive(Debug, Clone)]
pub struct ImportTaobao {
    options: ImportOptions,
}

impl ImportTaobao {
    /// An import that has not begun.
    pub fn new(options: ImportOptions) -> Self {
        Self { options }
    }

    /// Does it.
    ///
    /// # Errors
    /// A file that is missing, damaged or not of the original's form, or that changes meanwhile; the same file for two parts; an
    /// output folder that holds something, unless it may be replaced; a full disk.
    pub fn run(&self, progress: &dyn Progress) -> Result<ImportReport> {
        let start = Instant::now();
        let options = &self.options;
        let files = self.files()?;
        let paths: Vec<PathBuf> = files.iter().map(|(_, path)| path.to_path_buf()).collect();
        let sizes: Result<Vec<u64>> = paths.iter().map(|path| stored_bytes(path)).collect();
        let bytes = sizes?.iter().sum();
        let lock = check_output(&options.out, &paths, options.force)?;

        let mut tables = [(); 3].map(|()| CategoryCounts::new());
        let mut rows = SplitRows::default();
        let (sources, count_seconds) = staged(progress, Stage::Count, bytes, || {
            self.read(&files, progress, |split, foreign| {
                let counts = options.rank_on == RankOn::All || split == Split::Train;
                for row in foreign.ids.chunks_exact(3) {
                    for (table, &id) in tables.iter_mut().zip(row) {
                        let entry = table.add(id);
                        if !counts {
                            table.remove(entry);
                        }
                    }
                }
                super::rules::add(&mut rows, split, foreign.label.len() as u64);
                self.check_ids(&tables)
            })
        })?;
        let samples = rows.train + rows.validation + rows.test;
        if samples == 0 {
            return Err(Error::Text(TextError::NoRows { skipped: 0 }));
        }

        let kept = self.kept_rows(&tables)?;
        let categories = kept.unwrap_or(tables.each_ref().map(|table| table.len() as u64));
        let vocabularies = match kept {
            Some(_) => Vec::new(),
            None => Vec::from(tables.each_mut().map(|table| {
                let (ids, vocabulary) = rank(table.values(), table.counts(), |_| true, false);
                table.renumber(&ids);
                vocabulary
            })),
        };
        let writer_options = WriterOptions {
            force: options.force,
            shard_rows: options.shard_rows,
        };
        let schema = schema(POSITIONS, categories);
        let mut writer = PackedWriter::create_locked(lock, schema, rows, writer_options)?;
        for (table, vocabulary) in vocabularies.iter().enumerate() {
            writer.write_vocabulary(table, vocabulary)?;
        }
        let mut splits = Split::ALL.map(|split| SplitReport {
            split,
            rows: 0,
            clicks: 0,
        });
        let (again, write_seconds) = staged(progress, Stage::Write, bytes, || {
            self.read(&files, progress, |split, foreign| {
                let report = &mut splits[split as usize];
                let clicks = foreign.label.iter().filter(|&&label| label == 1.0);
                report.clicks += clicks.count() as u64;
                report.rows += foreign.label.len() as u64;
                match translated(foreign, kept.is_none().then_some(&tables)) {
                    Some(batch) => writer.append(split, &batch),
                    None => Err(Error::Text(TextError::SourceChanged {
                        path: files[0].1.to_path_buf(),
                    })),
                }
            })
        })?;
        for ((now, before), (_, path)) in again.iter().zip(&sources).zip(&files) {
            if now != before {
                return Err(Error::Text(TextError::SourceChanged {
                    path: path.to_path_buf(),
                }));
            }
        }
        writer.finish(Provenance {
            dataset: "taobao-userbehavior".to_owned(),
            sources: sources.clone(),
            options: serde_json::json!({
                "rank_on": options.rank_on,
                "import": files.iter().map(|(split, _)| split.name()).collect::<Vec<_>>(),
                "ids": match options.ids {
                    SequenceIds::Rank => "rank",
                    SequenceIds::Keep { .. } => "keep",
                },
                "points_per_user": options.points_per_user,
                "train_lines": options.train_lines,
                "validation_lines": options.validation_lines,
                "seed": options.seed,
                "shard_rows": options.shard_rows,
            }),
            report: serde_json::json!({ "splits": splits, "categories": categories }),
        })?;
        let pass = |stage, seconds| PassReport {
            stage,
            seconds,
            rows_per_second: samples as f64 / seconds,
        };
        Ok(ImportReport {
            categories,
            splits: splits.into(),
            sources,
            passes: vec![
                pass(Stage::Count, count_seconds),
                pass(Stage::Write, write_seconds),
            ],
            seconds: start.elapsed().as_secs_f64(),
            packed_bytes: folder_bytes(&options.out)?,
        })
    }

    /// The files in the order in which they are read; no file may be two parts.
    fn files(&self) -> Result<Vec<(Split, &Path)>> {
        let options = &self.options;
        let invalid = |option, value: String, allowed| {
            Err(Error::InvalidOption {
                option,
                value,
                allowed,
            })
        };
        if options.out.as_os_str().is_empty() {
            return invalid(
                "out",
                "\"\"".to_owned(),
                "the folder of the packed data set",
            );
        }
        if options.shard_rows == 0 {
            return invalid("shard_rows", "0".to_owned(), "1 or more samples");
        }
        let parts = [
            (Split::Train, Some(&options.train)),
            (Split::Validation, options.validation.as_ref()),
            (Split::Test, options.test.as_ref()),
        ];
        let files: Vec<(Split, &Path)> = parts
            .into_iter()
            .filter_map(|(split, path)| Some((split, path?.as_path())))
            .collect();
        Ok(files)
    }

    /// The rows of every table where ids are kept.
    ///
    /// # Errors
    /// An id beyond the given rows.
    fn kept_rows(&self, tables: &[CategoryCounts; 3]) -> Result<Option<[u64; 3]>> {
        let SequenceIds::Keep { rows } = self.options.ids else {
            return Ok(None);
        };
        let largest = |table: &CategoryCounts| table.values().iter().max().copied();
        let needed = tables
            .each_ref()
            .map(|table| largest(table).map_or(0, |id| u64::from(id) + 1));
        let given = rows.unwrap_or(needed);
        for ((name, needed), given) in TABLES.into_iter().zip(needed).zip(given) {
            if needed > given {
                return Err(Error::InvalidOption {
                    option: "ids",
                    value: format!(
                        "keep, with {given} rows for {name}, of which id {} occurs",
                        needed - 1
                    ),
                    allowed: "the rows that the original program has, which are more than any id",
                });
            }
        }
        Ok(Some(given))
    }

    /// Gives the ids of text the numbers that the original gives them, where they are kept: users
    /// and categories begin behind the items, and what lies before them is 0.
    fn unshare(&self, ids: &mut [u32]) {
        if let SequenceIds::Keep { rows: Some(rows) } = self.options.ids {
            let [users, items, _] = rows.map(|rows| u32::try_from(rows).unwrap_or(u32::MAX));
            for row in ids.chunks_exact_mut(3) {
                row[0] = row[0].saturating_sub(items);
                row[2] = row[2].saturating_sub(items.saturating_add(users));
            }
        }
    }

    fn check_ids(&self, tables: &[CategoryCounts; 3]) -> Result<()> {
        for (table, counts) in TABLES.into_iter().zip(tables) {
            if counts.len() > CategoryCounts::MOST {
                return Err(Error::Taobao(TaobaoError::TooManyDistinct {
                    table,
                    most: CategoryCounts::MOST as u64,
                }));
            }
        }
        Ok(())
    }

    /// Shows all samples, file by file.
    fn read(
        &self,
        files: &[(Split, &Path)],
        progress: &dyn Progress,
        mut consume: impl FnMut(Split, ForeignSequences) -> Result<()> + Send,
    ) -> Result<Vec<SourceFile>> {
        let mut sources = Vec::new();
        for &(split, path) in files {
            let mut take = |foreign: ForeignSequences| {
                progress.advance(foreign.stored_bytes, foreign.label.len() as u64);
                consume(split, foreign)
            };
            let is_npz = path
                .extension()
                .and_then(OsStr::to_str)
                .is_some_and(|extension| extension.eq_ignore_ascii_case("npz"));
            if is_npz {
                read_npz(path, POSITIONS as usize, take)?;
                let source = identity(path)?;
                progress.advance(source.bytes, 0);
                sources.push(source);
            } else {
                if self.options.ids == (SequenceIds::Keep { rows: None }) {
                    return Err(Error::InvalidOption {
                        option: "ids",
                        value: format!("keep, for the text {}", path.display()),
                        allowed: "the rows of users, items and categories with it, as \
                                  987994-4162024-9439: text numbers all ids together",
                    });
                }
                let (usage, last) = self.usage(split);
                let found = read_all(
                    &[path.to_path_buf()],
                    |chunk| samples_of(&chunk, path, usage, last),
                    |chunks| {
                        chunks.into_iter().try_for_each(|mut chunk| {
                            self.unshare(&mut chunk.ids);
                            take(chunk)
                        })
                    },
                )?;
                sources.extend(found);
            }
        }
        Ok(sources)
    }

    /// What is made of the lines of a text file, and how many lines are read.
    fn usage(&self, split: Split) -> (Use, u64) {
        let options = &self.options;
        let windows = |seed, most| Use::Windows {
            seed,
            points: options.points_per_user,
            most,
        };
        match split {
            Split::Train => (windows(options.seed, u32::MAX), options.train_lines),
            // The original adds 31 to the seed of validation.
            Split::Validation => (
                windows(options.seed.wrapping_add(31), 1),
                options.validation_lines,
            ),
            Split::Test => (Use::Target, u64::MAX),
        }
    }
}

/// Samples with ranks for ids, or with their own ids where there are no ranks; `None` where an id
/// was not counted.
fn translated(foreign: ForeignSequences, ranks: Option<&[CategoryCounts; 3]>) -> Option<Batch> {
    let mut batch = Batch {
        label: foreign.label,
        dense: foreign.dense,
        ..Batch::default()
    };
    batch.sparse.ids = foreign.ids;
    let Some(tables) = ranks else {
        return Some(batch);
    };
    for row in batch.sparse.ids.chunks_exact_mut(3) {
        for (table, id) in tables.iter().zip(row) {
            *id = table.entry(*id)?;
        }
    }
    Some(batch)
}
