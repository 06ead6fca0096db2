//! Remedies of the libraries in the words of the programs.
//!
//! A library's error names the options of its API, in backticks. Who typed a command reads the flag instead.

/// An option of a library's API, and the flag that sets it.
const FLAGS: [(&str, &str); 22] = [
    ("`BadRows::Skip`", "--bad-rows skip"),
    ("`DenseValues::AsIs`", "--dense as-is"),
    ("`DenseValues::Log`", "--dense log"),
    ("`Duplicates::Keep`", "--duplicates keep"),
    ("`ForeignIds::Rank`", "--ids rank"),
    ("`HotSet::select`", "the example `profile`"),
    ("`ImportFormat::Table`", "`prepare table`"),
    ("`OutOfRange::Keep`", "--out-of-range keep"),
    ("`PrepareCriteo`", "`prepare criteo-kaggle`"),
    ("`ShortHistory::Pad`", "--short-history pad"),
    ("`Unseen::Hash`", "--unseen hash"),
    ("`Unseen::Unknown`", "--unseen unknown"),
    ("`counts`", "--counts"),
    ("`force`", "--force"),
    ("`history`", "--ts-length"),
    ("`max_ind_range`", "--max-ind-range"),
    ("`memory`", "--memory"),
    ("`min_count`", "--min-count"),
    (
        "build recsys-data with it",
        "build with `--features parquet`",
    ),
    ("`restart`", "--restart"),
    ("use Device::Cpu", "use `--device cpu`"),
    ("with the feature `cuda`", "with `--features cuda`"),
];

/// A message with the flags of the programs in place of the options of the libraries.
///
/// ```
/// let message = "out exists: set `force` to replace it";
/// assert_eq!(examples::flags::translated(message), "out exists: set --force to replace it");
/// ```
pub fn translated(message: &str) -> String {
    FLAGS
        .iter()
        .fold(message.to_owned(), |message, (option, flag)| {
            message.replace(option, flag)
        })
}
