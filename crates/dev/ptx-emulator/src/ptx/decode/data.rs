//! What moves, converts, compares and selects.

use super::Decoder;
use super::operand::{Mnemonic, Operand};
use crate::ptx::arithmetic::{
    Comparison, Conversion, Join, Rounding, compare, flush_f32, permute_bytes, select, set,
};
use crate::ptx::error::Error;
use crate::ptx::instruction::{Instruction, Slot};
use crate::ptx::memory::{LOCAL_WINDOW, SHARED_WINDOW};
use crate::ptx::types::Type;

impl<'t> Decoder<'t> {
    /// `mov`, also of vectors into one register and out of it.
    pub(super) fn move_(&mut self, mnemonic: Mnemonic<'t>) -> Result<(), Error> {
        self.all_known(&mnemonic)?;
        let ty = self.one_type(&mnemonic)?;
        let operands = self.operands()?;
        match &operands[..] {
            [Operand::Vector(elements), source] => {
                let element = self.element_bits(&mnemonic, elements.len(), ty)?;
                let a = self.read(source, ty)?;
                for (i, operand) in elements.iter().enumerate() {
                    let d = self.written(operand)?;
                    let by = self.constant(u64::from(element) * i as u64)?;
                    self.emit_binary(shift_right(element), d, a, by)?;
                }
                Ok(())
            }
            [result, Operand::Vector(elements)] => {
                let element = self.element_bits(&mnemonic, elements.len(), ty)?;
                let d = self.written(result)?;
                let part = match element {
                    8 => Type::B8,
                    16 => Type::B16,
                    _ => Type::B32,
                };
                // An element is never as wide as the result, which is thus none of them.
                let mut sum = self.constant(0)?;
                for (i, operand) in elements.iter().enumerate().rev() {
                    let next = self.read(operand, part)?;
                    if i + 1 == elements.len() {
                        sum = next;
                        continue;
                    }
                    self.emit_binary(append(element), d, next, sum)?;
                    sum = d;
                }
                Ok(())
            }
            [result, source] => {
                let d = self.written(result)?;
                let a = self.read(source, ty)?;
                self.emit(Instruction::Move { d, a })
            }
            _ => Err(self.unsupported(mnemonic.full, "its number of operands")),
        }
    }

    fn element_bits(&self, mnemonic: &Mnemonic<'t>, count: usize, ty: Type) -> Result<u32, Error> {
        match 8 * ty.bytes() / count.max(1) as u32 {
            bits @ (8 | 16 | 32) if matches!(count, 2 | 4) => Ok(bits),
            _ => Err(self.unsupported(mnemonic.full, "its vector")),
        }
    }

    /// `cvta`: generic addresses are global ones, but for two windows.
    pub(super) fn convert_address(&mut self, mut mnemonic: Mnemonic<'t>) -> Result<(), Error> {
        let to = mnemonic.take("to");
        let space = mnemonic.take_any(&["global", "const", "shared", "shared::cta", "local"]);
        self.all_known(&mnemonic)?;
        let ty = self.one_type(&mnemonic)?;
        let operands = self.operands()?;
        let [result, source] = &operands[..] else {
            return Err(self.unsupported(mnemonic.full, "its number of operands"));
        };
        let d = self.written(result)?;
        let a = self.read(source, ty)?;
        let window = match space {
            Some("global" | "const") => 0,
            Some("local") => LOCAL_WINDOW,
            Some(_) => SHARED_WINDOW,
            None => return Err(self.unsupported(mnemonic.full, "its space")),
        };
        if window == 0 {
            return self.emit(Instruction::Move { d, a });
        }
        let b = self.constant(if to { window.wrapping_neg() } else { window })?;
        self.emit(Instruction::AddU64 { d, a, b })
    }

