//! What stands before the elements of an array.

use std::io::{self, Read};

/// Longer headers are damage.
const MOST_HEADER: usize = 1 << 16;
/// More dimensions than NumPy has are damage.
const MOST_DIMENSIONS: usize = 64;

/// An element type, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    I4,
    I8,
    F4,
    F8,
}

impl Element {
    const ALL: [Self; 4] = [Self::I4, Self::I8, Self::F4, Self::F8];

    /// Its name in a header.
    pub(crate) fn descr(self) -> &'static str {
        match self {
            Self::I4 => "<i4",
            Self::I8 => "<i8",
            Self::F4 => "<f4",
            Self::F8 => "<f8",
        }
    }

    fn of(descr: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.descr() == descr)
    }

    /// Size in bytes.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::I4 | Self::F4 => 4,
            Self::I8 | Self::F8 => 8,
        }
    }

    /// An element as a number; exact for integers up to 2^53.
    #[inline]
    pub(crate) fn value(self, bytes: &[u8]) -> f64 {
        let four = || bytes.first_chunk::<4>().copied().unwrap_or_default();
        let eight = || bytes.first_chunk::<8>().copied().unwrap_or_default();
        match self {
            Self::I4 => f64::from(i32::from_le_bytes(four())),
            Self::I8 => i64::from_le_bytes(eight()) as f64,
            Self::F4 => f64::from(f32::from_le_bytes(four())),
            Self::F8 => f64::from_le_bytes(eight()),
        }
    }
}

/// Element type and shape of an array in C order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NpyHeader {
    pub(crate) element: Element,
    pub(crate) shape: Vec<u64>,
}

impl NpyHeader {
    /// Reads the header and leaves `reader` at the first element.
    ///
    /// # Errors
    /// No such header, or an array that is not read: of other elements, or column by column.
    pub(crate) fn read(reader: &mut impl Read) -> io::Result<Self> {
        let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let mut start = [0; 8];
        fill(reader, &mut start)?;
        let length = match start {
            [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _] => {
                let mut length = [0; 2];
                fill(reader, &mut length)?;
                usize::from(u16::from_le_bytes(length))
            }
            [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, _] => {
                let mut length = [0; 4];
                fill(reader, &mut length)?;
                u32::from_le_bytes(length) as usize
            }
            _ => return Err(invalid("is no NumPy array".to_owned())),
        };
        if length > MOST_HEADER {
            return Err(invalid("has a header that is too long".to_owned()));
        }
        let mut text = vec![0; length];
        fill(reader, &mut text)?;
        let text = std::str::from_utf8(&text)
            .map_err(|_| invalid("has a header that is no text".to_owned()))?;
        Self::parse(text).map_err(invalid)
    }

    /// Reads a header such as `{'descr': '<i4', 'fortran_order': False, 'shape': (3, 10, 21), }`.
    pub(crate) fn parse(header: &str) -> Result<Self, String> {
        let after = |key: &str| {
            let at = header.find(&format!("'{key}':"))?;
            Some(header[at + key.len() + 3..].trim_start())
        };
        let descr = after("descr").and_then(|rest| rest.strip_prefix('\'')?.split('\'').next());
        let element = descr.and_then(Element::of).ok_or_else(|| {
            format!(
                "has elements of type {} instead of <i4, <i8, <f4 or <f8",
                descr.unwrap_or("unknown")
            )
        })?;
        let shape = after("shape").and_then(|rest| rest.strip_prefix('(')?.split(')').next());
        let shape: Option<Vec<u64>> = shape.and_then(|shape| {
            let numbers = shape
                .split(',')
                .map(str::trim)
                .filter(|text| !text.is_empty());
            numbers.map(|text| text.parse().ok()).collect()
        });
        let shape = shape
            .filter(|shape| shape.len() <= MOST_DIMENSIONS)
            .ok_or("has a header without a shape")?;
        // An array with one dimension at most has the same bytes in either order.
        let c_order = after("fortran_order").is_some_and(|rest| rest.starts_with("False"));
        if !c_order && shape.len() > 1 {
            return Err(
                "is stored column by column: save it in C order (numpy.ascontiguousarray)"
                    .to_owned(),
            );
        }
        Ok(Self { element, shape })
    }

    /// Number of elements; `None` where 64 bits do not hold the bytes of so many.
    pub(crate) fn elements(&self) -> Option<u64> {
        let elements = self
            .shape
            .iter()
            .try_fold(1u64, |product, &extent| product.checked_mul(extent))?;
        elements.checked_mul(self.element.bytes() as u64)?;
        Some(elements)
    }
}

/// As `read_exact`, with an end that says what it is.
fn fill(reader: &mut impl Read, into: &mut [u8]) -> io::Result<()> {
    reader.read_exact(into).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "ends within its header"),
        _ => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numpy::parse_npy_header;
    use proptest::prelude::*;

    fn header(element: Element, shape: &[u64]) -> Result<NpyHeader, String> {
        let shape = shape.to_vec();
        Ok(NpyHeader { element, shape })
    }

    #[test]
    fn headers_are_understood() {
        let text = "{'descr': '<i4', 'fortran_order': False, 'shape': (3, 10, 21), }   \n";
        assert_eq!(NpyHeader::parse(text), header(Element::I4, &[3, 10, 21]));
        for order in ["False", "True"] {
            let text = format!("{{'descr': '<f8', 'fortran_order': {order}, 'shape': (7,), }}");
            assert_eq!(NpyHeader::parse(&text), header(Element::F8, &[7]));
        }
        for (text, problem) in [
            (
                "{'descr': '|O', 'fortran_order': False, 'shape': (7,), }",
                "type |O",
            ),
            (
                "{'descr': '<i4', 'fortran_order': True, 'shape': (7, 2), }",
                "C order",
            ),
            ("{'descr': '<i4', 'fortran_order': False, }", "shape"),
            (
                "{'descr': '<i4', 'fortran_order': False, 'shape': (-1,), }",
                "shape",
            ),
            ("", "unknown"),
        ] {
            assert!(
                NpyHeader::parse(text).unwrap_err().contains(problem),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_header_or_an_error(
            version in 0u8..5, length in any::<u16>(), text in prop::collection::vec(any::<u8>(), 0..200)
        ) {
            let mut bytes = vec![0x93, b'N', b'U', b'M', b'P', b'Y', version, 0];
            bytes.extend((length % 256).to_le_bytes());
            bytes.extend(&text);
            if let Ok((_, _, end)) = parse_npy_header(&bytes) {
                prop_assert!(end <= bytes.len());
            }
            let _ = parse_npy_header(&text);
        }
    }
}
