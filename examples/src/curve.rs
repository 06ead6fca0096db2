//! What evaluations of a run showed, as lines to draw and to write.

use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context, Result};
use fae_profiler::charts::Series;
use serde::Serialize;
use trainer::{Console, Evaluation, Event, Observer};

/// An evaluation on the test set, and how far training was.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct CurvePoint {
    /// Training samples seen.
    pub samples: u64,
    /// The result.
    #[serde(flatten)]
    pub test: Evaluation,
}

/// Keeps every evaluation of a run, and shows its progress.
pub struct Curve {
    console: Console,
    /// What was seen.
    pub points: Vec<CurvePoint>,
    samples: u64,
}

impl Default for Curve {
    fn default() -> Self {
        Self {
            console: Console::new(),
            points: Vec::new(),
            samples: 0,
        }
    }
}

impl Observer for Curve {
    fn observe(&mut self, event: &Event<'_>) -> trainer::Result<ControlFlow<()>> {
        match event {
            Event::Step { samples, .. } => self.samples = *samples,
            Event::Evaluated { report, .. } => {
                if let Some(test) = report.test {
                    self.points.push(CurvePoint {
                        samples: self.samples,
                        test,
                    });
                }
                // A line for each of many evaluations would hide the progress bar.
                return Ok(ControlFlow::Continue(()));
            }
            _ => {}
        }
        self.console.observe(event)
    }
}

/// A line of one figure against thousands of training samples.
pub fn series(
    name: &str,
    points: &[CurvePoint],
    figure: impl Fn(&Evaluation) -> Option<f64>,
) -> Series {
    let points = points
        .iter()
        .filter_map(|point| Some((point.samples as f64 / 1e3, figure(&point.test)?)))
        .collect();
    Series::new(name, points)
}

/// Writes the curves of several runs as CSV.
///
/// # Errors
/// A file that cannot be written.
pub fn write_csv(path: &Path, runs: &[(String, Vec<CurvePoint>)]) -> Result<()> {
    let mut text = String::from("run,samples,test_log_loss,test_accuracy,test_auc\n");
    for (name, points) in runs {
        for CurvePoint { samples, test } in points {
            let auc = test.auc.map_or_else(String::new, |auc| auc.to_string());
            writeln!(
                text,
                "{name},{samples},{},{},{auc}",
                test.log_loss, test.accuracy
            )?;
        }
    }
    crate::process::write_text(path, &text)
        .with_context(|| format!("cannot write {}", path.display()))
}