    /// `cvt`.
    pub(super) fn convert(&mut self, mut mnemonic: Mnemonic<'t>) -> Result<(), Error> {
        let &[to, from] = &mnemonic.types[..] else {
            return Err(self.unsupported(mnemonic.full, "its types"));
        };
        let to_integer = mnemonic.take_named(|word| {
            Some(match word {
                "rni" => Rounding::Nearest,
                "rzi" => Rounding::Zero,
                "rmi" => Rounding::Down,
                "rpi" => Rounding::Up,
                _ => return None,
            })
        });
        let rounding = to_integer.or_else(|| mnemonic.take_rounding());
        let conversion = Conversion {
            to,
            from,
            rounding: rounding.unwrap_or(Rounding::Nearest),
            to_integer: to_integer.is_some(),
            saturate: mnemonic.take("sat"),
            flush: mnemonic.take("ftz"),
        };
        self.all_known(&mnemonic)?;
        let half = |ty| matches!(ty, Type::F16 | Type::Bf16);
        if conversion.saturate && half(to) {
            return Err(self.unsupported(mnemonic.full, "clamping in 16 bits"));
        }
        let operands = self.operands()?;
        let [result, source] = &operands[..] else {
            return Err(self.unsupported(mnemonic.full, "its number of operands"));
        };
        let d = self.written(result)?;
        let a = self.read(source, from)?;
        match conversion.fast() {
            Some(f) => self.emit_unary(f, d, a),
            None => self.emit(Instruction::Convert { d, a, conversion }),
        }
    }

    /// `setp`.
    pub(super) fn set_predicate(&mut self, mnemonic: Mnemonic<'t>) -> Result<(), Error> {
        let ty = self.one_type(&mnemonic)?;
        let (full, operands) = (mnemonic.full, self.operands()?);
        let Some(&(Operand::Name(first) | Operand::Pair(first, _))) = operands.first() else {
            return Err(self.unsupported(full, "its result"));
        };
        let d = self.written(&Operand::Name(first))?;
        let second = match operands[0] {
            Operand::Pair(_, second) => Some(self.written(&Operand::Name(second))?),
            _ => None,
        };
        let Some((f, a, b, joined)) = self.comparison(mnemonic, ty, &operands)? else {
            return Err(self.unsupported(full, "its form"));
        };
        let Some((join, c)) = joined else {
            self.emit_binary(f, d, a, b)?;
            return match second {
                Some(q) => self.emit_unary(|a| a ^ 1, q, d),
                None => Ok(()),
            };
        };
        // The predicate joined may be one of the results.
        let t = self.slot(0)?;
        self.emit_binary(f, t, a, b)?;
        if let Some(q) = second {
            let (u, v) = (self.slot(0)?, self.slot(0)?);
            self.emit_unary(|a| a ^ 1, u, t)?;
            self.emit_binary(joining(join), v, u, c)?;
            self.emit_binary(joining(join), d, t, c)?;
            return self.emit(Instruction::Move { d: q, a: v });
        }
        self.emit_binary(joining(join), d, t, c)
    }

    /// `set`: as `setp`, with a number as result.
    pub(super) fn set(&mut self, mut mnemonic: Mnemonic<'t>) -> Result<(), Error> {
        let &[to, from] = &mnemonic.types[..] else {
            return Err(self.unsupported(mnemonic.full, "its types"));
        };
        mnemonic.types.remove(0);
        let (full, operands) = (mnemonic.full, self.operands()?);
        let d = match operands.first() {
            Some(result) => self.written(result)?,
            None => return Err(self.unsupported(full, "its number of operands")),
        };
        let (Some((f, a, b, joined)), Some(holds)) =
            (self.comparison(mnemonic, from, &operands)?, set(to))
        else {
            return Err(self.unsupported(full, "its form"));
        };
        let t = self.slot(0)?;
        self.emit_binary(f, t, a, b)?;
        if let Some((join, c)) = joined {
            self.emit_binary(joining(join), t, t, c)?;
        }
        let (yes, no) = (self.constant(holds)?, self.constant(0)?);
        self.emit(Instruction::Ternary {
            f: select,
            d,
            a: yes,
            b: no,
            c: t,
        })
    }

