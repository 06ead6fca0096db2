//! `fae prepare taobao`: raw events to behaviour sequences.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use recsys_data::Error;
use recsys_data::progress::Progress;
use recsys_data::taobao::Error as TaobaoError;
use recsys_data::taobao::{
    Duplicates, OutOfRange, PointsPerUser, PrepareOptions, PrepareReport, PrepareTaobao,
    SequenceRules, SequenceSplit, ShortHistory,
};
use serde_json::json;

use super::common::{
    OnBadRow, RankArguments, in_order, print_files, print_passes, print_skipped, print_splits,
};
use super::output::{OutputArguments, print_rate, print_sizes};
use crate::text::bytes;
use fae_run::Budget;

/// Taobao UserBehavior: lines of user, item, category, behaviour and time, made into behaviour
/// sequences.
///
/// Every line holds user, item, category, behaviour (pv, cart, fav or buy) and Unix time in
/// seconds, separated by commas. The events of every user are put into the order of time. An event
/// with --ts-length events before it is a window: its history and the event itself are a positive
/// sample, and the same history with an item that the user never touched is a negative one. Every
/// position of a sample holds the ids of user, item and category; ids are ranks, 0 the most
/// frequent over the positions of training samples (--rank-on all: over all events). The only dense
/// value is the position over the number of positions.
///
/// By default every window becomes two samples where there are at most 1,048,576 windows in all; in
/// larger data at most 10 windows of every user, drawn with the seed, which is what the original
/// takes. --points-per-user says otherwise.
///
/// The files are read once. Events beyond --memory go to temporary files beside --out. The result
/// appears under its name when it is complete, and has the same bytes whatever --threads and
/// --memory say.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct TaobaoArguments {
    /// Raw files: text, plain or compressed (gzip, Zstandard, bzip2, or a .zip that holds one
    /// file); several are read as if they were one, numbered ones by their numbers, others in this
    /// order.
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    raw: Vec<PathBuf>,
    /// How samples are made.
    #[arg(long, value_enum, default_value_t = Rules::Windows)]
    rules: Rules,
    #[command(flatten)]
    rank_on: RankArguments,
    /// Events of a history; a sample has one position more.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    ts_length: u32,
    /// Most windows of a user, drawn with the seed where there are more: a number, `all`, or `auto`
    /// (all where there are at most 1048576 windows of all users together, else 10).
    #[arg(long, value_name = "N|all|auto", default_value = "auto", value_parser = points_per_user)]
    points_per_user: PointsPerUser,
    /// What divides samples into training, validation and test.
    #[arg(long, value_enum, default_value_t = By::WithinUser)]
    split: By,
    /// Share of validation.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    validation: f64,
    /// Share of the test [default: 0.2; under --rules reference the rules say who tests].
    #[arg(long, value_name = "SHARE")]
    test: Option<f64>,
    /// What becomes of histories that are too short.
    #[arg(long, value_enum, default_value_t = Short::Skip)]
    short_history: Short,
    /// What to do with a line that is no event: stop there and name it, or skip, count and report
    /// such lines.
    #[arg(long, value_enum, default_value_t = OnBadRow::Error)]
    bad_rows: OnBadRow,
    /// Events outside --from to --until: count and keep them, or treat them as bad rows.
    #[arg(long, value_enum, default_value_t = Policy::Keep)]
    out_of_range: Policy,
    /// First second of the data [default: 25 November 2017 in China].
    #[arg(long, value_name = "UNIX", default_value_t = PrepareOptions::default().from, allow_negative_numbers = true, hide_default_value = true)]
    from: i32,
    /// The second after the last one [default: 4 December 2017 in China].
    #[arg(long, value_name = "UNIX", default_value_t = PrepareOptions::default().until, allow_negative_numbers = true, hide_default_value = true)]
    until: i32,
    /// An event that occurred before (same user, item, behaviour and second): count and keep it, or
    /// treat it as a bad row.
    #[arg(long, value_enum, default_value_t = Policy::Keep)]
    duplicates: Policy,
    /// With --rules reference: most users that train [default: 690000].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    train_users: Option<u64>,
    /// Seed of everything that is drawn: windows, users, negative items.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Memory for events, such as 512MiB; more go to temporary files beside --out. Dictionaries of
    /// users and items come on top.
    #[arg(long, value_name = "BYTES", default_value = "2GiB", value_parser = memory)]
    memory: u64,
    #[command(flatten)]
    output: OutputArguments,
}

const EXAMPLES: &str = "\
Examples:
  The usual way, the last fifth of every user's windows for the test:
    fae prepare taobao --raw UserBehavior.csv.zip --out taobao

  Users of the test unseen in training, a tenth of the users for validation, at most 50 windows of each:
    fae prepare taobao --raw UserBehavior.csv --out taobao --split user --validation 0.1 --points-per-user 50

  Without the events of years far from 2017, which the published file has, in little memory:
    fae prepare taobao --raw UserBehavior.csv --out taobao --out-of-range bad --bad-rows skip --memory 256MiB

  The numbers of the original programs:
    fae prepare taobao --raw UserBehavior.csv --out taobao --rules reference

