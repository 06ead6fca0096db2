//! The events of every user in the order of time.

use std::collections::HashSet;
use std::ops::Range;

use super::Duplicates;
use super::store::{Event, EventStore};
use crate::error::Result;

/// The users of one partition with their events.
pub(super) struct Histories {
    /// By user, then by time; events of one second in the order of the text.
    events: Vec<Event>,
    /// Users and where their events lie. Users without events are left out.
    users: Vec<(u32, Range<usize>)>,
    /// Events that occurred before; left out or not.
    pub(super) duplicates: Vec<Event>,
}

impl Histories {
    /// Loads and sorts a partition.
    ///
    /// # Errors
    /// A temporary file cannot be read.
    pub(super) fn load(
        store: &EventStore,
        partition: usize,
        duplicates: Duplicates,
    ) -> Result<Self> {
        Ok(Self::new(store.load(partition)?, duplicates))
    }

    fn new(mut events: Vec<Event>, policy: Duplicates) -> Self {
        events.sort_by_key(|event| (event.user, event.time));
        let duplicates = duplicates(&mut events, policy == Duplicates::Bad);
        let mut users = Vec::new();
        let mut start = 0;
        for of_user in events.chunk_by(|before, after| before.user == after.user) {
            users.push((of_user[0].user, start..start + of_user.len()));
            start += of_user.len();
        }
        Self {
            events,
            users,
            duplicates,
        }
    }

    /// Every user and the user's events.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (u32, &[Event])> {
        self.users
            .iter()
            .map(|(user, range)| (*user, &self.events[range.clone()]))
    }
}

/// Finds the events that are equal to one before them, of all but their place in the text, and removes them on demand.
fn duplicates(events: &mut Vec<Event>, remove: bool) -> Vec<Event> {
    let mut places: Vec<usize> = Vec::new();
    let mut seen = HashSet::new();
    let mut start = 0;
    let same_second =
        |before: &Event, after: &Event| (before.user, before.time) == (after.user, after.time);
    for group in events.chunk_by(same_second) {
        if group.len() > 1 {
            seen.clear();
            let again = group
                .iter()
                .enumerate()
                .filter(|(_, event)| !seen.insert(event.deed()));
            places.extend(again.map(|(place, _)| start + place));
        }
        start += group.len();
    }
    let found = places.iter().map(|&place| events[place]).collect();
    if remove && !places.is_empty() {
        let mut place = 0;
        let mut next = places.into_iter().peekable();
        events.retain(|_| {
            place += 1;
            next.next_if_eq(&(place - 1)).is_none()
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::taobao::Behaviour::{Buy, PageView};

    #[test]
    fn ties_keep_the_order_of_the_text_and_duplicates_are_found() {
        let events = vec![
            Event::new(1, 5, PageView, 10),
            Event::new(0, 7, PageView, -3),
            Event::new(1, 6, PageView, 9),
            Event::new(1, 4, PageView, 10),
            Event::new(1, 5, Buy, 10),
            Event::new(1, 5, PageView, 10),
        ];
        for (policy, items) in [
            (Duplicates::Keep, &[6, 5, 4, 5, 5][..]),
            (Duplicates::Bad, &[6, 5, 4, 5]),
        ] {
            let histories = Histories::new(events.clone(), policy);
            assert_eq!(histories.duplicates, [events[5]]);
            let users: Vec<(u32, Vec<u32>)> = histories
                .iter()
                .map(|(user, events)| (user, events.iter().map(|event| event.item()).collect()))
                .collect();
            assert_eq!(users, [(0, vec![7]), (1, items.to_vec())]);
        }
    }
}
