//! `fae import npz`, `mlperf` and `torchrec`, `fae prepare table` and `packed`: data sets of other
//! programs, and packed ones with other ids.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use recsys_data::exchange::{
    DenseValues, ForeignCut, ForeignIds, ForeignParts, ImportForeign, ImportFormat, ImportOptions,
    ImportReport, Rerank, RerankOptions, TableMapping,
};
use recsys_data::progress::Progress;
use serde_json::{Value, json};

use super::common::{
    OnBadRow, RankArguments, in_order, print_files, print_passes, print_skipped, print_splits,
};
use super::output::{OutputArguments, print_sizes};

/// The original's .npz files: X_int, X_cat, y and perhaps counts.
///
/// kaggleAdDisplayChallenge_processed.npz and terabyte_processed.npz, train_day_0_processed.npz,
/// train_day_0.npz (X_cat_t, raw hashes) and day_0_reordered.npz are all read, stored or
/// compressed, in C or Fortran order, with numbers of any type and any number of dense and
/// categorical columns. A matrix in Fortran order goes through a temporary file beside --out. Every
/// id must be below its count, where there are counts in the files or in --counts.
#[derive(Debug, Args)]
#[command(after_long_help = NPZ_EXAMPLES)]
pub(crate) struct NpzArguments {
    #[command(flatten)]
    parts: PartArguments,
    #[command(flatten)]
    ids: IdArguments,
    #[command(flatten)]
    output: OutputArguments,
}

const NPZ_EXAMPLES: &str = "\
Examples:
  The one file of Criteo Kaggle, in the order of time:
    fae import npz --raw kaggleAdDisplayChallenge_processed.npz --out kaggle

  The reordered days of Criteo Terabyte, the last one for validation and test:
    fae import npz --raw day_{0..23}_reordered.npz --split last-file --counts day_fea_count.npz --out terabyte

Exit codes: 0 done; 2 bad usage or bad input, nothing is left behind.";

/// The MLPerf binary: for every sample label, 13 dense values and 26 ids as little-endian int32.
///
/// P_train.bin, P_val.bin and P_test.bin, or the files of days. They may be compressed (.gz, .zst).
#[derive(Debug, Args)]
#[command(after_long_help = MLPERF_EXAMPLES)]
pub(crate) struct MlPerfArguments {
    #[command(flatten)]
    parts: PartArguments,
    #[command(flatten)]
    ids: IdArguments,
    #[command(flatten)]
    output: OutputArguments,
}

const MLPERF_EXAMPLES: &str = "\
Examples:
  fae import mlperf --train terabyte_processed_train.bin --validation terabyte_processed_val.bin \\
    --test terabyte_processed_test.bin --counts day_fea_count.npz --out terabyte

Exit codes: 0 done; 2 bad usage or bad input, nothing is left behind.";

/// TorchRec's npy triples: NAME_dense.npy, NAME_sparse.npy and NAME_labels.npy.
///
/// A triple is given by its name or by one of its files. Where there is no NAME_sparse.npy,
/// NAME_sparse_multi_hot.npz is read (MLPerf's DLRM v2): an array of ids [samples, ids of a sample]
/// for every table, 0.npy, 1.npy and so on; the data set is multi-hot. Dense values are logarithms
/// already and stay (--dense as-is). Raw hashes, which lie there as signed numbers, become unsigned
/// ones of 32 bits.
#[derive(Debug, Args)]
#[command(after_long_help = TORCHREC_EXAMPLES)]
pub(crate) struct TorchRecArguments {
    #[command(flatten)]
    parts: PartArguments,
    #[command(flatten)]
    ids: IdArguments,
    #[command(flatten)]
    output: OutputArguments,
}

const TORCHREC_EXAMPLES: &str = "\
Examples:
  fae import torchrec --raw npy/day_{0..23} --split last-file --out terabyte

  MLPerf's multi-hot ids, day 23:
    fae import torchrec --raw day_23 --out day-23

Exit codes: 0 done; 2 bad usage or bad input, nothing is left behind.";

/// Tables with any columns: CSV and TSV, Parquet and Arrow IPC.
#[derive(Debug, Args)]
#[command(long_about = TABLE_FORM, after_long_help = TABLE_EXAMPLES)]
pub(crate) struct TableArguments {
    /// Which columns become what.
    #[arg(long, value_name = "TOML")]
    mapping: PathBuf,
    #[command(flatten)]
    parts: PartArguments,
    /// What becomes of ids.
    #[arg(long, value_enum, default_value_t = Ids::Rank)]
    ids: Ids,
    /// What to do with a line or row that is not as the mapping says.
    #[arg(long, value_enum, default_value_t = OnBadRow::Error)]
    bad_rows: OnBadRow,
    #[command(flatten)]
    rank_on: RankArguments,
    #[command(flatten)]
    output: OutputArguments,
}

const TABLE_FORM: &str = "\
Tables with any columns: CSV and TSV, Parquet and Arrow IPC.

