//! The rules of the original programs, with seeded draws in the place of theirs.
//!
//! A user's sequence is the last 200 events, the last one being the target, filled from the left where there are less; the target
//! of every second user is replaced by a random item. Users whose last event is later than that of 70% of the users test, with
//! the end of their sequence; from those of the others, windows are drawn at random places, but never with the target.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use super::division::{part, shuffled};
use super::encode::Ids;
use super::rules::{Rules, Samples, add};
use super::store::{Event, EventStore};
use super::windows::below;
use super::write_pass::survey;
use super::{Duplicates, PointsPerUser, PrepareOptions};
use crate::category_counts::CategoryCounts;
use crate::error::{Error, Result};
use crate::generate::{Counter, Draws};
use crate::progress::Progress;
use crate::split::{Split, SplitRows};
use crate::taobao::error::Error as TaobaoError;

/// Events of a sequence, the target among them.
pub(super) const SEQUENCE: usize = 200;
/// Events of a history.
const HISTORY: usize = 20;
/// Draws that may hit the own sequence before what is left is looked at.
const TRIES: usize = 64;

/// Families of draws.
const TARGETS: u64 = 2;
const USERS: u64 = 3;
const WINDOWS: u64 = 4;

/// Windows of either sign that a sequence gives whose first event that is not item 0 lies at `first`.
pub(super) fn points_of(first: usize, most: u32) -> u32 {
    match (SEQUENCE - 1 - first) / 10 {
        0 => 0,
        1 => 1,
        2 => 3,
        3 => 6,
        _ => most,
    }
}

/// Where the window of a draw ends: positives may begin at `first`, negatives one event earlier, as their candidate comes on top.
pub(super) fn window_end(draws: &mut Draws, first: usize, positive: bool) -> usize {
    let least = (first + HISTORY - usize::from(!positive)).min(SEQUENCE - 2);
    least + below(draws, (SEQUENCE - 1 - least) as u64) as usize
}

/// The draws of one window of a user.
pub(super) fn window_draws(seed: u64, user: u32, window: u32) -> Draws {
    Counter::new(seed, WINDOWS).sample(u64::from(user) << 32 | u64::from(window))
}

/// What a user's sequence is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Windows, at most this many of either sign.
    Windows(Split, u32),
    /// The end of the sequence.
    Target,
    /// Nothing: there are enough users, or the user has no events left.
    None,
}

/// The rules of the original for one data set.
pub(super) struct Reference<'a> {
    options: &'a PrepareOptions,
    ids: &'a Ids,
    users: &'a CategoryCounts,
    /// The item with the smallest raw number, which the original cannot tell from padding.
    item_zero: u32,
    roles: Vec<Role>,
    /// Samples of every user.
    points: Vec<u32>,
    /// The items that occur in sequences, from which negatives are drawn.
    pool: Vec<u32>,
}

impl<'a> Reference<'a> {
    /// Decides who trains and who tests, and looks at all sequences.
    ///
    /// # Errors
    /// A temporary file cannot be read.
    pub(super) fn new(
        options: &'a PrepareOptions,
        ids: &'a Ids,
        users: &'a CategoryCounts,
        (items, last): (&CategoryCounts, &[i32]),
        store: &EventStore,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let smallest = (0..items.len())
            .filter(|&item| items.counts()[item] > 0)
            .min_by_key(|&item| items.values()[item]);
        let mut rules = Self {
            options,
            ids,
            users,
            item_zero: smallest.map_or(0, |item| ids.items[item][0]),
            roles: roles(options, users, last),
            points: vec![0; users.len()],
            pool: Vec::new(),
        };
        let seen: Vec<AtomicU64> = (0..ids.category_of.len().div_ceil(64))
            .map(|_| AtomicU64::new(0))
            .collect();
        let mut points = std::mem::take(&mut rules.points);
        let look = |histories: &super::history::Histories| {
            let mut sequence = Vec::new();
            let mut found = Vec::with_capacity(histories.iter().len());
            for (user, events) in histories.iter() {
                rules.sequence(user, events, &mut sequence);
                for &item in &sequence {
                    // Bits are only ever set: the order in which threads do it does not matter.
                    seen[item as usize / 64].fetch_or(1 << (item % 64), Ordering::Relaxed);
                }
                found.push((user, rules.samples_of(user, &sequence)));
            }
            found
        };
        let duplicates: Duplicates = options.duplicates;
        survey(store, duplicates, progress, look, |found| {
            for (user, samples) in found {
                points[user as usize] = samples;
            }
            Ok(())
        })?;
        rules.points = points;
        let is_seen =
            |item: u32| seen[item as usize / 64].load(Ordering::Relaxed) >> (item % 64) & 1 == 1;
        rules.pool = (0..ids.category_of.len() as u32)
            .filter(|&item| is_seen(item))
            .collect();
        Ok(rules)
    }

    /// Samples of every split.
    pub(super) fn rows(&self) -> SplitRows {
        let mut rows = SplitRows::default();
        for (role, &points) in self.roles.iter().zip(&self.points) {
            match role {
                Role::Windows(split, _) => add(&mut rows, *split, points.into()),
                Role::Target => add(&mut rows, Split::Test, points.into()),
                Role::None => {}
            }
        }
        rows
    }

    /// Users with samples, and windows of either sign together with test users.
    pub(super) fn sampled(&self) -> (u64, u64) {
        let users = self.points.iter().filter(|&&points| points > 0).count() as u64;
        let windows = self.roles.iter().zip(&self.points);
        let windows = windows.map(|(role, &points)| match role {
            Role::Windows(..) => u64::from(points / 2),
            Role::Target => u64::from(points),
            Role::None => 0,
        });
        (users, windows.sum())
    }

