//! The lines of a text, and the fields of a line.
//!
//! A quote that is never closed would silently take the lines behind it into one field. So a field
//! ends on its line unless the mapping says otherwise, and nothing may follow a closing quote but a
//! separator: what is wrong is found where it stands.

use std::ops::Range;
use std::path::Path;

use memchr::{memchr, memchr2, memmem};

use super::super::foreign::{BadRow, Row};
use super::mapping::CsvForm;
use crate::error::{Error, Result};
use crate::exchange::error::Error as ExchangeError;
use crate::text::{MAX_LINE, Source};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The lines of a text. They end with a line feed, a carriage return or both.
struct Lines {
    source: Source,
    buffer: Vec<u8>,
    /// What of the buffer was read and is not yet used.
    left: Range<usize>,
    /// Lines so far.
    number: u64,
    /// Whether the last line ended with a carriage return, so that a line feed still belongs to it.
    after_return: bool,
    /// Whether the text has no more than what is left.
    is_last: bool,
}

enum Line<'a> {
    Text(&'a [u8]),
    /// More than [`MAX_LINE`] bytes, which were passed over.
    TooLong,
}

impl Lines {
    fn new(source: Source) -> Result<Self> {
        let mut lines = Self {
            source,
            buffer: vec![0; MAX_LINE + 1],
            left: 0..0,
            number: 0,
            after_return: false,
            is_last: false,
        };
        lines.fill()?;
        let text = &lines.buffer[lines.left.clone()];
        if text.starts_with(BYTE_ORDER_MARK) {
            lines.left.start = BYTE_ORDER_MARK.len();
        } else if text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") {
            return Err(Error::Exchange(ExchangeError::BadForeignFile {
                path: lines.source.path().to_path_buf(),
                problem: "is UTF-16 text: convert it to UTF-8, for instance with iconv".to_owned(),
            }));
        }
        Ok(lines)
    }

    /// Reads behind what is left, which moves to the front.
    fn fill(&mut self) -> Result<()> {
        self.buffer.copy_within(self.left.clone(), 0);
        self.left = 0..self.left.len();
        let free = &mut self.buffer[self.left.end..];
        let count = self.source.fill(free, self.number)?;
        self.is_last = count < free.len();
        self.left.end += count;
        Ok(())
    }

    /// The next line without its end.
    fn next(&mut self) -> Result<Option<Line<'_>>> {
        let mut too_long = false;
        loop {
            if self.after_return && !self.left.is_empty() {
                self.left.start += usize::from(self.buffer[self.left.start] == b'\n');
                self.after_return = false;
            }
            let text = &self.buffer[self.left.clone()];
            let end = memchr2(b'\n', b'\r', text);
            let count = match end {
                Some(end) => {
                    self.after_return = text[end] == b'\r';
                    end
                }
                None if self.is_last && (too_long || !text.is_empty()) => text.len(),
                None if self.is_last => return Ok(None),
                None => {
                    if text.len() == self.buffer.len() {
                        too_long = true;
                        self.left = 0..0;
                    }
                    self.fill()?;
                    continue;
                }
            };
            let start = self.left.start;
            self.left.start += count + usize::from(end.is_some());
            self.number += 1;
            return Ok(Some(if too_long {
                Line::TooLong
            } else {
                Line::Text(&self.buffer[start..start + count])
            }));
        }
    }
}

/// The rows of a text, cut into fields.
pub(super) struct Records {
    lines: Lines,
    separator: Vec<u8>,
    quote: Option<u8>,
    multiline: bool,
    /// The fields' text, quotes taken away.
    text: Vec<u8>,
    fields: Vec<Range<usize>>,
}

impl Records {
    pub(super) fn new(source: Source, form: &CsvForm, separator: &str) -> Result<Self> {
        Ok(Self {
            lines: Lines::new(source)?,
            separator: separator.as_bytes().to_vec(),
            quote: form.quote.bytes().next(),
            multiline: form.multiline,
            text: Vec::new(),
            fields: Vec::new(),
        })
    }

    pub(super) fn source(&self) -> &Source {
        &self.lines.source
    }

    /// The fields of the row that was read last.
    pub(super) fn len(&self) -> usize {
        self.fields.len()
    }

    /// A field of the row that was read last.
    pub(super) fn field(&self, field: usize) -> Option<&[u8]> {
        self.text.get(self.fields.get(field)?.clone())
    }

