//! A bounded queue whose items are made out of order and taken in order.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Numbers are claimed by workers, in order; what they make is taken by one reader, in order too. A worker waits where it would
/// run more than `ahead` items in front of the reader.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    /// Something was made, or a worker has panicked.
    made: Condvar,
    /// There is room for something new, or nothing more is wanted.
    room: Condvar,
}

struct State<T> {
    /// The next number to make, and the end of them.
    next: u64,
    end: u64,
    ahead: usize,
    /// Claimed numbers from the reader's on; `None` while in work.
    items: VecDeque<Option<T>>,
    /// Number of the first of `items`.
    first: u64,
    panicked: bool,
}

impl<T> Queue<T> {
    /// A queue for the numbers `first..end`.
    pub(super) fn new(first: u64, end: u64, ahead: usize) -> Self {
        let state = State {
            next: first,
            end,
            ahead,
            // `ahead` may be any number; room for more comes when it is used.
            items: VecDeque::with_capacity(ahead.min(64)),
            first,
            panicked: false,
        };
        Self {
            state: Mutex::new(state),
            made: Condvar::new(),
            room: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // No code that may panic runs while the state is locked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next number to make, when there is room for it; `None` when nothing more is wanted.
    pub(super) fn claim(&self) -> Option<u64> {
        let mut state = self.lock();
        while state.next < state.end && state.items.len() >= state.ahead {
            state = self
                .room
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        (state.next < state.end).then(|| {
            state.items.push_back(None);
            state.next += 1;
            state.next - 1
        })
    }

    /// Hands in what was made for a claimed number.
    pub(super) fn put(&self, number: u64, item: T) {
        let mut state = self.lock();
        let place = (number - state.first) as usize;
        if let Some(slot) = state.items.get_mut(place) {
            *slot = Some(item);
        }
        drop(state);
        self.made.notify_one();
    }

    /// The next item; `None` at the end, and after a panic of a worker.
    pub(super) fn take(&self) -> Option<T> {
        let mut state = self.lock();
        while state.first < state.end && !state.panicked {
            if let Some(item) = state.items.front_mut().and_then(Option::take) {
                state.items.pop_front();
                state.first += 1;
                drop(state);
                self.room.notify_one();
                return Some(item);
            }
            state = self
                .made
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        None
    }

    /// Anything that was made and not taken, without waiting.
    pub(super) fn take_made(&self) -> Option<T> {
        let mut state = self.lock();
        while let Some(item) = state.items.pop_front() {
            state.first += 1;
            if item.is_some() {
                return item;
            }
        }
        None
    }

    /// Nothing more is wanted: workers stop claiming.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.end = state.next.min(state.end);
        drop(state);
        self.room.notify_all();
    }

    /// A worker has panicked: what it claimed will never come.
    pub(super) fn fail(&self) {
        self.lock().panicked = true;
        self.made.notify_all();
    }
}
