//! How much disk a preparation takes, before it takes it.
//!
//! At the peak there are the columns of all days and the counts. Columns go while shards are written, which are as large; so from then
//! on only a day and the shards in work come on top.

use std::path::Path;
use std::sync::Mutex;

use super::budget::Budget;
use super::columns::BlockLayout;
use super::dictionary::Part;
use super::encode_stage::Encoded;
use super::sub_sample::SubSample;
use super::tasks::in_order;
use super::write_stage::WriteStage;
use super::{Limits, TerabyteOptions};
use crate::criteo::{DENSE_FEATURES, TABLES};
use crate::error::{Error, Result};
use crate::packed::disk_space;
use crate::progress::Progress;
use crate::text::{Chunks, Source};

/// Ids of a row.
const ID_ROW_BYTES: u64 = TABLES as u64 * 4;
/// A row of a shard: label, dense values, ids.
const SHARD_ROW_BYTES: u64 = 4 + DENSE_FEATURES as u64 * 4 + ID_ROW_BYTES;
/// Counts, dictionaries and vocabularies of a row. The full data set has one category for five rows, of 36 bytes in all; little data
/// have relatively more of them.
const COUNT_ROW_BYTES: u64 = 16;
/// Dictionaries in memory, of a row of the full data set.
const DICTIONARY_ROW_BYTES: f64 = 2.2;
/// Text that is looked at.
const SAMPLE: u64 = 8 << 20;

/// Rows that a day will keep, by the front of its file.
fn estimate_rows(options: &TerabyteOptions, day: usize, bytes: u64) -> Result<u64> {
    /// Read ahead by the decoder, and not seen as text yet.
    const AHEAD: u64 = 1 << 18;
    let sub_sample = SubSample::new(options, day);
    let mut chunks = Chunks::new(Source::text(&options.raw[day])?, day);
    let (mut rows, mut kept, mut text, mut stored) = (0, 0u64, 0, 0);
    while text < SAMPLE {
        let Some(chunk) = chunks.next()? else {
            return Ok(kept);
        };
        text += chunk.text.len() as u64;
        stored += chunk.stored_bytes;
        super::super::parse::parse_rows(
            &chunk.text,
            |row| {
                kept += u64::from(!sub_sample.drops(rows, row.label));
                rows += 1;
            },
            |_, _| Ok::<_, Error>(()),
        )?;
    }
    let share = bytes as f64 / stored.saturating_sub(AHEAD).max(1) as f64;
    Ok((kept as f64 * share.max(1.0)) as u64)
}

/// Estimates the peak from the front of every file that is still to be parsed, and compares it with the disk. Returns it.
///
/// # Errors
/// Too little disk space, or a file that cannot be read.
pub(super) fn check_before(
    options: &TerabyteOptions,
    sizes: &[u64],
    parsed: &[Option<u64>],
    budget: &Budget,
    limits: Limits,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<u64> {
    let rows: Mutex<Vec<Option<u64>>> = Mutex::new(parsed.to_vec());
    in_order(
        sizes.len(),
        budget.parsers(),
        || (),
        |(), day| {
            if parsed[day].is_none() {
                let estimate = estimate_rows(options, day, sizes[day])?;
                if let Ok(mut rows) = rows.lock() {
                    rows[day] = Some(estimate);
                }
            }
            Ok(())
        },
    )?;
    let rows: Vec<u64> = rows
        .into_inner()
        .unwrap_or_default()
        .into_iter()
        .flatten()
        .collect();
    let all: u64 = rows.iter().sum();
    let columns = |rows: u64| {
        rows / limits.block_rows as u64 * BlockLayout::new(limits.block_rows).bytes() as u64
            + BlockLayout::new((rows % limits.block_rows as u64) as usize).bytes() as u64
    };
    let new = rows
        .iter()
        .zip(parsed)
        .filter(|(_, parsed)| parsed.is_none());
    let new: u64 = new.map(|(&rows, _)| columns(rows)).sum();
    let (workers, dictionaries) = budget.encoders();
    let writing = options.shard_rows.saturating_mul(workers as u64).min(all) * SHARD_ROW_BYTES;
    let day = rows.iter().map(|&rows| columns(rows)).max().unwrap_or(0);
    let ids = if all as f64 * DICTIONARY_ROW_BYTES > dictionaries as f64 {
        all * ID_ROW_BYTES
    } else {
        0
    };
    let needed = new + all * COUNT_ROW_BYTES + writing + day + ids;
    check(folder, needed, progress)?;
    Ok(needed)
}

/// Compares what shards, and ids on disk for all groups but the last, will take with the disk.
///
/// # Errors
/// Too little disk space.
pub(super) fn check_writing(
    write: &WriteStage<'_>,
    groups: &[Vec<Part>],
    encoded: &Encoded,
    progress: &dyn Progress,
) -> Result<()> {
    let later = groups.iter().rev().skip(1).flatten();
    let mut on_disk = [false; TABLES];
    later.for_each(|part| on_disk[part.table] |= encoded[part.table] == 0);
    let tables = on_disk.iter().filter(|&&table| table).count() as u64;
    let needed = growth(write)? + tables * 4 * write.days.rows();
    check(write.folder.path(), needed, progress)
}

/// How much the disk fills at most while the shards that are left are written, and columns are removed behind them.
fn growth(write: &WriteStage<'_>) -> Result<u64> {
    let left = write.left()?;
    let (mut written, mut peak) = (0u64, 0);
    for (number, &shard) in left.iter().enumerate() {
        written += write.shards[shard].place.bytes(write.schema);
        // Other threads may still be at the shards before.
        let behind = number.checked_sub(write.workers);
        let finished = behind.map_or(0, |number| write.shards[left[number]].rows.end);
        peak = peak.max(written.saturating_sub(write.columns_before(finished)));
    }
    Ok(peak)
}

fn check(folder: &Path, needed: u64, progress: &dyn Progress) -> Result<()> {
    let available = disk_space::available(folder);
    progress.disk(needed, available);
    if available.is_some_and(|available| available < needed) {
        return Err(Error::NoSpace {
            path: folder.to_path_buf(),
            needed,
            available,
            source: std::io::ErrorKind::StorageFull.into(),
        });
    }
    Ok(())
}
