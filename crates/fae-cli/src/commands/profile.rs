//! Chooses the hot rows of a packed data set and writes them as a hot set that training reads.
//!
//! 1. Count the accesses of every row, in all training inputs or in a sample.
//! 2. Choose hot rows under the byte budget.
//! 3. Say what they serve, and write the hot set; a report and two divided data sets where asked.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use fae_profiler::{
    AccessSkew, BudgetSweep, CountOptions, EstimateSweep, HotSet, LengthSweep, Report,
    SelectOptions, Selector, Strategy,
};
use fae_run::default_sample;
use fae_run::{Budget, on_threads};
use indicatif::ProgressBar;
use recsys_data::packed::{PackedDataset, PackedSplit};
use recsys_data::{Dataset, Split};

use crate::arguments::RowArguments;
use crate::charts::save_charts;
use crate::process::{check_outputs, peak_memory_bytes, probe};
use crate::text::bytes;

/// Choose which embedding rows are hot.
///
/// Takes a packed data set made by `fae prepare`, whose ids are ranks by frequency in training: a
/// hot set is one number per table, and a row is hot if its id is below it. An input is hot if all
/// its rows are. The set is judged on all training inputs, whatever --sample says.
///
/// Strategies: `inputs` makes as many inputs as possible wholly hot, which is what FAE speeds up,
/// and says what no set of rows within the budget could exceed. `frequency` takes rows by access
/// count. `share` takes rows above --share of the accesses of their own table.
#[derive(Args)]
#[command(after_long_help = "Examples:
  fae prepare criteo-kaggle --raw train.txt --out kaggle
  fae profile --data kaggle --budget 256MiB --out hotset.json

  A twentieth of the inputs counted, rows with Adagrad's state, a report with pictures:
    fae profile --data kaggle --budget 10% --sample 0.05 --optimizer adagrad --out hotset.json --report report

  Hot and cold inputs as two data sets, split/hot and split/cold:
    fae profile --data kaggle --budget 256MiB --out hotset.json --materialise split

