//! Arithmetic and logic.

use super::Decoder;
use super::operand::Mnemonic;
use crate::ptx::arithmetic::{
    Binary, Rounding, Ternary, Unary, float_binary, float_ternary, float_unary, flush_f32,
    flush_f64, integer_binary, integer_ternary, integer_unary, saturate_f32, saturate_f64,
};
use crate::ptx::error::Error;
use crate::ptx::instruction::{Instruction, Slot};
use crate::ptx::types::Type;

/// How the operands and the result of a floating-point instruction are treated.
struct Treatment {
    ty: Type,
    flush: bool,
    saturate: bool,
}

impl<'t> Decoder<'t> {
    /// Decodes an instruction that is no jump.
    pub(super) fn decode(&mut self, mnemonic: Mnemonic<'t>) -> Result<(), Error> {
        match mnemonic.op {
            "ld" | "ldu" => self.load(mnemonic),
            "st" => self.store(mnemonic),
            "atom" | "red" => self.atomic(mnemonic),
            "mov" => self.move_(mnemonic),
            "cvta" => self.convert_address(mnemonic),
            "cvt" => self.convert(mnemonic),
            "setp" => self.set_predicate(mnemonic),
            "set" => self.set(mnemonic),
            "selp" => self.select(mnemonic),
            "bfi" => self.insert(mnemonic),
            "prmt" => self.permute(mnemonic),
            "ret" | "exit" => self.leave(mnemonic),
            "call" => self.call(mnemonic),
            "bar" | "barrier" => self.barrier(mnemonic),
            "shfl" => self.shuffle(mnemonic),
            "vote" => self.vote(mnemonic),
            "activemask" => {
                let operands = self.operands()?;
                let [d] = &operands[..] else {
                    return Err(self.unsupported(mnemonic.full, "its number of operands"));
                };
                let d = self.written(d)?;
                self.emit(Instruction::ActiveMask { d })
            }
            "trap" => {
                self.lexer.expect(b';', ";")?;
                self.emit(Instruction::Trap)
            }
            // Every access is seen at once, and nothing is fetched ahead.
            "membar" | "fence" | "nanosleep" | "prefetch" | "prefetchu" => {
                self.operands().map(|_| ())
            }
            "add" | "sub" | "addc" | "subc" | "mul" | "mad" | "madc"
                if !mnemonic.types.iter().any(|ty| ty.is_float()) =>
            {
                self.integer_sum(mnemonic)
            }
            _ => self.function(mnemonic),
        }
    }

    pub(super) fn all_known(&self, mnemonic: &Mnemonic<'t>) -> Result<(), Error> {
        if mnemonic.modifiers.is_empty() {
            Ok(())
        } else {
            Err(self.unsupported(mnemonic.full, "one of its modifiers"))
        }
    }

    pub(super) fn one_type(&self, mnemonic: &Mnemonic<'t>) -> Result<Type, Error> {
        match mnemonic.types[..] {
            [ty] => Ok(ty),
            _ => Err(self.unsupported(mnemonic.full, "its types")),
        }
    }

    pub(super) fn emit_unary(&mut self, f: Unary, d: Slot, a: Slot) -> Result<(), Error> {
        self.emit(Instruction::Unary { f, d, a })
    }

    pub(super) fn emit_binary(
        &mut self,
        f: Binary,
        d: Slot,
        a: Slot,
        b: Slot,
    ) -> Result<(), Error> {
        self.emit(Instruction::Binary { f, d, a, b })
    }

