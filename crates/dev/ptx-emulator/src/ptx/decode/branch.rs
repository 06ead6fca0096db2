//! What changes the order of instructions: jumps, calls, barriers and what a warp does together.

use std::collections::HashMap;

use super::operand::{Mnemonic, Operand};
use super::{Decoder, END, Symbol};
use crate::ptx::error::Error;
use crate::ptx::index::{Variable, VariableSpace};
use crate::ptx::instruction::{Collective, Instruction, ShuffleMode, Slot, WarpInstruction};
use crate::ptx::types::Type;

impl<'t> Decoder<'t> {
    /// `bra`.
    pub(super) fn branch(
        &mut self,
        mut mnemonic: Mnemonic<'t>,
        guard: Option<(Slot, bool)>,
    ) -> Result<(), Error> {
        mnemonic.take("uni");
        self.all_known(&mnemonic)?;
        let label = self.lexer.word("a label")?;
        self.lexer.expect(b';', ";")?;
        let target = 0;
        let jump = match guard {
            None => Instruction::Jump { target },
            Some((p, false)) => Instruction::JumpIf { p, target },
            Some((p, true)) => Instruction::JumpUnless { p, target },
        };
        self.jump(jump, label)
    }

    fn jump(&mut self, jump: Instruction, label: &str) -> Result<(), Error> {
        self.jumps
            .open
            .push((self.code.len(), label.to_owned(), self.line));
        self.emit(jump)
    }

    /// `ret` and `exit`.
    pub(super) fn leave(&mut self, mut mnemonic: Mnemonic<'t>) -> Result<(), Error> {
        mnemonic.take("uni");
        self.all_known(&mnemonic)?;
        self.lexer.expect(b';', ";")?;
        if mnemonic.op == "exit" || self.callers.len() == 1 {
            return self.emit(Instruction::Exit);
        }
        self.jump(Instruction::Jump { target: 0 }, END)
    }

    /// `call (results), function, (arguments);` The function becomes part of the caller.
    pub(super) fn call(&mut self, mut mnemonic: Mnemonic<'t>) -> Result<(), Error> {
        mnemonic.take("uni");
        self.all_known(&mnemonic)?;
        let results = self.call_list()?;
        if !results.is_empty() {
            self.lexer.expect(b',', ",")?;
        }
        let name = self.lexer.word("the name of a function")?;
        let arguments = if self.lexer.accept(b',') {
            self.call_list()?
        } else {
            Vec::new()
        };
        self.lexer.expect(b';', ";")?;
        if name == "__assertfail" {
            return match arguments[..] {
                [message, file, line, ..] => self.emit(Instruction::Assert {
                    message,
                    file,
                    line,
                }),
                _ => Err(self.unsupported(name, "its arguments")),
            };
        }
        let Some(header) = self.index.headers.get(name) else {
            return Err(self.unsupported(name, "a call of what is no function's name"));
        };
        if header.parameters.len() != arguments.len() || header.results.len() != results.len() {
            return Err(self.unsupported(name, "another number of arguments"));
        }
        let formal = header.parameters.iter().chain(&header.results);
        let names: HashMap<_, _> = formal
            .zip(arguments.into_iter().chain(results))
            .map(|((name, _), offset)| (name.clone(), Symbol::Local(offset)))
            .collect();
        self.body(name, names)
    }

    /// Where the variables of a list in parentheses are in local memory.
    fn call_list(&mut self) -> Result<Vec<u32>, Error> {
        let mut offsets = Vec::new();
        if !self.lexer.accept(b'(') {
            return Ok(offsets);
        }
        while !self.lexer.accept(b')') {
            let name = self.lexer.word("the name of a parameter")?;
            match self.lookup(name)? {
                Symbol::Local(offset) => offsets.push(offset),
                Symbol::Register(a, ty) => {
                    let (bytes, align) = (u64::from(ty.bytes()), u64::from(ty.bytes()));
                    let space = VariableSpace::Local;
                    let name = name.to_owned();
                    let variable = Variable {
                        name,
                        space,
                        bytes,
                        align,
                        address: 0,
                    };
                    let Symbol::Local(offset) = self.place(&variable)? else {
                        return Err(self.unsupported("call", "its argument"));
                    };
                    self.store_local(a, offset, ty)?;
                    offsets.push(offset);
                }
                _ => return Err(self.unsupported(name, "an argument of its kind")),
            }
            self.lexer.accept(b',');
        }
        Ok(offsets)
    }

