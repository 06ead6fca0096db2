//! Operands out of the text, and the slots that they stand for.

use super::operand::{Base, Immediate, Operand, immediate};
use super::{Decoder, Symbol};
use crate::ptx::error::Error;
use crate::ptx::instruction::{Slot, Special};
use crate::ptx::lexer::{Token, integer};
use crate::ptx::types::Type;

impl<'t> Decoder<'t> {
    /// Reads the operands of an instruction, and its semicolon.
    pub(super) fn operands(&mut self) -> Result<Vec<Operand<'t>>, Error> {
        let mut operands = Vec::new();
        if self.lexer.accept(b';') {
            return Ok(operands);
        }
        loop {
            operands.push(self.operand()?);
            if !self.lexer.accept(b',') {
                self.lexer.expect(b';', ";")?;
                return Ok(operands);
            }
        }
    }

    fn operand(&mut self) -> Result<Operand<'t>, Error> {
        match self.lexer.next() {
            Token::Sign(b'{') => {
                let mut elements = vec![self.operand()?];
                while self.lexer.accept(b',') {
                    elements.push(self.operand()?);
                }
                self.lexer.expect(b'}', "}")?;
                Ok(Operand::Vector(elements))
            }
            Token::Sign(b'[') => {
                let base = self.lexer.word("an address")?;
                let base = if base.as_bytes()[0].is_ascii_digit() {
                    let absolute = integer(base);
                    let wrong = self.lexer.syntax("an address", Token::Word(base));
                    Base::Absolute(absolute.ok_or(wrong)?)
                } else {
                    Base::Name(base)
                };
                let plus = self.lexer.accept(b'+');
                let minus = self.lexer.accept(b'-');
                let mut offset = 0;
                if plus || minus {
                    offset = self.lexer.number("an offset")? as i64;
                    offset = if minus { offset.wrapping_neg() } else { offset };
                }
                self.lexer.expect(b']', "]")?;
                match i32::try_from(offset) {
                    Ok(offset) => Ok(Operand::Address(base, offset)),
                    Err(_) => Err(self.unsupported("an address", "an offset of that size")),
                }
            }
            Token::Sign(b'!') => Ok(Operand::Not(self.lexer.word("a predicate")?)),
            Token::Sign(b'-') => {
                let word = self.lexer.word("a number")?;
                let wrong = self.lexer.syntax("a number", Token::Word(word));
                Ok(Operand::Immediate(immediate(word, true).ok_or(wrong)?))
            }
            Token::Word(word) if word.as_bytes()[0].is_ascii_digit() => {
                let wrong = self.lexer.syntax("a number", Token::Word(word));
                Ok(Operand::Immediate(immediate(word, false).ok_or(wrong)?))
            }
            Token::Word(word) if self.lexer.accept(b'|') => {
                Ok(Operand::Pair(word, self.lexer.word("a predicate")?))
            }
            Token::Word(word) => Ok(Operand::Name(word)),
            found => Err(self.lexer.syntax("an operand", found)),
        }
    }

    /// What a name stands for.
    pub(super) fn lookup(&mut self, name: &str) -> Result<Symbol, Error> {
        for scope in self.scopes.iter().rev() {
            if let Some(&symbol) = scope.get(name) {
                return Ok(symbol);
            }
            let prefix = name.trim_end_matches(|c: char| c.is_ascii_digit());
            if prefix.len() < name.len()
                && let Some(&Symbol::Registers(first, count, ty)) = scope.get(prefix)
                && let Ok(number) = name[prefix.len()..].parse::<u32>()
                && number < count
            {
                return Ok(Symbol::Register(first + number as Slot, ty));
            }
        }
        if let Some(&offset) = self.shared_variables.get(name) {
            return Ok(Symbol::Shared(offset));
        }
        if let Some(variable) = self.index.variables.get(name) {
            let symbol = self.place(variable)?;
            if let Symbol::Shared(offset) = symbol {
                self.shared_variables.insert(name.to_owned(), offset);
            }
            return Ok(symbol);
        }
        Err(self.undeclared(name))
    }

    /// The slot of a value that is read as a type.
    pub(super) fn read(&mut self, operand: &Operand<'t>, ty: Type) -> Result<Slot, Error> {
        match operand {
            Operand::Name("WARP_SZ") => self.constant(32),
            Operand::Name(name) => {
                if let Some(special) = Special::named(name) {
                    return self.special(special);
                }
                self.value_of(name)
            }
            Operand::Not(name) => {
                let a = self.value_of(name)?;
                let d = self.slot(0)?;
                self.emit_unary(|a| a ^ 1, d, a)?;
                Ok(d)
            }
            Operand::Immediate(immediate) => {
                let bits = match (*immediate, ty) {
                    (Immediate::Integer(value), Type::Pred) => u64::from(value != 0),
                    (Immediate::Integer(value), _) => value,
                    (Immediate::Single(bits), Type::F64) => {
                        f64::from(f32::from_bits(bits)).to_bits()
                    }
                    (Immediate::Single(bits), _) => u64::from(bits),
                    (Immediate::Double(value), Type::F32) => u64::from((value as f32).to_bits()),
                    (Immediate::Double(value), _) => value.to_bits(),
                };
                self.constant(bits)
            }
            _ => Err(self.unsupported("an operand", "its form, at this place")),
        }
    }

    fn value_of(&mut self, name: &str) -> Result<Slot, Error> {
        match self.lookup(name)? {
            Symbol::Register(slot, _) => Ok(slot),
            Symbol::Local(offset) | Symbol::Shared(offset) => self.constant(u64::from(offset)),
            Symbol::Global(address) => self.constant(address),
            Symbol::DynamicShared => match self.dynamic_shared {
                Some(slot) => Ok(slot),
                None => {
                    let slot = self.slot(0)?;
                    self.dynamic_shared = Some(slot);
                    Ok(slot)
                }
            },
            Symbol::Argument(_) | Symbol::Registers(..) => {
                Err(self.unsupported(name, "the address of a parameter"))
            }
        }
    }

    /// The slot of a result.
    pub(super) fn written(&mut self, operand: &Operand<'t>) -> Result<Slot, Error> {
        match operand {
            Operand::Name("_") => self.slot(0),
            Operand::Name(name) => match self.lookup(name)? {
                Symbol::Register(slot, _) => Ok(slot),
                _ => Err(self.unsupported(name, "a result that is no register")),
            },
            _ => Err(self.unsupported("a result", "its form")),
        }
    }

    /// Base and offset of an address.
    pub(super) fn address(&mut self, operand: &Operand<'t>) -> Result<(Slot, i32), Error> {
        match operand {
            Operand::Address(Base::Name(name), offset) => Ok((self.value_of(name)?, *offset)),
            Operand::Address(Base::Absolute(address), offset) => {
                Ok((self.constant(*address)?, *offset))
            }
            _ => Err(self.unsupported("an operand", "an address was expected")),
        }
    }
}
