//! Data sets of other programs, read and written: the original's `.npz`, the MLPerf binary, TorchRec's npy triples, and tables
//! with any columns (CSV; Parquet and Arrow IPC with the feature `parquet`).

mod cuts;
mod dictionary;
mod export;
mod foreign;
mod id_rows;
mod import;
mod mlperf;
mod npz;
mod options;
mod ranking;
mod rerank;
mod table;
mod torchrec;

pub use export::{ExportForeign, ExportFormat, ExportOptions, ExportReport, ExportedFile};
pub use import::ImportForeign;
pub use mlperf::parse_mlperf;
pub use options::{
    DenseValues, ForeignCut, ForeignFormat, ForeignIds, ForeignOptions, ForeignParts, ForeignReport,
};
pub use ranking::Ranking;
pub use rerank::{Rerank, RerankOptions};
pub use table::{CategoricalColumn, CategoryKind, CsvForm, DenseColumn, TableMapping, Transform};
