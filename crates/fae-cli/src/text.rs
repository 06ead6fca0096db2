//! Results as text.

use embedding_store::{EmbeddingStore, Tiered};
use trainer::{Evaluation, RunReport};

use crate::process::peak_memory_bytes;

/// How many bytes of rows are where.
pub(crate) fn rows_at(store: &dyn EmbeddingStore) -> String {
    let (all, mapped) = (
        store.memory_bytes(),
        store.tiers().map_or(0, Tiered::mapped_bytes),
    );
    match mapped {
        0 => bytes(all),
        _ => format!(
            "{} in memory and {} on disk",
            bytes(all - mapped),
            bytes(mapped)
        ),
    }
}

/// The head of a table of [`evaluation_row`]s.
pub fn evaluation_header() -> String {
    format!(
        "{:<22} {:>8} {:>9} {:>9} {:>12} {:>12}",
        "", "AUC", "log loss", "accuracy", "norm. entropy", "samples"
    )
}

/// An evaluation as a row of a table.
pub fn evaluation_row(name: &str, evaluation: &Evaluation) -> String {
    let optional =
        |value: Option<f64>| value.map_or("undefined".into(), |value| format!("{value:.4}"));
    format!(
        "{name:<22} {:>8} {:>9.4} {:>8.2}% {:>13} {:>12}",
        optional(evaluation.auc),
        evaluation.log_loss,
        100.0 * evaluation.accuracy,
        optional(evaluation.normalized_entropy),
        evaluation.samples
    )
}

/// Prints the final and the best results as a table.
pub fn print_report(report: &RunReport) {
    say!("{}", evaluation_header());
    let row = |name: &str, evaluation: Option<Evaluation>| {
        if let Some(evaluation) = evaluation {
            say!("{}", evaluation_row(name, &evaluation));
        }
    };
    row("validation", report.validation);
    row("test", report.test);
    row("validation and test", report.validation_and_test);
    if let Some(best) = &report.best {
        row(
            &format!("test at step {} (best)", best.step),
            Some(best.test),
        );
    }
    print_phases(report);
    let train = report.train;
    say!(
        "trained on {} samples in {:.1} s: {:.0} samples/s; peak memory {}",
        train.samples,
        train.seconds,
        train.samples_per_second,
        bytes(peak_memory_bytes().unwrap_or(0))
    );
}

/// Prints what ran in which phase, how long, and what crossed.
fn print_phases(report: &RunReport) {
    say!(
        "{:<10} {:>8} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>11} {:>11} {:>11}",
        "phase",
        "steps",
        "samples",
        "seconds",
        "lookup",
        "model",
        "update",
        "sync",
        "to device",
        "to host",
        "synced"
    );
    let phases = &report.phases;
    for (name, phase) in [
        ("unsplit", phases.unsplit),
        ("hot", phases.hot),
        ("cold", phases.cold),
    ] {
        let Some(phase) = phase else { continue };
        say!(
            "{name:<10} {:>8} {:>10} {:>9.2} {:>9.2} {:>9.2} {:>9.2} {:>9.2} {:>11} {:>11} {:>11}",
            phase.steps,
            phase.samples,
            phase.seconds,
            phase.times.lookup_seconds,
            phase.times.model_seconds,
            phase.times.update_seconds,
            phase.traffic.sync_seconds,
            bytes(phase.traffic.host_to_device),
            bytes(phase.traffic.device_to_host),
            bytes(phase.traffic.sync_to_device + phase.traffic.sync_to_host),
        );
    }
    let rates = (report.swaps.first(), report.swaps.last());
    if let (Some(first), Some(last)) = rates
        && let (Some(first), Some(last)) = (first.rate, last.rate)
    {
        say!(
            "{} changes of side; rate {first}% after the first, {last}% at the end",
            report.swaps.len(),
        );
    }
}

/// A number of bytes as people read it.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = (count.max(1).ilog2() / 10).min(4);
    if unit == 0 {
        format!("{count} B")
    } else {
        format!(
            "{:.1} {}",
            count as f64
                / f64::from(1u32 << (10 * unit.min(3)))
                / if unit == 4 { 1024.0 } else { 1.0 },
            UNITS[unit as usize]
        )
    }
}

/// Prints the largest resident memory of this process behind a name that takes this many columns.
pub fn print_peak_memory(columns: usize) {
    let peak = peak_memory_bytes().map_or("unknown".to_owned(), bytes);
    say!("{:<columns$} {peak:>14}", "peak memory");
}
