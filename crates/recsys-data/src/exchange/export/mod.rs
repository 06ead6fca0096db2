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

/// The format of another program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ExportFormat {
    /// `train.npz`, `validation.npz`, `test.npz` with `X_int`, `X_cat`, `y`, `counts`, and
    /// `day_fea_count.npz` with the counts.
    Npz,
    /// `terabyte_processed_train.bin`, `…_val.bin`, `…_test.bin`, and `day_fea_count.npz`.
    MlPerf,
    /// `train_dense.npy`, `train_sparse.npy`, `train_labels.npy`, and the same for the other
    /// splits.
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
}

/// What an export did.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ExportReport {
    /// Samples written.
    pub rows: u64,
    /// Names of the files and their sizes in bytes.
    pub files: Vec<ExportedFile>,
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
            format, dense, out, ..
        } = &self.options;
        let data = PackedDataset::open(&self.options.data)?;
        check_options(*format, *dense, data.schema(), out)?;
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
        match format {
            ExportFormat::Npz => npz::write(&data, *dense, &mut output, progress)?,
            ExportFormat::MlPerf => mlperf::write(&data, &mut output, progress)?,
            ExportFormat::TorchRec => torchrec::write(&data, &mut output, progress)?,
            ExportFormat::Parquet => write_parquet(&data, *dense, &mut output, progress)?,
        }
        let files = output.files;
        folder.publish()?;
        Ok(ExportReport {
            rows: Split::ALL
                .iter()
                .map(|&split| data.manifest().rows(split))
                .sum(),
            files,
            seconds: start.elapsed().as_secs_f64(),
        })
    }
}

#[cfg(feature = "parquet")]
use columns::write as write_parquet;

#[cfg(not(feature = "parquet"))]
fn write_parquet(
    _: &PackedDataset,
    _: DenseValues,
    output: &mut Output,
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
    dense: DenseValues,
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
    if schema.sequence_length.is_some() {
        return cannot(
            "its samples are sequences, and no format written here has positions".to_owned(),
        );
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
