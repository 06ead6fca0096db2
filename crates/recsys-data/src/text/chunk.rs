//! Text cut into pieces at line ends, in memory bounded whatever the lines are.

use super::MAX_LINE;
use super::input::Source;
use crate::error::{Error, Result};
use crate::text::error::Error as TextError;

/// Text is handed out in pieces of about this size.
const CHUNK: usize = 1 << 20;

/// What Windows programs put in front of UTF-8 text; no part of it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Whole lines of one file.
pub(crate) struct Chunk {
    /// Which of the files.
    pub(crate) file: usize,
    /// Number of the first line, counted from 1.
    pub(crate) first_line: u64,
    /// Number of lines.
    pub(crate) lines: u64,
    /// Bytes of the file as it is stored that were read since the chunk before.
    pub(crate) stored_bytes: u64,
    /// The lines; the last one of a file may lack its line end.
    pub(crate) text: Vec<u8>,
}

/// Cuts one file into chunks.
pub(crate) struct Chunks {
    source: Source,
    file: usize,
    /// The unfinished line that the last chunk left.
    rest: Vec<u8>,
    lines: u64,
    stored_bytes: u64,
    ended: bool,
}

impl Chunks {
    pub(crate) fn new(source: Source, file: usize) -> Self {
        Self {
            source,
            file,
            rest: Vec::new(),
            lines: 0,
            stored_bytes: 0,
            ended: false,
        }
    }

    /// The file, when all of it was read.
    pub(crate) fn into_source(self) -> Source {
        self.source
    }

    /// The next lines, or `None` at the end.
    ///
    /// Of a line beyond [`MAX_LINE`] only as much is kept as shows that it is too long.
    ///
    /// # Errors
    /// The file cannot be read, or holds no text at all.
    pub(crate) fn next(&mut self) -> Result<Option<Chunk>> {
        let mut text = std::mem::take(&mut self.rest);
        let mut searched = 0;
        loop {
            if self.ended {
                if text.is_empty() {
                    return if self.lines == 0 {
                        Err(self.empty())
                    } else {
                        Ok(None)
                    };
                }
                return Ok(Some(self.chunk(text)));
            }
            let before = text.len();
            text.resize(before + CHUNK, 0);
            let count = self.source.fill(&mut text[before..], self.lines)?;
            text.truncate(before + count);
            self.ended = count < CHUNK;
            if self.lines == 0 && before == 0 && text.starts_with(BYTE_ORDER_MARK) {
                text.drain(..BYTE_ORDER_MARK.len());
            }
            match memchr::memrchr(b'\n', &text[searched..]) {
                Some(at) => {
                    self.rest.extend_from_slice(&text[searched + at + 1..]);
                    text.truncate(searched + at + 1);
                    return Ok(Some(self.chunk(text)));
                }
                None if text.len() > MAX_LINE => {
                    text.truncate(MAX_LINE + 1);
                    self.skip_line(&mut text)?;
                    return Ok(Some(self.chunk(text)));
                }
                None => searched = text.len(),
            }
        }
    }

    /// Reads to the end of a line that is too long already; `text` gets the line end, and what follows is kept.
    fn skip_line(&mut self, text: &mut Vec<u8>) -> Result<()> {
        let mut buffer = vec![0; CHUNK];
        while !self.ended {
            let count = self.source.fill(&mut buffer, self.lines)?;
            self.ended = count < CHUNK;
            if let Some(at) = memchr::memchr(b'\n', &buffer[..count]) {
                text.push(b'\n');
                self.rest.extend_from_slice(&buffer[at + 1..count]);
                break;
            }
        }
        Ok(())
    }

    fn chunk(&mut self, text: Vec<u8>) -> Chunk {
        let first_line = self.lines + 1;
        let unfinished = u64::from(text.last().is_some_and(|&byte| byte != b'\n'));
        let lines = memchr::memchr_iter(b'\n', &text).count() as u64 + unfinished;
        self.lines += lines;
        let stored = self.source.bytes_read();
        let stored_bytes = stored - std::mem::replace(&mut self.stored_bytes, stored);
        Chunk {
            file: self.file,
            first_line,
            lines,
            stored_bytes,
            text,
        }
    }

    fn empty(&self) -> Error {
        Error::Text(TextError::EmptyFile {
            path: self.source.path().to_path_buf(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn chunks_of(text: &[u8]) -> Vec<Chunk> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        let mut chunks = Chunks::new(Source::open(file.path()).unwrap(), 0);
        let mut all = Vec::new();
        while let Some(chunk) = chunks.next().unwrap() {
            all.push(chunk);
        }
        all
    }

    #[test]
    fn chunks_are_the_text_cut_at_line_ends() {
        let line = [b'x'; 1000];
        let text: Vec<u8> = line
            .iter()
            .chain(b"\n")
            .copied()
            .cycle()
            .take(3_500_000)
            .collect();
        let chunks = chunks_of(&text);
        assert!(chunks.len() > 2);
        let mut expected_line = 1;
        for chunk in &chunks[..chunks.len() - 1] {
            assert_eq!(chunk.first_line, expected_line);
            assert_eq!(chunk.text.last(), Some(&b'\n'));
            expected_line += chunk.lines;
        }
        let joined: Vec<u8> = chunks
            .iter()
            .flat_map(|chunk| chunk.text.iter().copied())
            .collect();
        assert!(joined == text);
        assert_eq!(
            chunks.iter().map(|chunk| chunk.stored_bytes).sum::<u64>(),
            text.len() as u64
        );
        assert_eq!(
            chunks.iter().map(|chunk| chunk.lines).sum::<u64>(),
            3_500_000u64.div_ceil(1001)
        );
    }

    #[test]
    fn a_line_of_any_length_takes_bounded_memory() {
        let mut text = b"first\n".to_vec();
        text.extend(std::iter::repeat_n(b'y', 9 * CHUNK));
        text.extend_from_slice(b"\nlast");
        let chunks = chunks_of(&text);
        assert!(chunks.iter().all(|chunk| chunk.text.len() <= 2 * CHUNK));
        let joined: Vec<u8> = chunks
            .iter()
            .flat_map(|chunk| chunk.text.iter().copied())
            .collect();
        let lines: Vec<&[u8]> = joined.split(|&byte| byte == b'\n').collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(
            (lines[0], lines[1].len() > MAX_LINE, lines[2]),
            (&b"first"[..], true, &b"last"[..])
        );
        assert_eq!(
            chunks
                .last()
                .map(|chunk| chunk.first_line + chunk.lines - 1),
            Some(3)
        );
    }
}
