//! The preparation of behaviour sequences: raw events to a packed data set.

use std::path::PathBuf;
use std::time::Instant;

use super::count_pass::{CountedEvents, by_name, count};
use super::division::Division;
use super::encode::{Ids, SampleRanks};
use super::history::Histories;
use super::reference::Reference;
use super::report::{PrepareReport, Spread};
use super::rules::{Rules, WindowRules, windows};
use super::store::Event;
use super::write_pass::{BYTES_PER_EVENT, count_positions, make_all, survey};
use super::{Duplicates, PointsPerUser, PrepareOptions, SequenceRules, SequenceSplit, schema};
use crate::batch::Batch;
use crate::criteo::{PassReport, SplitReport};
use crate::error::{Error, Result};
use crate::generate::Counter;
use crate::packed::{PackedWriter, Provenance, WriterOptions};
use crate::progress::{Progress, Stage, staged};
use crate::rank_on::RankOn;
use crate::split::{Split, SplitRows};
use crate::taobao::error::Error as TaobaoError;
use crate::text::{BadRows, check_output, folder_bytes, stored_bytes};

/// The family of draws that divide users.
const USERS: u64 = 5;

/// Prepares Taobao events: one pass over the files counts users, items and categories and sorts the events to their users; then
/// samples are made user by user.
///
/// Both run on the threads of the current rayon pool. Memory is that of the events up to the limit in the options, of the
/// dictionaries (20 to 40 bytes for each distinct user, item and category), and of some megabytes for each thread; the events of
/// 256 users are sorted in memory together. Beyond the limit events go to temporary files beside the output. The output has the same
/// bytes for any limit and any number of threads. It appears under its name when it is complete; an error leaves nothing behind.
#[derive(Debug, Clone)]
pub struct PrepareTaobao {
    options: PrepareOptions,
}

/// What the passes over the events know before samples are written.
struct Plan {
    rows: SplitRows,
    sampled_users: u64,
    windows: u64,
    points: u64,
}

impl PrepareTaobao {
    /// A preparation that has not begun.
    pub fn new(options: PrepareOptions) -> Self {
        Self { options }
    }

