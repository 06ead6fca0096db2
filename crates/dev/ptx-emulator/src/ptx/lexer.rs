//! Words and signs of PTX.

use super::error::Error;

/// A piece of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'t> {
    /// A name, a number, a directive or an opcode with its modifiers.
    Word(&'t str),
    /// What stands between quotes.
    Text(&'t str),
    /// Any other character.
    Sign(u8),
    /// Nothing is left.
    End,
}

/// Reads a text piece by piece; cheap to copy, so that a caller can look ahead.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lexer<'t> {
    text: &'t str,
    position: usize,
    line: u32,
}

fn in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'%' | b'.')
}

impl<'t> Lexer<'t> {
    /// Starts at a byte of the text, which is on `line`.
    pub(super) fn new(text: &'t str, position: usize, line: u32) -> Self {
        Self {
            text,
            position,
            line,
        }
    }

    /// The line of what was read last, from 1.
    pub(super) fn line(&self) -> u32 {
        self.line
    }

    /// The byte behind what was read last.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    fn skip_space(&mut self) {
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.position) {
            match byte {
                b'\n' => self.line += 1,
                b' ' | b'\t' | b'\r' => {}
                b'/' if bytes.get(self.position + 1) == Some(&b'/') => {
                    while bytes.get(self.position).is_some_and(|&byte| byte != b'\n') {
                        self.position += 1;
                    }
                    continue;
                }
                b'/' if bytes.get(self.position + 1) == Some(&b'*') => {
                    self.position += 2;
                    while self.position < bytes.len() && !bytes[self.position..].starts_with(b"*/")
                    {
                        self.line += u32::from(bytes[self.position] == b'\n');
                        self.position += 1;
                    }
                    self.position = (self.position + 2).min(bytes.len());
                    continue;
                }
                _ => return,
            }
            self.position += 1;
        }
    }

    /// The next piece, which is read.
    pub(super) fn next(&mut self) -> Token<'t> {
        self.skip_space();
        let bytes = self.text.as_bytes();
        let start = self.position;
        let Some(&first) = bytes.get(start) else {
            return Token::End;
        };
        if in_word(first) {
            loop {
                match bytes.get(self.position) {
                    Some(&byte) if in_word(byte) => self.position += 1,
                    // `.shared::cta` is one word, `label:` is not.
                    Some(b':') if bytes.get(self.position + 1) == Some(&b':') => self.position += 2,
                    _ => break,
                }
            }
            return Token::Word(&self.text[start..self.position]);
        }
        if first == b'"' {
            self.position += 1;
            while bytes.get(self.position).is_some_and(|&byte| byte != b'"') {
                self.line += u32::from(bytes[self.position] == b'\n');
                self.position += 1;
            }
            let text = &self.text[start + 1..self.position];
            self.position = (self.position + 1).min(bytes.len());
            return Token::Text(text);
        }
        // A character of several bytes is of no use to PTX, but must not be cut in two.
        let width = self.text[start..].chars().next().map_or(1, char::len_utf8);
        self.position += width;
        Token::Sign(first)
    }

    /// The next piece, which stays to be read.
    pub(super) fn peek(&self) -> Token<'t> {
        let mut ahead = *self;
        ahead.next()
    }

    /// Reads a sign if it is next.
    pub(super) fn accept(&mut self, sign: u8) -> bool {
        let mut ahead = *self;
        let found = ahead.next() == Token::Sign(sign);
        if found {
            *self = ahead;
        }
        found
    }

    /// Reads a sign.
    pub(super) fn expect(&mut self, sign: u8, expected: &'static str) -> Result<(), Error> {
        match self.next() {
            Token::Sign(found) if found == sign => Ok(()),
            found => Err(self.syntax(expected, found)),
        }
    }

    /// Reads a word.
    pub(super) fn word(&mut self, expected: &'static str) -> Result<&'t str, Error> {
        match self.next() {
            Token::Word(word) => Ok(word),
            found => Err(self.syntax(expected, found)),
        }
    }

    /// Reads a number that is not negative.
    pub(super) fn number(&mut self, expected: &'static str) -> Result<u64, Error> {
        let word = self.word(expected)?;
        integer(word).ok_or_else(|| self.syntax(expected, Token::Word(word)))
    }

    /// Skips a body, whose opening brace was read; leaves the closing one read.
    pub(super) fn skip_braces(&mut self) -> Result<(), Error> {
        let bytes = self.text.as_bytes();
        let mut depth = 1_u32;
        while let Some(&byte) = bytes.get(self.position) {
            match byte {
                b'\n' => self.line += 1,
                b'{' => depth += 1,
                b'}' => {
                    depth -= 1;
                    if depth == 0 {
                        self.position += 1;
                        return Ok(());
                    }
                }
                b'"' => {
                    self.next();
                    continue;
                }
                b'/' => {
                    let start = self.position;
                    self.skip_space();
                    if self.position > start {
                        continue;
                    }
                }
                _ => {}
            }
            self.position += 1;
        }
        Err(self.syntax("a closing brace", Token::End))
    }

    /// The error that something else was expected than what was read last.
    pub(super) fn syntax(&self, expected: &'static str, found: Token<'_>) -> Error {
        let found = match found {
            Token::Word(word) => word.to_owned(),
            Token::Text(text) => format!("\"{text}\""),
            Token::Sign(sign) => char::from(sign).to_string(),
            Token::End => "the end".to_owned(),
        };
        Error::Syntax {
            line: self.line,
            expected,
            found,
        }
    }
}

/// An integer as PTX writes it, without a sign.
pub(super) fn integer(word: &str) -> Option<u64> {
    let digits = word.strip_suffix('U').unwrap_or(word);
    let (digits, radix) = match digits.get(..2) {
        Some("0x" | "0X") => (&digits[2..], 16),
        Some("0b" | "0B") => (&digits[2..], 2),
        _ if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        _ => (digits, 10),
    };
    u64::from_str_radix(digits, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_signs_and_lines() {
        let mut lexer = Lexer::new(
            "@!%p1 ld.shared::cta.u32 %r<3>, [%rd1+8]; // x\n/* \n */ $L_1:",
            0,
            1,
        );
        let mut pieces = Vec::new();
        loop {
            match lexer.next() {
                Token::End => break,
                Token::Word(word) => pieces.push(word.to_owned()),
                Token::Text(text) => pieces.push(text.to_owned()),
                Token::Sign(sign) => pieces.push(char::from(sign).to_string()),
            }
        }
        let expected = "@ ! %p1 ld.shared::cta.u32 %r < 3 > , [ %rd1 + 8 ] ; $L_1 :";
        assert_eq!(pieces.join(" "), expected);
        assert_eq!(lexer.line(), 3);
    }

    #[test]
    fn integers() {
        assert_eq!(integer("0x7fU"), Some(127));
        assert_eq!(integer("0XC13BU"), Some(0xC13B));
        assert_eq!(integer("017"), Some(15));
        assert_eq!(integer("0"), Some(0));
        assert_eq!(integer("18446744073709551615"), Some(u64::MAX));
        assert_eq!(integer("x"), None);
    }
}
