//! Runs beside each other: where their time goes, and what crosses.

use trainer::{PhaseReport, RunReport};

use crate::charts::{Bar, BarChart};
use crate::text::bytes;

/// The run of the median time.
pub fn median(mut reports: Vec<RunReport>) -> RunReport {
    reports.sort_by(|a, b| a.train.seconds.total_cmp(&b.train.seconds));
    reports.swap_remove(reports.len() / 2)
}

/// The phases of a run as one.
pub fn whole(report: &RunReport) -> PhaseReport {
    let phases = [report.phases.unsplit, report.phases.hot, report.phases.cold];
    let mut all = PhaseReport::default();
    phases.iter().flatten().for_each(|phase| all.add(phase));
    all
}

/// Where the seconds of a phase went: lookup, model, update, sync, loading.
pub fn parts(phase: &PhaseReport) -> [f64; 5] {
    [
        phase.times.lookup_seconds,
        phase.times.model_seconds,
        phase.times.update_seconds,
        phase.traffic.sync_seconds,
        phase.load_seconds,
    ]
}

/// Prints a table of runs.
pub fn print(runs: &[(String, RunReport)]) {
    say!(
        "{:<11} {:>9} {:>12} {:>8} {:>8} {:>8} {:>8} {:>8} {:>11} {:>11} {:>11}",
        "placement",
        "seconds",
        "samples/s",
        "lookup",
        "model",
        "update",
        "sync",
        "loading",
        "to device",
        "to host",
        "synced"
    );
    for (name, report) in runs {
        let phase = whole(report);
        let parts = parts(&phase).map(|part| format!(" {part:>8.2}")).concat();
        say!(
            "{name:<11} {:>9.2} {:>12.0}{parts} {:>11} {:>11} {:>11}",
            phase.seconds,
            report.train.samples_per_second,
            bytes(phase.traffic.host_to_device),
            bytes(phase.traffic.device_to_host),
            bytes(phase.traffic.sync_to_device + phase.traffic.sync_to_host)
        );
    }
}

/// The runs' seconds as stacked bars.
pub fn chart(title: String, runs: &[(String, RunReport)]) -> BarChart {
    let bar = |(name, report): &(String, RunReport)| {
        let phase = whole(report);
        let parts = parts(&phase);
        let rest = (phase.seconds - parts.iter().sum::<f64>()).max(0.0);
        Bar {
            name: name.clone(),
            parts: parts.into_iter().chain([rest]).collect(),
        }
    };
    BarChart {
        title,
        y: "seconds".into(),
        legend: ["lookup", "model", "update", "sync", "loading", "other"]
            .map(String::from)
            .to_vec(),
        bars: runs.iter().map(bar).collect(),
        from: 0.0,
    }
}
