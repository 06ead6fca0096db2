#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod batch;
mod card;
mod category_counts;
mod criteo;
mod dataset;
mod error;
mod exchange;
mod generate;
mod inspect;
mod last_positions;
mod loader;
mod numpy;
mod output_file;
mod packed;
mod schema;
mod subset;
mod taobao;
mod text;
mod vocabulary;
mod wide_categories;

pub use batch::{Batch, SparseIds};
pub use card::{
    Card, CardColumns, CardDataset, CardFile, CardModel, CardPrepare, CardSequence, CardTraining,
};
pub use criteo::{
    BadRows, CRITEO_DENSE, CRITEO_TABLES, DayReport, DaySplit, EncodeCriteo, EncodeOptions,
    EncodeReport, EncodedRow, Numbering, PassReport, PrepareCriteo, PrepareOptions, PrepareReport,
    PrepareTerabyte, Randomize, RawRow, Resumed, RowDefect, RowEncoder, SplitReport, SplitRule,
    TerabyteOptions, TerabyteReport, Unseen, UnseenCategory, UnseenReport, parse_row, parse_rows,
};
pub use dataset::{Dataset, IdBlock};
pub use error::{Error, Result};
#[doc(hidden)]
pub use exchange::parse_mlperf;
pub use exchange::{
    CategoricalColumn, CategoryKind, CsvForm, DenseColumn, DenseValues, ExportForeign,
    ExportFormat, ExportOptions, ExportReport, ExportedFile, ForeignCut, ForeignFormat, ForeignIds,
    ForeignOptions, ForeignParts, ForeignReport, ImportForeign, Ranking, Rerank, RerankOptions,
    TableMapping, Transform,
};
pub use generate::{
    Planted, PlantedOptions, PlantedSequences, PlantedSequencesOptions, PlantedTable, RandomData,
    RandomDataOptions,
};
pub use inspect::{
    ColumnSummary, Counted, DecodedRow, Inspect, Inspection, Pooling, SplitSummary, TableSummary,
};
pub use last_positions::LastPositions;
pub use loader::{Epoch, Loaded, Loader, LoaderOptions, Order};
#[doc(hidden)]
pub use numpy::parse_npy_header;
pub use output_file::{OutputFile, sync_folder};
pub use packed::{
    Defect, FileContent, FileReport, Manifest, PackedDataset, PackedSplit, PackedWriter,
    Provenance, ShardFile, SourceFile, Split, SplitFiles, SplitRows, Splits, Verify, VerifyReport,
    VocabularyFile, WriterOptions,
};
pub use schema::{Schema, TableSchema};
pub use subset::{SampleList, Subset};
pub use taobao::{
    Behaviour, Duplicates, EventDefect, ImportOptions, ImportReport, ImportTaobao, OutOfRange,
    PointsPerUser, PrepareTaobao, RawEvent, SequenceDefect, SequenceRules, SequenceSplit,
    ShortHistory, Spread, TaobaoOptions, TaobaoReport, parse_event, parse_events,
};
pub use text::{Progress, SkippedRows, Stage};
pub use vocabulary::{Notation, Vocabulary};
pub use wide_categories::{Category, Texts, WideCategories};
