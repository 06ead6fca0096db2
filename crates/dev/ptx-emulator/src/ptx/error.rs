//! What can be wrong with PTX, and with a program that runs.

use std::fmt;
use std::ops::Range;

/// Why a module or one of its functions cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is not PTX.
    #[error("line {line}: {expected} was expected, not `{found}`")]
    Syntax {
        /// The line in the text, from 1.
        line: u32,
        /// What would have been right.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// The emulator does not know an instruction or one of its forms.
    #[error("line {line} of {function}: `{instruction}` is not supported: {reason}")]
    Unsupported {
        /// The function that asks for it.
        function: String,
        /// The line in the text, from 1.
        line: u32,
        /// The instruction, or the directive.
        instruction: String,
        /// What about it.
        reason: &'static str,
    },
    /// A name that nothing declares.
    #[error("line {line} of {function}: nothing declares `{name}`")]
    Undeclared {
        /// The function that uses the name.
        function: String,
        /// The line in the text, from 1.
        line: u32,
        /// The name.
        name: String,
    },
    /// A function needs more registers and constants than the emulator gives a thread.
    #[error("{function} needs more than {most} registers and constants")]
    Registers {
        /// The function.
        function: String,
        /// How many there can be.
        most: usize,
    },
    /// The module has no such function.
    #[error("the module has no function `{name}`")]
    NoFunction {
        /// The name that was asked for.
        name: String,
    },
}

/// Where memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// Memory of the device, and that of the module's variables.
    Global,
    /// Memory of a block.
    Shared,
    /// Memory of a thread.
    Local,
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Space::Global => "global",
            Space::Shared => "shared",
            Space::Local => "local",
        })
    }
}

/// A line of source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The file, as the compiler named it.
    pub file: Box<str>,
    /// The line, from 1.
    pub line: u32,
}

/// A mistake of a kernel, or of its launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The function.
    pub function: Box<str>,
    /// The line of the source, where the PTX tells.
    pub source: Option<Location>,
    /// The line of the PTX, from 1; 0 where the launch itself is wrong.
    pub line: u32,
    /// The block that did it.
    pub block: [u32; 3],
    /// The thread of the block.
    pub thread: [u32; 3],
    /// What it did.
    pub kind: FaultKind,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.function)?;
        if self.line != 0 {
            if let Some(Location { file, line }) = &self.source {
                write!(f, " ({file}:{line}; line {} of the PTX)", self.line)?;
            } else {
                write!(f, " (line {} of the PTX)", self.line)?;
            }
            write!(f, ", block {:?}, thread {:?}", self.block, self.thread)?;
        }
        write!(f, ": {}", self.kind)
    }
}

impl std::error::Error for Fault {}

/// What a kernel did wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// An access that no allocation contains.
    OutOfBounds {
        /// Where the address points.
        space: Space,
        /// The address.
        address: u64,
        /// How many bytes are accessed.
        bytes: u32,
        /// Whether they are written.
        write: bool,
        /// The allocation nearest to the address, where one is known.
        nearest: Option<Range<u64>>,
    },
    /// An address that is no multiple of the bytes accessed.
    Misaligned {
        /// Where the address points.
        space: Space,
        /// The address.
        address: u64,
        /// How many bytes are accessed.
        bytes: u32,
        /// Whether they are written.
        write: bool,
    },
    /// Two threads of a block touch the same shared memory, one of them writes, and nothing orders them.
    SharedRace {
        /// The address in shared memory.
        address: u64,
        /// Whether this thread writes.
        write: bool,
        /// The thread that touched it before.
        other: [u32; 3],
        /// Whether that one wrote.
        other_wrote: bool,
    },
    /// Two blocks touch the same global memory, and one of them writes.
    GlobalRace {
        /// The address.
        address: u64,
        /// Whether this block writes.
        write: bool,
        /// The block that touched it before.
        other: [u32; 3],
        /// Whether that one wrote.
        other_wrote: bool,
    },
    /// A thread waits at a barrier, and another one of the block waits elsewhere, so that neither goes on.
    BarrierDivergence {
        /// The thread that waits elsewhere.
        other: [u32; 3],
        /// The line of the PTX where it waits.
        other_line: u32,
    },
    /// A thread waits for lanes of its warp that never come.
    WarpDivergence {
        /// The lanes it waits for, as bits.
        missing: u32,
    },
    /// A shuffle reads a lane that does not take part.
    ShuffleSource {
        /// The lane it reads.
        lane: u32,
    },
    /// `assert` failed.
    Assertion {
        /// What was asserted.
        message: Box<str>,
        /// The source file.
        file: Box<str>,
        /// Its line.
        line: u32,
    },
    /// The kernel ended itself.
    Trap,
    /// A thread runs in circles.
    Endless {
        /// How many jumps it was given.
        jumps: u64,
    },
    /// The launch asks for what the function or a device cannot do.
    Launch {
        /// What it asks for.
        what: &'static str,
        /// How much of it.
        asked: u64,
        /// How much there can be.
        most: u64,
    },
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = |write: bool| if write { "writes" } else { "reads" };
        let verb_past = |wrote: bool| if wrote { "wrote" } else { "read" };
        match self {
            FaultKind::OutOfBounds {
                space,
                address,
                bytes,
                write,
                nearest,
            } => {
                write!(
                    f,
                    "{} {bytes} bytes of {space} memory at {address:#x}, ",
                    verb(*write)
                )?;
                match nearest {
                    None => f.write_str("which nothing allocated"),
                    Some(range) if *address >= range.end => write!(
                        f,
                        "{} bytes behind the end of an allocation of {}",
                        address - range.end,
                        range.end - range.start
                    ),
                    Some(range) if *address < range.start => write!(
                        f,
                        "{} bytes before an allocation of {}",
                        range.start - address,
                        range.end - range.start
                    ),
                    Some(range) => write!(
                        f,
                        "across the end of an allocation of {} bytes",
                        range.end - range.start
                    ),
                }
            }
            FaultKind::Misaligned {
                space,
                address,
                bytes,
                write,
            } => write!(
                f,
                "{} {bytes} bytes of {space} memory at {address:#x}, which is no multiple of {bytes}",
                verb(*write)
            ),
            FaultKind::SharedRace {
                address,
                write,
                other,
                other_wrote,
            } => write!(
                f,
                "{} shared memory at {address:#x}, which thread {other:?} {} since the last barrier",
                verb(*write),
                verb_past(*other_wrote)
            ),
            FaultKind::GlobalRace {
                address,
                write,
                other,
                other_wrote,
            } => write!(
                f,
                "{} global memory at {address:#x}, which block {other:?} {} in the same launch",
                verb(*write),
                verb_past(*other_wrote)
            ),
            FaultKind::BarrierDivergence { other, other_line } => write!(
                f,
                "waits at a barrier, but thread {other:?} waits at line {other_line} of the PTX"
            ),
            FaultKind::WarpDivergence { missing } => {
                write!(
                    f,
                    "waits for lanes {missing:#010x} of its warp, which do not come"
                )
            }
            FaultKind::ShuffleSource { lane } => {
                write!(
                    f,
                    "shuffles a value out of lane {lane}, which takes no part"
                )
            }
            FaultKind::Assertion {
                message,
                file,
                line,
            } => {
                write!(f, "assertion `{message}` failed at {file}:{line}")
            }
            FaultKind::Trap => f.write_str("trap"),
            FaultKind::Endless { jumps } => write!(f, "jumped {jumps} times and did not end"),
            FaultKind::Launch { what, asked, most } => {
                write!(
                    f,
                    "the launch asks for {asked} {what}, but there are {most}"
                )
            }
        }
    }
}
