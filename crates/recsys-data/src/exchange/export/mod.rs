//! Packed data sets in the formats of other programs.

#[cfg(feature = "parquet")]
mod columns;
mod integers;
mod mlperf;
mod npz;
mod output;
mod samples;
mod torchrec;

use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use serde::Serialize;

use super::rules::DenseValues;
use crate::error::{Error, Result};
use crate::exchange::error::Error as ExchangeError;
use crate::packed::Error as PackedError;
use crate::packed::{OutputFolder, OutputLock, PackedDataset};
use crate::progress::Progress;
use crate::schema::Schema;
use crate::split::Split;

pub use output::ExportedFile;
use output::Output;
use samples::Part;

/// Days of Criteo Kaggle in the original programs.
const KAGGLE_DAYS: u64 = 7;
/// Days of Criteo Terabyte.
const TERABYTE_DAYS: u64 = 24;

/// The format of another program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ExportFormat {
    /// Archives of `X_int`, `X_cat`, `y` and `counts`, and files with the counts; which archives,
    /// an [`ExportLayout`] says. Sequences: `taobao_train_t20.npz`, `…_val_…`, `…_test_…`.
    Npz,
    /// `terabyte_processed_train.bin`, `…_val.bin`, `…_test.bin`, and `day_fea_count.npz`.
    MlPerf,
    /// `NAME_dense.npy`, `NAME_sparse.npy`, `NAME_labels.npy`; which names, an [`ExportLayout`]
    /// says.
    TorchRec,
    /// `train.parquet` and so on, and `mapping.toml`, under which `fae prepare table` reads them;
    /// needs the feature `parquet`.
    Parquet,
}

impl ExportFormat {
    /// A word for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Npz => "npz",
            Self::MlPerf => "mlperf",
            Self::TorchRec => "torchrec",
            Self::Parquet => "parquet",
        }
    }

    /// What the dense values of such files usually are.
    pub fn usual_dense(self) -> DenseValues {
        match self {
            Self::Npz | Self::MlPerf => DenseValues::Log,
            Self::TorchRec | Self::Parquet => DenseValues::AsIs,
        }
    }
}

/// Which files the samples go to, for formats whose programs find them by their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ExportLayout {
    /// npz: `kaggleAdDisplayChallenge_processed.npz` and `train_day_count.npz`, from which the
    /// original's `--data-set=kaggle` makes its splits. TorchRec: as [`Splits`](Self::Splits).
    Kaggle,
    /// 24 days, the last one for validation and test. npz: `day_0_reordered.npz` and so on,
    /// `day_day_count.npz` and `day_fea_count.npz`, as `--data-set=terabyte --memory-map` reads
    /// them. TorchRec: `day_0_dense.npy` and so on, as `criteo_1tb`.
    Terabyte,
    /// `train`, `validation` and `test`.
    Splits,
}

/// What to export, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportOptions {
    /// Folder of the packed data set.
    pub data: PathBuf,
    /// Folder of the files; it must be empty or not exist.
    pub out: PathBuf,
    /// Their format.
    pub format: ExportFormat,
    /// [`DenseValues::Log`]: the integers of which the data set holds `ln(x + 1)`.
    /// [`DenseValues::AsIs`]: its own numbers.
    pub dense: DenseValues,
    /// Which files; `None`: [`Terabyte`](ExportLayout::Terabyte) for data that was prepared from
    /// Criteo Terabyte, else [`Kaggle`](ExportLayout::Kaggle) for npz and
    /// [`Splits`](ExportLayout::Splits) for TorchRec.
    pub layout: Option<ExportLayout>,
}

/// What an export did.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ExportReport {
    /// Samples written.
    pub rows: u64,
    /// Names of the files and their sizes in bytes.
    pub files: Vec<ExportedFile>,
    /// Dense values that were written as one of several integers whose logarithm they are: the
    /// integer that the data set was made of may have been another one.
    pub inexact: u64,
    /// What the programs that read these files make of them, where that is not what the data set
    /// says.
    pub notes: Vec<String>,
    /// From start to end, in seconds.
    pub seconds: f64,
}

