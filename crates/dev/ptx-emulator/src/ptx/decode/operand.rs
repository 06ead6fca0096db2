//! Opcodes with their modifiers, and operands, as the text has them.

use crate::ptx::arithmetic::Rounding;
use crate::ptx::lexer::integer;
use crate::ptx::types::Type;

/// An opcode and its modifiers, which are taken one by one: what is left over is not supported.
#[derive(Debug)]
pub(super) struct Mnemonic<'t> {
    pub(super) full: &'t str,
    pub(super) op: &'t str,
    pub(super) modifiers: Vec<&'t str>,
    pub(super) types: Vec<Type>,
}

impl<'t> Mnemonic<'t> {
    pub(super) fn new(full: &'t str) -> Self {
        let mut words = full.split('.');
        let op = words.next().unwrap_or_default();
        let (mut modifiers, mut types) = (Vec::new(), Vec::new());
        for word in words {
            match Type::named(word) {
                Some(ty) => types.push(ty),
                None => modifiers.push(word),
            }
        }
        Self {
            full,
            op,
            modifiers,
            types,
        }
    }

    /// Takes a modifier, if it is there.
    pub(super) fn take(&mut self, modifier: &str) -> bool {
        match self.modifiers.iter().position(|found| *found == modifier) {
            Some(at) => {
                self.modifiers.remove(at);
                true
            }
            None => false,
        }
    }

    /// Takes the first of some modifiers that is there.
    pub(super) fn take_any(&mut self, modifiers: &[&'static str]) -> Option<&'static str> {
        modifiers
            .iter()
            .copied()
            .find(|modifier| self.take(modifier))
    }

    /// Takes the first modifier that `named` knows.
    pub(super) fn take_named<T>(&mut self, named: impl Fn(&str) -> Option<T>) -> Option<T> {
        let (at, found) = self
            .modifiers
            .iter()
            .enumerate()
            .find_map(|(at, word)| Some((at, named(word)?)))?;
        self.modifiers.remove(at);
        Some(found)
    }

    /// Takes the rounding of a floating-point operation.
    pub(super) fn take_rounding(&mut self) -> Option<Rounding> {
        self.take_named(|word| {
            Some(match word {
                "rn" => Rounding::Nearest,
                "rz" => Rounding::Zero,
                "rm" => Rounding::Down,
                "rp" => Rounding::Up,
                _ => return None,
            })
        })
    }
}

/// A number in the text.
#[derive(Debug, Clone, Copy)]
pub(super) enum Immediate {
    Integer(u64),
    Single(u32),
    Double(f64),
}

/// What an address begins with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Base<'t> {
    Name(&'t str),
    Absolute(u64),
}

#[derive(Debug, Clone)]
pub(super) enum Operand<'t> {
    Name(&'t str),
    /// A predicate, negated.
    Not(&'t str),
    Immediate(Immediate),
    Vector(Vec<Operand<'t>>),
    /// Two results, `d|p`.
    Pair(&'t str, &'t str),
    Address(Base<'t>, i32),
}

/// Reads a number that stands behind a minus where `negative` says so.
pub(super) fn immediate(word: &str, negative: bool) -> Option<Immediate> {
    let single = |digits| u32::from_str_radix(digits, 16).ok().map(Immediate::Single);
    let double = |digits| {
        u64::from_str_radix(digits, 16)
            .ok()
            .map(|bits| Immediate::Double(f64::from_bits(bits)))
    };
    let number = match word.get(..2) {
        Some("0f" | "0F") => single(&word[2..])?,
        Some("0d" | "0D") => double(&word[2..])?,
        _ => match integer(word) {
            Some(value) => Immediate::Integer(value),
            None => Immediate::Double(word.parse().ok()?),
        },
    };
    Some(match number {
        number if !negative => number,
        Immediate::Integer(value) => Immediate::Integer(value.wrapping_neg()),
        Immediate::Single(bits) => Immediate::Single(bits ^ 0x8000_0000),
        Immediate::Double(value) => Immediate::Double(-value),
    })
}