    /// Reads the next row; returns the number of its first line, and whether it is one. Empty lines
    /// are none.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Row<()>)>> {
        loop {
            let too_long = match self.lines.next()? {
                None => return Ok(None),
                Some(Line::Text([])) => continue,
                Some(Line::Text(text)) => {
                    self.text.clear();
                    self.text.extend_from_slice(text);
                    false
                }
                Some(Line::TooLong) => true,
            };
            let number = self.lines.number;
            let row = if too_long {
                let problem = format!("is longer than {MAX_LINE} bytes: is it a line of a table?");
                Err(BadRow::line("line too long", problem))
            } else {
                self.split(number)?
            };
            return Ok(Some((number, row)));
        }
    }

    /// Cuts the text into fields.
    fn split(&mut self, number: u64) -> Result<Row<()>> {
        self.fields.clear();
        let mut at = 0;
        loop {
            let start = at + self.spaces(at);
            let is_quoted = self.quote.is_some() && self.text.get(start) == self.quote.as_ref();
            let (field, end) = if is_quoted {
                match self.unquote(start, number)? {
                    Ok(found) => found,
                    Err(bad) => return Ok(Err(bad)),
                }
            } else {
                let rest = &self.text[start..];
                let found = match *self.separator {
                    [separator] => memchr(separator, rest),
                    _ => memmem::find(rest, &self.separator),
                };
                let end = start + found.unwrap_or(rest.len());
                (start..end - self.spaces_before(start..end), end)
            };
            self.fields.push(field);
            if end == self.text.len() {
                return Ok(Ok(()));
            }
            at = end + self.separator.len();
        }
    }

    /// Spaces around a field mean nothing, unless they separate fields.
    fn spaces(&self, at: usize) -> usize {
        let is_space = |byte: &&u8| **byte == b' ';
        match *self.separator {
            [b' ', ..] => 0,
            _ => self.text[at..].iter().take_while(is_space).count(),
        }
    }

    fn spaces_before(&self, field: Range<usize>) -> usize {
        let is_space = |byte: &&u8| **byte == b' ';
        match *self.separator {
            [b' ', ..] => 0,
            _ => self.text[field].iter().rev().take_while(is_space).count(),
        }
    }

    /// The quoted field that starts here, and where what follows begins.
    fn unquote(&mut self, start: usize, number: u64) -> Result<Row<(Range<usize>, usize)>> {
        let quote = self.text[start];
        let field = self.fields.len() + 1;
        let (mut read, mut end) = (start + 1, start + 1);
        loop {
            let Some(length) = memchr(quote, &self.text[read..]) else {
                if !self.multiline {
                    let problem = format!(
                        "field {field} opens a quote that is not closed on the line: mend it, or \
                        set csv.quote \
                         = \"\" where quotes are text, or csv.multiline = true where fields have \
                         several lines"
                    );
                    return Ok(Err(BadRow::line("open quote", problem)));
                }
                self.text.push(b'\n');
                match self.lines.next()? {
                    Some(Line::Text(text)) if self.text.len() + text.len() <= MAX_LINE => {
                        self.text.extend_from_slice(text);
                    }
                    // What would be left out is not this row alone.
                    _ => {
                        let path = self.lines.source.path();
                        return Err(never_closed(path, number, field));
                    }
                }
                continue;
            };
            self.text.copy_within(read..read + length, end);
            end += length;
            read += length + 1;
            if self.text.get(read) != Some(&quote) {
                break;
            }
            self.text[end] = quote;
            end += 1;
            read += 1;
        }
        let next = read + self.spaces(read);
        let rest = &self.text[next..];
        if rest.is_empty() || rest.starts_with(&self.separator) {
            return Ok(Ok((start + 1..end, next)));
        }
        Ok(Err(BadRow::line(
            "text after a quote",
            format!(
                "field {field} has text after its closing quote: double quotes within quotes, or \
                set csv.quote \
                 = \"\" where quotes are text"
            ),
        )))
    }
}

fn never_closed(path: &Path, line: u64, field: usize) -> Error {
    Error::Exchange(ExchangeError::BadLine {
        path: path.to_path_buf(),
        line,
        problem: format!("field {field} opens a quote that is not closed within {MAX_LINE} bytes"),
    })
}
