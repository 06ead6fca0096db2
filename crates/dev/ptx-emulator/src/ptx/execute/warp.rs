//! What the lanes of a warp do together.

use super::{Machine, State};
use crate::ptx::error::{Fault, FaultKind};
use crate::ptx::instruction::{Collective, Instruction, ShuffleMode, Slot, WarpInstruction};
use crate::ptx::memory::Thread;

impl Machine<'_> {
    /// The lanes of a warp that have not ended.
    pub(super) fn lanes_alive(&self, warp: usize) -> u32 {
        self.lanes_in(warp, |state| state != State::Ended)
    }

    fn lanes_in(&self, warp: usize, holds: impl Fn(State) -> bool) -> u32 {
        let first = 32 * warp;
        let states = &self.states[first..self.threads.min(first + 32)];
        states
            .iter()
            .enumerate()
            .fold(0, |lanes, (i, &state)| lanes | u32::from(holds(state)) << i)
    }

    fn value(&self, thread: usize, slot: Slot) -> u32 {
        self.frames[thread * self.slots + slot as usize] as u32
    }

    fn set(&mut self, thread: usize, slot: Slot, value: u32) {
        let at = thread * self.slots + slot as usize;
        self.frames[at] = u64::from(value);
    }

    /// What a waiting thread waits for, and the lanes it waits for that do not wait there.
    fn waits_for(&self, thread: usize, pc: u32) -> Option<(WarpInstruction, u32, u32)> {
        let Instruction::Warp { index } = self.instruction(pc) else {
            return None;
        };
        let instruction = self.function.warp_instructions[index as usize];
        let warp = thread / 32;
        let members = self.value(thread, instruction.members) & self.lanes_alive(warp);
        let here = self.lanes_in(warp, |state| state == State::AtWarp(pc));
        Some((instruction, members, members & !here))
    }

    /// The lanes that a thread waits for in vain.
    pub(super) fn missing(&self, thread: usize) -> u32 {
        let State::AtWarp(pc) = self.states[thread] else {
            return 0;
        };
        self.waits_for(thread, pc)
            .map_or(0, |(_, _, missing)| missing)
    }

    /// Lets threads go on whose warps are complete; whether there were any.
    pub(super) fn release_warps(&mut self) -> Result<bool, Fault> {
        let mut any = false;
        for thread in 0..self.threads {
            let State::AtWarp(pc) = self.states[thread] else {
                continue;
            };
            let Some((instruction, members, 0)) = self.waits_for(thread, pc) else {
                continue;
            };
            let first = thread / 32 * 32;
            self.together(instruction.collective, first, members)
                .map_err(|(lane, kind)| {
                    self.fault(
                        Thread {
                            index: first as u32 + lane,
                        },
                        pc,
                        kind,
                    )
                })?;
            self.memory.shared_races.warp_barrier(thread / 32);
            // A lane that is no member of its own mask would wait forever.
            for lane in (0..32).filter(|lane| members >> lane & 1 == 1) {
                self.states[first + lane] = State::Ready(pc + 1);
            }
            any |= members != 0;
        }
        Ok(any)
    }

    fn together(
        &mut self,
        collective: Collective,
        first: usize,
        members: u32,
    ) -> Result<(), (u32, FaultKind)> {
        let lanes = (0..32_u32).filter(|lane| members >> lane & 1 == 1);
        let ballot = |machine: &Self, a: Slot| {
            lanes.clone().fold(0, |votes, lane| {
                votes | u32::from(machine.value(first + lane as usize, a) != 0) << lane
            })
        };
        let (d, result) = match collective {
            Collective::Synchronise => return Ok(()),
            Collective::Shuffle {
                mode,
                d,
                in_range,
                a,
                b,
                c,
            } => {
                let mut values = [(0, 0); 32];
                for lane in lanes.clone() {
                    let thread = first + lane as usize;
                    let (b, c) = (self.value(thread, b), self.value(thread, c));
                    let (source, inside) = source(mode, lane, b, c);
                    if members >> source & 1 == 0 {
                        return Err((lane, FaultKind::ShuffleSource { lane: source }));
                    }
                    let value = self.value(first + source as usize, a);
                    values[lane as usize] = (value, u32::from(inside));
                }
                for lane in lanes {
                    let (value, inside) = values[lane as usize];
                    self.set(first + lane as usize, d, value);
                    self.set(first + lane as usize, in_range, inside);
                }
                return Ok(());
            }
            Collective::All { d, a } => (d, u32::from(ballot(self, a) == members)),
            Collective::Any { d, a } => (d, u32::from(ballot(self, a) != 0)),
            Collective::Uniform { d, a } => {
                let votes = ballot(self, a);
                (d, u32::from(votes == 0 || votes == members))
            }
            Collective::Ballot { d, a } => (d, ballot(self, a)),
        };
        for lane in lanes {
            self.set(first + lane as usize, d, result);
        }
        Ok(())
    }
}

/// The lane whose value a lane gets, and whether it is in the segment; a lane keeps its own value otherwise.
fn source(mode: ShuffleMode, lane: u32, b: u32, c: u32) -> (u32, bool) {
    let (b, clamp, segment) = (b & 31, c & 31, c >> 8 & 31);
    let most = (lane & segment) | (clamp & !segment);
    let least = lane & segment;
    let (source, inside) = match mode {
        ShuffleMode::Up => {
            let source = lane.wrapping_sub(b);
            (source, source as i32 >= most as i32)
        }
        ShuffleMode::Down => (lane + b, lane + b <= most),
        ShuffleMode::Butterfly => (lane ^ b, lane ^ b <= most),
        ShuffleMode::Index => {
            let source = least | (b & !segment);
            (source, source <= most)
        }
    };
    if inside {
        (source, true)
    } else {
        (lane, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_of_shuffles() {
        // CUDA passes 0x1f as the last operand, and 0 for `up`, where a segment is a warp.
        assert_eq!(source(ShuffleMode::Butterfly, 5, 16, 0x1F), (21, true));
        assert_eq!(source(ShuffleMode::Down, 30, 2, 0x1F), (30, false));
        assert_eq!(source(ShuffleMode::Down, 29, 2, 0x1F), (31, true));
        assert_eq!(source(ShuffleMode::Up, 1, 2, 0), (1, false));
        assert_eq!(source(ShuffleMode::Up, 2, 2, 0), (0, true));
        assert_eq!(source(ShuffleMode::Index, 9, 3, 0x1F), (3, true));
        // Segments of 8 lanes.
        let c = (32 - 8) << 8 | 0x1F;
        assert_eq!(source(ShuffleMode::Index, 9, 3, c), (11, true));
        assert_eq!(source(ShuffleMode::Down, 15, 1, c), (15, false));
    }
}