/// Writes a packed data set in the format of another program. Memory is that of some thousand
/// samples. The folder appears under its name when it is complete; an error leaves nothing behind.
#[derive(Debug, Clone)]
pub struct ExportForeign {
    options: ExportOptions,
}

impl ExportForeign {
    /// An export that has not begun.
    pub fn new(options: ExportOptions) -> Self {
        Self { options }
    }

    /// Does it.
    ///
    /// # Errors
    /// A data set that is damaged or that the format cannot hold; a value that the format cannot hold, with its sample and
    /// column; an output folder that holds something; a full disk.
    pub fn run(&self, progress: &dyn Progress) -> Result<ExportReport> {
        let start = Instant::now();
        let ExportOptions {
            format,
            dense,
            out,
            layout,
            ..
        } = &self.options;
        let data = PackedDataset::open(&self.options.data)?;
        check_options(*format, (*dense, *layout), data.schema(), out)?;
        if !data.has_labels() {
            return Err(Error::Exchange(ExchangeError::NotExportable {
                format: format.name(),
                problem: "its samples have no labels, which the format needs".to_owned(),
            }));
        }
        let folder =
            OutputFolder::create(OutputLock::take(out)?, false).map_err(|error| match error {
                Error::Packed(PackedError::OutputExists { path }) => {
                    Error::Exchange(ExchangeError::ExportExists { path })
                }
                error => error,
            })?;
        let mut output = Output::new(folder.path(), out);
        let inexact = AtomicU64::new(0);
        let mut notes = Vec::new();
        match format {
            ExportFormat::Npz => {
                self.write_npz(&data, &inexact, &mut notes, &mut output, progress)?;
            }
            ExportFormat::MlPerf => mlperf::write(&data, &mut output, &inexact, progress)?,
            ExportFormat::TorchRec => {
                let parts = match self.layout(&data) {
                    ExportLayout::Terabyte => {
                        // TorchRec validates with the first half of the last day.
                        let last = [Split::Validation, Split::Test];
                        notes.extend(samples::halves(&data, last));
                        samples::days(&data, TERABYTE_DAYS, last)
                    }
                    _ => samples::splits(&data, |split| split.to_string()),
                };
                torchrec::write(&data, &parts, &mut output, progress)?;
            }
            ExportFormat::Parquet => {
                write_parquet(&data, *dense, &mut output, &inexact, progress)?;
            }
        }
        let files = output.files;
        folder.publish()?;
        Ok(ExportReport {
            rows: Split::ALL
                .iter()
                .map(|&split| data.manifest().rows(split))
                .sum(),
            files,
            inexact: inexact.into_inner(),
            notes,
            seconds: start.elapsed().as_secs_f64(),
        })
    }

    fn layout(&self, data: &PackedDataset) -> ExportLayout {
        let usual = match self.options.format {
            ExportFormat::Npz => ExportLayout::Kaggle,
            _ => ExportLayout::Splits,
        };
        let terabyte = data.manifest().provenance.dataset == "criteo-terabyte";
        let usual = if terabyte {
            ExportLayout::Terabyte
        } else {
            usual
        };
        self.options.layout.unwrap_or(usual)
    }

