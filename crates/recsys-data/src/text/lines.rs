//! Text, line by line.

/// Reads all lines of `text`: `good` receives everything that `parse` makes of a line, `bad` every line that it refuses, with its
/// number, counted from 0, and what `defect` says about it.
///
/// `parse` reads a line at the start of the text into what it is given, and returns its length, line end included.
///
/// # Errors
/// The first error that `bad` returns ends the reading.
pub(crate) fn for_each_line<T: Default, D, E>(
    text: &[u8],
    parse: impl Fn(&[u8], &mut T) -> Option<usize>,
    defect: impl Fn(&[u8]) -> D,
    mut good: impl FnMut(&T),
    mut bad: impl FnMut(u64, D) -> Result<(), E>,
) -> Result<(), E> {
    let mut parsed = T::default();
    let mut rest = text;
    let mut line = 0;
    while !rest.is_empty() {
        let length = match parse(rest, &mut parsed) {
            Some(length) => {
                good(&parsed);
                length
            }
            None => {
                let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                bad(
                    line,
                    defect(rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end])),
                )?;
                (end + 1).min(rest.len())
            }
        };
        rest = &rest[length..];
        line += 1;
    }
    Ok(())
}
