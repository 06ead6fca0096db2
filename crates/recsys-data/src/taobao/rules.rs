//! Samples out of a user's events: windows, each with a positive and a negative candidate.

use std::ops::Range;

use super::PrepareOptions;
use super::division::Division;
use super::encode::Ids;
use super::store::Event;
use super::windows::choose;
use super::{ShortHistory, positions};
use crate::batch::Batch;
use crate::category_counts::CategoryCounts;
use crate::error::{Error, Result};
use crate::generate::{Counter, mix};
use crate::split::{Split, SplitRows};
use crate::taobao::error::Error as TaobaoError;

/// How samples are made of the events of a user, point by point. A point is one or more samples.
pub(super) trait Rules: Sync {
    /// Points of a user.
    fn points(&self, user: u32) -> u32;

    /// Makes the samples of some points of a user, whose events these are, in the order of time.
    ///
    /// # Errors
    /// There is no item for a negative sample.
    fn make(
        &self,
        user: u32,
        events: &[Event],
        points: Range<u32>,
        into: &mut Samples,
    ) -> Result<()>;
}

/// Samples of every split, and memory to make them in.
#[derive(Debug, Default)]
pub(super) struct Samples {
    /// By split.
    pub(super) batches: [Batch; 3],
    /// The dense values of a sample.
    positions: Vec<f32>,
    /// User, item and category of every event of a user, padding first.
    pub(super) rows: Vec<u32>,
    /// Items, in order.
    pub(super) touched: Vec<u32>,
    pub(super) chosen: Vec<u64>,
}

impl Samples {
    pub(super) fn new(count: usize) -> Self {
        Self {
            positions: positions(count),
            ..Self::default()
        }
    }

    /// Adds a sample whose positions are rows of `self.rows`; `candidate` takes the place of what follows them.
    #[inline]
    pub(super) fn push(
        &mut self,
        split: Split,
        rows: Range<usize>,
        candidate: [u32; 3],
        label: f32,
    ) {
        let batch = &mut self.batches[split as usize];
        batch.label.push(label);
        batch.dense.extend_from_slice(&self.positions);
        let ids = &mut batch.sparse.ids;
        ids.extend_from_slice(&self.rows[rows.start * 3..rows.end * 3]);
        ids.extend_from_slice(&candidate);
    }
}

/// The default rules.
pub(super) struct WindowRules<'a> {
    options: &'a PrepareOptions,
    ids: &'a Ids,
    /// Raw numbers of users, for messages.
    users: &'a CategoryCounts,
    division: &'a Division,
    points: &'a [u32],
    /// Positive samples of the users before each.
    before: Vec<u64>,
    /// Where the sequence of negative items begins.
    shift: u64,
}

impl<'a> WindowRules<'a> {
    pub(super) fn new(
        options: &'a PrepareOptions,
        ids: &'a Ids,
        users: &'a CategoryCounts,
        division: &'a Division,
        points: &'a [u32],
    ) -> Self {
        let before = points
            .iter()
            .scan(0, |sum, &points| {
                let before = *sum;
                *sum += u64::from(points);
                Some(before)
            })
            .collect();
        Self {
            options,
            ids,
            users,
            division,
            points,
            before,
            shift: mix(options.seed),
        }
    }

    fn windows(&self, events: usize) -> u64 {
        windows(self.options, events as u64)
    }

    /// Samples of a user by split.
    pub(super) fn tally(&self, user: u32, events: &[Event], chosen: &mut Vec<u64>) -> SplitRows {
        let points = self.points[user as usize];
        let windows = self.windows(events.len());
        choose(windows, points.into(), counter(self.options), user, chosen);
        let mut rows = SplitRows::default();
        for (place, &window) in (0..).zip(chosen.iter()) {
            let time = events[self.candidate(window)].time;
            add(&mut rows, self.division.split(user, place, points, time), 2);
        }
        rows
    }

