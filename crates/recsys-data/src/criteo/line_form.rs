//! Lines of Criteo's rows in other forms: without labels, with numbers of samples, as CSV.

use std::borrow::Cow;
use std::path::Path;

use super::FIELDS;
use crate::error::Result;
use crate::text::{Chunk, Chunks, Source};

/// How the lines of a file hold rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LineForm {
    separator: u8,
    /// Whether a number of the sample, which says nothing, stands in front.
    id: bool,
    /// Whether there is a label.
    pub(super) labelled: bool,
    /// Whether the first line names the columns.
    header: bool,
}

impl LineForm {
    /// The form that parsers take.
    const USUAL: Self = Self {
        separator: b'\t',
        id: false,
        labelled: true,
        header: false,
    };

    /// By the first line of a file.
    ///
    /// # Errors
    /// A file that cannot be read or holds nothing.
    pub(super) fn of_file(path: &Path) -> Result<Self> {
        let first = Chunks::new(Source::text(path)?, 0).next()?;
        let text = first.map_or(Vec::new(), |chunk| chunk.text);
        let end = memchr::memchr(b'\n', &text).unwrap_or(text.len());
        Ok(Self::of(text[..end].trim_ascii_end()))
    }

    fn of(line: &[u8]) -> Self {
        let separator = match memchr::memchr2(b'\t', b',', line) {
            Some(at) => line[at],
            None => b'\t',
        };
        let fields: Vec<&[u8]> = line.split(|&byte| byte == separator).collect();
        let first = fields[0];
        // Label, number and first integer are all decimal.
        let header = first.first().is_some_and(u8::is_ascii_alphabetic);
        let decimal = !first.is_empty() && first.iter().all(u8::is_ascii_digit);
        let (id, labelled) = match fields.len().wrapping_sub(FIELDS) {
            // One field short of a row.
            usize::MAX => (false, false),
            1 => (true, true),
            // A label, or the number of a sample: the first of the samples to score is no 0 or 1.
            0 if header && first.eq_ignore_ascii_case(b"id") => (true, false),
            0 if decimal && first != b"0" && first != b"1" => (true, false),
            _ => (false, true),
        };
        Self {
            separator,
            id,
            labelled,
            header,
        }
    }

    /// Whether lines are as parsers take them.
    pub(super) fn is_usual(self) -> bool {
        self == Self::USUAL
    }

    /// A chunk's rows as parsers take them, and the number of their first line. Rows without a
    /// label get 0.
    pub(super) fn rows(self, chunk: &Chunk) -> (Cow<'_, [u8]>, u64) {
        if self.is_usual() {
            return (Cow::Borrowed(&chunk.text), chunk.first_line);
        }
        let header = self.header && chunk.first_line == 1;
        let mut rows = Vec::with_capacity(chunk.text.len() + 2 * chunk.lines as usize);
        for line in chunk
            .text
            .split_inclusive(|&byte| byte == b'\n')
            .skip(header.into())
        {
            let row = match memchr::memchr(self.separator, line) {
                Some(at) if self.id => &line[at + 1..],
                _ => line,
            };
            if !self.labelled && !row.trim_ascii().is_empty() {
                rows.extend(b"0\t");
            }
            let separators = |&byte| if byte == self.separator { b'\t' } else { byte };
            rows.extend(row.iter().map(separators));
        }
        (Cow::Owned(rows), chunk.first_line + u64::from(header))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line with this number of fields behind the first ones.
    fn line(first: &[&str], separator: &str, fields: usize) -> String {
        let rest = std::iter::repeat_n("7", fields - first.len());
        let fields: Vec<&str> = first.iter().copied().chain(rest).collect();
        fields.join(separator)
    }

    fn form(line: &str) -> (bool, bool, bool) {
        let form = LineForm::of(line.as_bytes());
        (form.id, form.labelled, form.header)
    }

    #[test]
    fn forms_are_told_by_their_first_line() {
        for separator in ["\t", ","] {
            let line = |first: &[&str], fields| form(&line(first, separator, fields));
            assert_eq!(line(&["1"], 40), (false, true, false));
            assert_eq!(line(&[""], 39), (false, false, false));
            assert_eq!(line(&["5"], 39), (false, false, false));
            assert_eq!(line(&["60000000"], 40), (true, false, false));
            assert_eq!(line(&["10000000", "1"], 41), (true, true, false));
            assert_eq!(line(&["label"], 40), (false, true, true));
            assert_eq!(line(&["Id", "I1"], 40), (true, false, true));
            assert_eq!(line(&["Id", "Label"], 41), (true, true, true));
            assert_eq!(line(&["I1"], 39), (false, false, true));
            assert_eq!(line(&["1"], 38), (false, true, false));
        }
        assert!(LineForm::of(line(&["0"], "\t", 40).as_bytes()).is_usual());
        assert!(!LineForm::of(line(&["0"], ",", 40).as_bytes()).is_usual());
    }

    #[test]
    fn rows_get_the_usual_form() {
        let chunk = |first_line, text: &str| Chunk {
            file: 0,
            first_line,
            lines: text.lines().count() as u64,
            stored_bytes: 0,
            text: text.as_bytes().to_vec(),
        };
        let form = LineForm {
            separator: b',',
            id: true,
            labelled: false,
            header: true,
        };
        let (front, later) = (chunk(1, "Id,I1,C1\n60,5,a\r\n\n61,,"), chunk(9, "62,1,b\n"));
        let text = |rows: Cow<'_, [u8]>| String::from_utf8(rows.into_owned()).unwrap();
        let (rows, line) = form.rows(&front);
        assert_eq!((text(rows).as_str(), line), ("0\t5\ta\r\n\n0\t\t", 2));
        let (rows, line) = form.rows(&later);
        assert_eq!((text(rows).as_str(), line), ("0\t1\tb\n", 9));
    }
}
