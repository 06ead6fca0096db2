//! Loads, stores and atomic instructions.

use super::operand::{Base, Mnemonic, Operand};
use super::{Decoder, Symbol};
use crate::ptx::arithmetic::atomic;
use crate::ptx::error::Error;
use crate::ptx::instruction::{Access, Atomic, Instruction, Slot, Window};
use crate::ptx::types::Type;

impl<'t> Decoder<'t> {
    /// Takes the modifiers that say where an access goes, and those that only say how fast or in which order.
    fn window(&mut self, mnemonic: &mut Mnemonic<'t>) -> Window {
        // One thread runs at a time: every access is as strong as can be.
        for ignored in [
            "volatile",
            "relaxed",
            "weak",
            "acquire",
            "release",
            "acq_rel",
            "cta",
            "gpu",
            "sys",
            "ca",
            "cg",
            "cs",
            "lu",
            "cv",
            "wb",
            "wt",
            "nc",
            "noftz",
            "L1::evict_last",
            "L2::128B",
        ] {
            mnemonic.take(ignored);
        }
        match mnemonic.take_any(&["global", "const", "shared", "shared::cta", "local"]) {
            Some("global" | "const") => Window::Global,
            Some("local") => Window::Local,
            Some(_) => Window::Shared,
            None => Window::Generic,
        }
    }

    fn access(&mut self, window: Window, ty: Type) -> Access {
        let bytes = ty.bytes();
        match window {
            Window::Shared => self.shared_granule = self.shared_granule.min(bytes),
            Window::Global => self.global_granule = self.global_granule.min(bytes),
            Window::Generic => {
                self.shared_granule = self.shared_granule.min(bytes);
                self.global_granule = self.global_granule.min(bytes);
            }
            Window::Local => {}
        }
        Access {
            window,
            bytes: bytes as u8,
            signed: ty.is_signed(),
        }
    }

    pub(super) fn load(&mut self, mut mnemonic: Mnemonic<'t>) -> Result<(), Error> {
        let parameter = mnemonic.take("param") | mnemonic.take("param::entry");
        let window = self.window(&mut mnemonic);
        let count = mnemonic.take_any(&["v2", "v4"]);
        self.all_known(&mnemonic)?;
        let ty = self.one_type(&mnemonic)?;
        let operands = self.operands()?;
        let [result, address] = &operands[..] else {
            return Err(self.unsupported(mnemonic.full, "its number of operands"));
        };
        let elements = self.elements(&mnemonic, result, count)?;
        let slots: Vec<Slot> = elements
            .iter()
            .map(|element| self.written(element))
            .collect::<Result<_, _>>()?;
        let window = if parameter {
            let &Operand::Address(Base::Name(name), offset) = address else {
                return Err(self.unsupported(mnemonic.full, "the address of a parameter"));
            };
            match self.lookup(name)? {
                Symbol::Argument(start) => {
                    let start = i64::from(start) + i64::from(offset);
                    for (i, d) in slots.into_iter().enumerate() {
                        let at = start + i as i64 * i64::from(ty.bytes());
                        let Ok(at) = usize::try_from(at) else {
                            return Err(self.unsupported(mnemonic.full, "that offset"));
                        };
                        let a = self.argument(at, ty)?;
                        self.emit(Instruction::Move { d, a })?;
                    }
                    return Ok(());
                }
                _ => Window::Local,
            }
        } else {
            window
        };
        let (base, offset) = self.address(address)?;
        let access = self.access(window, ty);
        if let [d] = slots[..] {
            return self.emit(Instruction::Load {
                access,
                d,
                base,
                offset,
            });
        }
        let (list, count) = self.list(slots);
        self.emit(Instruction::LoadMany {
            access,
            count,
            list,
            base,
            offset,
        })
    }

