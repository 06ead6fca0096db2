//! All days but the last train; the last one is halved.

use std::ops::Range;

use super::DaySplit;
use super::days::Days;
use super::work_folder::WorkFolder;
use crate::criteo::report::SplitReport;
use crate::error::Result;
use crate::split::Split;

const SPLITS: &str = "splits.json";

/// The rows of the splits among all rows, in their order.
pub(super) fn divide(days: &Days, rule: DaySplit) -> Vec<(Split, Range<u64>)> {
    let last = days.rows_of(days.days.len() - 1);
    let half = last.start + (last.end - last.start).div_ceil(2);
    let (second, third) = match rule {
        DaySplit::TimeOrdered => (Split::Validation, Split::Test),
        DaySplit::Reference => (Split::Test, Split::Validation),
    };
    vec![
        (Split::Train, 0..last.start),
        (second, last.start..half),
        (third, half..last.end),
    ]
}

/// What a day is for, by its place among all days.
pub(super) fn of_day(day: usize, days: usize) -> Vec<Split> {
    match day + 1 < days {
        true => vec![Split::Train],
        false => vec![Split::Validation, Split::Test],
    }
}

/// The rows that train.
pub(super) fn train(divided: &[(Split, Range<u64>)]) -> Range<u64> {
    let train = divided.iter().find(|(split, _)| *split == Split::Train);
    train.map_or(0..0, |(_, rows)| rows.clone())
}

/// Rows and clicks of every split. Counted once, while the columns of the last day are there.
pub(super) fn report(
    folder: &WorkFolder,
    days: &Days,
    splits: &[(Split, Range<u64>)],
) -> Result<Vec<SplitReport>> {
    if let Some(counted) = folder.load(SPLITS)? {
        return Ok(counted);
    }
    let before = &days.days[..days.days.len() - 1];
    let mut reports = Vec::new();
    for split in Split::ALL {
        let Some((_, rows)) = splits.iter().find(|(of, _)| *of == split) else {
            continue;
        };
        let clicks = match split {
            Split::Train => before.iter().map(|day| day.clicks).sum(),
            _ => clicks(days, rows.clone())?,
        };
        reports.push(SplitReport {
            split,
            rows: rows.end - rows.start,
            clicks,
        });
    }
    folder.save(SPLITS, &reports)?;
    Ok(reports)
}

/// Rows with label 1 among some rows.
fn clicks(days: &Days, rows: Range<u64>) -> Result<u64> {
    let (mut clicks, mut labels) = (0, Vec::new());
    for block in days.blocks(rows.clone()) {
        let file = &days.files[block.day];
        let layout = file.layout(block.block);
        file.open()?
            .read(block.block, layout.labels(), &mut labels)?;
        let from = rows.start.max(block.rows.start) - block.rows.start;
        let to = rows.end.min(block.rows.end) - block.rows.start;
        let labels = &labels[from as usize..to as usize];
        clicks += labels.iter().map(|&label| u64::from(label)).sum::<u64>();
    }
    Ok(clicks)
}