Parquet and Arrow files are known by their first bytes; .arrow, .arrows, .feather and .ipc without them are Arrow streams, anything
else is CSV (also .gz, .zst). A TOML file says which columns are read:

    label = \"clicked\"
    dense = [\"age\", { column = \"price\", transform = [{ clip = [0, 999] }, \"log1p\"] }]
    categorical = [\"user\", { column = \"tags\", type = \"text\", list = true, separator = \"|\" }]

    [csv]
    separator = \";\"              # default: a comma, in .tsv files a TAB; also several characters, as \"::\"
    quote = \"\\\"\"                 # \"\" where fields are never quoted
    multiline = false            # whether a quoted field may have several lines
    columns = [\"clicked\", …]     # names of all columns, where the files have no line with them
    missing = [\"\", \"NA\"]         # fields that stand for a missing value

A label is 0, 1 or between, or a truth value. { column = \"rating\", at_least = 4 } makes 1 of numbers from 4 on; { column =
\"action\", positive = [\"buy\", \"cart\"], negative = [\"view\"] } makes 1 and 0 of values that have names, and without `negative` 0 of
all others.

A dense column has transform \"none\" (default), \"log1p\" (ln(max(x, 0) + 1)), { clip = [least, most] }, { modulo = 24 }, \"hour\"
(of times written YYMMDDHH), \"standardise\" (mean 0, deviation 1 over the training rows) or a list of those, done in its order. A
missing value becomes 0. Large raw values make training diverge: standardise them, or take their logarithm.

A categorical column has type \"integer\" (default, 0 to 2^64 - 1; 3.0 is 3), \"hex\" or \"text\"; a missing value is a category of its
own. Where a column is a list, the data set is multi-hot. `name` gives a column another name. In texts, merge_numbers says whether
3.0 and 3 are one category.";

const TABLE_EXAMPLES: &str = "\
Examples:
  fae prepare table --mapping clicks.toml --raw clicks-1.csv.gz clicks-2.csv.gz --out clicks
  fae prepare table --mapping clicks.toml --train train.parquet --test test.parquet --out clicks
  fae prepare table --mapping clicks.toml --raw clicks.csv --bad-rows skip --out clicks

Exit codes: 0 done; 2 bad usage or bad input, nothing is left behind.";

/// A packed data set again, with its ids renumbered by frequency.
///
/// For data whose ids are no ranks, for instance those of --ids reference or --ids keep: hot rows
/// are then the first ones of every table. Ties are in the order of the old ids. Vocabularies
/// follow; where there was none, the old ids are the categories.
#[derive(Debug, Args)]
#[command(after_long_help = PACKED_EXAMPLES)]
pub(crate) struct PackedArguments {
    /// Folder of the packed data set.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    #[command(flatten)]
    rank_on: RankArguments,
    #[command(flatten)]
    output: OutputArguments,
}

const PACKED_EXAMPLES: &str = "\
Examples:
  fae prepare packed --data kaggle-reference --out kaggle

Exit codes: 0 done; 2 bad usage or bad input, nothing is left behind.";

#[derive(Debug, Args)]
struct PartArguments {
    /// Files in the order of time, cut into splits by --split. Numbered files, here and below, are
    /// read by their numbers, others in the order given.
    #[arg(long, num_args = 1.., value_name = "FILE", required_unless_present = "train", conflicts_with_all = ["train", "validation", "test"])]
    raw: Vec<PathBuf>,
    /// With --raw: where the samples are cut.
    #[arg(long, value_enum, default_value_t = Split::TimeOrdered, conflicts_with = "train")]
    split: Split,
    /// Files of training samples.
    #[arg(long, num_args = 1.., value_name = "FILE")]
    train: Vec<PathBuf>,
    /// Files of validation samples.
    #[arg(long, num_args = 1.., value_name = "FILE", requires = "train")]
    validation: Vec<PathBuf>,
    /// Files of test samples.
    #[arg(long, num_args = 1.., value_name = "FILE", requires = "train")]
    test: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct IdArguments {
    /// What becomes of ids.
    #[arg(long, value_enum, default_value_t = Ids::Rank)]
    ids: Ids,
    #[command(flatten)]
    rank_on: RankArguments,
    /// An .npz file with the array `counts`, the rows of every table; ids at or beyond are an
    /// error.
    #[arg(long, value_name = "NPZ")]
    counts: Option<PathBuf>,
    /// What the dense values of the files are [default: log, for torchrec as-is].
    #[arg(long, value_enum)]
    dense: Option<Dense>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Split {
    /// First 6/7 of all samples train, first half of the rest validates, second half tests
    TimeOrdered,
    /// All files but the last train, first half of the last validates, second half tests
    LastFile,
}

/// What becomes of the ids of another program.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Ids {
    /// Renumbered by frequency (see --rank-on), 0 the most frequent; the vocabulary keeps the
    /// original ids
    Rank,
    /// As they are in the files
    Keep,
}

/// What dense values are in the files of another program.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Dense {
    /// Integers there, ln(max(x, 0) + 1) in the data set
    Log,
    /// The same numbers there and in the data set
    AsIs,
}

impl From<Dense> for DenseValues {
    fn from(dense: Dense) -> Self {
        match dense {
            Dense::Log => Self::Log,
            Dense::AsIs => Self::AsIs,
        }
    }
}

impl PartArguments {
    fn parts(&self) -> ForeignParts {
        if self.raw.is_empty() {
            return ForeignParts::Named {
                train: in_order(&self.train),
                validation: in_order(&self.validation),
                test: in_order(&self.test),
            };
        }
        ForeignParts::InOrder {
            files: in_order(&self.raw),
            cut: match self.split {
                Split::TimeOrdered => ForeignCut::TimeOrdered,
                Split::LastFile => ForeignCut::LastFile,
            },
        }
    }
}

fn ids(ids: Ids) -> ForeignIds {
    match ids {
        Ids::Rank => ForeignIds::Rank,
        Ids::Keep => ForeignIds::Keep,
    }
}

/// Imports `.npz` files.
///
/// # Errors
/// What the import answers.
pub(crate) fn npz(arguments: &NpzArguments) -> Result<()> {
    let NpzArguments { parts, ids, output } = arguments;
    with_ids(ImportFormat::Npz, parts, ids, output)
}

/// Imports the MLPerf binary.
///
/// # Errors
/// What the import answers.
pub(crate) fn mlperf(arguments: &MlPerfArguments) -> Result<()> {
    let MlPerfArguments { parts, ids, output } = arguments;
    with_ids(ImportFormat::MlPerf, parts, ids, output)
}

/// Imports TorchRec's triples.
///
/// # Errors
/// What the import answers.
pub(crate) fn torchrec(arguments: &TorchRecArguments) -> Result<()> {
    let TorchRecArguments { parts, ids, output } = arguments;
    with_ids(ImportFormat::TorchRec, parts, ids, output)
}

fn with_ids(
    format: ImportFormat,
    parts: &PartArguments,
    given: &IdArguments,
    output: &OutputArguments,
) -> Result<()> {
    let dense = given.dense.map_or(format.usual_dense(), DenseValues::from);
    let mut options = ImportOptions::new(format, parts.parts(), output.out.clone());
    options.dense = dense;
    options.ids = ids(given.ids);
    options.rank_on = given.rank_on.into();
    options.counts = given.counts.clone();
    import(options, output)
}

/// Imports tables.
///
/// # Errors
/// A mapping that cannot be read; what the import answers.
pub(crate) fn table(arguments: &TableArguments) -> Result<()> {
    let path = &arguments.mapping;
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the mapping {}", path.display()))?;
    let mapping = TableMapping::parse(&text, &path.display().to_string())?;
    if mapping.dense.is_empty() && mapping.categorical.is_empty() {
        bail!(
            "{} maps neither dense nor categorical columns",
            path.display()
        );
    }
    let output = &arguments.output;
    let parts = arguments.parts.parts();
    let mut options = ImportOptions::new(ImportFormat::Table(mapping), parts, output.out.clone());
    options.ids = ids(arguments.ids);
    options.rank_on = arguments.rank_on.into();
    options.bad_rows = arguments.bad_rows.into();
    import(options, output)
}

fn import(mut options: ImportOptions, output: &OutputArguments) -> Result<()> {
    options.force = output.force;
    options.shard_rows = output.shard_rows;
    let cut = match &options.parts {
        ForeignParts::InOrder { cut, .. } => json!({ "split": cut }),
        ForeignParts::Named { .. } => json!({ "split": "named" }),
    };
    let import = ImportForeign::new(options);
    let work = |progress: &dyn Progress| import.run(progress);
    let print = |report: &ImportReport| {
        print(report);
        say!(
            "{:<14} {:>14}",
            "split",
            cut["split"].as_str().unwrap_or_default()
        );
    };
    output.run.run(work, print, |_| cut.clone())
}

/// Renumbers a packed data set.
///
/// # Errors
/// What the renumbering answers.
pub(crate) fn packed(arguments: &PackedArguments) -> Result<()> {
    let output = &arguments.output;
    let rerank = Rerank::new(RerankOptions {
        data: arguments.data.clone(),
        out: output.out.clone(),
        rank_on: arguments.rank_on.into(),
        force: output.force,
        shard_rows: output.shard_rows,
    });
    let work = |progress: &dyn Progress| rerank.run(progress);
    output.run.run(work, print, |_| Value::Null)
}

fn print(report: &ImportReport) {
    print_files(&report.sources);
    say!("{:<14} {:>14}", "samples", report.rows);
    let categories: u64 = report.categories.iter().sum();
    say!(
        "{:<14} {:>14}   in {} tables",
        "table rows",
        categories,
        report.categories.len()
    );
    print_splits(&report.splits);
    if !report.skipped.is_empty() {
        print_skipped(&report.skipped);
    }
    print_passes(&report.passes, "samples", "samples");
    let files = report.sources.iter().map(|source| source.bytes).sum();
    print_sizes("files", files, report.packed_bytes);
}
