//! What the experiments that train share: their arguments and their data.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::budget::Budget;
use crate::placing::{Hot, PlacementArguments};
use crate::profiling::{Source, SourceArguments};
use crate::training::{Settings, TrainArguments};

/// Data, model, training and hot rows of an experiment.
#[derive(Debug, Clone, Args)]
pub struct ExperimentArguments {
    /// A packed data set [default: planted data].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Without --data: how many planted training inputs are made.
    #[arg(long, value_name = "N", default_value_t = 300_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub inputs: u64,
    /// Model and training.
    #[command(flatten)]
    pub training: TrainArguments,
    /// Placement and hot rows; a fifth of all rows' bytes is the default budget here.
    #[command(flatten)]
    pub placement: PlacementArguments,
}

/// The data of an experiment, and everything decided about it.
pub struct Experiment {
    /// The data.
    pub source: Source,
    /// Model and training.
    pub settings: Settings,
    /// Placement and hot rows.
    pub placement: PlacementArguments,
    /// The hot set.
    pub hot: Hot,
}

impl ExperimentArguments {
    /// Opens the data, decides the settings and profiles, then does the experiment, on the asked-for number of threads.
    /// On planted data the settings start from `preset`.
    ///
    /// # Errors
    /// Settings that make no sense, data that cannot be read, and those of `experiment`.
    pub fn run(
        &self,
        preset: &str,
        adjust: impl Fn(&mut Settings) + Sync,
        experiment: impl FnOnce(Experiment) -> Result<()> + Send,
    ) -> Result<()> {
        let source = SourceArguments {
            data: self.data.clone(),
            inputs: self.inputs,
            seed: self.training.seed.unwrap_or(1),
            threads: self.training.threads.and_then(|n| u16::try_from(n).ok()),
        };
        source.on_threads(|| {
            let source = source.open()?;
            let mut training = self.training.clone();
            if self.data.is_none() {
                training.preset.get_or_insert_with(|| preset.into());
            }
            let mut settings = training.settings(source.data.schema())?;
            adjust(&mut settings);
            let mut placement = self.placement.clone();
            placement.budget.get_or_insert(Budget::Share(0.2));
            let hot = placement.hot(&source.data, &settings)?;
            experiment(Experiment {
                source,
                settings,
                placement,
                hot,
            })
        })
    }
}