Exit codes: 0 done; 2 bad usage or bad input, nothing is left behind.";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Rules {
    /// Every window gives a positive and a negative sample with the same history
    Windows,
    /// As the original programs: the last 200 events of a user, windows drawn from them, test users
    /// by their last event; draws are seeded
    Reference,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    /// The last windows of every user test, those before them validate
    WithinUser,
    /// Some users test, some validate; no user is in two parts
    User,
    /// Windows whose candidate came after a point in time, for all users the same; the shares are
    /// of events
    Time,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Short {
    /// Only windows with a whole history become samples
    Skip,
    /// Every event after the first is a candidate; missing history is padding, id 0 of items and
    /// categories
    Pad,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Policy {
    /// Count and keep
    Keep,
    /// Bad rows: --bad-rows decides
    Bad,
}

fn points_per_user(text: &str) -> Result<PointsPerUser> {
    match text {
        "all" => Ok(PointsPerUser::All),
        "auto" => Ok(PointsPerUser::Auto),
        _ => match text.parse() {
            Ok(most) if most > 0 => Ok(PointsPerUser::Most(most)),
            _ => bail!("give a number of windows from 1 on, `all`, or `auto`"),
        },
    }
}

fn memory(text: &str) -> Result<u64> {
    match text.parse::<Budget>()? {
        Budget::Bytes(bytes) if bytes >= 1 << 20 => Ok(bytes),
        _ => bail!("give at least 1MiB, such as 512MiB or 2GiB"),
    }
}

/// Prepares events as the arguments say, and prints the report.
///
/// # Errors
/// Options that contradict each other, and what the preparation answers.
pub(crate) fn taobao(arguments: &TaobaoArguments) -> Result<()> {
    let preparation = PrepareTaobao::new(options(arguments)?);
    let work = |progress: &dyn Progress| {
        preparation.run(progress).inspect_err(|error| {
            if let Error::Taobao(TaobaoError::NoWindows { report, .. }) = error {
                print_events(report);
            }
        })
    };
    arguments.output.run.run(
        work,
        print,
        |report| json!({ "events_per_second": report.events_per_second() }),
    )
}

fn options(arguments: &TaobaoArguments) -> Result<PrepareOptions> {
    let reference = arguments.rules == Rules::Reference;
    if reference && arguments.test.is_some() {
        bail!(
            "--rules reference says who tests (the users with the latest last events); leave --test out"
        );
    }
    if !reference && arguments.train_users.is_some() {
        bail!("--train-users limits the training users of --rules reference only; add that option");
    }
    let defaults = PrepareOptions::default();
    Ok(PrepareOptions {
        raw: in_order(&arguments.raw),
        out: arguments.output.out.clone(),
        rank_on: arguments.rank_on.into(),
        rules: match arguments.rules {
            Rules::Windows => SequenceRules::Windows,
            Rules::Reference => SequenceRules::Reference,
        },
        history: arguments.ts_length,
        points_per_user: arguments.points_per_user,
        split: match arguments.split {
            By::WithinUser => SequenceSplit::WithinUser,
            By::User => SequenceSplit::User,
            By::Time => SequenceSplit::Time,
        },
        validation: arguments.validation,
        test: arguments.test.unwrap_or(defaults.test),
        short_history: match arguments.short_history {
            Short::Skip => ShortHistory::Skip,
            Short::Pad => ShortHistory::Pad,
        },
        bad_rows: arguments.bad_rows.into(),
        out_of_range: match arguments.out_of_range {
            Policy::Keep => OutOfRange::Keep,
            Policy::Bad => OutOfRange::Bad,
        },
        from: arguments.from,
        until: arguments.until,
        duplicates: match arguments.duplicates {
            Policy::Keep => Duplicates::Keep,
            Policy::Bad => Duplicates::Bad,
        },
        train_users: arguments.train_users.unwrap_or(defaults.train_users),
        seed: arguments.seed,
        memory: arguments.memory,
        force: arguments.output.force,
        shard_rows: arguments.output.shard_rows,
    })
}

/// What the events are.
fn print_events(report: &PrepareReport) {
    let count = |name: &str, count: u64| say!("{name:<14} {count:>14}");
    count("events", report.events);
    for (name, events) in &report.behaviours {
        say!("  {name:<12} {events:>14}");
    }
    count("users", report.users);
    count("items", report.items);
    count("categories", report.categories);
    say!("{:<14} {:>14}", "first time", report.first_time);
    say!("{:<14} {:>14}", "last time", report.last_time);
    count("out of range", report.out_of_range);
    count("duplicates", report.duplicates);
    let spread = &report.events_per_user;
    say!(
        "events a user: {} least, {} / {} / {} quartiles, {:.1} (90%), {:.1} (99%), {} most; {} users have one",
        spread.least,
        spread.quarter,
        spread.median,
        spread.three_quarters,
        spread.percent_90,
        spread.percent_99,
        spread.most,
        report.single_event_users
    );
    say!(
        "{:<14} {:>14}   {} taken, of {} users",
        "windows",
        report.windows,
        report.points,
        report.sampled_users
    );
}

fn print(report: &PrepareReport) {
    print_files(&report.sources);
    print_events(report);
    print_splits(&report.splits);
    print_passes(&report.passes, "events", "samples");
    print_rate(report.seconds, report.events_per_second(), "events");
    let raw = report.sources.iter().map(|source| source.bytes).sum();
    say!("{:<14} {:>14}", "temporary", bytes(report.spilled_bytes));
    print_sizes("raw files", raw, report.packed_bytes);
    print_skipped(&report.skipped);
}
