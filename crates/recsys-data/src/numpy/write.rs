//! The header of an array that is written.

use super::Element;

/// Headers end at a multiple of this, so that elements are aligned in a memory map.
const ALIGN: usize = 64;

/// The header of an array in C order, format 1.0, as NumPy writes it.
pub(crate) fn npy_header(element: Element, shape: &[u64]) -> Vec<u8> {
    let extents: Vec<String> = shape.iter().map(u64::to_string).collect();
    let comma = if shape.len() == 1 { "," } else { "" };
    let mut text = format!(
        "{{'descr': '{}', 'fortran_order': False, 'shape': ({}{comma}), }}",
        element.descr(),
        extents.join(", ")
    );
    let length = (10 + text.len() + 1).next_multiple_of(ALIGN) - 10;
    text.extend(std::iter::repeat_n(' ', length - text.len() - 1));
    text.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numpy::parse_npy_header;

    #[test]
    fn headers_are_read_back() {
        for shape in [&[][..], &[7], &[3, 13], &[u64::MAX, 1, 2]] {
            let bytes = npy_header(Element::F4, shape);
            assert_eq!(bytes.len() % ALIGN, 0);
            assert_eq!(
                parse_npy_header(&bytes),
                Ok(("<f4", shape.to_vec(), bytes.len()))
            );
        }
    }
}
