//! Running a launch: block after block, and the threads of a block one at a time, each until it waits or ends.

mod order;
mod thread;
mod warp;

use self::order::Order;
use self::thread::{Stop, run};
use super::error::{Fault, FaultKind};
use super::function::Function;
use super::instruction::{Instruction, Slot, Special};
use super::launch::Launch;
use super::memory::{BlockMemory, Thread};
use super::types::Type;

/// Shared memory that a block can have: what devices of the newest kinds allow.
const MOST_SHARED: u32 = 227 << 10;

/// Blocks that a launch can have here, as many as there are numbers for.
const MOST_BLOCKS: u64 = (1 << 31) - 1;

/// Where a thread is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It can go on from an instruction.
    Ready(u32),
    /// It waits at an instruction for the block.
    AtBarrier(u32),
    /// It waits at an instruction for its warp.
    AtWarp(u32),
    Ended,
}

impl Function {
    /// Runs a kernel to its end.
    ///
    /// # Errors
    /// The first mistake that a thread made, after which no other thread runs.
    pub fn launch(&self, launch: &Launch<'_>) -> Result<(), Fault> {
        self.check(launch)?;
        let mut machine = Machine::new(self, launch);
        let [x, y, z] = launch.grid.map(u64::from);
        let mut order = Order::new(launch.order);
        for index in order.permutation((x * y * z) as usize) {
            let index = u64::from(index);
            machine.block = [
                (index % x) as u32,
                (index / x % y) as u32,
                (index / (x * y)) as u32,
            ];
            machine.run_block(&mut order)?;
        }
        Ok(())
    }

    fn check(&self, launch: &Launch<'_>) -> Result<(), Fault> {
        let wrong = |what, asked, most| {
            let kind = FaultKind::Launch { what, asked, most };
            Err(Fault {
                function: self.name.as_str().into(),
                source: None,
                line: 0,
                block: [0; 3],
                thread: [0; 3],
                kind,
            })
        };
        let product = |extents: [u32; 3]| {
            extents.iter().fold(1_u64, |product, &extent| {
                product.saturating_mul(extent.into())
            })
        };
        let (threads, most) = (product(launch.block), u64::from(self.max_threads));
        if threads > most {
            return wrong("threads of a block", threads, most);
        }
        let blocks = product(launch.grid);
        if blocks > MOST_BLOCKS {
            return wrong("blocks", blocks, MOST_BLOCKS);
        }
        let shared = u64::from(self.shared_bytes) + u64::from(launch.shared_bytes);
        if shared > u64::from(MOST_SHARED) {
            return wrong("bytes of shared memory", shared, u64::from(MOST_SHARED));
        }
        let given = launch.arguments.len() as u64;
        let loaded = self
            .arguments
            .iter()
            .map(|&(at, ty, _)| at + ty.bytes() as usize)
            .max();
        let needed = loaded.unwrap_or(0).max(self.parameter_bytes()) as u64;
        if given < needed {
            return wrong("bytes of parameters", needed, given);
        }
        Ok(())
    }
}

/// What runs a launch, kept from block to block.
struct Machine<'l> {
    function: &'l Function,
    shape: [u32; 3],
    grid: [u32; 3],
    block: [u32; 3],
    threads: usize,
    /// How many slots a thread has.
    slots: usize,
    /// Those of all threads that run at once.
    frames: Vec<u64>,
    /// What slots hold that are the same for all threads of the block.
    of_block: Vec<(Slot, u64)>,
    states: Vec<State>,
    memory: BlockMemory<'l>,
    dynamic_shared: u32,
}

impl<'l> Machine<'l> {
    fn new(function: &'l Function, launch: &Launch<'l>) -> Self {
        let threads = launch.block.iter().product::<u32>() as usize;
        let mut template = function.template.clone();
        for &(at, ty, slot) in &function.arguments {
            let bytes = ty.bytes() as usize;
            let mut value = [0; 8];
            value[..bytes].copy_from_slice(&launch.arguments[at..at + bytes]);
            let value = u64::from_le_bytes(value);
            template[slot as usize] = match ty {
                Type::S8 => value as i8 as u64,
                Type::S16 => value as i16 as u64,
                _ => value,
            };
        }
        let frames = if function.waits { threads } else { 1 };
        Self {
            function,
            shape: launch.block,
            grid: launch.grid,
            block: [0; 3],
            threads,
            slots: template.len(),
            frames: template.repeat(frames),
            of_block: Vec::new(),
            states: vec![State::Ready(0); threads],
            memory: BlockMemory::new(function, launch, threads),
            dynamic_shared: launch.shared_bytes,
        }
    }

