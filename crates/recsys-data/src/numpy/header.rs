//! What stands before the elements of an array.

use std::io::{self, Read};

/// Longer headers are damage.
const MOST_HEADER: usize = 1 << 16;
/// More dimensions than NumPy has are damage.
const MOST_DIMENSIONS: usize = 64;

/// An element type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    Bool,
    I1,
    I2,
    I4,
    I8,
    U1,
    U2,
    U4,
    U8,
    F2,
    F4,
    F8,
}

impl Element {
    const ALL: [Self; 12] = [
        Self::Bool,
        Self::I1,
        Self::I2,
        Self::I4,
        Self::I8,
        Self::U1,
        Self::U2,
        Self::U4,
        Self::U8,
        Self::F2,
        Self::F4,
        Self::F8,
    ];

    /// Its name in a header, little-endian.
    pub(crate) fn descr(self) -> &'static str {
        match self {
            Self::Bool => "|b1",
            Self::I1 => "|i1",
            Self::I2 => "<i2",
            Self::I4 => "<i4",
            Self::I8 => "<i8",
            Self::U1 => "|u1",
            Self::U2 => "<u2",
            Self::U4 => "<u4",
            Self::U8 => "<u8",
            Self::F2 => "<f2",
            Self::F4 => "<f4",
            Self::F8 => "<f8",
        }
    }

    /// The type of a name, and whether its bytes stand in the other order.
    fn of(descr: &str) -> Option<(Self, bool)> {
        let kind = descr.strip_prefix(['<', '>', '=', '|'])?;
        let found = Self::ALL.into_iter();
        let element = found
            .map(|one| (one, one.descr()))
            .find(|(_, name)| &name[1..] == kind);
        element.map(|(element, _)| (element, descr.starts_with('>')))
    }

    /// Size in bytes.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Bool | Self::I1 | Self::U1 => 1,
            Self::I2 | Self::U2 | Self::F2 => 2,
            Self::I4 | Self::U4 | Self::F4 => 4,
            Self::I8 | Self::U8 | Self::F8 => 8,
        }
    }

    /// A little-endian element as a number; exact for integers up to 2^53.
    #[inline]
    pub(crate) fn value(self, bytes: &[u8]) -> f64 {
        fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
            bytes.first_chunk::<N>().copied().unwrap_or([0; N])
        }
        match self {
            Self::Bool => f64::from(u8::from(first::<1>(bytes) != [0])),
            Self::I1 => f64::from(i8::from_le_bytes(first(bytes))),
            Self::I2 => f64::from(i16::from_le_bytes(first(bytes))),
            Self::I4 => f64::from(i32::from_le_bytes(first(bytes))),
            Self::I8 => i64::from_le_bytes(first(bytes)) as f64,
            Self::U1 => f64::from(u8::from_le_bytes(first(bytes))),
            Self::U2 => f64::from(u16::from_le_bytes(first(bytes))),
            Self::U4 => f64::from(u32::from_le_bytes(first(bytes))),
            Self::U8 => u64::from_le_bytes(first(bytes)) as f64,
            Self::F2 => half(u16::from_le_bytes(first(bytes))),
            Self::F4 => f64::from(f32::from_le_bytes(first(bytes))),
            Self::F8 => f64::from_le_bytes(first(bytes)),
        }
    }
}

/// A number of 16 bits: sign, 5 bits of exponent, 10 bits of fraction.
fn half(bits: u16) -> f64 {
    let fraction = f64::from(bits & 0x3ff) / 1024.0;
    let exponent = i32::from(bits >> 10 & 0x1f);
    let magnitude = match exponent {
        0 => fraction * 2f64.powi(-14),
        31 if fraction > 0.0 => f64::NAN,
        31 => f64::INFINITY,
        _ => (1.0 + fraction) * 2f64.powi(exponent - 15),
    };
    if bits >> 15 == 1 {
        -magnitude
    } else {
        magnitude
    }
}

/// Element type and shape of an array, and how its elements are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NpyHeader {
    pub(crate) element: Element,
    /// Whether elements are big-endian.
    pub(crate) big_endian: bool,
    pub(crate) shape: Vec<u64>,
    /// Whether the first index counts fastest (Fortran's order) and not the last one.
    pub(crate) by_columns: bool,
}

impl NpyHeader {
    /// Reads the header and leaves `reader` at the first element.
    ///
    /// # Errors
    /// No such header, or an array of other elements.
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
        let (element, big_endian) = descr.and_then(Element::of).ok_or_else(|| {
            format!(
                "has elements of type {}; save it as numbers (bool, integers of 8 to 64 bits or \
                 floats of 16 to 64 bits)",
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
        Ok(Self {
            element,
            big_endian,
            by_columns: !c_order && shape.len() > 1,
            shape,
        })
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

    fn header(element: Element, shape: &[u64]) -> NpyHeader {
        NpyHeader {
            element,
            big_endian: false,
            shape: shape.to_vec(),
            by_columns: false,
        }
    }

    #[test]
    fn headers_are_understood() {
        let text = "{'descr': '<i4', 'fortran_order': False, 'shape': (3, 10, 21), }   \n";
        assert_eq!(
            NpyHeader::parse(text),
            Ok(header(Element::I4, &[3, 10, 21]))
        );
        for order in ["False", "True"] {
            let text = format!("{{'descr': '<f8', 'fortran_order': {order}, 'shape': (7,), }}");
            assert_eq!(NpyHeader::parse(&text), Ok(header(Element::F8, &[7])));
        }
        let text = "{'descr': '>u2', 'fortran_order': True, 'shape': (7, 2), }";
        let expected = NpyHeader {
            big_endian: true,
            by_columns: true,
            ..header(Element::U2, &[7, 2])
        };
        assert_eq!(NpyHeader::parse(text), Ok(expected));
        for (text, problem) in [
            (
                "{'descr': '|O', 'fortran_order': False, 'shape': (7,), }",
                "type |O",
            ),
            (
                "{'descr': '<c8', 'fortran_order': False, 'shape': (7,), }",
                "type <c8",
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

    #[test]
    fn elements_of_every_type_are_numbers() {
        for (element, bytes, value) in [
            (Element::Bool, &[1][..], 1.0),
            (Element::I1, &[0xfe], -2.0),
            (Element::U1, &[0xfe], 254.0),
            (Element::I2, &[0xfe, 0xff], -2.0),
            (Element::U2, &[0xfe, 0xff], 65_534.0),
            (Element::U4, &[0xfe, 0xff, 0xff, 0xff], 4_294_967_294.0),
            (Element::U8, &[1, 0, 0, 0, 1, 0, 0, 0], 4_294_967_297.0),
            (Element::F2, &[0x00, 0xc1], -2.5),
            (Element::F2, &[0x01, 0x00], 2f64.powi(-24)),
            (Element::F2, &[0xff, 0x7b], 65_504.0),
            (Element::F2, &[0x00, 0xfc], f64::NEG_INFINITY),
        ] {
            assert_eq!(element.value(bytes), value, "{element:?}");
            assert_eq!(element.bytes(), bytes.len());
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
