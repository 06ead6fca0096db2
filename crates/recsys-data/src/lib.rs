#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod batch;
mod card;
mod category_counts;
mod criteo;
mod dataset;
mod error;
mod generate;
mod last_positions;
mod loader;
mod output_file;
mod packed;
mod schema;
mod subset;
mod taobao;
mod text;
mod vocabulary;

pub use batch::{Batch, SparseIds};
pub use card::{
    Card, CardColumns, CardDataset, CardFile, CardModel, CardPrepare, CardSequence, CardTraining,
};
pub use criteo::{
    BadRows, CRITEO_DENSE, CRITEO_TABLES, Numbering, PassReport, PrepareCriteo, PrepareOptions,
    PrepareReport, Randomize, RawRow, RowDefect, SplitReport, SplitRule, parse_row, parse_rows,
};
pub use dataset::{Dataset, IdBlock};
pub use error::{Error, Result};
pub use generate::{
    Planted, PlantedOptions, PlantedSequences, PlantedSequencesOptions, PlantedTable, RandomData,
    RandomDataOptions,
};
pub use last_positions::LastPositions;
pub use loader::{Epoch, Loaded, Loader, LoaderOptions, Order};
pub use output_file::OutputFile;
pub use packed::{
    Manifest, PackedDataset, PackedSplit, PackedWriter, Provenance, ShardFile, SourceFile, Split,
    SplitFiles, SplitRows, Splits, VocabularyFile, WriterOptions,
};
pub use schema::{Schema, TableSchema};
pub use subset::{SampleList, Subset};
pub use taobao::{
    Behaviour, Duplicates, EventDefect, ImportOptions, ImportReport, ImportTaobao, OutOfRange,
    PointsPerUser, PrepareTaobao, RawEvent, SequenceDefect, SequenceRules, SequenceSplit,
    ShortHistory, Spread, TaobaoOptions, TaobaoReport, parse_event, parse_events,
};
pub use text::{Progress, SkippedRows, Stage};
pub use vocabulary::Vocabulary;