    fn run_block(&mut self, order: &mut Order) -> Result<(), Fault> {
        self.memory.start_block();
        self.memory.block(self.block);
        let specials = self.function.specials.iter();
        self.of_block = specials
            .filter_map(|&(special, slot)| Some((slot, self.of_block(special)?)))
            .collect();
        let slots = self.slots;
        if !self.function.waits {
            for index in order.permutation(self.threads) {
                let thread = Thread { index };
                self.start(thread, 0);
                let frame = &mut self.frames[..slots];
                run(self.function, frame, &mut self.memory, thread, 0, u32::MAX)
                    .map_err(|(pc, kind)| self.fault(thread, pc, kind))?;
            }
            return Ok(());
        }
        for index in 0..self.threads {
            self.start(
                Thread {
                    index: index as u32,
                },
                index * slots,
            );
            self.states[index] = State::Ready(0);
        }
        loop {
            for index in order.permutation(self.threads) {
                let thread = Thread { index };
                let State::Ready(pc) = self.states[index as usize] else {
                    continue;
                };
                let lanes = self.lanes_alive(thread.warp());
                let frame = &mut self.frames[index as usize * slots..][..slots];
                let stop = run(self.function, frame, &mut self.memory, thread, pc, lanes)
                    .map_err(|(pc, kind)| self.fault(thread, pc, kind))?;
                self.states[index as usize] = match stop {
                    Stop::Barrier(pc) => State::AtBarrier(pc),
                    Stop::Warp(pc) => State::AtWarp(pc),
                    Stop::End => State::Ended,
                };
            }
            if self.release_warps()? {
                continue;
            }
            if !self.release_block()? {
                return Ok(());
            }
        }
    }

    /// Lets the block go on from a barrier; false when all threads have ended.
    fn release_block(&mut self) -> Result<bool, Fault> {
        let waiting = |state: &State| matches!(state, State::AtBarrier(_) | State::AtWarp(_));
        let Some(first) = self.states.iter().position(waiting) else {
            return Ok(false);
        };
        for (other, &state) in self.states.iter().enumerate() {
            let (State::AtBarrier(pc) | State::AtWarp(pc)) = state else {
                continue;
            };
            if state == self.states[first] && matches!(state, State::AtBarrier(_)) {
                continue;
            }
            // A thread that waits for its warp is behind those that wait for the block, or the other way round.
            let (thread, at, other, other_at) = match (self.states[first], state) {
                (State::AtBarrier(at), _) => (first, at, other, pc),
                (State::AtWarp(at), _) => (other, pc, first, at),
                _ => continue,
            };
            let other = self.coordinates(other as u32);
            let other_line = self.function.lines[other_at as usize];
            let kind = if let State::AtWarp(_) = self.states[thread] {
                FaultKind::WarpDivergence {
                    missing: self.missing(thread),
                }
            } else {
                FaultKind::BarrierDivergence { other, other_line }
            };
            return Err(self.fault(
                Thread {
                    index: thread as u32,
                },
                at,
                kind,
            ));
        }
        self.memory.shared_races.barrier();
        for state in &mut self.states {
            if let State::AtBarrier(pc) = *state {
                *state = State::Ready(pc + 1);
            }
        }
        Ok(true)
    }

    /// Gives a thread its first values.
    fn start(&mut self, thread: Thread, frame: usize) {
        // Constants are never written. What registers hold is what another thread left: PTX does not say.
        let frame = &mut self.frames[frame..frame + self.slots];
        for &(slot, value) in &self.of_block {
            frame[slot as usize] = value;
        }
        let [x, y, _] = self.shape;
        let lane = thread.index % 32;
        for &(special, slot) in &self.function.specials {
            frame[slot as usize] = u64::from(match special {
                Special::Thread(0) => thread.index % x,
                Special::Thread(1) => thread.index / x % y,
                Special::Thread(_) => thread.index / (x * y),
                Special::Lane => lane,
                Special::Warp => thread.index / 32,
                Special::LaneBit => 1 << lane,
                Special::LanesBelow => (1 << lane) - 1,
                Special::LanesUpTo => u32::MAX >> (31 - lane),
                Special::LanesFrom => u32::MAX << lane,
                Special::LanesAbove => (u32::MAX << lane) & !(1 << lane),
                _ => continue,
            });
        }
        self.memory.start_thread(thread);
    }

    /// What all threads of a block read.
    fn of_block(&self, special: Special) -> Option<u64> {
        Some(u64::from(match special {
            Special::Threads(axis) => self.shape[axis as usize],
            Special::Block(axis) => self.block[axis as usize],
            Special::Blocks(axis) => self.grid[axis as usize],
            Special::Warps => self.threads.div_ceil(32) as u32,
            Special::DynamicShared => self.dynamic_shared,
            Special::TotalShared => self.function.shared_bytes + self.dynamic_shared,
            Special::One => 1,
            _ => return None,
        }))
    }

    fn coordinates(&self, index: u32) -> [u32; 3] {
        let [x, y, _] = self.shape;
        [index % x, index / x % y, index / (x * y)]
    }

    #[cold]
    fn fault(&self, thread: Thread, pc: u32, kind: FaultKind) -> Fault {
        let kind = match kind {
            FaultKind::SharedRace {
                address,
                write,
                other,
                other_wrote,
            } => FaultKind::SharedRace {
                address,
                write,
                other: self.coordinates(other[0]),
                other_wrote,
            },
            kind => kind,
        };
        Fault {
            function: self.function.name.as_str().into(),
            source: self.function.source(pc as usize),
            line: self.function.lines.get(pc as usize).copied().unwrap_or(0),
            block: self.block,
            thread: self.coordinates(thread.index),
            kind,
        }
    }

    /// The instruction that a thread waits at.
    fn instruction(&self, pc: u32) -> Instruction {
        self.function.code[pc as usize]
    }
}
