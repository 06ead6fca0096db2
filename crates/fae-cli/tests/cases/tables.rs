//! Tables: CSV, Parquet, Arrow.
