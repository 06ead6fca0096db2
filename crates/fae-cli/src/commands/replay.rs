//! Replays parity cases: the same weights and the same batches must give the same losses and
//! weights as PyTorch.
//!
//! 1. Read the case: settings, first weights, batches, and what PyTorch computed.
//! 2. Train on the batches, step by step, with the network and the store that every training run
//!    uses.
//! 3. Compare every loss, the predictions before and after, and every final weight.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use fae_run::one_device;
use fae_run::parity::{Outcome, ReplayOptions, replay};

use crate::arguments::PlacementName;

/// Replay parity cases recorded with PyTorch.
///
/// Prints `PASS name` or `FAIL name: …` for each. A case passes where every step's loss is within
/// 1e-5 (relative) and every final weight within 1e-5 + 1e-4·|w|. Losses are rounded as PyTorch
/// rounds them, which matters where predictions saturate; everything else is the code that trains.
/// Exit code: 0 if all pass, 1 if any fails, 2 for a folder that is no case.
#[derive(Args)]
#[command(
    after_help = "Example:\n  fae replay golden/*\n  fae replay --placement fae --hot-share 0.3 golden/*"
)]
pub(crate) struct Arguments {
    /// Folders with case.json, init.safetensors, batches.safetensors and expected.safetensors.
    #[arg(required = true, value_name = "CASE_DIR")]
    cases: Vec<PathBuf>,
    /// Where rows live and where the model runs.
    #[arg(long, value_enum, default_value_t = PlacementName::Cpu)]
    placement: PlacementName,
    /// The device: cpu (standing in for an accelerator), or cuda, cuda:1 … in a build with CUDA.
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: String,
    /// Share of the rows of every table that is hot, in placements that divide rows.
    #[arg(long, default_value_t = 0.3, value_name = "SHARE", value_parser = share)]
    hot_share: f64,
    /// Print the errors of passing cases too.
    #[arg(short, long)]
    verbose: bool,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text
        .parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "give a number from 0 to 1".into())
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let options = ReplayOptions {
        placement: arguments.placement.into(),
        hot_share: arguments.hot_share,
        device: one_device(&arguments.device)?,
    };
    let mut failed = false;
    for case in &arguments.cases {
        if case.is_file() {
            // A shell's `golden/*` names the files beside the cases too.
            note!("skipped {}: not a folder", case.display());
            continue;
        }
        let name = case
            .file_name()
            .unwrap_or(case.as_os_str())
            .to_string_lossy();
        match replay(case, &options)? {
            Outcome::Pass(errors) if arguments.verbose => say!("PASS {name}: {errors}"),
            Outcome::Pass(_) => say!("PASS {name}"),
            Outcome::Fail(errors) => {
                failed = true;
                say!("FAIL {name}: {errors}");
            }
        }
    }
    Ok(ExitCode::from(u8::from(failed)))
}