    /// The items of a user's sequence, without the filling, and whether the target is the true one.
    fn sequence(&self, user: u32, events: &[Event], into: &mut Vec<u32>) -> bool {
        let items = events[events.len().saturating_sub(SEQUENCE)..].iter();
        into.clear();
        into.extend(items.map(|event| self.ids.items[event.item() as usize][0]));
        let (items, first) = self.ids.item_range();
        let mut draws = Counter::new(self.options.seed, TARGETS).sample(u64::from(user));
        let Some(target) = into.last_mut().filter(|_| draws.bits() & 1 == 1) else {
            return true;
        };
        // With a single item there is no other one: the target stays, and is true.
        let truth = *target;
        while *target == truth && items > 1 {
            *target = first + below(&mut draws, items) as u32;
        }
        *target == truth
    }

    /// Where the events begin that the original does not take for filling: 0 where it takes all for that.
    fn first(&self, sequence: &[u32]) -> usize {
        let place = sequence.iter().position(|&item| item != self.item_zero);
        place.map_or(0, |place| SEQUENCE - sequence.len() + place)
    }

    fn samples_of(&self, user: u32, sequence: &[u32]) -> u32 {
        match self.roles[user as usize] {
            Role::Windows(_, most) => {
                let of_user = points_of(self.first(sequence), points_per_user(self.options));
                2 * of_user.min(most)
            }
            Role::Target => 1,
            Role::None => 0,
        }
    }

    /// An item that occurs in sequences, but not in the user's, which `touched` holds in order.
    fn negative(&self, user: u32, touched: &[u32], draws: &mut Draws) -> Result<u32> {
        let own = |item: u32| touched.binary_search(&item).is_ok();
        for _ in 0..TRIES {
            let item = self.pool[below(draws, self.pool.len() as u64) as usize];
            if !own(item) {
                return Ok(item);
            }
        }
        let others: Vec<u32> = self
            .pool
            .iter()
            .copied()
            .filter(|&item| !own(item))
            .collect();
        if others.is_empty() {
            return Err(Error::Taobao(TaobaoError::NoNegative {
                user: self.users.values()[user as usize],
                items: self.pool.len() as u64,
            }));
        }
        Ok(others[below(draws, others.len() as u64) as usize])
    }
}

fn points_per_user(options: &PrepareOptions) -> u32 {
    match options.points_per_user {
        PointsPerUser::Most(most) => most,
        PointsPerUser::Auto | PointsPerUser::All => PointsPerUser::REFERENCE,
    }
}

/// Users whose last event is later than that of 70% of the users test; of the others as many train as are asked for.
fn roles(options: &PrepareOptions, users: &CategoryCounts, last: &[i32]) -> Vec<Role> {
    let mut roles = vec![Role::None; users.len()];
    let present = |user: &u32| users.counts()[*user as usize] > 0;
    let mut times: Vec<i32> = (0..users.len() as u32)
        .filter(present)
        .map(|user| last[user as usize])
        .collect();
    times.sort_unstable();
    let Some(&split_time) = times.get((0.7 * times.len() as f64) as usize) else {
        return roles;
    };
    let (tests, trains): (Vec<u32>, Vec<u32>) = (0..users.len() as u32)
        .filter(present)
        .partition(|&user| last[user as usize] > split_time);
    tests
        .iter()
        .for_each(|&user| roles[user as usize] = Role::Target);
    let counter = Counter::new(options.seed, USERS);
    let order = shuffled(trains.into_iter(), counter);
    let kept = order
        .len()
        .min(usize::try_from(options.train_users).unwrap_or(usize::MAX));
    let validation = part(kept as u64, options.validation) as usize;
    for (place, &user) in order[..kept].iter().enumerate() {
        roles[user as usize] = if place < validation {
            Role::Windows(Split::Validation, 1)
        } else {
            Role::Windows(Split::Train, u32::MAX)
        };
    }
    roles
}

impl Rules for Reference<'_> {
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
        let mut sequence = std::mem::take(&mut into.touched);
        let is_true = self.sequence(user, events, &mut sequence);
        let first = self.first(&sequence);
        let user_id = self.ids.users[user as usize];
        let row = |item: u32| [user_id, item, self.ids.category_of[item as usize]];
        into.rows.clear();
        for _ in sequence.len()..SEQUENCE {
            into.rows.extend_from_slice(&[user_id, 0, 0]);
        }
        into.rows
            .extend(sequence.iter().flat_map(|&item| row(item)));
        sequence.sort_unstable();
        into.touched = sequence;
        let at = |rows: &[u32], place: usize| [0, 1, 2].map(|table| rows[place * 3 + table]);
        let split = match self.roles[user as usize] {
            Role::Windows(split, _) => split,
            Role::Target => {
                let end = SEQUENCE - 1;
                let candidate = at(&into.rows, end);
                let label = f32::from(u8::from(is_true));
                into.push(Split::Test, end - HISTORY..end, candidate, label);
                return Ok(());
            }
            Role::None => return Ok(()),
        };
        let positives = self.points[user as usize] / 2;
        for window in range {
            let mut draws = window_draws(self.options.seed, user, window);
            let positive = window < positives;
            let end = window_end(&mut draws, first, positive);
            if positive {
                let candidate = at(&into.rows, end);
                into.push(split, end - HISTORY..end, candidate, 1.0);
            } else {
                let item = self.negative(user, &into.touched, &mut draws)?;
                into.push(split, end + 1 - HISTORY..end + 1, row(item), 0.0);
            }
        }
        Ok(())
    }
}