    /// `bar` and `barrier`.
    pub(super) fn barrier(&mut self, mut mnemonic: Mnemonic<'t>) -> Result<(), Error> {
        mnemonic.take("cta");
        mnemonic.take("aligned");
        let warp = mnemonic.take("warp");
        if !mnemonic.take("sync") {
            return Err(self.unsupported(mnemonic.full, "another barrier than sync"));
        }
        self.all_known(&mnemonic)?;
        let operands = self.operands()?;
        let [operand] = &operands[..] else {
            return Err(self.unsupported(mnemonic.full, "a number of threads"));
        };
        let a = self.read(operand, Type::B32)?;
        self.waits = true;
        if warp {
            return self.together(Collective::Synchronise, a);
        }
        // Only constants can be told apart here.
        match (operand, self.template[a as usize]) {
            (Operand::Immediate(_), 0..16) => self.emit(Instruction::Barrier),
            _ => Err(self.unsupported(mnemonic.full, "a barrier whose number is no constant")),
        }
    }

    /// `shfl.sync`.
    pub(super) fn shuffle(&mut self, mut mnemonic: Mnemonic<'t>) -> Result<(), Error> {
        let mode = mnemonic.take_named(|word| {
            Some(match word {
                "up" => ShuffleMode::Up,
                "down" => ShuffleMode::Down,
                "bfly" => ShuffleMode::Butterfly,
                "idx" => ShuffleMode::Index,
                _ => return None,
            })
        });
        let (true, Some(mode)) = (mnemonic.take("sync"), mode) else {
            return Err(self.unsupported(mnemonic.full, "a shuffle without sync"));
        };
        self.all_known(&mnemonic)?;
        let operands = self.operands()?;
        let [result, a, b, c, members] = &operands[..] else {
            return Err(self.unsupported(mnemonic.full, "its number of operands"));
        };
        let (d, in_range) = match result {
            Operand::Pair(d, p) => (
                self.written(&Operand::Name(d))?,
                self.written(&Operand::Name(p))?,
            ),
            result => (self.written(result)?, self.slot(0)?),
        };
        let a = self.read(a, Type::B32)?;
        let b = self.read(b, Type::B32)?;
        let c = self.read(c, Type::B32)?;
        let members = self.read(members, Type::B32)?;
        self.together(
            Collective::Shuffle {
                mode,
                d,
                in_range,
                a,
                b,
                c,
            },
            members,
        )
    }

    /// `vote.sync`.
    pub(super) fn vote(&mut self, mut mnemonic: Mnemonic<'t>) -> Result<(), Error> {
        let mode = mnemonic.take_any(&["all", "any", "uni", "ballot"]);
        if !mnemonic.take("sync") {
            return Err(self.unsupported(mnemonic.full, "a vote without sync"));
        }
        self.all_known(&mnemonic)?;
        let operands = self.operands()?;
        let [d, a, members] = &operands[..] else {
            return Err(self.unsupported(mnemonic.full, "its number of operands"));
        };
        let d = self.written(d)?;
        let a = self.read(a, Type::Pred)?;
        let members = self.read(members, Type::B32)?;
        let collective = match mode {
            Some("all") => Collective::All { d, a },
            Some("any") => Collective::Any { d, a },
            Some("uni") => Collective::Uniform { d, a },
            Some("ballot") => Collective::Ballot { d, a },
            _ => return Err(self.unsupported(mnemonic.full, "what it votes on")),
        };
        self.together(collective, members)
    }

    fn together(&mut self, collective: Collective, members: Slot) -> Result<(), Error> {
        self.waits = true;
        let index = self.warp_instructions.len() as u32;
        self.warp_instructions.push(WarpInstruction {
            collective,
            members,
        });
        self.emit(Instruction::Warp { index })
    }
}
