//! Whether shares of rooflines have fallen since they were recorded.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::cases::Scratch;
use crate::report::Report;
use crate::rows;
use crate::runner::{Measure, Peers, Source};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Results of a whole run, to compare with.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "benches/compare/recorded.json"
    )]
    recorded: PathBuf,
}

/// Rows whose ratios to rooflines are watched, quick ones in which nothing but arithmetic and
/// memory takes part; and the share of the recorded ratio below which there is a warning. A build
/// with assertions, as CI's is, loops over rows at half the speed.
const WATCHED: [(&str, f64); 3] = [
    ("dlrm-train-2048", 0.75),
    ("dlrm-train-128", 0.75),
    ("row-update-sgd", 0.4),
];

/// Measures again and prints a warning for every ratio that fell below its margin. Fails only where
/// nothing can be measured.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let recorded = Report::read(&arguments.recorded)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let scratch = Scratch::new()?;
    let mut peers = Peers::new(threads, None)?;
    let measure = Measure {
        rounds: 7,
        seconds: 0.2,
    };
    for mut row in rows::all(threads, &scratch) {
        let Some((_, margin)) = WATCHED.iter().find(|(name, _)| *name == row.name) else {
            continue;
        };
        // How fast registers are beside memory is the machine's affair.
        row.rivals.retain(|rival| {
            matches!(rival.source, Source::Own(..)) && rival.name != rows::MULTIPLY_ADDS
        });
        let measured = row.measure(&mut peers, measure)?;
        for rival in &measured.rivals {
            let Some(before) = recorded.ratio(row.name, &rival.name) else {
                println!("{}: no ratio to {} is recorded", row.title, rival.name);
                continue;
            };
            let share = rival.ratio / before;
            let warning = match share >= *margin {
                true => "",
                false => "warning: slower than recorded: ",
            };
            println!(
                "{warning}{}: {:.2} × {}, {before:.2} recorded",
                row.title, rival.ratio, rival.name
            );
        }
    }
    Ok(())
}
