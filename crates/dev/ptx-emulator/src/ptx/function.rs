//! A kernel that can be launched.

use std::ops::Range;
use std::sync::Arc;

use super::error::Location;
use super::globals::Globals;
use super::instruction::{Atomic, Instruction, Slot, Special, WarpInstruction};
use super::types::Type;

/// A parameter of a kernel, in the block of bytes that a launch passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter {
    /// Where it starts.
    pub offset: usize,
    /// How many bytes it has.
    pub bytes: usize,
    /// What its offset is a multiple of.
    pub align: usize,
}

/// A kernel, decoded.
#[derive(Debug)]
pub struct Function {
    pub(super) name: String,
    pub(super) parameters: Vec<Parameter>,
    pub(super) max_threads: u32,
    /// Shared memory that the kernel declares.
    pub(super) shared_bytes: u32,
    /// Where its variables in shared memory are; between them is nothing.
    pub(super) shared: Vec<Range<u32>>,
    /// Where the shared memory that the launch adds begins.
    pub(super) dynamic_shared: u32,
    /// The smallest access to shared memory, in bytes.
    pub(super) shared_granule: u32,
    /// The smallest access to global memory, in bytes.
    pub(super) global_granule: u32,
    /// Memory of a thread.
    pub(super) local_bytes: u32,
    pub(super) code: Vec<Instruction>,
    /// The line of every instruction in the PTX.
    pub(super) lines: Vec<u32>,
    /// The source of every instruction: an index of `files`, and a line.
    pub(super) sources: Vec<(u32, u32)>,
    pub(super) files: Vec<String>,
    /// What the slots of a thread hold when it starts.
    pub(super) template: Vec<u64>,
    pub(super) specials: Vec<(Special, Slot)>,
    /// Slots that hold parts of the parameters.
    pub(super) arguments: Vec<(usize, Type, Slot)>,
    /// Slots of loads and stores of several elements.
    pub(super) lists: Vec<Slot>,
    pub(super) atomics: Vec<Atomic>,
    pub(super) warp_instructions: Vec<WarpInstruction>,
    /// Whether a thread can wait for others.
    pub(super) waits: bool,
    pub(super) globals: Arc<Globals>,
}

impl Function {
    /// The kernel's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The parameters, in order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// How many bytes the parameters take, with the gaps between them.
    pub fn parameter_bytes(&self) -> usize {
        self.parameters
            .last()
            .map_or(0, |last| last.offset + last.bytes)
    }

    /// How much shared memory the kernel declares, in bytes; a launch may add to it.
    pub fn shared_bytes(&self) -> u32 {
        self.shared_bytes
    }

    /// How many threads a block may have.
    pub fn max_threads(&self) -> u32 {
        self.max_threads
    }

    /// The source of an instruction.
    pub(super) fn source(&self, instruction: usize) -> Option<Location> {
        let &(file, line) = self.sources.get(instruction)?;
        let file = self.files.get(file as usize)?;
        (line != 0).then(|| Location {
            file: file.as_str().into(),
            line,
        })
    }
}
