//! A schedule of one's own: the order of hot and cold batches under FAE.
//!
//! 1. Implement `Schedule`: it says how many batches of which side come next. The trainer checks that
//!    every batch comes once.
//! 2. Choose hot rows, and divide the inputs.
//! 3. Train with rows replicated where they are hot.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use embedding_store::Side;
use examples::print_run;
use fae_cli::process::exit_on_error;
use fae_cli::say;
use fae_run::{Budget, Card, Run};
use recsys_data::generate::{Planted, PlantedOptions, write_packed};
use recsys_data::{Dataset, Split, SplitRows};
use trainer::{Inputs, Placement, Schedule, SideBatches, Stretch, fit};

/// One batch of either side in turn, as long as there are any.
#[derive(Default)]
struct Alternating {
    left: SideBatches,
    hot_is_next: bool,
}

impl Schedule for Alternating {
    fn begin(&mut self, batches: SideBatches) -> trainer::Result<()> {
        self.left = batches;
        Ok(())
    }
    fn next(&mut self) -> trainer::Result<Option<Stretch>> {
        let hot = self.left.cold == 0 || self.hot_is_next && self.left.hot > 0;
        let (side, left) = match hot {
            true => (Side::Hot, &mut self.left.hot),
            false => (Side::Cold, &mut self.left.cold),
        };
        if *left == 0 {
            return Ok(None);
        }
        *left -= 1;
        self.hot_is_next = !hot;
        Ok(Some(Stretch { side, batches: 1 }))
    }
}

fn main() -> ExitCode {
    exit_on_error(run())
}

fn run() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let planted = Planted::new(PlantedOptions {
        samples: 120_000,
        ..PlantedOptions::default()
    })?;
    let (rows, out) = (SplitRows::time_ordered(120_000), folder.path().join("data"));
    let data = write_packed(&planted, planted.options(), rows, &out, false, &())?;
    let mut card = Card::builtin("synthetic")?.on(Placement::Fae);
    card.hot.budget = Some(Budget::Share(0.2));
    let run = Run::new(&data, &card)?;
    let hot = run.hot.as_ref().context("no hot rows")?;
    let train: Arc<dyn Dataset> = Arc::new(data.split(Split::Train));
    let (hot, cold) = hot.partition.sides(&train)?;
    let inputs = Inputs::Split {
        hot: Arc::new(hot),
        cold: Arc::new(cold),
        schedule: &mut Alternating::default(),
    };
    let mut trainer = run.trainer()?;
    let options = &run.settings.train;
    let report = fit(&mut trainer, inputs, &run.evaluations, options, &mut ())?;
    say!("{} changes of side", report.swaps.len());
    print_run("alternating", &report);
    Ok(())
}
