//! Which rows are hot, part by part, and what they cost.

use std::ops::Range;

use crate::arena::stride;
use crate::encoding::{Encoding, TableSpec};
use crate::error::{Error, Result};
use crate::layout::{Layout, Part, PartKind, RowOf};
use crate::row_format::RowFormat;
use crate::store::StoreOptions;

/// Which rows of the tables a store holds.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Held<'a> {
    /// All of them.
    All,
    /// Those of [`hot_ranges`]: one number for each table.
    Hot(&'a [u64]),
    /// Those that [`hot_ranges`] leaves out.
    Cold(&'a [u64]),
    /// A range for each part; of a projection, all rows or none.
    Ranges(&'a [Range<u64>]),
}

impl Held<'_> {
    /// The rows of every part.
    pub(crate) fn ranges(
        self,
        layout: &Layout,
        parts: &[Part],
        options: &StoreOptions,
    ) -> Result<Vec<Range<u64>>> {
        let hot = |hot_rows| hot_ranges(&layout.specs, options, hot_rows);
        match self {
            Self::All => Ok(parts.iter().map(|part| 0..part.rows).collect()),
            Self::Hot(hot_rows) => check_ranges(layout, parts, &hot(hot_rows)?),
            Self::Cold(hot_rows) => {
                let hot = hot(hot_rows)?;
                let cold = hot.iter().zip(parts).map(|(hot, part)| hot.end..part.rows);
                check_ranges(layout, parts, &cold.collect::<Vec<_>>())
            }
            Self::Ranges(ranges) => check_ranges(layout, parts, ranges),
        }
    }
}

/// The rows of every part that lookups of ids below `hot_rows` touch, one number for each table: of
/// the table itself or the narrow rows of a mixed-dimension table the first `h`, of a quotient part
/// `ceil(h / collisions)`, of a remainder part `min(h, collisions)`, and a projection wholly where
/// `h` is not 0.
///
/// # Errors
/// Impossible tables, another number of hot rows than tables, or more than a table has.
pub fn hot_ranges(
    tables: &[TableSpec],
    options: &StoreOptions,
    hot_rows: &[u64],
) -> Result<Vec<Range<u64>>> {
    let (layout, parts) = Layout::new(tables.to_vec(), options.dim, &options.optimizer)?;
    check_hot_rows(tables, hot_rows)?;
    let range = |(placed, part): (&crate::layout::PartLayout, &Part)| {
        let hot = hot_rows[placed.table];
        match placed.kind {
            PartKind::Rows(RowOf::Id) => 0..hot,
            PartKind::Rows(RowOf::Quotient(collisions)) => 0..hot.div_ceil(u64::from(collisions)),
            PartKind::Rows(RowOf::Remainder(collisions)) => 0..hot.min(u64::from(collisions)),
            PartKind::Projection if hot > 0 => 0..part.rows,
            PartKind::Projection => 0..0,
        }
    };
    Ok(layout.parts.iter().zip(&parts).map(range).collect())
}

fn check_hot_rows(tables: &[TableSpec], hot_rows: &[u64]) -> Result<()> {
    if hot_rows.len() != tables.len() {
        return Err(Error::HotRowsCount {
            got: hot_rows.len(),
            tables: tables.len(),
        });
    }
    for (table, (spec, &hot)) in tables.iter().zip(hot_rows).enumerate() {
        if hot > spec.rows {
            return Err(Error::HotRowsBeyondTable {
                table,
                hot,
                rows: spec.rows,
            });
        }
    }
    Ok(())
}

/// That the ranges are rows of the parts, and of projections all or none.
fn check_ranges(layout: &Layout, parts: &[Part], ranges: &[Range<u64>]) -> Result<Vec<Range<u64>>> {
    if ranges.len() != parts.len() {
        return Err(Error::RangesCount {
            got: ranges.len(),
            parts: parts.len(),
        });
    }
    for ((range, part), placed) in ranges.iter().zip(parts).zip(&layout.parts) {
        let partly = placed.kind == PartKind::Projection
            && !range.is_empty()
            && range.end - range.start != part.rows;
        if range.start > range.end || range.end > part.rows || partly {
            return Err(Error::RowsOutOfRange {
                name: part.name.clone(),
                start: range.start,
                end: range.end,
                rows: part.rows,
            });
        }
    }
    // Nothing is the same from wherever it starts.
    let normal = |range: &Range<u64>| {
        if range.is_empty() {
            0..0
        } else {
            range.clone()
        }
    };
    Ok(ranges.iter().map(normal).collect())
}

/// Bytes on the device of the rows that lookups of a table's ids below `hot_rows` touch, with
/// optimizer state and the padding of rows that would straddle cache lines.
///
/// [`DeviceStore`](crate::DeviceStore) keeps rows without padding and needs no more than this;
/// where `device_rows` are [`Bf16`](crate::RowFormat::Bf16), whose rows have none, exactly this but
/// for projections.
pub fn device_table_bytes(spec: &TableSpec, options: &StoreOptions, hot_rows: u64) -> u64 {
    let row = |width| options.row_bytes(width);
    match spec.encoding {
        Encoding::Full => hot_rows.saturating_mul(row(options.dim)),
        Encoding::MixedDimension { dim } => {
            let projection = if hot_rows > 0 && dim < options.dim {
                // Stored transposed, and dense: one state per element, whatever the optimizer.
                let state = match options.optimizer.dense().has_dense_state() {
                    true => options.dim,
                    false => 0,
                };
                (dim as u64).saturating_mul(row_bytes(options.dim, state))
            } else {
                0
            };
            hot_rows.saturating_mul(row(dim)).saturating_add(projection)
        }
        Encoding::QuotientRemainder {
            collisions,
            combine,
        } => {
            let width = if combine == crate::Combine::Concatenate {
                options.dim / 2
            } else {
                options.dim
            };
            let collisions = collisions.max(1);
            let parts = [hot_rows.div_ceil(collisions), hot_rows.min(collisions)];
            parts[0].saturating_add(parts[1]).saturating_mul(row(width))
        }
    }
}

/// Bytes on the device that one more hot row of a table costs at most: exactly that for full tables
/// and, a projection apart, for mixed-dimension ones; a row of either part for quotient–remainder
/// tables, whose ids share rows.
pub fn device_row_bytes(spec: &TableSpec, options: &StoreOptions) -> u64 {
    match spec.encoding {
        Encoding::MixedDimension { dim } => options.row_bytes(dim),
        _ => device_table_bytes(spec, options, 1),
    }
}

impl StoreOptions {
    /// Bytes of a stored row on a device, with its state.
    fn row_bytes(&self, width: usize) -> u64 {
        let state = self.optimizer.state_width(width);
        match self.device_rows {
            RowFormat::F32 => row_bytes(width, state),
            RowFormat::Bf16 => {
                let bytes = |values: usize, each| (values as u64).saturating_mul(each as u64);
                bytes(width, self.device_rows.bytes())
                    .saturating_add(bytes(state, size_of::<f32>()))
            }
        }
    }
}

fn row_bytes(width: usize, state_width: usize) -> u64 {
    let floats = |width: usize| match width {
        0 => 0,
        width => stride(width).unwrap_or(usize::MAX) as u64,
    };
    floats(width)
        .saturating_add(floats(state_width))
        .saturating_mul(size_of::<f32>() as u64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;
    use crate::{Combine, CpuStore, DeviceStore, EmbeddingStore, Optimizer};

    #[test]
    fn bytes_are_those_of_the_store() {
        for dim in [2, 12, 16, 40] {
            for optimizer in [
                Optimizer::Sgd,
                Optimizer::adagrad(),
                Optimizer::rowwise_adagrad(),
            ] {
                for encoding in [
                    Encoding::Full,
                    Encoding::MixedDimension { dim: 2 },
                    Encoding::QuotientRemainder {
                        collisions: 32,
                        combine: Combine::Concatenate,
                    },
                    Encoding::QuotientRemainder {
                        collisions: 64,
                        combine: Combine::Add,
                    },
                ] {
                    let spec = TableSpec {
                        rows: 5000,
                        encoding,
                    };
                    let options = StoreOptions {
                        dim,
                        optimizer: optimizer.into(),
                        ..Default::default()
                    };
                    let hot = 1024;
                    // Arenas of less than a cache line are one; these are larger.
                    let store = CpuStore::hot(vec![spec], options.clone(), &[hot]).unwrap();
                    let bytes = device_table_bytes(&spec, &options, hot);
                    assert_eq!(store.memory_bytes(), bytes, "{spec:?} {options:?}");
                    let options = StoreOptions {
                        device_rows: RowFormat::Bf16,
                        ..options
                    };
                    let device = candle_core::Device::Cpu;
                    let store =
                        DeviceStore::hot(vec![spec], options.clone(), &[hot], &device).unwrap();
                    let (exact, stated) = (
                        store.memory_bytes(),
                        device_table_bytes(&spec, &options, hot),
                    );
                    match encoding {
                        Encoding::MixedDimension { .. } => assert!(exact <= stated),
                        _ => {
                            assert_eq!(exact, stated, "{spec:?} {options:?}");
                            let halved = 2 * exact <= bytes;
                            assert!(
                                halved || optimizer != Optimizer::Sgd,
                                "{spec:?} {options:?}"
                            );
                        }
                    }
                }
            }
        }
    }
}