    /// Samples of all users by split, where no times are needed for that.
    pub(super) fn tally_untimed(&self) -> SplitRows {
        let mut rows = SplitRows::default();
        for (user, &points) in (0..).zip(self.points) {
            for place in 0..points {
                add(&mut rows, self.division.split(user, place, points, 0), 2);
            }
        }
        rows
    }

    /// The place of a window's candidate among the user's events.
    fn candidate(&self, window: u64) -> usize {
        window as usize
            + match self.options.short_history {
                ShortHistory::Skip => self.options.history as usize,
                ShortHistory::Pad => 1,
            }
    }

    /// The item for negative sample `number`, counted over all users: a walk over the items by Knuth's multiplicative hashing,
    /// which visits all of them equally often, goes on to the next item until the user has not touched it.
    fn negative(&self, user: u32, number: u64, touched: &[u32]) -> Result<u32> {
        let (items, first) = self.ids.item_range();
        if touched.len() as u64 >= items {
            return Err(Error::Taobao(TaobaoError::NoNegative {
                user: self.users.values()[user as usize],
                items,
            }));
        }
        let hash = number.wrapping_mul(2_654_435_761).wrapping_add(self.shift) & 0xffff_ffff;
        let mut rank = hash % items;
        while touched.binary_search(&(rank as u32 + first)).is_ok() {
            rank += 1;
            if rank == items {
                rank = 0;
            }
        }
        Ok(rank as u32 + first)
    }
}

/// Windows of a user with some events.
pub(super) fn windows(options: &PrepareOptions, events: u64) -> u64 {
    events.saturating_sub(match options.short_history {
        ShortHistory::Skip => u64::from(options.history),
        ShortHistory::Pad => 1,
    })
}

/// The draws that choose windows.
fn counter(options: &PrepareOptions) -> Counter {
    Counter::new(options.seed, super::windows::FAMILY)
}

pub(super) fn add(rows: &mut SplitRows, split: Split, count: u64) {
    match split {
        Split::Train => rows.train += count,
        Split::Validation => rows.validation += count,
        Split::Test => rows.test += count,
    }
}

impl Rules for WindowRules<'_> {
    fn points(&self, user: u32) -> u32 {
        self.points[user as usize]
    }

    fn make(
        &self,
        user: u32,
        events: &[Event],
        range: Range<u32>,
        into: &mut Samples,
    ) -> Result<()> {
        let history = self.options.history as usize;
        let user_id = self.ids.users[user as usize];
        into.rows.clear();
        into.touched.clear();
        let padding = match self.options.short_history {
            ShortHistory::Skip => 0,
            ShortHistory::Pad => history,
        };
        for _ in 0..padding {
            into.rows.extend_from_slice(&[user_id, 0, 0]);
        }
        for event in events {
            let [item, category] = self.ids.items[event.item() as usize];
            into.rows.extend_from_slice(&[user_id, item, category]);
            into.touched.push(item);
        }
        into.touched.sort_unstable();
        into.touched.dedup();

        let points = self.points[user as usize];
        let windows = self.windows(events.len());
        let mut chosen = std::mem::take(&mut into.chosen);
        choose(
            windows,
            points.into(),
            counter(self.options),
            user,
            &mut chosen,
        );
        for place in range {
            let candidate = self.candidate(chosen[place as usize]);
            let split = self
                .division
                .split(user, place, points, events[candidate].time);
            let row = candidate + padding;
            let rows = row - history..row;
            let positive = [0, 1, 2].map(|table| into.rows[row * 3 + table]);
            into.push(split, rows.clone(), positive, 1.0);
            let number = self.before[user as usize] + u64::from(place);
            let item = self.negative(user, number, &into.touched)?;
            let negative = [user_id, item, self.ids.category_of[item as usize]];
            into.push(split, rows, negative, 0.0);
        }
        into.chosen = chosen;
        Ok(())
    }
}
