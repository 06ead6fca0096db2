//! Preprocessing: raw logs, and data of other programs, to packed data sets.
//!
//! 1. Say which raw files are read, how categories become ids and how the rows are split.
//! 2. Pass one counts categories, pass two writes samples, both with a progress bar.
//! 3. Print what was found: rows, click rate, categories per table, time, rows per second, peak
//!    memory.

mod common;
mod criteo;
mod foreign;
mod output;
mod taobao;
mod taobao_import;
mod terabyte;

use anyhow::Result;
use clap::{Args, Subcommand};

pub(crate) use common::{OnBadRow, in_order, print_files, print_skipped};
use criteo::{CriteoArguments, criteo};
pub(crate) use foreign::Dense;
use foreign::{MlPerfArguments, NpzArguments, PackedArguments, TableArguments, TorchRecArguments};
pub(crate) use output::{OutputArguments, RunArguments};
use taobao::{TaobaoArguments, taobao};
use taobao_import::{ImportArguments, import};
use terabyte::{TerabyteArguments, terabyte};

/// Turn raw logs into a packed data set that training reads.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    dataset: Dataset,
}

#[derive(Subcommand)]
enum Dataset {
    // What they say about themselves stands at their arguments.
    CriteoKaggle(CriteoArguments),
    CriteoTerabyte(TerabyteArguments),
    Taobao(TaobaoArguments),
    Table(TableArguments),
    Packed(PackedArguments),
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.dataset {
        Dataset::CriteoKaggle(arguments) => criteo(arguments),
        Dataset::CriteoTerabyte(arguments) => terabyte(arguments),
        Dataset::Taobao(arguments) => taobao(arguments),
        Dataset::Table(arguments) => foreign::table(arguments),
        Dataset::Packed(arguments) => foreign::packed(arguments),
    }
}

/// Turn what other programs prepared into a packed data set.
#[derive(Args)]
pub(crate) struct Import {
    #[command(subcommand)]
    format: Format,
}

#[derive(Subcommand)]
enum Format {
    // As above.
    Npz(NpzArguments),
    Mlperf(MlPerfArguments),
    Torchrec(TorchRecArguments),
    Taobao(ImportArguments),
}

pub(crate) fn run_import(arguments: &Import) -> Result<()> {
    match &arguments.format {
        Format::Npz(arguments) => foreign::npz(arguments),
        Format::Mlperf(arguments) => foreign::mlperf(arguments),
        Format::Torchrec(arguments) => foreign::torchrec(arguments),
        Format::Taobao(arguments) => import(arguments),
    }
}
