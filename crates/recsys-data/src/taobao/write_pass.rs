//! Passes over the events of all users, in the order of the users: one that looks, and one that
//! makes samples.

use std::ops::Range;

use rayon::prelude::*;

use super::history::Histories;
use super::rules::{Rules, Samples};
use super::store::EventStore;
use super::{Duplicates, PrepareOptions};
use crate::batch::Batch;
use crate::error::Result;
use crate::progress::Progress;
use crate::split::Split;

/// Events loaded at a time, for each thread, unless one partition has more.
const EVENTS_PER_THREAD: usize = 1 << 18;
/// Points made at a time by one thread: a few megabytes of samples.
const POINTS: u32 = 1 << 12;
/// Pieces of work of one round, for each thread.
const PIECES_PER_THREAD: usize = 4;

/// Partitions cut into groups that are in memory together.
fn groups(store: &EventStore) -> Vec<Range<usize>> {
    let most = EVENTS_PER_THREAD * rayon::current_num_threads();
    let mut groups = Vec::new();
    let (mut start, mut events) = (0, 0);
    for partition in 0..store.partitions() {
        let more = store.partition_len(partition);
        if events + more > most && partition > start {
            groups.push(start..partition);
            (start, events) = (partition, 0);
        }
        events += more;
    }
    if start < store.partitions() {
        groups.push(start..store.partitions());
    }
    groups
}

/// Shows the events of every partition to `look`, in parallel, and what it made of them to `consume`, in order.
///
/// # Errors
/// A temporary file cannot be read; what `consume` answers.
pub(super) fn survey<T: Send>(
    store: &EventStore,
    duplicates: Duplicates,
    progress: &dyn Progress,
    look: impl Fn(&Histories) -> T + Sync,
    mut consume: impl FnMut(T) -> Result<()>,
) -> Result<()> {
    for group in groups(store) {
        let bytes = group_bytes(store, &group);
        let found: Vec<T> = group
            .into_par_iter()
            .map(|partition| Ok(look(&Histories::load(store, partition, duplicates)?)))
            .collect::<Result<_>>()?;
        for found in found {
            consume(found)?;
        }
        progress.advance(bytes, 0);
    }
    Ok(())
}

/// Bytes of a group's events, as progress counts them.
fn group_bytes(store: &EventStore, group: &Range<usize>) -> u64 {
    let events: usize = group
        .clone()
        .map(|partition| store.partition_len(partition))
        .sum();
    events as u64 * BYTES_PER_EVENT
}

/// What progress takes an event for.
pub(super) const BYTES_PER_EVENT: u64 = 12;

/// Points of neighbouring users.
type Piece<'a> = Vec<(u32, &'a [super::store::Event], Range<u32>)>;

/// Makes all samples and shows them, user by user; returns how many events occurred before.
///
/// # Errors
/// There is no item for a negative sample; a file cannot be read; what `show` answers.
pub(super) fn make_all(
    options: &PrepareOptions,
    store: &EventStore,
    rules: &dyn Rules,
    progress: &dyn Progress,
    show: impl FnMut(Split, &mut Batch) -> Result<()> + Send,
) -> Result<u64> {
    let mut output = Output { show, progress };
    let mut duplicates = 0;
    // What was made last is written while the next samples are made.
    let mut before: Option<Vec<Samples>> = None;
    for group in groups(store) {
        let bytes = group_bytes(store, &group);
        let load = || {
            let histories = group
                .into_par_iter()
                .map(|partition| Histories::load(store, partition, options.duplicates));
            histories.collect::<Result<Vec<_>>>()
        };
        let (written, histories) = rayon::join(|| output.take(before.take()), load);
        written?;
        let histories = histories?;
        duplicates += histories
            .iter()
            .map(|histories| histories.duplicates.len() as u64)
            .sum::<u64>();
        let pieces = pieces(&histories, rules);
        let round = PIECES_PER_THREAD * rayon::current_num_threads();
        for round in pieces.chunks(round) {
            let made = || {
                let made = round.par_iter().map(|piece| make(options, rules, piece));
                made.collect::<Result<Vec<Samples>>>()
            };
            let (written, made) = rayon::join(|| output.take(before.take()), made);
            written?;
            before = Some(made?);
        }
        progress.advance(bytes, 0);
    }
    output.take(before)?;
    Ok(duplicates)
}

/// How often every id occurs in the positions of training samples: users, items, categories.
///
/// # Errors
/// As [`make_all`].
pub(super) fn count_positions(
    options: &PrepareOptions,
    store: &EventStore,
    rules: &dyn Rules,
    rows: [u64; 3],
    progress: &dyn Progress,
) -> Result<[Vec<u64>; 3]> {
    let mut counts = rows.map(|rows| vec![0; rows as usize]);
    make_all(options, store, rules, progress, |split, batch| {
        if split == Split::Train {
            for ids in batch.sparse.ids.chunks_exact(3) {
                for (counts, &id) in counts.iter_mut().zip(ids) {
                    counts[id as usize] += 1;
                }
            }
        }
        Ok(())
    })?;
    Ok(counts)
}

fn pieces<'a>(histories: &'a [Histories], rules: &dyn Rules) -> Vec<Piece<'a>> {
    let mut pieces = Vec::new();
    let mut piece = Vec::new();
    let mut room = POINTS;
    for (user, events) in histories.iter().flat_map(Histories::iter) {
        let points = rules.points(user);
        let mut start = 0;
        while start < points {
            let end = points.min(start + room);
            piece.push((user, events, start..end));
            room -= end - start;
            start = end;
            if room == 0 {
                pieces.push(std::mem::take(&mut piece));
                room = POINTS;
            }
        }
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}

fn make(options: &PrepareOptions, rules: &dyn Rules, piece: &Piece<'_>) -> Result<Samples> {
    let mut samples = Samples::new(options.positions());
    for (user, events, points) in piece {
        rules.make(*user, events, points.clone(), &mut samples)?;
    }
    Ok(samples)
}

/// Where samples go.
struct Output<'a, S> {
    show: S,
    progress: &'a dyn Progress,
}

impl<S: FnMut(Split, &mut Batch) -> Result<()>> Output<'_, S> {
    fn take(&mut self, made: Option<Vec<Samples>>) -> Result<()> {
        for mut samples in made.into_iter().flatten() {
            for (split, batch) in Split::ALL.into_iter().zip(&mut samples.batches) {
                if !batch.is_empty() {
                    (self.show)(split, batch)?;
                    self.progress.advance(0, batch.len() as u64);
                }
            }
        }
        Ok(())
    }
}
