//! Compressed streams one behind the other in one file, as joined files and block-wise compressors
//! leave them.

use std::io::{self, BufRead, Read};

use bzip2::bufread::BzDecoder;
use flate2::bufread::GzDecoder;
use zstd::stream::read::Decoder as ZstdDecoder;

/// The decoder of one stream, which hands back what follows it.
pub(super) trait Member: Read + Sized {
    type Input: BufRead;
    fn begin(input: Self::Input) -> io::Result<Self>;
    fn into_input(self) -> Self::Input;
}

impl<R: BufRead> Member for GzDecoder<R> {
    type Input = R;

    fn begin(input: R) -> io::Result<Self> {
        Ok(Self::new(input))
    }

    fn into_input(self) -> R {
        self.into_inner()
    }
}

impl<R: BufRead> Member for ZstdDecoder<'static, R> {
    type Input = R;

    fn begin(input: R) -> io::Result<Self> {
        Ok(Self::with_buffer(input)?.single_frame())
    }

    fn into_input(self) -> R {
        self.finish()
    }
}

impl<R: BufRead> Member for BzDecoder<R> {
    type Input = R;

    fn begin(input: R) -> io::Result<Self> {
        Ok(Self::new(input))
    }

    fn into_input(self) -> R {
        self.into_inner()
    }
}

/// The content of all streams of a file. Zeros behind a stream are no damage: tapes and block
/// devices pad with them.
pub(super) enum Members<M: Member> {
    Between(M::Input),
    Within(Box<M>),
    Ended,
}

impl<M: Member> Read for Members<M> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            if let Self::Within(member) = self {
                match member.read(into) {
                    Ok(0) => {}
                    read => return read,
                }
            }
            *self = match std::mem::replace(self, Self::Ended) {
                Self::Ended => return Ok(0),
                Self::Within(member) => Self::Between(member.into_input()),
                Self::Between(mut input) => match skip_zeros(&mut input)? {
                    true => Self::Within(Box::new(M::begin(input)?)),
                    false => Self::Ended,
                },
            };
        }
    }
}

/// Whether anything but zeros is left; it then comes next.
fn skip_zeros(input: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let bytes = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            bytes => bytes?,
        };
        let (length, zeros) = (
            bytes.len(),
            bytes.iter().take_while(|&&byte| byte == 0).count(),
        );
        input.consume(zeros);
        if length == 0 || zeros < length {
            return Ok(length > 0);
        }
    }
}