    /// Does it.
    ///
    /// # Errors
    /// An option without meaning; a raw file that is missing, empty or damaged; a bad row, unless those are skipped; data of
    /// which no sample can be made; a user who touched every item; an output folder that holds something, unless it may be
    /// replaced; a full disk.
    pub fn run(&self, progress: &dyn Progress) -> Result<PrepareReport> {
        let start = Instant::now();
        let options = &self.options;
        options.validate()?;
        let sizes: Result<Vec<u64>> = options.raw.iter().map(|path| stored_bytes(path)).collect();
        let bytes = sizes?.iter().sum();
        let lock = check_output(&options.out, &options.raw, options.force)?;

        let by_minute = options.split == SequenceSplit::Time;
        let (mut counted, count_seconds) = staged(progress, Stage::Count, bytes, || {
            count(options, &self.folder(), by_minute, progress)
        })?;
        let mut passes = vec![pass(Stage::Count, counted.store.len(), count_seconds)];
        let event_bytes = counted.store.len() * BYTES_PER_EVENT;
        let mut removed = 0;
        if options.duplicates == Duplicates::Bad {
            let (found, seconds) = staged(progress, Stage::Sort, event_bytes, || {
                remove_duplicates(options, &mut counted, progress)
            })?;
            removed = found;
            passes.push(pass(Stage::Sort, counted.store.len(), seconds));
        }
        let ids = Ids::new(
            &counted.users,
            &counted.items,
            &counted.categories,
            options.pads(),
        );

        let (division, points);
        let rules: Box<dyn Rules>;
        let plan = match options.rules {
            SequenceRules::Windows => {
                points = points_of(options, &counted);
                division = Division::new(
                    options.split,
                    (options.validation, options.test),
                    &points,
                    counted.minutes.as_ref(),
                    Counter::new(options.seed, USERS),
                );
                let windowed = WindowRules::new(options, &ids, &counted.users, &division, &points);
                let rows = if division.needs_times() {
                    let (rows, seconds) = staged(progress, Stage::Sort, event_bytes, || {
                        tally(options, &counted, &windowed, progress)
                    })?;
                    passes.push(pass(Stage::Sort, counted.store.len(), seconds));
                    rows
                } else {
                    windowed.tally_untimed()
                };
                rules = Box::new(windowed);
                let users = counted.users.counts().iter();
                Plan {
                    rows,
                    sampled_users: points.iter().filter(|&&points| points > 0).count() as u64,
                    windows: users.map(|&events| windows(options, events)).sum(),
                    points: points.iter().map(|&points| u64::from(points)).sum(),
                }
            }
            SequenceRules::Reference => {
                let (reference, seconds) = staged(progress, Stage::Sort, event_bytes, || {
                    let items = (&counted.items, &counted.last[..]);
                    Reference::new(
                        options,
                        &ids,
                        &counted.users,
                        items,
                        &counted.store,
                        progress,
                    )
                })?;
                passes.push(pass(Stage::Sort, counted.store.len(), seconds));
                let (sampled_users, windows) = reference.sampled();
                let rows = reference.rows();
                rules = Box::new(reference);
                Plan {
                    rows,
                    sampled_users,
                    windows,
                    points: windows,
                }
            }
        };
        let samples = plan.rows.train + plan.rows.validation + plan.rows.test;
        let distinct = ids.vocabularies.each_ref().map(|vocabulary| {
            vocabulary.categories.len() as u64 - u64::from(vocabulary.missing.is_some())
        });
        let events_of: Vec<u64> = counted
            .users
            .counts()
            .iter()
            .copied()
            .filter(|&events| events > 0)
            .collect();
        let mut report = PrepareReport {
            events: counted.store.len() - removed,
            users: distinct[0],
            items: distinct[1],
            categories: distinct[2],
            behaviours: by_name(counted.behaviours),
            first_time: counted.first_time,
            last_time: counted.last_time,
            out_of_range: counted.out_of_range,
            duplicates: 0,
            single_event_users: events_of.iter().filter(|&&events| events == 1).count() as u64,
            events_per_user: Spread::of(events_of),
            sampled_users: plan.sampled_users,
            windows: plan.windows,
            points: plan.points,
            splits: Vec::new(),
            skipped: counted.skipped.into_report(&options.raw),
            sources: counted.sources,
            passes: Vec::new(),
            seconds: 0.0,
            spilled_bytes: counted.store.spilled_bytes(),
            packed_bytes: 0,
        };
        if samples == 0 {
            return Err(Error::Taobao(TaobaoError::NoWindows {
                needed: needed_events(options),
                report: Box::new(report),
            }));
        }

        let writer_options = WriterOptions {
            force: options.force,
            shard_rows: options.shard_rows,
        };
        let mut ranks = None;
        if options.rank_on == RankOn::Train && plan.rows.train > 0 {
            let (counts, seconds) = staged(progress, Stage::Rank, event_bytes, || {
                count_positions(options, &counted.store, &*rules, ids.rows(), progress)
            })?;
            passes.push(pass(Stage::Rank, samples, seconds));
            ranks = Some(SampleRanks::new(&ids, &counts));
        }
        let vocabularies = match &ranks {
            Some(ranks) => &ranks.vocabularies,
            None => &ids.vocabularies,
        };
        let schema = schema(options.history + 1, ids.rows());
        let mut writer = PackedWriter::create_locked(lock, schema, plan.rows, writer_options)?;
        for (table, vocabulary) in vocabularies.iter().enumerate() {
            writer.write_vocabulary(table, vocabulary)?;
        }
        let mut splits = SplitReport::none();
        let show = |split: Split, batch: &mut Batch| {
            if let Some(ranks) = &ranks {
                for ids in batch.sparse.ids.chunks_exact_mut(3) {
                    for (id, new_ids) in ids.iter_mut().zip(&ranks.new_ids) {
                        *id = new_ids[*id as usize];
                    }
                }
            }
            splits[split as usize].add(&batch.label);
            writer.append(split, batch)
        };
        let (duplicates, seconds) = staged(progress, Stage::Write, event_bytes, || {
            make_all(options, &counted.store, &*rules, progress, show)
        })?;
        passes.push(pass(Stage::Write, samples, seconds));

        report.duplicates = duplicates;
        report.splits = splits.into();
        report.passes = passes;
        writer.finish(self.provenance(&report))?;
        report.packed_bytes = folder_bytes(&options.out)?;
        report.seconds = start.elapsed().as_secs_f64();
        Ok(report)
    }

