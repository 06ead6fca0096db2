//! A device that does what it is asked in any order that events allow.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::Queues;
use crate::Result;

/// Memory of either side, shared with the tasks that were asked for.
pub(super) type Memory = Rc<RefCell<Vec<u32>>>;

/// What is left out, to see that it is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Omit {
    Nothing,
    Wait,
    WorkAfter,
    CopiesAfter,
}

/// Two queues whose tasks run when chance says so: at any call, and at the latest when somebody
/// waits for them.
#[derive(Clone)]
pub(super) struct FakeQueues {
    inner: Rc<Inner>,
}

struct Inner {
    omit: Omit,
    random: Cell<u64>,
    queues: [RefCell<VecDeque<Task>>; 2],
    made: Cell<usize>,
    favoured: Cell<usize>,
}

enum Task {
    Run(Box<dyn FnOnce()>),
    Await(Rc<Cell<bool>>),
    Signal(Rc<Cell<bool>>),
}

const WORK: usize = 0;
const COPIES: usize = 1;

impl FakeQueues {
    pub(super) fn new(seed: u64, omit: Omit) -> Self {
        Self {
            inner: Rc::new(Inner {
                omit,
                random: Cell::new(seed | 1),
                queues: Default::default(),
                made: Cell::new(0),
                favoured: Cell::new(WORK),
            }),
        }
    }

    /// One number on the device.
    pub(super) fn cell(&self) -> Memory {
        Rc::new(RefCell::new(vec![0]))
    }

    /// How often memory was made.
    pub(super) fn made(&self) -> usize {
        self.inner.made.get()
    }

    pub(super) fn work(&self, task: impl FnOnce() + 'static) {
        self.ask(WORK, Task::Run(Box::new(task)));
    }

    /// A copy reads its source when it runs, and not when it is asked for.
    fn copy(&self, from: &Memory, len: usize, into: &Memory) {
        let (from, into) = (Rc::clone(from), Rc::clone(into));
        let copy = move || into.borrow_mut()[..len].copy_from_slice(&from.borrow()[..len]);
        self.ask(COPIES, Task::Run(Box::new(copy)));
    }

    /// Runs everything.
    pub(super) fn finish(&self) {
        while self.run_one() {}
    }

    fn ask(&self, queue: usize, task: Task) {
        self.inner.queues[queue].borrow_mut().push_back(task);
        // Now one queue is ahead, now the other, for a while.
        if self.chance().is_multiple_of(16) {
            self.inner.favoured.set(1 - self.inner.favoured.get());
        }
        for _ in 0..self.chance() % 4 {
            self.run_first(self.inner.favoured.get());
        }
    }

    fn signal(&self, queue: usize) -> Rc<Cell<bool>> {
        let event = Rc::new(Cell::new(false));
        self.ask(queue, Task::Signal(Rc::clone(&event)));
        event
    }

    /// Runs the first task of one of the queues; `false` where none can run.
    fn run_one(&self) -> bool {
        let first = (self.chance() % 2) as usize;
        self.run_first(first) || self.run_first(1 - first)
    }

    /// Runs the first task of a queue; `false` where it waits or there is none.
    fn run_first(&self, queue: usize) -> bool {
        let mut tasks = self.inner.queues[queue].borrow_mut();
        if let Some(Task::Await(event)) = tasks.front()
            && !event.get()
        {
            return false;
        }
        let task = tasks.pop_front();
        drop(tasks);
        match task {
            Some(Task::Run(run)) => run(),
            Some(Task::Signal(event)) => event.set(true),
            Some(Task::Await(_)) => {}
            None => return false,
        }
        true
    }

    /// The next number of a xorshift sequence.
    fn chance(&self) -> u64 {
        let mut x = self.inner.random.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.inner.random.set(x);
        x >> 33
    }
}

impl Queues<u32> for FakeQueues {
    type Event = Rc<Cell<bool>>;
    type Host = Memory;
    type Buffer = Memory;

    fn host(&self, len: usize) -> Result<Memory> {
        self.buffer(len)
    }

    fn buffer(&self, len: usize) -> Result<Memory> {
        self.inner.made.set(self.inner.made.get() + 1);
        Ok(Rc::new(RefCell::new(vec![0; len])))
    }

    fn write(&self, into: &mut Memory, len: usize, write: impl FnOnce(&mut [u32])) -> Result<()> {
        write(&mut into.borrow_mut()[..len]);
        Ok(())
    }

    fn read<R>(&self, from: &Memory, len: usize, read: impl FnOnce(&[u32]) -> R) -> Result<R> {
        Ok(read(&from.borrow()[..len]))
    }

    fn upload(&self, from: &Memory, len: usize, into: &Memory) -> Result<()> {
        self.copy(from, len, into);
        Ok(())
    }

    fn download(&self, from: &Memory, len: usize, into: &mut Memory) -> Result<()> {
        self.copy(from, len, into);
        Ok(())
    }

    fn work_so_far(&self) -> Result<Self::Event> {
        Ok(self.signal(WORK))
    }

    fn copies_so_far(&self) -> Result<Self::Event> {
        Ok(self.signal(COPIES))
    }

    fn work_after(&self, event: &Self::Event) -> Result<()> {
        if self.inner.omit != Omit::WorkAfter {
            self.ask(WORK, Task::Await(Rc::clone(event)));
        }
        Ok(())
    }

    fn copies_after(&self, event: &Self::Event) -> Result<()> {
        if self.inner.omit != Omit::CopiesAfter {
            self.ask(COPIES, Task::Await(Rc::clone(event)));
        }
        Ok(())
    }

    fn wait(&self, event: &Self::Event) -> Result<()> {
        while self.inner.omit != Omit::Wait && !event.get() {
            assert!(self.run_one(), "the host waits for what nobody does");
        }
        Ok(())
    }
}