    /// An instruction that is a function of one to three operands, all of one type.
    fn function(&mut self, mut mnemonic: Mnemonic<'t>) -> Result<(), Error> {
        let with_nan = mnemonic.take("NaN");
        let name = match mnemonic.op {
            "shf" => {
                let left = mnemonic.take("l");
                match (
                    left || mnemonic.take("r"),
                    mnemonic.take_any(&["wrap", "clamp"]),
                ) {
                    (true, Some("wrap")) if left => "shf.l.wrap",
                    (true, Some("clamp")) if left => "shf.l.clamp",
                    (true, Some("wrap")) => "shf.r.wrap",
                    (true, Some("clamp")) => "shf.r.clamp",
                    _ => return Err(self.unsupported(mnemonic.full, "its form")),
                }
            }
            "min" if with_nan => "min.NaN",
            "max" if with_nan => "max.NaN",
            op if !with_nan => op,
            _ => return Err(self.unsupported(mnemonic.full, "its form")),
        };
        let ty = match mnemonic.types[..] {
            // `popc.b32` and the like have a type for the operand only.
            [ty] => ty,
            _ => return Err(self.unsupported(mnemonic.full, "its types")),
        };
        let rounding = mnemonic.take_rounding().unwrap_or(Rounding::Nearest);
        let approximate = mnemonic.take("approx") | mnemonic.take("full");
        let flush = mnemonic.take("ftz");
        let saturate = mnemonic.take("sat");
        let name = if name == "rcp" && ty == Type::F64 && approximate {
            "rcp.coarse"
        } else {
            name
        };
        self.all_known(&mnemonic)?;
        let flushable = !flush || matches!(ty, Type::F32 | Type::F64);
        let saturable = !saturate || matches!(ty, Type::F32 | Type::F64);
        if !flushable || !saturable {
            return Err(self.unsupported(mnemonic.full, "flushing or clamping in that type"));
        }
        let operands = self.operands()?;
        let Some((result, operands)) = operands.split_first() else {
            return Err(self.unsupported(mnemonic.full, "an instruction without operands"));
        };
        let d = self.written(result)?;
        let mut slots = Vec::new();
        for (i, operand) in operands.iter().enumerate() {
            // The second operand of a shift, and where bits are, are numbers of 32 bits.
            let shift = matches!(name, "shl" | "shr" | "bfe") && i > 0;
            slots.push(self.read(operand, if shift { Type::U32 } else { ty })?);
        }
        let near = rounding == Rounding::Nearest;
        let treatment = Treatment {
            ty,
            flush,
            saturate,
        };
        match slots[..] {
            [a] if near => {
                let found = if ty.is_float() {
                    float_unary(name, ty)
                } else {
                    integer_unary(name, ty)
                };
                match found {
                    Some(f) => self.float_result(&treatment, d, [a], |decoder, d, [a]| {
                        decoder.emit_unary(f, d, a)
                    }),
                    None => Err(self.unsupported(mnemonic.full, "unknown")),
                }
            }
            [a, b] => {
                let found = if ty.is_float() {
                    float_binary(name, ty, rounding)
                } else {
                    integer_binary(name, ty)
                };
                match found {
                    Some(f) => {
                        let quick = near.then(|| quick(name, ty)).flatten();
                        self.float_result(&treatment, d, [a, b], |decoder, d, [a, b]| match quick {
                            Some(quick) => decoder.emit(quick(d, a, b)),
                            None => decoder.emit_binary(f, d, a, b),
                        })
                    }
                    None => Err(self.unsupported(mnemonic.full, "unknown")),
                }
            }
            [a, b, c] => {
                let found = if ty.is_float() {
                    float_ternary(name, ty, rounding)
                } else {
                    integer_ternary(name, ty)
                };
                match found {
                    Some(f) => {
                        self.float_result(&treatment, d, [a, b, c], |decoder, d, [a, b, c]| {
                            decoder.emit(Instruction::Ternary { f, d, a, b, c })
                        })
                    }
                    None => Err(self.unsupported(mnemonic.full, "unknown")),
                }
            }
            _ => Err(self.unsupported(mnemonic.full, "unknown")),
        }
    }

