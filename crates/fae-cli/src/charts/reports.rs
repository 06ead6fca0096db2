//! The parts of a report as charts.

use std::path::Path;

use anyhow::Result;
use fae_profiler::{
    AccessSkew, BudgetPoint, BudgetSweep, EstimatePoint, EstimateSweep, LengthPoint, LengthSweep,
    Report, SkewCurve,
};

use super::{Axis, LineChart, Series};

/// The curves of all tables together and of the six largest ones.
pub fn access_skew(part: &AccessSkew, title: &str) -> LineChart {
    let mut largest: Vec<&SkewCurve> = part.tables.iter().collect();
    largest.sort_by_key(|curve| std::cmp::Reverse(curve.rows));
    largest.truncate(6);
    let chart = LineChart::new(
        title,
        Axis::log("most frequent rows (% of the table)"),
        Axis::linear("accesses that they serve (%)").with_range(0.0..=100.0),
    );
    let curves = [&part.all].into_iter().chain(largest);
    curves.fold(chart, |chart, curve| {
        let name = match &curve.table {
            name if name == &part.all.table => name.clone(),
            name => format!("{name}, {} rows", short(curve.rows)),
        };
        chart.with_series(Series::new(name, curve.points.clone()))
    })
}

/// Hot inputs over budget.
fn budgets(part: &BudgetSweep, title: &str) -> LineChart {
    let line = |value: &dyn Fn(&BudgetPoint) -> f64| {
        let points = part.points.iter();
        points
            .map(|point| (100.0 * point.share, 100.0 * value(point)))
            .collect()
    };
    let bound = |point: &BudgetPoint| point.bound_share();
    LineChart::new(
        title,
        Axis::log("budget (% of all rows' bytes)"),
        Axis::linear("wholly hot inputs (%)").with_range(0.0..=100.0),
    )
    .with_series(Series::new("inputs", line(&|p| p.inputs.input_share())).with_dots())
    .with_series(Series::new("frequency", line(&|p| p.frequency.input_share())).with_dots())
    .with_series(Series::new("share", line(&|p| p.share_of_table.input_share())).with_dots())
    .with_series(Series::new("upper bound", line(&bound)).dashed())
}

/// Hot inputs over sampling rate: estimated with its interval, and counted.
fn estimates(part: &EstimateSweep, title: &str) -> LineChart {
    let line = |value: &dyn Fn(&EstimatePoint) -> f64| {
        let points = part.points.iter();
        points
            .map(|point| (100.0 * point.rate, 100.0 * value(point)))
            .collect()
    };
    let confidence = part
        .points
        .first()
        .map_or(0.0, |p| 100.0 * p.estimate.confidence);
    LineChart::new(
        title,
        Axis::log("inputs sampled (%)"),
        Axis::linear("wholly hot inputs (%)"),
    )
    .with_series(Series::new("estimate", line(&|p| p.estimate.inputs.share)).with_dots())
    .with_series(
        Series::new(
            format!("{confidence}% interval"),
            line(&|p| p.estimate.inputs.low),
        )
        .dashed()
        .in_same_colour(),
    )
    .with_series(
        Series::new("", line(&|p| p.estimate.inputs.high))
            .dashed()
            .in_same_colour(),
    )
    .with_series(Series::new("counted", line(&|p| p.results.input_share())).with_dots())
    .with_series(Series::new("set of all inputs", line(&|_| part.with_all.input_share())).dashed())
}

/// Hot inputs over the length of the history.
fn lengths(part: &LengthSweep, title: &str) -> LineChart {
    let line = |value: &dyn Fn(&LengthPoint) -> f64| {
        let points = part.points.iter();
        points
            .map(|point| (f64::from(point.history), 100.0 * value(point)))
            .collect()
    };
    LineChart::new(
        title,
        Axis::linear("items of history before the candidate"),
        Axis::linear("wholly hot sequences (%)").with_range(0.0..=100.0),
    )
    .with_series(Series::new("inputs", line(&|p| p.inputs.input_share())).with_dots())
    .with_series(Series::new("frequency", line(&|p| p.frequency.input_share())).with_dots())
    .with_series(Series::new("upper bound", line(&LengthPoint::bound_share)).dashed())
    .with_series(
        Series::new(
            "hot lookups, frequency",
            line(&|p| p.frequency.lookup_share()),
        )
        .dashed(),
    )
}

/// Draws each part as an `.svg` in a folder.
///
/// # Errors
/// A chart that cannot be drawn, or a file that cannot be written.
pub fn save_charts(report: &Report, folder: &Path) -> Result<()> {
    let title = |what: &str| match report.dataset.as_str() {
        "" => what.to_owned(),
        name => format!("{what}, {name}"),
    };
    let (skew, sweep) = (report.skew.as_ref(), report.budgets.as_ref());
    let (estimated, by_length) = (report.estimates.as_ref(), report.lengths.as_ref());
    let charts = [
        (
            "access_skew",
            skew.map(|part| access_skew(part, &title("Access skew"))),
        ),
        (
            "hot_inputs",
            sweep.map(|part| budgets(part, &title("Hot inputs against budget"))),
        ),
        (
            "estimate",
            estimated.map(|part| estimates(part, &title("Estimate against count"))),
        ),
        (
            "history_length",
            by_length.map(|part| lengths(part, &title("Hot sequences against history"))),
        ),
    ];
    for (name, chart) in charts {
        if let Some(chart) = chart {
            chart.save(folder.join(format!("{name}.svg")))?;
        }
    }
    Ok(())
}

/// A number in at most four characters or so.
fn short(number: u64) -> String {
    match number {
        0..10_000 => number.to_string(),
        10_000..10_000_000 => format!("{} k", number / 1000),
        _ => format!("{} M", number / 1_000_000),
    }
}
