//! Remedies of the libraries in the words of the programs.
//!
//! A library's error names the options of its API, in backticks. Who typed a command reads the flag
//! instead.

/// An option of a library's API, and the flag that sets it.
const FLAGS: [(&str, &str); 24] = [
    ("`BadRows::Skip`", "--bad-rows skip"),
    ("`DenseValues::AsIs`", "--dense as-is"),
    ("`DenseValues::Log`", "--dense log"),
    ("`Duplicates::Keep`", "--duplicates keep"),
    ("`ForeignIds::Rank`", "--ids rank"),
    ("`EncodeCriteo`", "`fae encode criteo`"),
    ("`HotSet::select`", "`fae profile`"),
    ("`ImportFormat::Table`", "`fae prepare table`"),
    ("`OutOfRange::Keep`", "--out-of-range keep"),
    ("`PrepareCriteo`", "`fae prepare criteo-kaggle`"),
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
        "build with the feature `parquet`, which is on by default",
    ),
    ("`restart`", "--restart"),
    ("set `Checkpoints::resume`", "add --resume"),
    ("use Device::Cpu", "use `--device cpu`"),
    ("with the feature `cuda`", "with `--features cuda`"),
];

/// Settings whose flags have their names, with dashes.
const SETTINGS: [&str; 35] = [
    "bottom_mlp",
    "budget",
    "device",
    "device_rows",
    "first",
    "heads",
    "hot_set",
    "ids_of",
    "lookahead",
    "loss_weights",
    "patience",
    "placement",
    "rate",
    "rate_ceiling",
    "rate_decrease",
    "rate_floor",
    "rate_increase",
    "replicas",
    "sample",
    "schedule",
    "strategy",
    "swap_samples",
    "threads",
    "top_mlp",
    "attention_mlp",
    "dim",
    "interact_self",
    "interaction",
    "md_round_dims",
    "md_temperature",
    "md_threshold",
    "qr_collisions",
    "qr_operation",
    "qr_threshold",
    "final_mlp",
];

/// A message with the flags of the programs in place of the options of the libraries.
///
/// ```
/// let message = "out exists: set `force` to replace it";
/// assert_eq!(fae_cli::flags::translated(message), "out exists: set --force to replace it");
/// ```
pub fn translated(message: &str) -> String {
    let message = FLAGS
        .iter()
        .fold(message.to_owned(), |message, (option, flag)| {
            message.replace(option, flag)
        });
    SETTINGS.iter().fold(message, |message, setting| {
        let flag = format!("--{}", setting.replace('_', "-"));
        message.replace(&format!("`{setting}`"), &flag)
    })
}
