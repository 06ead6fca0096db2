//! The paper's second observation: a small budget makes many inputs wholly hot, and a small sample finds it out.
//!
//! 1. Open a packed data set, or make planted data.
//! 2. For every budget, choose hot rows with each strategy, and count the inputs that are wholly hot; compare with the bound.
//! 3. Of sequences: the same for ever longer histories, at one budget.
//! 4. For every sampling rate, choose hot rows from the sample, estimate what they serve, and compare with the count.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use examples::budget::Budget;
use examples::process::exit_on_error;
use examples::profiling::{RowArguments, SourceArguments, length_sweep};
use fae_profiler::{BudgetSweep, CountOptions, EstimateSweep, Report, Selector};
use recsys_data::Split;

/// Draw hot inputs against budget and sampling rate. No arguments needed.
///
/// Writes hot_inputs and estimate, of sequences also history_length, as .csv and .svg, and report.json.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  cargo run --release --example paper_hot_inputs
  cargo run --release --example paper_hot_inputs -- --data kaggle --budgets 64MiB,256MiB,1GiB --out out/kaggle
  cargo run --release --example paper_hot_inputs -- --data taobao --budgets 2MiB,8MiB,64MiB --estimate-budget 8MiB --out out/taobao"
)]
struct Arguments {
    #[command(flatten)]
    source: SourceArguments,
    #[command(flatten)]
    rows: RowArguments,
    /// Budgets to try, in bytes (256MiB) or as shares of all rows' bytes (10%).
    #[arg(
        long,
        value_name = "SIZE,…",
        value_delimiter = ',',
        default_value = "1%,2%,5%,10%,20%,30%,50%,70%,90%"
    )]
    budgets: Vec<Budget>,
    /// Budget at which sampling rates and lengths of history are compared.
    #[arg(long, value_name = "SIZE", default_value = "20%")]
    estimate_budget: Budget,
    /// Sampling rates to try, each more than 0 and at most 1.
    #[arg(long, value_name = "RATE,…", value_delimiter = ',', default_values_t = EstimateSweep::RATES)]
    rates: Vec<f64>,
    /// Most inputs that the strategy `inputs` works on; a sample of them where there are more.
    #[arg(long, value_name = "N", default_value_t = 1 << 15, value_parser = clap::value_parser!(u64).range(1..))]
    select_on: u64,
    /// Folder for the results.
    #[arg(long, value_name = "DIR", default_value = "out/paper_hot_inputs")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    exit_on_error(arguments.source.on_threads(|| run(&arguments)))
}

fn run(arguments: &Arguments) -> Result<()> {
    let source = arguments.source.open()?;
    let train = source.data.split(Split::Train);
    let count = CountOptions {
        seed: arguments.source.seed,
        ..CountOptions::default()
    };
    let mut options = arguments.rows.options(source.data.schema(), count)?;
    options.inputs = arguments.select_on;
    let mut progress = |what: &str| eprintln!("{what}");

    let mut selector = Selector::new(&train, &options)?;
    let all = selector.all_bytes();
    let mut shares: Vec<f64> = arguments.budgets.iter().map(|b| b.share(all)).collect();
    shares.sort_by(f64::total_cmp);
    let budgets = BudgetSweep::new(&mut selector, &shares, &mut progress)?;

    let budget = arguments.estimate_budget.bytes(all);
    let mut rates = arguments.rates.clone();
    rates.sort_by(f64::total_cmp);
    let estimates = EstimateSweep::new(&train, &options, budget, &rates, &mut progress)?;
    let lengths = length_sweep(train, &options, budget, &mut progress)?;
    let report = Report {
        dataset: source.name,
        budgets: Some(budgets),
        estimates: Some(estimates),
        lengths,
        ..Report::default()
    };
    report.save(&arguments.out)?;
    report.save_charts(&arguments.out)?;
    println!("{report}\nresults in {}", arguments.out.display());
    Ok(())
}
