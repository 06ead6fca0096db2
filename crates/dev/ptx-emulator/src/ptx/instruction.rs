//! What a function is decoded to.

use super::arithmetic::{Binary, Conversion, Ternary, Unary};

/// Where a thread keeps a value: registers, constants, parameters and special registers all have a slot.
pub(super) type Slot = u16;

/// Where an access goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Window {
    Global,
    Shared,
    Local,
    /// The address tells.
    Generic,
}

/// How an element is accessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) window: Window,
    /// Bytes of an element.
    pub(super) bytes: u8,
    /// Whether a loaded element is extended by its sign.
    pub(super) signed: bool,
}

/// One step of a thread. Jumps name the index of an instruction.
#[derive(Debug, Clone, Copy)]
pub(super) enum Instruction {
    Move {
        d: Slot,
        a: Slot,
    },
    Unary {
        f: Unary,
        d: Slot,
        a: Slot,
    },
    Binary {
        f: Binary,
        d: Slot,
        a: Slot,
        b: Slot,
    },
    Ternary {
        f: Ternary,
        d: Slot,
        a: Slot,
        b: Slot,
        c: Slot,
    },
    /// The binary functions that kernels consist of, without a call.
    AddU32 {
        d: Slot,
        a: Slot,
        b: Slot,
    },
    AddU64 {
        d: Slot,
        a: Slot,
        b: Slot,
    },
    AddF32 {
        d: Slot,
        a: Slot,
        b: Slot,
    },
    MulF32 {
        d: Slot,
        a: Slot,
        b: Slot,
    },
    /// `bfi`.
    Insert {
        width: u8,
        d: Slot,
        a: Slot,
        b: Slot,
        from: Slot,
        count: Slot,
    },
    Convert {
        d: Slot,
        a: Slot,
        conversion: Conversion,
    },
    Jump {
        target: u32,
    },
    JumpIf {
        p: Slot,
        target: u32,
    },
    JumpUnless {
        p: Slot,
        target: u32,
    },
    Load {
        access: Access,
        d: Slot,
        base: Slot,
        offset: i32,
    },
    Store {
        access: Access,
        a: Slot,
        base: Slot,
        offset: i32,
    },
    /// As many elements as `count`, to the slots in the function's list from `list` on.
    LoadMany {
        access: Access,
        count: u8,
        list: u32,
        base: Slot,
        offset: i32,
    },
    StoreMany {
        access: Access,
        count: u8,
        list: u32,
        base: Slot,
        offset: i32,
    },
    /// An entry of the function's list of atomic instructions.
    Atomic {
        index: u32,
    },
    /// An entry of the function's list of instructions that a warp carries out together.
    Warp {
        index: u32,
    },
    /// The block comes together here; threads that wait at another instruction have diverged.
    Barrier,
    /// The lanes that have not ended.
    ActiveMask {
        d: Slot,
    },
    /// `__assertfail`, whose arguments are in local memory.
    Assert {
        message: u32,
        file: u32,
        line: u32,
    },
    Trap,
    Exit,
}

/// An atomic instruction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Atomic {
    pub(super) access: Access,
    /// From what is found, `b` and `c` to what is left.
    pub(super) f: Ternary,
    pub(super) d: Slot,
    pub(super) base: Slot,
    pub(super) offset: i32,
    pub(super) b: Slot,
    pub(super) c: Slot,
}

/// Whose value a lane gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShuffleMode {
    Up,
    Down,
    Butterfly,
    Index,
}

/// What a warp does together.
#[derive(Debug, Clone, Copy)]
pub(super) enum Collective {
    Shuffle {
        mode: ShuffleMode,
        d: Slot,
        in_range: Slot,
        a: Slot,
        b: Slot,
        c: Slot,
    },
    All {
        d: Slot,
        a: Slot,
    },
    Any {
        d: Slot,
        a: Slot,
    },
    Uniform {
        d: Slot,
        a: Slot,
    },
    Ballot {
        d: Slot,
        a: Slot,
    },
    Synchronise,
}

/// An instruction that a warp carries out together.
#[derive(Debug, Clone, Copy)]
pub(super) struct WarpInstruction {
    pub(super) collective: Collective,
    /// The lanes that take part.
    pub(super) members: Slot,
}

/// A value that differs between launches, blocks or threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Special {
    Thread(u8),
    Threads(u8),
    Block(u8),
    Blocks(u8),
    Lane,
    Warp,
    Warps,
    /// The lanes below, up to, from and above this one.
    LanesBelow,
    LanesUpTo,
    LaneBit,
    LanesFrom,
    LanesAbove,
    Zero,
    One,
    DynamicShared,
    TotalShared,
}

impl Special {
    /// The special register of a name.
    pub(super) fn named(name: &str) -> Option<Self> {
        let axis = |name: &str| match name {
            "x" => Some(0),
            "y" => Some(1),
            "z" => Some(2),
            _ => None,
        };
        if let Some((register, component)) = name.split_once('.') {
            let axis = axis(component)?;
            return Some(match register {
                "%tid" => Special::Thread(axis),
                "%ntid" => Special::Threads(axis),
                "%ctaid" => Special::Block(axis),
                "%nctaid" => Special::Blocks(axis),
                _ => return None,
            });
        }
        Some(match name {
            "%laneid" => Special::Lane,
            "%warpid" => Special::Warp,
            "%nwarpid" => Special::Warps,
            "%lanemask_lt" => Special::LanesBelow,
            "%lanemask_le" => Special::LanesUpTo,
            "%lanemask_eq" => Special::LaneBit,
            "%lanemask_ge" => Special::LanesFrom,
            "%lanemask_gt" => Special::LanesAbove,
            "%smid" | "%gridid" | "%clock" | "%clock_hi" | "%clock64" => Special::Zero,
            "%nsmid" => Special::One,
            "%dynamic_smem_size" => Special::DynamicShared,
            "%total_smem_size" => Special::TotalShared,
            _ => return None,
        })
    }
}
