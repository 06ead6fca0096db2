//! Names from files in messages.

/// Names that a list shows.
const SHOWN: usize = 6;
/// Characters of a name that are shown.
const WIDTH: usize = 60;

/// Some names, one after the other, cut where they are long or many; control characters are
/// escaped.
pub(crate) fn list_of<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names = names.into_iter();
    let shown: Vec<String> = names.by_ref().take(SHOWN).map(short).collect();
    let more = match names.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", shown.join(", "))
}

fn short(name: &str) -> String {
    let mut start: String = name.chars().take(WIDTH).collect();
    if start.len() < name.len() {
        start.push('…');
    }
    format!("`{}`", start.escape_debug())
}
