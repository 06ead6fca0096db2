//! Which samples train, validate and test.

use super::SequenceSplit;
use crate::category_counts::CategoryCounts;
use crate::generate::Counter;
use crate::split::Split;

/// The rule of one data set.
#[derive(Debug)]
pub(super) enum Division {
    /// By the windows of each user; the shares of validation and test.
    WithinUser { validation: f64, test: f64 },
    /// By user number.
    Users(Vec<Split>),
    /// By the time of the candidate: the first seconds of validation and test.
    Time { validation: i64, test: i64 },
}

/// `⌊count · share⌋`, where a product that is whole in decimals is not rounded down to the number before.
pub(super) fn part(count: u64, share: f64) -> u64 {
    (count as f64 * share + 1e-9) as u64
}

impl Division {
    /// The rule for users with `points` windows each.
    ///
    /// `minutes` are needed for a division by time.
    pub(super) fn new(
        split: SequenceSplit,
        (validation, test): (f64, f64),
        points: &[u32],
        minutes: Option<&CategoryCounts>,
        counter: Counter,
    ) -> Self {
        match (split, minutes) {
            (SequenceSplit::WithinUser, _) | (SequenceSplit::Time, None) => {
                Self::WithinUser { validation, test }
            }
            (SequenceSplit::User, _) => {
                let users = (0u32..)
                    .zip(points)
                    .filter(|&(_, &points)| points > 0)
                    .map(|(user, _)| user);
                let mut splits = vec![Split::Train; points.len()];
                let order = shuffled(users, counter);
                let users = order.len() as u64;
                let (test, validation) = (part(users, test), part(users, validation));
                for (place, user) in (0..).zip(order).take((test + validation) as usize) {
                    splits[user as usize] = if place < test {
                        Split::Test
                    } else {
                        Split::Validation
                    };
                }
                Self::Users(splits)
            }
            (SequenceSplit::Time, Some(minutes)) => {
                let mut order: Vec<(i64, u64)> = minutes
                    .values()
                    .iter()
                    .map(|&minute| i64::from(minute as i32) * 60)
                    .zip(minutes.counts().iter().copied())
                    .collect();
                order.sort_unstable();
                let events = order.iter().map(|(_, count)| count).sum();
                let start = |share: f64| first_second(&order, part(events, share));
                Self::Time {
                    validation: start(validation + test),
                    test: start(test),
                }
            }
        }
    }

    /// Where window `place` of the `points` windows of a user goes; its candidate came at `time`.
    #[inline]
    pub(super) fn split(&self, user: u32, place: u32, points: u32, time: i32) -> Split {
        match self {
            Self::WithinUser { validation, test } => {
                let test = part(u64::from(points), *test);
                let validation = part(u64::from(points), *validation);
                let behind = u64::from(points - place);
                if behind <= test {
                    Split::Test
                } else if behind <= test + validation {
                    Split::Validation
                } else {
                    Split::Train
                }
            }
            Self::Users(splits) => splits[user as usize],
            Self::Time { validation, test } => {
                let time = i64::from(time);
                if time >= *test {
                    Split::Test
                } else if time >= *validation {
                    Split::Validation
                } else {
                    Split::Train
                }
            }
        }
    }

    /// Whether a sample's part depends on the time of its candidate.
    pub(super) fn needs_times(&self) -> bool {
        matches!(self, Self::Time { .. })
    }
}

/// Users in a random order that depends on the seed alone.
pub(super) fn shuffled(users: impl Iterator<Item = u32>, counter: Counter) -> Vec<u32> {
    let mut keyed: Vec<(u64, u32)> = users
        .map(|user| (counter.sample(u64::from(user)).bits(), user))
        .collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, user)| user).collect()
}

/// The earliest minute from which on there are at most `most` events. `order` holds minutes and their events.
fn first_second(order: &[(i64, u64)], most: u64) -> i64 {
    let mut behind = 0;
    let mut first = i64::MAX;
    for &(second, count) in order.iter().rev() {
        behind += count;
        if behind > most {
            break;
        }
        first = second;
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_fifth_of_every_user_tests() {
        let division = Division::WithinUser {
            validation: 0.1,
            test: 0.2,
        };
        for points in 0..200 {
            let count = |split| {
                (0..points)
                    .filter(|&place| division.split(0, place, points, 0) == split)
                    .count() as u32
            };
            assert_eq!(count(Split::Test), points / 5);
            assert_eq!(count(Split::Validation), points / 10);
        }
    }

    #[test]
    fn a_point_in_time_leaves_at_most_the_share_behind_it() {
        let order = [(-60, 3), (0, 5), (60, 1), (120, 1)];
        assert_eq!(first_second(&order, 0), i64::MAX);
        assert_eq!(first_second(&order, 2), 60);
        assert_eq!(first_second(&order, 6), 60);
        assert_eq!(first_second(&order, 7), 0);
        assert_eq!(first_second(&order, 10), -60);
    }
}
