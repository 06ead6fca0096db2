//! The options of checkpoints.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use trainer::{CheckpointEvery, Checkpoints};

/// Where and when checkpoints are written.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct CheckpointArguments {
    /// Write checkpoints into this folder, also at the best evaluations, at the end, and where
    /// Ctrl-C, SIGTERM or a closed terminal ends the run.
    #[arg(long, value_name = "DIR", help_heading = "Checkpoints")]
    pub checkpoint: Option<PathBuf>,
    /// How often: after a number of steps (1000) or minutes (10min) [default: 10min].
    #[arg(long, value_name = "STEPS|MINUTES", value_parser = every, requires = "checkpoint", help_heading = "Checkpoints")]
    pub checkpoint_every: Option<CheckpointEvery>,
    /// How many of the last ones stay, besides the best [default: 2].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), requires = "checkpoint", help_heading = "Checkpoints")]
    pub keep_checkpoints: Option<u16>,
    /// Go on from the newest checkpoint, as if the run had never ended; start afresh where there is
    /// none.
    #[arg(long, requires = "checkpoint", help_heading = "Checkpoints")]
    pub resume: bool,
}

/// Reads `1000`, `1000steps` or `10min`.
fn every(text: &str) -> Result<CheckpointEvery> {
    let (number, minutes) = match (text.strip_suffix("min"), text.strip_suffix("steps")) {
        (Some(number), _) => (number, true),
        (_, Some(number)) => (number, false),
        _ => (text, false),
    };
    let number: u64 = number.trim().parse().ok().filter(|&number| number > 0).with_context(|| {
        format!("`{text}`: give a number of steps or minutes above 0, such as 1000, 1000steps or 10min")
    })?;
    Ok(match minutes {
        true => CheckpointEvery::Time(Duration::from_secs(number.saturating_mul(60))),
        false => CheckpointEvery::Steps(number),
    })
}

impl CheckpointArguments {
    /// The checkpoints of a run; `None` where no folder is given.
    pub(crate) fn checkpoints(&self) -> Option<Checkpoints> {
        let defaults = Checkpoints::new(self.checkpoint.as_ref()?);
        Some(Checkpoints {
            every: self.checkpoint_every.unwrap_or(defaults.every),
            keep: self.keep_checkpoints.map_or(defaults.keep, usize::from),
            resume: self.resume,
            ..defaults
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_minutes_are_told_apart() {
        let ten = CheckpointEvery::Time(Duration::from_secs(600));
        assert_eq!(every("10min").unwrap(), ten);
        assert_eq!(every("1000").unwrap(), CheckpointEvery::Steps(1000));
        assert_eq!(every("1000steps").unwrap(), CheckpointEvery::Steps(1000));
        for text in ["0", "min", "-1", "ten", "10hours"] {
            assert!(every(text).unwrap_err().to_string().contains(text));
        }
    }
}