Exit codes: 0 done; 2 bad usage or bad input.")]
pub(crate) struct Arguments {
    /// The packed data set.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Most bytes that hot rows may take (256MiB, 1GB, 0), or a share of all rows' bytes (10%).
    #[arg(long, value_name = "SIZE", default_value_t = Budget::default())]
    budget: Budget,
    /// Where to write the hot set.
    #[arg(long, value_name = "FILE.json")]
    out: PathBuf,
    /// How to choose.
    #[arg(long, value_enum, default_value_t = Rule::Inputs)]
    strategy: Rule,
    /// With --strategy share: a row is hot above this share of its table's accesses [default:
    /// 1e-7].
    #[arg(long, value_name = "SHARE")]
    share: Option<f64>,
    /// Share of the training inputs that is counted, more than 0 and at most 1 [default: 1; a fifth
    /// of sequences where there are many].
    #[arg(long, value_name = "RATE")]
    sample: Option<f64>,
    /// Seed of the sample.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Most inputs that the strategy `inputs` works on; a sample of them where there are more.
    #[arg(long, value_name = "N", default_value_t = 1 << 15, value_parser = clap::value_parser!(u64).range(1..))]
    select_on: u64,
    #[command(flatten)]
    rows: RowArguments,
    /// Write a report into this folder: skew, hot inputs against budget (and history length),
    /// estimates against counts, as JSON, CSV and SVG.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Write hot and cold training inputs as two packed data sets into this folder.
    #[arg(long, value_name = "DIR")]
    materialise: Option<PathBuf>,
    /// With --materialise: replace packed data sets that lie there.
    #[arg(long)]
    force: bool,
    /// Worker threads; changes no number [default: one for each core].
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Rule {
    /// By access count
    Frequency,
    /// By share of the table's own accesses
    Share,
    /// By wholly hot inputs
    Inputs,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    on_threads(arguments.threads, || profile(arguments))
}

fn profile(arguments: &Arguments) -> Result<()> {
    let strategy = match (arguments.strategy, arguments.share) {
        (Rule::Frequency, None) => Strategy::Frequency,
        (Rule::Inputs, None) => Strategy::Inputs,
        (Rule::Share, None) => Strategy::SHARE,
        (Rule::Share, Some(share)) => Strategy::Share(share),
        (_, Some(_)) => bail!("--share belongs to --strategy share; add that or leave it out"),
    };
    let data = PackedDataset::open(&arguments.data)?;
    check_outputs(&[("--out", Some(&arguments.out))], &[&data])?;
    probe(&arguments.out)?;
    if let Some(folder) = &arguments.report {
        probe(&folder.join("report.json"))?;
    }
    let train = data.split(Split::Train);
    let count = CountOptions {
        sample: arguments
            .sample
            .unwrap_or(default_sample(data.schema(), train.len())),
        seed: arguments.seed,
    };
    let mut options = arguments.rows.options(data.schema(), count)?;
    options.inputs = arguments.select_on;
    options.strategy = strategy;

    note!(
        "counting {} inputs",
        (train.len() as f64 * count.sample).round()
    );
    let mut selector = Selector::new(&train, &options)?;
    options.budget = arguments.budget.bytes(selector.all_bytes());
    warn_of_ids(&data, &selector);
    note!("selecting by {}", strategy.name());
    let selection = selector.select(strategy, options.budget)?;
    let counted = selector.counts().samples();
    let set = HotSet::from_selection(&data, &options, selection, counted)?;
    set.save(&arguments.out)?;
    print(&set, selector.all_bytes());

    if let Some(folder) = &arguments.report {
        let mut progress = |what: &str| note!("report: {what}");
        let skew = AccessSkew::new(data.schema(), selector.counts());
        let budgets = BudgetSweep::new(&mut selector, &BudgetSweep::SHARES, &mut progress)?;
        let rates = EstimateSweep::RATES;
        let estimates =
            EstimateSweep::new(&train, &options, options.budget, &rates, &mut progress)?;
        let lengths = length_sweep(train.clone(), &options, options.budget, &mut progress)?;
        let report = Report {
            dataset: data.manifest().provenance.dataset.clone(),
            skew: Some(skew),
            budgets: Some(budgets),
            estimates: Some(estimates),
            lengths,
        };
        report.save(folder)?;
        save_charts(&report, folder)?;
        say!("\n{report}\nreport in {}", folder.display());
    }
    if let Some(folder) = &arguments.materialise {
        let bar = ProgressBar::new(train.len());
        let written = set.materialise(&data, folder, arguments.force, &mut |done| {
            bar.set_position(done)
        })?;
        bar.finish_and_clear();
        let [hot, cold] = written.map(|manifest| manifest.rows(Split::Train));
        say!("{hot} hot and {cold} cold inputs in {}", folder.display());
    }
    Ok(())
}

/// Says so where the first rows of a table are not its most frequent ones.
fn warn_of_ids(data: &PackedDataset, selector: &Selector) {
    let counts = selector.counts();
    // Of a sample, counts are in no order even where those of all inputs are.
    if !counts.is_exact() {
        return;
    }
    let unranked = counts.unranked();
    if let Some(&first) = unranked.first() {
        note!(
            "note: ids are not ranks of the training inputs in {} of {} tables ({} first), so that \
             hot sets, the first rows of every table, miss more frequent ones; `fae prepare packed \
             --data {} --out DIR` renumbers them",
            unranked.len(),
            counts.tables(),
            data.schema().tables[first].name,
            data.folder().display()
        );
    }
}

/// Hot sequences against the length of the history; nothing where samples are not sequences.
fn length_sweep(
    train: PackedSplit,
    options: &SelectOptions,
    budget: u64,
    progress: &mut dyn FnMut(&str),
) -> Result<Option<LengthSweep>> {
    if train.schema().sequence_length.is_none() {
        return Ok(None);
    }
    let lengths = LengthSweep::lengths(train.schema().positions());
    let train: Arc<dyn Dataset> = Arc::new(train);
    let sweep = LengthSweep::new(&train, options, budget, &lengths, progress)?;
    Ok(Some(sweep))
}

fn print(set: &HotSet, all_bytes: u64) {
    let results = set.results();
    let percent = |share: f64| format!("{:.2}%", 100.0 * share);
    say!("{:<12} {:>12} {:>12} {:>9}", "table", "rows", "hot", "");
    for table in set.tables() {
        let share = table.hot_rows as f64 / table.rows.max(1) as f64;
        say!(
            "{:<12} {:>12} {:>12} {:>9}",
            table.name,
            table.rows,
            table.hot_rows,
            percent(share)
        );
    }
    say!();
    say!(
        "{:<14} {:>14}   of {} for all rows; the budget is {}",
        "hot bytes",
        bytes(set.hot_bytes()),
        bytes(all_bytes),
        bytes(set.budget())
    );
    say!(
        "{:<14} {:>14}   {} of {}",
        "hot inputs",
        percent(results.input_share()),
        results.hot_inputs,
        results.inputs
    );
    if let Some(bound) = set.bound() {
        let of_inputs = |inputs: f64| percent(inputs / results.inputs.max(1) as f64);
        let estimated = match bound.exact {
            true => "",
            false => " (estimated from a sample)",
        };
        say!(
            "{:<14} {:>14}   no set of rows within the budget has more{}",
            "bound",
            of_inputs(bound.hot_inputs),
            estimated
        );
        if let Some(by_rank) = bound.by_rank {
            say!(
                "{:<14} {:>14}   no hot set, which is the first rows of every table, has more{}",
                "  by rank",
                of_inputs(by_rank),
                estimated
            );
        }
    }
    say!(
        "{:<14} {:>14}",
        "hot lookups",
        percent(results.lookup_share())
    );
    if let Some(estimate) = set.estimate() {
        for (name, share) in [("inputs", estimate.inputs), ("lookups", estimate.lookups)] {
            say!(
                "{:<14} {:>14}   {} to {} with {} confidence, from {} + {} sampled inputs",
                format!("  est. {name}"),
                percent(share.share),
                percent(share.low),
                percent(share.high),
                percent(estimate.confidence),
                estimate.counted,
                estimate.judged
            );
        }
    }
    let memory = peak_memory_bytes().map_or_else(|| "unknown".to_owned(), bytes);
    say!("{:<14} {:>14}", "peak memory", memory);
}