    pub(super) fn store(&mut self, mut mnemonic: Mnemonic<'t>) -> Result<(), Error> {
        let parameter = mnemonic.take("param") | mnemonic.take("param::func");
        let window = self.window(&mut mnemonic);
        let window = if parameter { Window::Local } else { window };
        let count = mnemonic.take_any(&["v2", "v4"]);
        self.all_known(&mnemonic)?;
        let ty = self.one_type(&mnemonic)?;
        let operands = self.operands()?;
        let [address, value] = &operands[..] else {
            return Err(self.unsupported(mnemonic.full, "its number of operands"));
        };
        let elements = self.elements(&mnemonic, value, count)?;
        let slots: Vec<Slot> = elements
            .iter()
            .map(|element| self.read(element, ty))
            .collect::<Result<_, _>>()?;
        let (base, offset) = self.address(address)?;
        let access = self.access(window, ty);
        if let [a] = slots[..] {
            return self.emit(Instruction::Store {
                access,
                a,
                base,
                offset,
            });
        }
        let (list, count) = self.list(slots);
        self.emit(Instruction::StoreMany {
            access,
            count,
            list,
            base,
            offset,
        })
    }

    pub(super) fn store_local(&mut self, a: Slot, offset: u32, ty: Type) -> Result<(), Error> {
        let base = self.constant(u64::from(offset))?;
        let access = self.access(Window::Local, ty);
        self.emit(Instruction::Store {
            access,
            a,
            base,
            offset: 0,
        })
    }

    fn elements(
        &self,
        mnemonic: &Mnemonic<'t>,
        operand: &Operand<'t>,
        count: Option<&'static str>,
    ) -> Result<Vec<Operand<'t>>, Error> {
        match (operand, count) {
            (Operand::Vector(elements), Some("v2")) if elements.len() == 2 => Ok(elements.clone()),
            (Operand::Vector(elements), Some("v4")) if elements.len() == 4 => Ok(elements.clone()),
            (Operand::Vector(_), _) => Err(self.unsupported(mnemonic.full, "its vector")),
            (operand, None) => Ok(vec![operand.clone()]),
            _ => Err(self.unsupported(mnemonic.full, "a vector was expected")),
        }
    }

    fn list(&mut self, slots: Vec<Slot>) -> (u32, u8) {
        let list = self.lists.len() as u32;
        let count = slots.len() as u8;
        self.lists.extend(slots);
        (list, count)
    }

    /// The slot that holds a part of the parameters.
    fn argument(&mut self, offset: usize, ty: Type) -> Result<Slot, Error> {
        let same = |&&(at, known, _): &&(usize, Type, Slot)| (at, known) == (offset, ty);
        if let Some(&(_, _, slot)) = self.arguments.iter().find(same) {
            return Ok(slot);
        }
        let slot = self.slot(0)?;
        self.arguments.push((offset, ty, slot));
        Ok(slot)
    }

    /// `atom` and `red`.
    pub(super) fn atomic(&mut self, mut mnemonic: Mnemonic<'t>) -> Result<(), Error> {
        let window = self.window(&mut mnemonic);
        let op = mnemonic.take_any(&[
            "add", "cas", "exch", "min", "max", "and", "or", "xor", "inc", "dec",
        ]);
        self.all_known(&mnemonic)?;
        let ty = self.one_type(&mnemonic)?;
        let function = op.and_then(|op| atomic(op, ty, window == Window::Shared));
        let Some(f) = function else {
            return Err(self.unsupported(mnemonic.full, "its operation"));
        };
        let operands = self.operands()?;
        let (d, operands) = match (mnemonic.op, &operands[..]) {
            ("red", operands) => (self.slot(0)?, operands),
            (_, [d, operands @ ..]) => (self.written(d)?, operands),
            _ => return Err(self.unsupported(mnemonic.full, "its number of operands")),
        };
        let (address, b, c) = match operands {
            [address, b] if op != Some("cas") => (address, b, b),
            [address, b, c] if op == Some("cas") => (address, b, c),
            _ => return Err(self.unsupported(mnemonic.full, "its number of operands")),
        };
        let b = self.read(b, ty)?;
        let c = self.read(c, ty)?;
        let (base, offset) = self.address(address)?;
        let access = self.access(window, ty);
        let index = self.atomics.len() as u32;
        self.atomics.push(Atomic {
            access,
            f,
            d,
            base,
            offset,
            b,
            c,
        });
        self.emit(Instruction::Atomic { index })
    }
}