    fn write_npz(
        &self,
        data: &PackedDataset,
        inexact: &AtomicU64,
        notes: &mut Vec<String>,
        output: &mut Output,
        progress: &dyn Progress,
    ) -> Result<()> {
        if let Some(positions) = data.schema().sequence_length {
            let history = positions.get() - 1;
            let parts = samples::splits(data, |split| {
                let split = if split == Split::Validation {
                    "val"
                } else {
                    split.name()
                };
                format!("taobao_{split}_t{history}")
            });
            return npz::write_sequences(data, &parts, output, progress);
        }
        // The original tests with the first half of the last day.
        let last = [Split::Test, Split::Validation];
        let write = |parts: &[Part], output: &mut Output| {
            let dense = (self.options.dense, inexact);
            npz::write(data, parts, dense, output, progress)
        };
        match self.layout(data) {
            ExportLayout::Kaggle => {
                let days = samples::days(data, KAGGLE_DAYS, last);
                npz::write_days(&days, "train", output)?;
                npz::write_counts(data, "train", output)?;
                let pieces = days.into_iter().flat_map(|day| day.pieces);
                let all = Part {
                    name: "kaggleAdDisplayChallenge_processed".to_owned(),
                    pieces: pieces.collect(),
                };
                write(&[all], output)?;
                notes.extend(samples::halves(data, last));
            }
            ExportLayout::Terabyte => {
                let mut days = samples::days(data, TERABYTE_DAYS, last);
                for day in &mut days {
                    day.name += "_reordered";
                }
                npz::write_days(&days, "day", output)?;
                npz::write_counts(data, "day", output)?;
                write(&days, output)?;
                notes.extend(samples::halves(data, last));
            }
            ExportLayout::Splits => {
                let parts = samples::splits(data, |split| split.to_string());
                write(&parts, output)?;
                npz::write_counts(data, "day", output)?;
            }
        }
        Ok(())
    }
}

#[cfg(feature = "parquet")]
use columns::write as write_parquet;

#[cfg(not(feature = "parquet"))]
fn write_parquet(
    _: &PackedDataset,
    _: DenseValues,
    output: &mut Output,
    _: &AtomicU64,
    _: &dyn Progress,
) -> Result<()> {
    Err(Error::Exchange(ExchangeError::FeatureMissing {
        path: output.target.clone(),
        feature: "parquet",
    }))
}

/// What can be known before samples are read.
fn check_options(
    format: ExportFormat,
    (dense, layout): (DenseValues, Option<ExportLayout>),
    schema: &Schema,
    out: &std::path::Path,
) -> Result<()> {
    if out.as_os_str().is_empty() {
        return Err(Error::InvalidOption {
            option: "out",
            value: "\"\"".to_owned(),
            allowed: "a folder",
        });
    }
    let cannot = |problem: String| {
        Err(Error::Exchange(ExchangeError::NotExportable {
            format: format.name(),
            problem,
        }))
    };
    if let Some(layout) = layout
        && (schema.sequence_length.is_some()
            || !matches!(format, ExportFormat::Npz | ExportFormat::TorchRec))
    {
        return Err(Error::InvalidOption {
            option: "layout",
            value: format!("{layout:?}").to_lowercase(),
            allowed: "the formats npz and torchrec, for data that is not of sequences",
        });
    }
    if schema.sequence_length.is_some() && format != ExportFormat::Npz {
        return cannot("its samples are sequences, and only npz has positions".to_owned());
    }
    match (format, dense) {
        (ExportFormat::MlPerf, DenseValues::AsIs) => {
            return cannot(
                "dense values are integers there: export them with `DenseValues::Log`, or as npz, \
                 torchrec or parquet"
                    .to_owned(),
            );
        }
        (ExportFormat::TorchRec, DenseValues::Log) => {
            return cannot(
                "dense values are floats there: export them with `DenseValues::AsIs`".to_owned(),
            );
        }
        _ => {}
    }
    if format == ExportFormat::Parquet {
        return Ok(());
    }
    if schema.multi_hot {
        return cannot(
            "it is multi-hot, and there is one id for each table: export it as parquet".to_owned(),
        );
    }
    let most = i32::MAX as u64;
    if let Some(table) = schema.tables.iter().find(|table| table.rows > most) {
        return cannot(format!(
            "table {} has {} rows, and ids have 31 bits: export it as parquet",
            table.name, table.rows
        ));
    }
    let shape = (schema.dense.len(), schema.tables.len());
    if format == ExportFormat::MlPerf
        && shape != (crate::criteo::DENSE_FEATURES, crate::criteo::TABLES)
    {
        return cannot(format!(
            "a sample has 13 dense values and 26 ids there, and {} and {} here: export it as npz, torchrec or parquet",
            shape.0, shape.1
        ));
    }
    Ok(())
}
