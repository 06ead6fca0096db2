//! What the program was built with.

use std::sync::LazyLock;

/// The version, and the features that the program was built with.
pub(crate) fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let features = [
            ("cuda", cfg!(feature = "cuda")),
            ("nccl", cfg!(feature = "nccl")),
            ("parquet", cfg!(feature = "parquet")),
        ];
        let features: Vec<&str> = features
            .iter()
            .filter_map(|(name, built)| built.then_some(*name))
            .collect();
        let version = env!("CARGO_PKG_VERSION");
        match features.is_empty() {
            true => format!("{version} (without features)"),
            false => format!("{version} (features {})", features.join(", ")),
        }
    });
    &VERSION
}
