//! The table of faults.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What became of one fault in one program.
pub(crate) enum Outcome {
    /// It was said, by exit code and message, and nothing was changed.
    Detected,
    /// The result is that of an undisturbed run.
    Harmless,
    /// Something else.
    Lost(String),
}

/// A line of the table.
pub(crate) struct Line {
    fault: String,
    program: String,
    detected: u64,
    harmless: u64,
    lost: Vec<String>,
}

impl Line {
    /// A line about these outcomes.
    pub(crate) fn new(
        fault: &str,
        program: &str,
        outcomes: impl IntoIterator<Item = Outcome>,
    ) -> Self {
        let mut line = Self {
            fault: fault.into(),
            program: program.into(),
            detected: 0,
            harmless: 0,
            lost: Vec::new(),
        };
        for outcome in outcomes {
            match outcome {
                Outcome::Detected => line.detected += 1,
                Outcome::Harmless => line.harmless += 1,
                Outcome::Lost(what) => line.lost.push(what),
            }
        }
        line
    }
}

/// Prints lines, and fails where something was lost or nothing was tried.
pub(crate) fn check(lines: &[Line]) {
    let mut text = format!(
        "{:<32} {:<24} {:>8} {:>9} {:>9} {:>5}\n",
        "fault", "program", "tried", "detected", "harmless", "lost"
    );
    for line in lines {
        let lost = line.lost.len() as u64;
        text += &format!(
            "{:<32} {:<24} {:>8} {:>9} {:>9} {lost:>5}\n",
            line.fault,
            line.program,
            line.detected + line.harmless + lost,
            line.detected,
            line.harmless,
        );
    }
    println!("{text}");
    for line in lines {
        assert!(
            line.detected + line.harmless > 0 || !line.lost.is_empty(),
            "{}, {}: nothing was tried",
            line.fault,
            line.program
        );
        for what in &line.lost {
            println!("{}, {}: {what}", line.fault, line.program);
        }
    }
    assert!(
        lines.iter().all(|line| line.lost.is_empty()),
        "something was lost"
    );
}

/// Which of `count` points are tried: all with `RECSYS_FAULTS=full`, of many the first fifty and an
/// even sample; a few otherwise.
pub(crate) fn points(count: u64) -> Vec<u64> {
    const ALL: u64 = 150;
    const FEW: u64 = 6;
    let full = std::env::var_os("RECSYS_FAULTS").is_some_and(|value| value == "full");
    let (first, most) = match full {
        true if count <= ALL => (count, 0),
        true => (50, ALL - 50),
        false if count <= FEW => (count, 0),
        false => (1, FEW - 1),
    };
    let even = (1..=most).map(|step| first + step * (count - first) / most);
    (1..=first).chain(even).collect()
}

/// Every file below a path with its content, by its name there; one without a name where the path
/// is a file.
pub(crate) fn contents(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut waiting = vec![path.to_path_buf()];
    while let Some(next) = waiting.pop() {
        if next.is_dir() {
            waiting.extend(next.read_dir().unwrap().map(|entry| entry.unwrap().path()));
        } else if next.exists() {
            let name = next.strip_prefix(path).unwrap().to_path_buf();
            all.insert(name, std::fs::read(&next).unwrap());
        }
    }
    all
}

/// Names of everything in a folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = folder.read_dir().unwrap();
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
    entries
        .map(|entry| name(entry).to_string_lossy().into_owned())
        .collect()
}
