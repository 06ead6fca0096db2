//! What the examples print: tables.

use fae_cli::say;
use fae_cli::speedup::whole;
use trainer::{Evaluation, RunReport};

/// Prints a head, whose names stand between bars, and rows: the first column to the left, the others
/// to the right.
pub fn print_table<const COLUMNS: usize>(head: &str, rows: &[[String; COLUMNS]]) {
    let head: Vec<String> = head.split('|').map(String::from).collect();
    let lines = || std::iter::once(&head[..]).chain(rows.iter().map(|row| &row[..]));
    let mut widths = [0; COLUMNS];
    for line in lines() {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    for line in lines() {
        let cells = line.iter().zip(widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("  {cell:>width$}"),
        });
        say!("{}", cells.collect::<String>());
    }
}

/// AUC and log loss, as cells.
pub fn quality(evaluation: Option<Evaluation>) -> [String; 2] {
    let Some(evaluation) = evaluation else {
        return ["-".into(), "-".into()];
    };
    let auc = evaluation.auc.map_or("-".into(), |auc| format!("{auc:.4}"));
    [auc, format!("{:.4}", evaluation.log_loss)]
}

/// Prints where a run ended, how fast it was, and what crossed between host and device.
pub fn print_run(name: &str, report: &RunReport) {
    let [auc, log_loss] = quality(report.test);
    let train = report.train;
    print_table(
        "run|test AUC|log loss|samples|samples/s|crossed",
        &[[
            name.into(),
            auc,
            log_loss,
            train.samples.to_string(),
            format!("{:.0}", train.samples_per_second),
            format!("{:.1} MiB", crossed(report) as f64 / f64::from(1 << 20)),
        ]],
    );
}

/// Bytes that crossed between host and device in a run.
pub fn crossed(report: &RunReport) -> u64 {
    let all = whole(report).traffic;
    all.host_to_device + all.device_to_host + all.sync_to_device + all.sync_to_host
}
