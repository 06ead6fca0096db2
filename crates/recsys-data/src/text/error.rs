//! The errors of raw files.

use std::path::PathBuf;

/// What can go wrong with raw files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A raw file is something else than a file.
    #[error("{path} is {found}, and a file is needed: name the files themselves", path = path.display())]
    NotAFile {
        /// The path given.
        path: PathBuf,
        /// What lies there.
        found: &'static str,
    },
    /// A raw file has no content.
    #[error("{path} is empty: there is nothing to prepare; check that it was downloaded or decompressed completely", path = path.display())]
    EmptyFile {
        /// The file.
        path: PathBuf,
    },
    /// A raw file is no text.
    #[error(
        "{path} {}{found}: {remedy}",
        inside.map_or("is ".into(), |inside| format!("is {inside}, and holds ")),
        path = path.display()
    )]
    NotText {
        /// The file.
        path: PathBuf,
        /// How it is compressed, where it is.
        inside: Option<&'static str>,
        /// What it is, or what it holds.
        found: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// The name of a raw file says that it is compressed, and it is not.
    #[error(
        "{path} is {found} by its content and {expected} by its name: if it is whole, give it \
        another ending; else restore it",
        path = path.display()
    )]
    WrongCompression {
        /// The file.
        path: PathBuf,
        /// What the name says.
        expected: &'static str,
        /// What the content says.
        found: &'static str,
    },
    /// A compressed stream cannot be decoded to its end.
    #[error(
        "{path}: the {format} stream {problem} at line {line} of its text ({source}): restore the file, or decompress what is \
         left of it and prepare that", path = path.display()
    )]
    DamagedStream {
        /// The file.
        path: PathBuf,
        /// "gzip", "Zstandard", "bzip2" or "zip".
        format: &'static str,
        /// "is cut off" or "is damaged".
        problem: &'static str,
        /// The first line that could not be read whole, counted from 1.
        line: u64,
        /// The decoder's answer.
        source: std::io::Error,
    },
    /// A zip archive holds no file, or several.
    #[error(
        "{path} holds {} instead of one file: unpack it, and name the file that is meant",
        if found.is_empty() { "no file".to_owned() } else { format!("{} files ({})", found.len(), first_names(found)) },
        path = path.display()
    )]
    ZipFiles {
        /// The archive.
        path: PathBuf,
        /// Names of the files in it.
        found: Vec<String>,
    },
    /// A file in a zip archive is packed in a way that is not read.
    #[error("{path}: {entry:?} in it is {found}, and only stored and deflated files are read: unpack it with another program first", path = path.display())]
    ZipMethod {
        /// The archive.
        path: PathBuf,
        /// The file in it.
        entry: String,
        /// How it is packed.
        found: String,
    },
    /// A zip archive has no readable directory.
    #[error("{path} is cut off or damaged ({source}): restore the file, it is no whole zip archive", path = path.display())]
    DamagedZip {
        /// The archive.
        path: PathBuf,
        /// What is wrong.
        source: std::io::Error,
    },
    /// The raw files hold no row.
    #[error(
        "no row is left: all {skipped} lines were skipped as bad rows; check that the files are those of this data set"
    )]
    NoRows {
        /// Lines left out.
        skipped: u64,
    },
    /// A raw file is not what it was in the first pass.
    #[error("{path} changed between the two passes over it: prepare it again when nothing writes to it any more", path = path.display())]
    SourceChanged {
        /// The file.
        path: PathBuf,
    },
    /// The same raw file is named twice.
    #[error(
        "{again} is named twice{}: name every file once",
        if again == first { String::new() } else { format!(", it is the same file as {}", first.display()) },
        again = again.display()
    )]
    SameFile {
        /// Its first name.
        first: PathBuf,
        /// Its second name, which may lead there by a link.
        again: PathBuf,
    },
    /// The output folder holds a raw file.
    #[error("{out} holds the raw file {path} and is not replaced: choose another output folder", out = out.display(), path = path.display())]
    OutputHoldsSource {
        /// The output folder.
        out: PathBuf,
        /// The raw file.
        path: PathBuf,
    },
}

/// The first names of a list.
pub(crate) fn first_names(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let more = if names.len() > SHOWN { ", …" } else { "" };
    names[..names.len().min(SHOWN)].join(", ") + more
}
