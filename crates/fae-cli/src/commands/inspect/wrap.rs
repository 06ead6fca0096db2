//! Lines of a terminal.

/// Most columns of a line.
pub(super) const WIDTH: usize = 110;

/// Prints words behind a name, on as many lines as they need.
pub(super) fn print_wrapped(name: &str, words: impl Iterator<Item = String>, separator: &str) {
    let mut line = format!("{name:<10} ");
    let indent = line.chars().count();
    let mut words = words.peekable();
    while let Some(mut word) = words.next() {
        if words.peek().is_some() {
            word.push_str(separator);
        }
        let width = line.chars().count();
        if width > indent && width + word.trim_end().chars().count() > WIDTH {
            say!("{}", line.trim_end());
            line = " ".repeat(indent);
        }
        line.push_str(&word);
    }
    say!("{}", line.trim_end());
}
