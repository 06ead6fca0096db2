//! A packed data set, or weights, in the formats of other programs.
//!
//! 1. Say which data set is written, in which format, and what its dense values are there.
//! 2. Write all splits, with a progress bar.
//! 3. Print the files with their sizes.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use recsys_data::exchange::{
    DenseValues, ExportForeign, ExportFormat, ExportLayout, ExportOptions, ExportReport,
};
use recsys_data::progress::Progress;
use serde_json::Value;
use trainer::{WeightsForm, export_weights};

use super::prepare::{Dense, RunArguments};
use crate::text::{bytes, print_peak_memory};

/// Write a packed data set, or weights, in the format of another program.
///
/// Ids stay as they are. With --dense log the integers x are written of which the data set holds
/// ln(x + 1); a value that is no such logarithm is an error. From 1,050,000 on several integers
/// have one logarithm in single precision; how many were written so is printed. With --dense as-is
/// the data set's own numbers are written.
///
/// The folder appears under its name when it is complete. `fae import` (npz, mlperf, torchrec,
/// taobao) and `fae prepare table` read it again.
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  For the original programs, which find the files by their names:
    fae export npz --data kaggle --out input
    python dlrm_s_pytorch.py --data-generation=dataset --data-set=kaggle \\
      --raw-data-file=input/train.txt --processed-data-file=input/kaggleAdDisplayChallenge_processed.npz

  Columns with names, the raw integers as dense values:
    fae export parquet --data kaggle --out kaggle-parquet --dense log

  Weights for torch.load:
    fae export weights --weights best.safetensors --out best.pt

Exit codes: 0 done; 2 bad usage, or data that the format cannot hold; nothing is left behind.";

#[derive(Subcommand)]
enum Format {
    /// X_int, X_cat, y and counts in the files of the original DLRM; for sequences, those of TBSM
    ///
    /// --layout kaggle: kaggleAdDisplayChallenge_processed.npz and train_day_count.npz.
    /// --layout terabyte: day_0_reordered.npz to day_23_reordered.npz, day_day_count.npz and
    /// day_fea_count.npz. --layout splits: train.npz, validation.npz, test.npz. Sequences:
    /// taobao_train_t20.npz, taobao_val_t20.npz, taobao_test_t20.npz.
    Npz(Named),
    /// int32 label, 13 dense, 26 ids: terabyte_processed_train.bin, _val.bin, _test.bin,
    /// day_fea_count.npz
    Mlperf(Data),
    /// NAME_dense.npy, NAME_sparse.npy, NAME_labels.npy
    ///
    /// --layout splits (or kaggle): train, validation, test. --layout terabyte: day_0 to day_23,
    /// which TorchRec's criteo_1tb reads.
    Torchrec(Named),
    /// train.parquet and so on, with mapping.toml for `fae prepare table`; also multi-hot data
    Parquet(Data),
    /// Weights as a .pt file, which torch.load reads
    Weights(Weights),
}

#[derive(Args)]
struct Data {
    /// Folder of the packed data set.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Folder of the files; it must be empty or not exist.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What dense values are in the files [default: log for npz and mlperf, as-is for torchrec and
    /// parquet].
    #[arg(long, value_enum)]
    dense: Option<Dense>,
    #[command(flatten)]
    run: RunArguments,
}

#[derive(Args)]
struct Named {
    /// Which files [default: terabyte for data of Criteo Terabyte; else kaggle for npz, splits for
    /// torchrec].
    #[arg(long, value_enum)]
    layout: Option<Layout>,
    #[command(flatten)]
    data: Data,
}

#[derive(Clone, Copy, ValueEnum)]
enum Layout {
    /// One file, seven days
    Kaggle,
    /// 24 days, the last one for validation and test
    Terabyte,
    /// Train, validation, test
    Splits,
}

#[derive(Args)]
struct Weights {
    /// Weights that `fae train --save-weights` or PyTorch wrote: .safetensors or .pt.
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// The .pt file.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Names of the weights, and what stands beside them.
    #[arg(long, value_enum, default_value_t = Form::Reference)]
    form: Form,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    /// As the original DLRM and TBSM save and load them (--load-model, --save-model)
    Reference,
    /// The state dictionary of the original's model alone, for load_state_dict
    StateDict,
    /// The state dictionary of TorchRec's DLRM, the first layer above the interaction in its order
    Torchrec,
}

/// Exports as the arguments say.
///
/// # Errors
/// What the export answers.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.format {
        Format::Npz(named) => named.export(ExportFormat::Npz),
        Format::Mlperf(data) => data.export(ExportFormat::MlPerf, None),
        Format::Torchrec(named) => named.export(ExportFormat::TorchRec),
        Format::Parquet(data) => data.export(ExportFormat::Parquet, None),
        Format::Weights(weights) => weights.export(),
    }
}

impl Named {
    fn export(&self, format: ExportFormat) -> Result<()> {
        let layout = self.layout.map(|layout| match layout {
            Layout::Kaggle => ExportLayout::Kaggle,
            Layout::Terabyte => ExportLayout::Terabyte,
            Layout::Splits => ExportLayout::Splits,
        });
        self.data.export(format, layout)
    }
}

impl Data {
    fn export(&self, format: ExportFormat, layout: Option<ExportLayout>) -> Result<()> {
        let dense = self.dense.map(DenseValues::from);
        let export = ExportForeign::new(ExportOptions {
            data: self.data.clone(),
            out: self.out.clone(),
            format,
            dense: dense.unwrap_or(format.usual_dense()),
            layout,
        });
        let work = |progress: &dyn Progress| export.run(progress);
        self.run.run(work, print, |_| Value::Null)
    }
}

impl Weights {
    fn export(&self) -> Result<()> {
        let form = match self.form {
            Form::Reference => WeightsForm::Reference,
            Form::StateDict => WeightsForm::StateDict,
            Form::Torchrec => WeightsForm::TorchRec,
        };
        let written = export_weights(&self.weights, &self.out, form)?;
        for (name, shape) in &written {
            say!("{name:<72} {shape:?}");
        }
        let values: u64 = written
            .iter()
            .map(|(_, shape)| shape.iter().product::<u64>())
            .sum();
        say!("{} weights, {}", written.len(), bytes(4 * values));
        Ok(())
    }
}

fn print(report: &ExportReport) {
    for file in &report.files {
        say!("{:<34} {:>14}", file.name, bytes(file.bytes));
    }
    say!("{:<34} {:>14}", "samples", report.rows);
    if report.inexact > 0 {
        say!(
            "{:<34} {:>14}   several integers have their logarithm: one of them was written",
            "dense values not certain",
            report.inexact
        );
    }
    for note in &report.notes {
        say!("note: {note}");
    }
    let rate = report.rows as f64 / report.seconds;
    say!(
        "{:<34} {:>12.1} s   {rate:.0} samples/s",
        "in all",
        report.seconds
    );
    print_peak_memory(34);
}
