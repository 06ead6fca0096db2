//! The order of numbered files.

use std::path::{Path, PathBuf};

/// Files in the order of the numbers in their names; `None` where they stand in it already, or
/// where their names differ in more than numbers and in how they are compressed.
///
/// The shell's `day_*` puts `day_10` before `day_9`. Numbers in the names of folders count where
/// those in the files' own names do not tell the files apart.
///
/// ```
/// # use recsys_data::text::by_number;
/// # use std::path::PathBuf;
/// let files = ["day_0.gz", "day_10", "day_9.gz"].map(PathBuf::from);
/// assert_eq!(by_number(&files).unwrap(), ["day_0.gz", "day_9.gz", "day_10"].map(PathBuf::from));
/// assert_eq!(by_number(&["train.txt", "test.txt"].map(PathBuf::from)), None);
/// ```
pub fn by_number(files: &[PathBuf]) -> Option<Vec<PathBuf>> {
    let mut names: Vec<(Name, &PathBuf)> =
        files.iter().map(|path| (Name::of(path), path)).collect();
    let (first, rest) = names.split_first()?;
    if rest.iter().any(|(name, _)| name.words != first.0.words) {
        return None;
    }
    let told_apart = |names: &mut [(Name, &PathBuf)]| {
        names.sort_by(|(a, _), (b, _)| a.own.cmp(&b.own));
        names.windows(2).all(|pair| pair[0].0.own != pair[1].0.own)
    };
    if !told_apart(&mut names) {
        names.sort_by(|(a, _), (b, _)| (&a.folders, &a.own).cmp(&(&b.folders, &b.own)));
    }
    let sorted: Vec<PathBuf> = names.into_iter().map(|(_, path)| path.clone()).collect();
    (sorted != files).then_some(sorted)
}

/// A path, its numbers apart from its words.
struct Name {
    words: [String; 2],
    /// Numbers in the names of folders.
    folders: Vec<Number>,
    /// Numbers in the name of the file.
    own: Vec<Number>,
}

/// Digits without leading zeros, so that shorter ones are less.
type Number = (usize, String);

impl Name {
    fn of(path: &Path) -> Self {
        let parent = path.parent().unwrap_or(Path::new(""));
        let parent = parent.canonicalize().unwrap_or_else(|_| parent.into());
        let mut file = PathBuf::from(path.file_name().unwrap_or_default());
        let compressed = |file: &Path| {
            let ending = file.extension().unwrap_or_default().to_ascii_lowercase();
            ["gz", "zst", "bz2", "zip"].contains(&ending.to_str().unwrap_or_default())
        };
        if compressed(&file) {
            file.set_extension("");
        }
        let (folder_words, folders) = numbers(&parent.to_string_lossy());
        let (words, own) = numbers(&file.to_string_lossy());
        Self {
            words: [folder_words, words],
            folders,
            own,
        }
    }
}

/// A text with NUL in place of every number, and the numbers.
fn numbers(text: &str) -> (String, Vec<Number>) {
    let mut words = String::new();
    for c in text.chars() {
        if !c.is_ascii_digit() {
            words.push(c);
        } else if !words.ends_with('\0') {
            words.push('\0');
        }
    }
    let digits = text.split(|c: char| !c.is_ascii_digit());
    let numbers = digits.filter(|digits| !digits.is_empty()).map(|digits| {
        let digits = digits.trim_start_matches('0');
        (digits.len(), digits.to_owned())
    });
    (words, numbers.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(files: &[&str]) -> Option<Vec<String>> {
        let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
        let sorted = by_number(&files)?;
        Some(
            sorted
                .iter()
                .map(|path| path.display().to_string())
                .collect(),
        )
    }

    #[test]
    fn numbers_decide_where_names_differ_in_nothing_else() {
        let cases: [(&[&str], &[&str]); 6] = [
            (&["day_10", "day_9", "day_0"], &["day_0", "day_9", "day_10"]),
            (&["d10.txt.GZ", "d9.txt"], &["d9.txt", "d10.txt.GZ"]),
            (
                &["part-010-of-11", "part-9-of-11"],
                &["part-9-of-11", "part-010-of-11"],
            ),
            (
                &["2014-02-01.csv", "2014-01-30.csv"],
                &["2014-01-30.csv", "2014-02-01.csv"],
            ),
            (
                &["disk1/day_9", "disk2/day_0"],
                &["disk2/day_0", "disk1/day_9"],
            ),
            (
                &["m2/day_1", "m1/day_2", "m1/day_1"],
                &["m1/day_1", "m1/day_2", "m2/day_1"],
            ),
        ];
        for (given, expected) in cases {
            assert_eq!(sorted(given).unwrap(), expected);
            assert_eq!(sorted(expected), None);
        }
    }

    #[test]
    fn other_files_stay_where_they_are() {
        for files in [
            &["b.txt", "a.txt"][..],
            &["day_2", "night_1"],
            &["day_2.csv", "day_1.txt"],
            &["feb/day_1", "jan/day_2"],
            &["day_1", "day_1"],
            &["2day", "day1"],
            &["99999999999999999999999_1", "99999999999999999999999_2"],
            &["x"],
            &[],
        ] {
            assert_eq!(sorted(files), None, "{files:?}");
        }
    }
}
