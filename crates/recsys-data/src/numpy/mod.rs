//! NumPy arrays (format: numpy.lib.format, versions 1 to 3) read and written from the front, alone or in an `.npz` archive.

mod array;
mod header;
mod write;

pub(crate) use array::Array;
pub(crate) use header::{Element, NpyHeader};
pub(crate) use write::npy_header;

/// Reads the header of a NumPy array from the front of `bytes`; returns its element type, its shape, and how long it is.
/// For tests that feed it any bytes.
///
/// # Errors
/// What is wrong with the header.
#[doc(hidden)]
pub fn parse_npy_header(
    bytes: &[u8],
) -> std::result::Result<(&'static str, Vec<u64>, usize), String> {
    let mut rest = bytes;
    let header = NpyHeader::read(&mut rest).map_err(|error| error.to_string())?;
    Ok((
        header.element.descr(),
        header.shape,
        bytes.len() - rest.len(),
    ))
}