    /// The function that compares, its operands, and what the result is joined with.
    #[expect(
        clippy::type_complexity,
        reason = "the pieces of one instruction, used twice"
    )]
    fn comparison(
        &mut self,
        mut mnemonic: Mnemonic<'t>,
        ty: Type,
        operands: &[Operand<'t>],
    ) -> Result<Option<(fn(u64, u64) -> u64, Slot, Slot, Option<(Join, Slot)>)>, Error> {
        let flush = mnemonic.take("ftz");
        let comparison = mnemonic.take_named(Comparison::named);
        let join = mnemonic.take_named(Join::named);
        self.all_known(&mnemonic)?;
        let Some(f) = comparison.and_then(|comparison| compare(comparison, ty)) else {
            return Ok(None);
        };
        let (a, b, joined) = match (operands, join) {
            ([_, a, b], None) => (a, b, None),
            ([_, a, b, c], Some(join)) => (a, b, Some((join, self.read(c, Type::Pred)?))),
            _ => return Ok(None),
        };
        let (mut a, mut b) = (self.read(a, ty)?, self.read(b, ty)?);
        if flush && ty == Type::F32 {
            for operand in [&mut a, &mut b] {
                let flushed = self.slot(0)?;
                self.emit_unary(flush_f32, flushed, *operand)?;
                *operand = flushed;
            }
        }
        Ok(Some((f, a, b, joined)))
    }

    /// `selp`.
    pub(super) fn select(&mut self, mnemonic: Mnemonic<'t>) -> Result<(), Error> {
        self.all_known(&mnemonic)?;
        let ty = self.one_type(&mnemonic)?;
        let operands = self.operands()?;
        let [d, a, b, c] = &operands[..] else {
            return Err(self.unsupported(mnemonic.full, "its number of operands"));
        };
        let (a, b) = (self.read(a, ty)?, self.read(b, ty)?);
        let (c, d) = (self.read(c, Type::Pred)?, self.written(d)?);
        self.emit(Instruction::Ternary {
            f: select,
            d,
            a,
            b,
            c,
        })
    }

    /// `bfi`.
    pub(super) fn insert(&mut self, mnemonic: Mnemonic<'t>) -> Result<(), Error> {
        self.all_known(&mnemonic)?;
        let ty = self.one_type(&mnemonic)?;
        let operands = self.operands()?;
        let ([d, a, b, from, count], Type::B32 | Type::B64) = (&operands[..], ty) else {
            return Err(self.unsupported(mnemonic.full, "its form"));
        };
        let (a, b) = (self.read(a, ty)?, self.read(b, ty)?);
        let (from, count) = (self.read(from, Type::U32)?, self.read(count, Type::U32)?);
        let (d, width) = (self.written(d)?, 8 * ty.bytes() as u8);
        self.emit(Instruction::Insert {
            width,
            d,
            a,
            b,
            from,
            count,
        })
    }

    /// `prmt`, without the modes that few know.
    pub(super) fn permute(&mut self, mnemonic: Mnemonic<'t>) -> Result<(), Error> {
        self.all_known(&mnemonic)?;
        let operands = self.operands()?;
        let [d, a, b, c] = &operands[..] else {
            return Err(self.unsupported(mnemonic.full, "its number of operands"));
        };
        let (a, b) = (self.read(a, Type::B32)?, self.read(b, Type::B32)?);
        let (c, d) = (self.read(c, Type::B32)?, self.written(d)?);
        self.emit(Instruction::Ternary {
            f: permute_bytes,
            d,
            a,
            b,
            c,
        })
    }
}

fn joining(join: Join) -> fn(u64, u64) -> u64 {
    match join {
        Join::And => |a, b| a & b,
        Join::Or => |a, b| a | b,
        Join::Xor => |a, b| a ^ b,
    }
}

/// Takes an element out of a register.
fn shift_right(element: u32) -> fn(u64, u64) -> u64 {
    match element {
        8 => |a, by| (a >> by) & 0xFF,
        16 => |a, by| (a >> by) & 0xFFFF,
        _ => |a, by| (a >> by) & 0xFFFF_FFFF,
    }
}

/// Puts an element below those that are there.
fn append(element: u32) -> fn(u64, u64) -> u64 {
    match element {
        8 => |low, high| (low & 0xFF) | high << 8,
        16 => |low, high| (low & 0xFFFF) | high << 16,
        _ => |low, high| (low & 0xFFFF_FFFF) | high << 32,
    }
}
