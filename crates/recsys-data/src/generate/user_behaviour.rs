//! Planted behaviour as raw events, in the text of Taobao's `UserBehavior.csv`.

use std::io;

use super::behaviour::{BehaviourModel, Mind};
use super::counter::{Counter, mix};
use super::text::{push_number, write_chunks};
use crate::loader::Permutation;

/// Families of random numbers, beside those of the behaviour and the samples.
const LENGTHS: u64 = 3;
const EVENTS: u64 = 4;

/// Users that one task writes.
const CHUNK: u64 = 256;

/// Events of a user: a logarithmic normal distribution with Taobao's median and mean.
const MEDIAN: f64 = 84.0;
const SPREAD: f64 = 0.6;
const MOST: f64 = 1000.0;

/// 25 November 2017, 0:00 in UTC+8, and nine days in seconds.
const START: u64 = 1_511_539_200;
const SECONDS: f64 = 9.0 * 86_400.0;

/// How many times longer a pause is where the mind moves.
const PAUSE: f64 = 20.0;

/// Taobao's kinds of behaviour, and the share of the events up to and including each.
const KINDS: [(&[u8], f64); 4] = [
    (b"pv", 0.8957),
    (b"cart", 0.9509),
    (b"fav", 0.9798),
    (b"buy", 1.0),
];

/// The events of one user, in memory that is reused for the next.
#[derive(Default)]
struct Visit {
    /// What every line begins with.
    name: Vec<u8>,
    mind: Mind,
    /// Item, category and kind of behaviour of every event.
    events: Vec<(u32, u32, &'static [u8])>,
    /// When each happens, in units that follow from the whole.
    times: Vec<f64>,
}

/// See [`PlantedSequences::write_user_behaviour`](super::PlantedSequences::write_user_behaviour).
pub(crate) fn write(
    behaviour: &BehaviourModel,
    seed: u64,
    events: u64,
    writer: impl io::Write,
) -> io::Result<()> {
    let users = Users::new(seed, events);
    let counter = Counter::new(seed, EVENTS);
    let catalogue = behaviour.catalogue();
    let items = Permutation::new(catalogue.items(), mix(seed), 0);
    let categories = Permutation::new(catalogue.categories(), mix(seed), 1);
    let categories: Vec<u64> = (0..catalogue.categories())
        .map(|category| 1 + categories.at(category))
        .collect();
    write_chunks(
        0..users.count,
        CHUNK,
        writer,
        |visit: &mut Visit, places, lines| {
            for place in places {
                let user = in_text_order(place, users.count);
                visit.name.clear();
                push_number(user, &mut visit.name);
                visit.name.push(b',');
                visit.draw(behaviour, counter, user, users.events(user));
                let whole = visit.times.last().copied().unwrap_or(1.0);
                for (&(item, category, kind), time) in visit.events.iter().zip(&visit.times) {
                    lines.extend_from_slice(&visit.name);
                    push_number(1 + items.at(u64::from(item)), lines);
                    lines.push(b',');
                    push_number(categories[category as usize], lines);
                    lines.push(b',');
                    lines.extend_from_slice(kind);
                    lines.push(b',');
                    let second = (time / whole * SECONDS) as u64;
                    push_number(START + second.min(SECONDS as u64 - 1), lines);
                    lines.push(b'\n');
                }
            }
        },
    )
}

impl Visit {
    fn draw(&mut self, behaviour: &BehaviourModel, counter: Counter, user: u64, events: u64) {
        let draws = &mut counter.sample(user);
        behaviour.begin(user, draws, &mut self.mind);
        self.events.clear();
        self.times.clear();
        let mut time = 0.0;
        for _ in 0..events {
            let moved = behaviour.drift(draws, &mut self.mind);
            time += draws.exponential() * if moved { PAUSE } else { 1.0 };
            let choice = behaviour.event(draws, &self.mind);
            let kind = draws.uniform();
            let kind = KINDS
                .iter()
                .find(|(_, up_to)| kind < *up_to)
                .map_or(KINDS[0].0, |(name, _)| name);
            self.events.push((choice.item, choice.category, kind));
            self.times.push(time);
        }
        // Until the end of the nine days.
        self.times.push(time + PAUSE * draws.exponential());
    }
}

/// Users 1, 2, 3 …, as many as it takes for a number of events.
struct Users {
    lengths: Counter,
    count: u64,
    /// Events of the last user: what the others leave.
    last: u64,
}

impl Users {
    fn new(seed: u64, events: u64) -> Self {
        let mut users = Self {
            lengths: Counter::new(seed, LENGTHS),
            count: 0,
            last: 0,
        };
        let mut left = events;
        while left > 0 {
            users.count += 1;
            users.last = left.min(users.drawn(users.count));
            left -= users.last;
        }
        users
    }

    fn drawn(&self, user: u64) -> u64 {
        let normal = self.lengths.sample(user).normal();
        (MEDIAN * (SPREAD * normal).exp()).clamp(1.0, MOST).round() as u64
    }

    fn events(&self, user: u64) -> u64 {
        if user == self.count {
            self.last
        } else {
            self.drawn(user)
        }
    }
}

/// The number at a place (from 0) of 1 to `count` in text order: 1, 10, 100, 101, … 2, 20 …
fn in_text_order(place: u64, count: u64) -> u64 {
    let (mut number, mut before) = (1, place);
    while before > 0 {
        let begun = beginning_with(number, count);
        if before < begun {
            // Down to the numbers that begin with this one.
            number *= 10;
            before -= 1;
        } else {
            number += 1;
            before -= begun;
        }
    }
    number
}

/// How many of 1 to `count` begin with the digits of `prefix`, itself included.
fn beginning_with(prefix: u64, count: u64) -> u64 {
    let (mut first, mut end, mut found) = (prefix, prefix + 1, 0);
    while first <= count {
        found += end.min(count + 1) - first;
        (first, end) = (first.saturating_mul(10), end.saturating_mul(10));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_order_is_that_of_strings(count in 1u64..3000) {
            let mut sorted: Vec<String> = (1..=count).map(|number| number.to_string()).collect();
            sorted.sort();
            let found: Vec<String> =
                (0..count).map(|place| in_text_order(place, count).to_string()).collect();
            prop_assert_eq!(found, sorted);
        }
    }

    #[test]
    fn users_have_taobaos_numbers_of_events_and_the_sum_asked_for() {
        let users = Users::new(3, 2_000_000);
        let mut events: Vec<u64> = (1..=users.count).map(|user| users.events(user)).collect();
        assert_eq!(events.iter().sum::<u64>(), 2_000_000);
        events.sort_unstable();
        let at = |share: f64| events[(share * users.count as f64) as usize];
        assert!((82..=86).contains(&at(0.5)), "{}", at(0.5));
        assert!((172..=190).contains(&at(0.9)), "{}", at(0.9));
        assert!(
            events
                .last()
                .is_some_and(|&most| (500..=1000).contains(&most))
        );
        assert_eq!(Users::new(3, 0).count, 0);
        assert_eq!(Users::new(3, 1).count, 1);
    }
}
