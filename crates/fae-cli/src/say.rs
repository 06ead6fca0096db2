//! What the program prints. No message ends a run: where a stream is closed or full, the files are
//! written all the same.
//!
//! Names come from files of others, so control characters are shown as escapes and never reach a
//! terminal.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::sync::OnceLock;

/// Characters of a message on standard error; the middle of a longer one is left out.
const LONGEST: usize = 2000;

/// Why standard output takes no more.
static FAILURE: OnceLock<io::Error> = OnceLock::new();

/// Prints a line on standard output, as `println!` does, where that takes it.
#[macro_export]
macro_rules! say {
    () => { $crate::say::out(format_args!("")) };
    ($($text:tt)+) => { $crate::say::out(format_args!($($text)+)) };
}

/// Prints a line on standard error, as `eprintln!` does, where that takes it.
#[macro_export]
macro_rules! note {
    ($($text:tt)+) => { $crate::say::err(format_args!($($text)+)) };
}

/// Prints a line on standard output. After the first failure nothing more is tried.
#[doc(hidden)]
pub fn out(text: fmt::Arguments<'_>) {
    if FAILURE.get().is_none() {
        let line = escaped(&text.to_string(), &['\n', '\t']).into_owned() + "\n";
        keep(io::stdout().write_all(line.as_bytes()));
    }
}

/// Prints a line on standard error.
#[doc(hidden)]
pub fn err(text: fmt::Arguments<'_>) {
    let text = text.to_string();
    let line = shortened(&escaped(&text, &['\n'])) + "\n";
    // There is nowhere left to say that this failed.
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Why standard output did not take everything. A reader that has read enough, as `head` has, is no
/// failure.
pub(crate) fn failure() -> Option<&'static io::Error> {
    keep(io::stdout().flush());
    let failure = FAILURE.get();
    failure.filter(|failure| failure.kind() != io::ErrorKind::BrokenPipe)
}

fn keep(printed: io::Result<()>) {
    if let Err(error) = printed {
        // The first one is the one to tell of.
        let _ = FAILURE.set(error);
    }
}

/// A text whose control characters, but for `kept`, are escapes.
pub(crate) fn escaped<'a>(text: &'a str, kept: &[char]) -> Cow<'a, str> {
    let strange = |c: char| c.is_control() && !kept.contains(&c);
    if !text.contains(strange) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match strange(c) {
            true => drop(write!(escaped, "{}", c.escape_default())),
            false => escaped.push(c),
        }
    }
    escaped.into()
}

/// A message without its middle where it is too long: it begins with what is wrong, and ends with
/// the remedy.
fn shortened(text: &str) -> String {
    let count = text.chars().count();
    if count <= LONGEST {
        return text.into();
    }
    let end = LONGEST / 4;
    let first: String = text.chars().take(LONGEST - end).collect();
    let last: String = text.chars().skip(count - end).collect();
    format!("{first} … {last}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_long_names_cut() {
        assert_eq!(escaped("C\u{1b}[2J\r\n", &['\n']), "C\\u{1b}[2J\\r\n");
        assert_eq!(escaped("plain, ß", &[]), "plain, ß");
        let long = format!("column {} is wrong: give another", "x".repeat(100_000));
        let short = shortened(&long);
        assert!(short.starts_with("column xxx") && short.ends_with("give another"));
        assert!(short.chars().count() < LONGEST + 10);
    }
}