    /// Where temporary files go: beside the output.
    fn folder(&self) -> PathBuf {
        match self.options.out.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        }
    }

    fn provenance(&self, report: &PrepareReport) -> Provenance {
        Provenance {
            dataset: "taobao-userbehavior".to_owned(),
            sources: report.sources.clone(),
            options: self.options.to_json(),
            report: serde_json::json!({
                "events": report.events,
                "users": report.users,
                "items": report.items,
                "categories": report.categories,
                "behaviours": report.behaviours,
                "first_time": report.first_time,
                "last_time": report.last_time,
                "out_of_range": report.out_of_range,
                "duplicates": report.duplicates,
                "windows": report.windows,
                "points": report.points,
                "splits": report.splits,
                "skipped": report.skipped,
            }),
        }
    }
}

fn pass(stage: Stage, rows: u64, seconds: f64) -> PassReport {
    PassReport {
        stage,
        seconds,
        rows_per_second: rows as f64 / seconds,
    }
}

/// Windows that become samples, for every user.
fn points_of(options: &PrepareOptions, counted: &CountedEvents) -> Vec<u32> {
    let events = counted.users.counts().iter();
    let windows = events.map(|&events| windows(options, events));
    let most = match options.points_per_user {
        PointsPerUser::All => u32::MAX,
        PointsPerUser::Most(most) => most,
        PointsPerUser::Auto if windows.clone().sum::<u64>() <= PointsPerUser::AUTO => u32::MAX,
        PointsPerUser::Auto => PointsPerUser::REFERENCE,
    };
    windows
        .map(|windows| windows.min(u64::from(most)) as u32)
        .collect()
}

/// Counts samples by split where that depends on their times.
fn tally(
    options: &PrepareOptions,
    counted: &CountedEvents,
    rules: &WindowRules<'_>,
    progress: &dyn Progress,
) -> Result<SplitRows> {
    let look = |histories: &Histories| {
        let mut chosen = Vec::new();
        let mut rows = SplitRows::default();
        for (user, events) in histories.iter() {
            let of_user = rules.tally(user, events, &mut chosen);
            rows.train += of_user.train;
            rows.validation += of_user.validation;
            rows.test += of_user.test;
        }
        rows
    };
    let mut all = SplitRows::default();
    survey(&counted.store, options.duplicates, progress, look, |rows| {
        all.train += rows.train;
        all.validation += rows.validation;
        all.test += rows.test;
        Ok(())
    })?;
    Ok(all)
}

/// Takes back the counts of events that occurred before; returns how many there are.
fn remove_duplicates(
    options: &PrepareOptions,
    counted: &mut CountedEvents,
    progress: &dyn Progress,
) -> Result<u64> {
    let mut all: Vec<Event> = Vec::new();
    let look = |histories: &Histories| histories.duplicates.clone();
    survey(
        &counted.store,
        options.duplicates,
        progress,
        look,
        |found| {
            all.extend(found);
            Ok(())
        },
    )?;
    if let Some(event) = all.first().filter(|_| options.bad_rows == BadRows::Error) {
        let item = event.item() as usize;
        return Err(Error::Taobao(TaobaoError::DuplicateEvent {
            event: format!(
                "{},{},{},{},{}",
                counted.users.values()[event.user as usize],
                counted.items.values()[item],
                counted.categories[item],
                event.behaviour().name(),
                event.time
            ),
        }));
    }
    for event in &all {
        counted.users.remove(event.user);
        counted.items.remove(event.item());
        counted.behaviours[event.behaviour() as usize] -= 1;
        let range = options.from..options.until;
        counted.out_of_range -= u64::from(!range.contains(&event.time));
    }
    Ok(all.len() as u64)
}

/// Events that a user must have for a sample.
fn needed_events(options: &PrepareOptions) -> u64 {
    match options.rules {
        SequenceRules::Reference => 11,
        SequenceRules::Windows if options.pads() => 2,
        SequenceRules::Windows => u64::from(options.history) + 1,
    }
}
