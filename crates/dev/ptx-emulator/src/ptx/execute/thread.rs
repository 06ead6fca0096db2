//! One thread, until it waits or ends.

use crate::ptx::arithmetic::{convert, insert_bits};
use crate::ptx::error::FaultKind;
use crate::ptx::function::Function;
use crate::ptx::instruction::{Instruction, Slot};
use crate::ptx::memory::{BlockMemory, Thread};

/// Why a thread runs no longer, and at which instruction.
pub(super) enum Stop {
    Barrier(u32),
    Warp(u32),
    End,
}

/// How many jumps a thread is given between two stops: minutes, where a kernel takes less than a second.
const MOST_JUMPS: u64 = 1 << 34;

fn address(frame: &[u64], base: Slot, offset: i32) -> u64 {
    frame[base as usize].wrapping_add(i64::from(offset) as u64)
}

fn single(value: f32) -> u64 {
    if value.is_nan() {
        0x7FFF_FFFF
    } else {
        u64::from(value.to_bits())
    }
}

fn float(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}

/// Runs a thread from an instruction on; `lanes` are those of its warp that have not ended. A mistake comes with the
/// instruction that made it.
pub(super) fn run(
    function: &Function,
    frame: &mut [u64],
    memory: &mut BlockMemory<'_>,
    thread: Thread,
    pc: u32,
    lanes: u32,
) -> Result<Stop, (u32, FaultKind)> {
    let code = &function.code[..];
    let mut pc = pc as usize;
    let mut jumps = MOST_JUMPS;
    loop {
        let mut next = pc + 1;
        let fault = |kind| (pc as u32, kind);
        match code[pc] {
            Instruction::Move { d, a } => frame[d as usize] = frame[a as usize],
            Instruction::Unary { f, d, a } => frame[d as usize] = f(frame[a as usize]),
            Instruction::Binary { f, d, a, b } => {
                frame[d as usize] = f(frame[a as usize], frame[b as usize]);
            }
            Instruction::Ternary { f, d, a, b, c } => {
                frame[d as usize] = f(frame[a as usize], frame[b as usize], frame[c as usize]);
            }
            Instruction::AddU32 { d, a, b } => {
                let sum = (frame[a as usize] as u32).wrapping_add(frame[b as usize] as u32);
                frame[d as usize] = u64::from(sum);
            }
            Instruction::AddU64 { d, a, b } => {
                frame[d as usize] = frame[a as usize].wrapping_add(frame[b as usize]);
            }
            Instruction::AddF32 { d, a, b } => {
                frame[d as usize] = single(float(frame[a as usize]) + float(frame[b as usize]));
            }
            Instruction::MulF32 { d, a, b } => {
                frame[d as usize] = single(float(frame[a as usize]) * float(frame[b as usize]));
            }
            Instruction::Insert {
                width,
                d,
                a,
                b,
                from,
                count,
            } => {
                frame[d as usize] = insert_bits(
                    u32::from(width),
                    frame[a as usize],
                    frame[b as usize],
                    frame[from as usize],
                    frame[count as usize],
                );
            }
            Instruction::Convert { d, a, conversion } => {
                frame[d as usize] = convert(conversion, frame[a as usize]);
            }
            Instruction::Jump { target } => {
                next = target as usize;
                jumps -= 1;
            }
            Instruction::JumpIf { p, target } => {
                if frame[p as usize] != 0 {
                    next = target as usize;
                    jumps -= 1;
                }
            }
            Instruction::JumpUnless { p, target } => {
                if frame[p as usize] == 0 {
                    next = target as usize;
                    jumps -= 1;
                }
            }
            Instruction::Load {
                access,
                d,
                base,
                offset,
            } => {
                let address = address(frame, base, offset);
                memory
                    .load(pc, thread, access, 1, address, |_, bits| {
                        frame[d as usize] = bits
                    })
                    .map_err(fault)?;
            }
            Instruction::Store {
                access,
                a,
                base,
                offset,
            } => {
                let address = address(frame, base, offset);
                memory
                    .store(pc, thread, access, 1, address, |_| frame[a as usize])
                    .map_err(fault)?;
            }
            Instruction::LoadMany {
                access,
                count,
                list,
                base,
                offset,
            } => {
                let address = address(frame, base, offset);
                let slots = &function.lists[list as usize..];
                let count = u32::from(count);
                memory
                    .load(pc, thread, access, count, address, |i, bits| {
                        frame[slots[i] as usize] = bits;
                    })
                    .map_err(fault)?;
            }
            Instruction::StoreMany {
                access,
                count,
                list,
                base,
                offset,
            } => {
                let address = address(frame, base, offset);
                let slots = &function.lists[list as usize..];
                let count = u32::from(count);
                memory
                    .store(pc, thread, access, count, address, |i| {
                        frame[slots[i] as usize]
                    })
                    .map_err(fault)?;
            }
            Instruction::Atomic { index } => {
                let atomic = function.atomics[index as usize];
                let address = address(frame, atomic.base, atomic.offset);
                let change = (atomic.f, frame[atomic.b as usize], frame[atomic.c as usize]);
                frame[atomic.d as usize] = memory
                    .atomic(pc, thread, atomic.access, address, change)
                    .map_err(fault)?;
            }
            Instruction::ActiveMask { d } => frame[d as usize] = u64::from(lanes),
            Instruction::Warp { .. } => return Ok(Stop::Warp(pc as u32)),
            Instruction::Barrier => return Ok(Stop::Barrier(pc as u32)),
            Instruction::Exit => return Ok(Stop::End),
            Instruction::Trap => return Err(fault(FaultKind::Trap)),
            Instruction::Assert {
                message,
                file,
                line,
            } => {
                let text = |offset| function.globals.text(memory.local_value(thread, offset, 8));
                return Err(fault(FaultKind::Assertion {
                    message: text(message),
                    file: text(file),
                    line: memory.local_value(thread, line, 4) as u32,
                }));
            }
        }
        if jumps == 0 {
            return Err(fault(FaultKind::Endless { jumps: MOST_JUMPS }));
        }
        pc = next;
    }
}
