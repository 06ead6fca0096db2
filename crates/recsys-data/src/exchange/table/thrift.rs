//! The little of Thrift's compact protocol that leads from one page of a Parquet file to the next.
//!
//! <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>

use std::io::{self, Read};

/// Deeper structures are damage.
const DEPTH: u32 = 8;

/// A structure that is read from the front.
pub(super) struct Compact<R>(pub(super) R);

/// The header of a field: its number, its type.
type Field = (i64, u8);

const BOOLEANS: std::ops::RangeInclusive<u8> = 1..=2;
const BYTE: u8 = 3;
const INTEGERS: std::ops::RangeInclusive<u8> = 4..=6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LISTS: std::ops::RangeInclusive<u8> = 9..=10;
pub(super) const STRUCT: u8 = 12;

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a page header is damaged")
}

impl<R: Read> Compact<R> {
    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.0.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    pub(super) fn unsigned(&mut self) -> io::Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(damaged())
    }

    /// An integer in zigzag form.
    pub(super) fn integer(&mut self) -> io::Result<i64> {
        let value = self.unsigned()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The next field of a structure after field `last`; `None` at its end.
    pub(super) fn field(&mut self, last: i64) -> io::Result<Option<Field>> {
        let byte = self.byte()?;
        let (step, kind) = (byte >> 4, byte & 0x0f);
        if kind == 0 {
            return Ok(None);
        }
        let number = match step {
            0 => self.integer()?,
            _ => last.wrapping_add(i64::from(step)),
        };
        Ok(Some((number, kind)))
    }

    /// Passes over the value of a field.
    pub(super) fn skip(&mut self, kind: u8) -> io::Result<()> {
        self.skip_at(kind, DEPTH)
    }

    fn skip_at(&mut self, kind: u8, depth: u32) -> io::Result<()> {
        let depth = depth.checked_sub(1).ok_or_else(damaged)?;
        match kind {
            kind if BOOLEANS.contains(&kind) => Ok(()),
            BYTE => self.skip_bytes(1),
            kind if INTEGERS.contains(&kind) => self.unsigned().map(drop),
            DOUBLE => self.skip_bytes(8),
            BINARY => {
                let length = self.unsigned()?;
                self.skip_bytes(length)
            }
            kind if LISTS.contains(&kind) => {
                let head = self.byte()?;
                let (short, kind) = (u64::from(head >> 4), head & 0x0f);
                let length = if short == 15 { self.unsigned()? } else { short };
                for _ in 0..length {
                    // A truth value takes a byte in a list, and none as a field.
                    let kind = if BOOLEANS.contains(&kind) { BYTE } else { kind };
                    self.skip_at(kind, depth)?;
                }
                Ok(())
            }
            STRUCT => {
                let mut last = 0;
                while let Some((number, kind)) = self.field(last)? {
                    self.skip_at(kind, depth)?;
                    last = number;
                }
                Ok(())
            }
            _ => Err(damaged()),
        }
    }

    fn skip_bytes(&mut self, count: u64) -> io::Result<()> {
        let passed = io::copy(&mut self.0.by_ref().take(count), &mut io::sink())?;
        if passed == count {
            Ok(())
        } else {
            Err(damaged())
        }
    }
}
