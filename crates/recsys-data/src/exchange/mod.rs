//! Data sets of other programs, read and written: the original's `.npz`, the MLPerf binary, TorchRec's npy triples, and tables
//! with any columns (CSV; Parquet and Arrow IPC with the feature `parquet`).

mod cuts;
mod dictionary;
mod error;
mod export;
mod foreign;
mod id_rows;
mod import;
mod mlperf;
mod npz;
mod options;
mod ranking;
mod rerank;
mod rules;
mod table;
mod torchrec;

pub use crate::numpy::parse_npy_header;
#[doc(hidden)]
pub use error::Error;
pub use export::{
    ExportForeign, ExportFormat, ExportLayout, ExportOptions, ExportReport, ExportedFile,
};
pub use import::ImportForeign;
#[doc(hidden)]
pub use mlperf::parse_mlperf;
pub use options::{ForeignCut, ForeignParts, ImportFormat, ImportOptions, ImportReport};
pub use ranking::Ranking;
pub use rerank::{Rerank, RerankOptions};
pub use rules::{DenseValues, ForeignIds};
pub use table::{
    CategoricalColumn, CategoryKind, CsvForm, DenseColumn, LabelColumn, TableMapping, Transform,
};
