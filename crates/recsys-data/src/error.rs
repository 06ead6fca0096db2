//! The errors of this crate.

use std::path::{Path, PathBuf};

use crate::split::Split;

/// Result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong while data are read, prepared or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operating system call on a file failed.
    #[error("{action} {path}: {source}", path = path.display())]
    Io {
        /// What was being done: "cannot read", "cannot create" …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A sample was asked for that the data set does not have.
    #[error("sample {sample} asked for, but the data set has {len} samples")]
    SampleOutOfRange {
        /// The number asked for.
        sample: u64,
        /// Number of samples.
        len: u64,
    },
    /// An option has a value that makes no sense.
    #[error("{option} is {value}; allowed: {allowed}")]
    InvalidOption {
        /// Name of the option.
        option: &'static str,
        /// What it was set to.
        value: String,
        /// What it may be set to.
        allowed: &'static str,
    },
    /// A mapping of columns has a key or a value that does not exist.
    #[error("{origin}, line {line} (`{text}`): {message}")]
    Mapping {
        /// File or name.
        origin: String,
        /// Line, counted from 1.
        line: usize,
        /// What stands there.
        text: String,
        /// What is wrong, and what is allowed.
        message: String,
    },
    /// An AUC was asked for over samples that are all clicks or all not.
    #[error(
        "AUC is undefined over samples {first}..{end}: they have one class only; take more samples"
    )]
    UndefinedAuc {
        /// First sample.
        first: u64,
        /// End of the samples.
        end: u64,
    },
    /// A folder holds no packed data set.
    #[error("{path} is not a packed data set: {reason}; make one with `prepare`, or give the folder of one", path = path.display())]
    NotPacked {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A manifest cannot be read or written as JSON.
    #[error("{path} is damaged ({source}): restore the file or prepare the data again", path = path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A file was written in another version of the packed format.
    #[error(
        "{path} has format version {found}, and this release reads version {supported}: use the release that wrote it, or \
         prepare the data again", path = path.display()
    )]
    FormatVersion {
        /// The file.
        path: PathBuf,
        /// The version that it names.
        found: String,
        /// The version that can be read.
        supported: u64,
    },
    /// A file is shorter or longer than its manifest says.
    #[error(
        "{path} has {found} bytes and should have {expected}: it was truncated or replaced; restore the file or prepare the \
         data again", path = path.display()
    )]
    FileSize {
        /// The file.
        path: PathBuf,
        /// Size in the manifest.
        expected: u64,
        /// Size on disk.
        found: u64,
    },
    /// A file holds another shard than its name says.
    #[error("{path} should be {expected} and is {found}: files were swapped; give them their names back", path = path.display())]
    WrongShard {
        /// The file.
        path: PathBuf,
        /// The shard that the manifest names.
        expected: String,
        /// The shard that the file says it is.
        found: String,
    },
    /// Part of a file does not have the checksum that is recorded for it.
    #[error(
        "{part} of {path} does not match its checksum: the file was altered or belongs to another data set; restore it or \
         prepare the data again", path = path.display()
    )]
    Altered {
        /// The file.
        path: PathBuf,
        /// Which part of it.
        part: &'static str,
    },
    /// A block of samples does not have the checksum that is recorded for it.
    #[error(
        "{path}: checksum mismatch of `{tensor}` in the block of {split} samples {first} to {last}: restore the file or \
         prepare the data again", path = path.display()
    )]
    DamagedBlock {
        /// The shard.
        path: PathBuf,
        /// The damaged tensor.
        tensor: &'static str,
        /// The split that the samples belong to.
        split: Split,
        /// First sample of the block.
        first: u64,
        /// Last sample of the block.
        last: u64,
    },
    /// A value is out of its range.
    #[error(
        "{path}: {split} sample {sample}, column {column}: {value} is not allowed ({allowed}); restore the file or prepare \
         the data again", path = path.display()
    )]
    BadValue {
        /// The shard.
        path: PathBuf,
        /// The split that the sample belongs to.
        split: Split,
        /// Number of the sample in its split.
        sample: u64,
        /// The column: "label", a dense feature or a table; "offsets" where bags of ids overlap.
        column: String,
        /// The value found.
        value: String,
        /// What would be allowed.
        allowed: String,
    },
    /// More ids were asked for than a batch can hold.
    #[error(
        "{samples} samples have more ids than a batch can hold (2^32): read fewer samples at a time"
    )]
    TooManyIds {
        /// Samples of the read that went too far.
        samples: u64,
    },
    /// The output folder holds files.
    #[error("{path} exists and is not empty: choose another folder, or replace the packed data set in it with --force", path = path.display())]
    OutputExists {
        /// The folder.
        path: PathBuf,
    },
    /// Another writer works on the output folder.
    #[error("{path} is being written by another process: wait until that is done, or choose another folder", path = path.display())]
    OutputBusy {
        /// The folder.
        path: PathBuf,
    },
    /// The output folder holds files that are not a packed data set's, so that it is not replaced.
    #[error(
        "{path} is not replaced, because {}: move them away or choose another folder",
        entry.as_ref().map_or("its files are not those of a packed data set".into(),
            |entry| format!("it holds files that no packed data set has, such as {entry:?}")), path = path.display()
    )]
    NotReplaceable {
        /// The folder.
        path: PathBuf,
        /// A file that no packed data set has; none where there is no manifest.
        entry: Option<String>,
    },
    /// The disk has too little space for the output.
    #[error(
        "cannot reserve disk space for {path}: {needed} bytes are needed and {} are free ({source}); free some space or \
         choose another disk",
        available.map_or("an unknown number".into(), |bytes| bytes.to_string()), path = path.display()
    )]
    NoSpace {
        /// What could not be reserved.
        path: PathBuf,
        /// Bytes that the whole output takes.
        needed: u64,
        /// Bytes that are free on that disk, where the system can tell.
        available: Option<u64>,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A column name is not usable.
    #[error("column name {name:?} {problem}")]
    ColumnName {
        /// The name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A batch does not have the shape that the schema asks for.
    #[error("the batch has {found} {what}, and the schema asks for {expected}")]
    BatchShape {
        /// What does not fit.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// More samples came than were announced.
    #[error(
        "{written} samples came for {split}, and {announced} were announced: the input grew, or was counted wrong"
    )]
    TooManyRows {
        /// The split.
        split: Split,
        /// Number announced when the writer was made.
        announced: u64,
        /// Number that would have been written.
        written: u64,
    },
    /// Fewer samples came than were announced.
    #[error(
        "{written} samples came for {split}, and {announced} were announced: the input shrank, or was counted wrong"
    )]
    RowsMissing {
        /// The split.
        split: Split,
        /// Number announced when the writer was made.
        announced: u64,
        /// Number written.
        written: u64,
    },
    /// A row was written a second time.
    #[error("row {row} of {split} was written twice: positions must be a permutation")]
    RowWrittenTwice {
        /// The split.
        split: Split,
        /// The row.
        row: u64,
    },
    /// Samples of one split were appended and scattered.
    #[error("samples of {split} were both appended and scattered: write each split in one way")]
    MixedWriting {
        /// The split.
        split: Split,
    },
    /// Multi-hot samples cannot be scattered, because their sizes differ.
    #[error("multi-hot samples cannot be written in any order: append them in their final order")]
    ScatterMultiHot,
    /// A writer was used after an error.
    #[error("nothing more can be written to {path} after an error: make a new writer", path = path.display())]
    WriterFailed {
        /// The output folder.
        path: PathBuf,
    },
    /// A vocabulary does not fit its table.
    #[error("the vocabulary of table {table} has {found} {what}, and {expected} are needed")]
    VocabularyShape {
        /// The table.
        table: String,
        /// What does not fit.
        what: &'static str,
        /// How many there are.
        found: u64,
        /// How many there should be.
        expected: u64,
    },
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
    /// The name of a raw file says another compression than its content.
    #[error(
        "{path} is {found} by its content and {expected} by its name: give it the ending that fits (.gz for gzip, .zst for \
         Zstandard, .zip for zip, another one for plain text)", path = path.display()
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
        /// "gzip", "Zstandard" or "zip".
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
        if found.is_empty() { "no file".to_owned() } else { format!("{} files ({})", found.len(), crate::error::some(found)) },
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
    /// A line of a raw file is no event.
    #[error("{path}, line {line}: {defect}; {}", defect.remedy(), path = path.display())]
    BadEvent {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        defect: crate::taobao::EventDefect,
    },
    /// A line of the original's text is no sequence.
    #[error("{path}, line {line}: {defect}; such files are written by the original's taobao_prepare.py: restore the file", path = path.display())]
    BadSequence {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        defect: crate::taobao::SequenceDefect,
    },
    /// An array in an `.npz` or `.npy` file is missing, damaged or of another form.
    #[error("{path}: array {array} {problem}; restore the file, or write it again with the program that made it", path = path.display())]
    BadArray {
        /// The file.
        path: PathBuf,
        /// The array's name.
        array: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An event occurs twice, and that is not allowed.
    #[error(
        "event {event} occurs twice: mend the files, keep such events with --duplicates keep, or leave them out with --bad-rows skip"
    )]
    DuplicateEvent {
        /// The event as a line of the raw file.
        event: String,
    },
    /// A user touched every item, so that no item is left for a negative sample.
    #[error(
        "user {user} touched all {items} items, so that there is no negative candidate: leave that user out, or add events of other users"
    )]
    NoNegative {
        /// The user as written in the raw files.
        user: u32,
        /// Distinct items of the data.
        items: u64,
    },
    /// No user has enough events for a sample.
    #[error(
        "no sample can be made: none of the {users} users has the {needed} events that one needs; pad short histories with \
         --short-history pad, or choose a shorter --ts-length",
        users = report.users
    )]
    NoWindows {
        /// Events that a user must have.
        needed: u64,
        /// What was counted.
        report: Box<crate::taobao::PrepareReport>,
    },
    /// A line of a raw file is no row.
    #[error("{path}, line {line}: {defect}; mend the file, or leave such lines out with --bad-rows skip", path = path.display())]
    BadRow {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        defect: crate::criteo::RowDefect,
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
    /// The output folder holds a raw file.
    #[error("{out} holds the raw file {path} and is not replaced: choose another output folder", out = out.display(), path = path.display())]
    OutputHoldsSource {
        /// The output folder.
        out: PathBuf,
        /// The raw file.
        path: PathBuf,
    },
    /// A table has more categories than ids have numbers.
    #[error("table {table} has more than 4,026,531,839 categories: bound it with --max-ind-range")]
    TooManyCategories {
        /// The table.
        table: String,
    },
    /// More positions of a sequence were asked for than it has.
    #[error("{positions} positions of every sequence were asked for, the data set's have {length}")]
    SequenceTooShort {
        /// Positions asked for.
        positions: u32,
        /// Positions of the data set's sequences; 0 where samples are no sequences.
        length: u32,
    },
    /// A table of events has more entries than there are numbers for them.
    #[error("the events have more than {most} different values of {table}: prepare them in parts")]
    TooManyDistinct {
        /// The column.
        table: &'static str,
        /// Most values.
        most: u64,
    },
    /// The work that a loader does on a batch ahead of its use failed.
    #[error("batch {batch}: {source}")]
    Prepare {
        /// Number of the batch in its epoch, counted from 0.
        batch: u64,
        /// What the work answered.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Raw rows cannot be encoded by the vocabulary of a data set.
    #[error("rows cannot be encoded by the vocabulary of {path}: {reason}", path = path.display())]
    NotEncodable {
        /// The data set's folder.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// A category is not in the vocabulary, and its table has no id for such categories.
    #[error("{unseen}")]
    Unseen {
        /// The category and its table.
        unseen: crate::criteo::UnseenCategory,
    },
    /// A category of a line is not in the vocabulary, and its table has no id for such categories.
    #[error("{path}, line {line}: {unseen}", path = path.display())]
    UnseenInLine {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The category and its table.
        unseen: crate::criteo::UnseenCategory,
    },
    /// Files of days were asked for, and there is one.
    #[error(
        "{path} is the only raw file, and days need two at least (the last one validates and tests): name the others, or \
         split the rows of one file with `prepare criteo-kaggle`", path = path.display()
    )]
    OneDay {
        /// The file.
        path: PathBuf,
    },
    /// The memory allowed is too little for the work.
    #[error("--memory {found} is too little: {least} bytes are the least for {threads} threads")]
    LittleMemory {
        /// Bytes allowed.
        found: u64,
        /// Bytes that are needed.
        least: u64,
        /// Threads that the work may use.
        threads: usize,
    },
    /// An interrupted preparation had other options.
    #[error(
        "{path} holds an interrupted preparation with other options ({difference}): repeat its command to continue it, or \
         discard it with --restart", path = path.display()
    )]
    OtherOptions {
        /// The work folder.
        path: PathBuf,
        /// The first option that differs, then and now.
        difference: String,
    },
    /// A raw file changed after it was parsed, and before the preparation was continued.
    #[error(
        "{path} had {before} bytes when it was parsed and has {now}: restore the file, or begin anew with --restart",
        path = path.display()
    )]
    ParsedSourceChanged {
        /// The file.
        path: PathBuf,
        /// Its size then.
        before: u64,
        /// Its size now.
        now: u64,
    },
    /// A file of an interrupted preparation is not what it should be.
    #[error("{path} {problem}: discard the interrupted preparation with --restart", path = path.display())]
    WorkFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A value in a file of another program cannot be imported.
    #[error("{path}, {unit} {number}, column {column}: {value} {problem}", path = path.display())]
    BadForeignValue {
        /// The file.
        path: PathBuf,
        /// "sample", counted from 0 in its file, or "line", counted from 1.
        unit: &'static str,
        /// Which one.
        number: u64,
        /// The column.
        column: Box<str>,
        /// What stands there.
        value: Box<str>,
        /// What is wrong with it, and what would help.
        problem: String,
    },
    /// A file of another program has another form than its format says.
    #[error("{path} {problem}", path = path.display())]
    BadForeignFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what would help.
        problem: String,
    },
    /// A column that a mapping names is not in the file.
    #[error("{path} has no column {column:?}; it has: {known}", path = path.display())]
    UnknownColumn {
        /// The file.
        path: PathBuf,
        /// The column that the mapping names.
        column: String,
        /// The columns there are.
        known: String,
    },
    /// A format is read and written only where the crate is built with a feature.
    #[error("{path} needs the feature `{feature}`: build with `--features {feature}`", path = path.display())]
    FeatureMissing {
        /// The file.
        path: PathBuf,
        /// The feature.
        feature: &'static str,
    },
    /// A format cannot hold a data set.
    #[error("{format} cannot hold this data set: {problem}")]
    NotExportable {
        /// The format.
        format: &'static str,
        /// Why, and what would help.
        problem: String,
    },
    /// A format cannot hold a value.
    #[error("{split} sample {sample}, column {column}: {value} {problem}")]
    ValueNotExportable {
        /// The split.
        split: Split,
        /// Number of the sample in its split.
        sample: u64,
        /// The column.
        column: String,
        /// The value.
        value: String,
        /// Why it cannot be written, and what would help.
        problem: String,
    },
    /// The output folder of an export holds files.
    #[error("{path} exists and is not empty: choose another folder; an export replaces nothing", path = path.display())]
    ExportExists {
        /// The folder.
        path: PathBuf,
    },
}

/// The first names of a list.
pub(crate) fn some(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let more = if names.len() > SHOWN { ", …" } else { "" };
    names[..names.len().min(SHOWN)].join(", ") + more
}

impl Error {
    /// For `map_err`: an operating system call on `path` failed.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}