    /// Flushes operands and result, and clamps the result, where the instruction says so.
    fn float_result<const N: usize>(
        &mut self,
        treatment: &Treatment,
        d: Slot,
        mut operands: [Slot; N],
        emit: impl FnOnce(&mut Self, Slot, [Slot; N]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let wide = treatment.ty == Type::F64;
        let flush: Unary = if wide { flush_f64 } else { flush_f32 };
        if treatment.flush {
            for operand in &mut operands {
                let flushed = self.slot(0)?;
                self.emit_unary(flush, flushed, *operand)?;
                *operand = flushed;
            }
        }
        emit(self, d, operands)?;
        if treatment.flush {
            self.emit_unary(flush, d, d)?;
        }
        if treatment.saturate {
            self.emit_unary(if wide { saturate_f64 } else { saturate_f32 }, d, d)?;
        }
        Ok(())
    }

    /// Integer sums and products, perhaps with a carry in or out.
    fn integer_sum(&mut self, mut mnemonic: Mnemonic<'t>) -> Result<(), Error> {
        let ty = self.one_type(&mnemonic)?;
        let half = mnemonic.take_any(&["lo", "hi", "wide"]);
        let carry_out = mnemonic.take("cc");
        self.all_known(&mnemonic)?;
        let op = mnemonic.op;
        let carry_in = op.ends_with('c');
        let operands = self.operands()?;
        let Some((result, operands)) = operands.split_first() else {
            return Err(self.unsupported(mnemonic.full, "its number of operands"));
        };
        let d = self.written(result)?;
        let slots: Vec<Slot> = operands
            .iter()
            .map(|operand| self.read(operand, ty))
            .collect::<Result<_, _>>()?;
        let product = match half {
            Some("lo") => "mul.lo",
            Some("hi") => "mul.hi",
            _ => "mul.wide",
        };
        match (slots[..].as_ref(), op.trim_end_matches('c')) {
            (&[a, b], "mul") if half.is_some() && !carry_out => {
                self.named_binary(&mnemonic, product, ty, d, a, b)
            }
            (&[a, b, c], "mad") if half.is_some() && !carry_out && !carry_in => {
                let name = match half {
                    Some("lo") => "mad.lo",
                    Some("hi") => "mad.hi",
                    _ => "mad.wide",
                };
                match integer_ternary(name, ty) {
                    Some(f) => self.emit(Instruction::Ternary { f, d, a, b, c }),
                    None => Err(self.unsupported(mnemonic.full, "its type")),
                }
            }
            (&[a, b, c], "mad") if matches!(half, Some("lo" | "hi")) => {
                let t = self.slot(0)?;
                self.named_binary(&mnemonic, product, ty, t, a, b)?;
                self.with_carry(&mnemonic, "add", ty, (d, t, c), carry_in, carry_out)
            }
            (&[a, b], sum @ ("add" | "sub")) if half.is_none() => {
                if carry_in || carry_out {
                    self.with_carry(&mnemonic, sum, ty, (d, a, b), carry_in, carry_out)
                } else {
                    self.named_binary(&mnemonic, sum, ty, d, a, b)
                }
            }
            _ => Err(self.unsupported(mnemonic.full, "its form")),
        }
    }

    fn named_binary(
        &mut self,
        mnemonic: &Mnemonic<'t>,
        name: &str,
        ty: Type,
        d: Slot,
        a: Slot,
        b: Slot,
    ) -> Result<(), Error> {
        match (quick(name, ty), integer_binary(name, ty)) {
            (Some(quick), _) => self.emit(quick(d, a, b)),
            (None, Some(f)) => self.emit_binary(f, d, a, b),
            (None, None) => Err(self.unsupported(mnemonic.full, "its type")),
        }
    }

    fn with_carry(
        &mut self,
        mnemonic: &Mnemonic<'t>,
        sum: &str,
        ty: Type,
        (d, a, b): (Slot, Slot, Slot),
        carry_in: bool,
        carry_out: bool,
    ) -> Result<(), Error> {
        let carry = match self.carry {
            Some(slot) => slot,
            None => self.slot(0)?,
        };
        self.carry = Some(carry);
        let (with, out) = if sum == "add" {
            ("addc", "carry")
        } else {
            ("subc", "borrow")
        };
        let c = if carry_in { carry } else { self.constant(0)? };
        let functions: (Option<Ternary>, Option<Ternary>) =
            (integer_ternary(with, ty), integer_ternary(out, ty));
        let (Some(sum), Some(out)) = functions else {
            return Err(self.unsupported(mnemonic.full, "its type"));
        };
        // The result may replace an operand, so that the carry comes first.
        let next = self.slot(0)?;
        if carry_out {
            self.emit(Instruction::Ternary {
                f: out,
                d: next,
                a,
                b,
                c,
            })?;
        }
        self.emit(Instruction::Ternary { f: sum, d, a, b, c })?;
        if carry_out {
            self.emit(Instruction::Move { d: carry, a: next })?;
        }
        Ok(())
    }
}

/// Makes an instruction of three slots.
type Quick = fn(Slot, Slot, Slot) -> Instruction;

/// The instruction without a call that computes a binary function, if there is one.
fn quick(name: &str, ty: Type) -> Option<Quick> {
    Some(match (name, ty) {
        ("add", Type::U32 | Type::S32) => |d, a, b| Instruction::AddU32 { d, a, b },
        ("add", Type::U64 | Type::S64) => |d, a, b| Instruction::AddU64 { d, a, b },
        ("add", Type::F32) => |d, a, b| Instruction::AddF32 { d, a, b },
        ("mul", Type::F32) => |d, a, b| Instruction::MulF32 { d, a, b },
        _ => return None,
    })
}
