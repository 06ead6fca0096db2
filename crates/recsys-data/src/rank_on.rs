//! Which samples decide the ranks of categories.

use serde::{Deserialize, Serialize};

/// Over which samples categories are counted for their ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RankOn {
    /// The training samples. Hot rows are the first ones of their tables, so these are then the
    /// most frequent ones in training. Categories that occur in other splits alone come last; a
    /// least count of rare categories is one in training, too.
    #[default]
    Train,
    /// The samples of every split.
    All,
}
