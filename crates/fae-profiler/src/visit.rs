//! The ids of a data set, checked before anything is computed from them.
//!
//! A data set may be anybody's. What it shows must fit its schema, or the loops behind would index out of bounds.

use recsys_data::{Batch, Dataset, IdBlock, Schema};

use crate::{Error, Result};

/// Most bags of a sample: far more than any data set has, and few enough to hold a number for each.
const MAX_BAGS: usize = 1 << 24;

/// Bags of a sample.
///
/// # Errors
/// More bags than can be held.
pub(crate) fn bags(schema: &Schema) -> Result<usize> {
    match schema.bags() {
        bags if bags <= MAX_BAGS => Ok(bags),
        bags => Err(Error::TooManyBags {
            bags,
            most: MAX_BAGS,
        }),
    }
}

/// As [`Dataset::visit_ids`], for blocks that fit the schema only.
///
/// # Errors
/// Those of the data set, and [`Error::FaultyDataset`] or [`Error::DescendingOffsets`] where it shows too few or
/// too many samples, ids or offsets.
pub(crate) fn visit_ids(
    dataset: &dyn Dataset,
    numbers: &[u64],
    scratch: &mut Batch,
    visit: &mut dyn FnMut(IdBlock<'_>) -> Result<()>,
) -> Result<()> {
    if numbers.is_empty() {
        return Ok(());
    }
    let bags = bags(dataset.schema())?;
    let (mut seen, mut result) = (0, Ok(()));
    dataset.visit_ids(numbers, scratch, &mut |block| {
        if result.is_ok() {
            result = check(block, bags, numbers.len() - seen).and_then(|()| {
                seen += block.samples;
                visit(block)
            });
        }
    })?;
    result?;
    expect("samples", seen, numbers.len())
}

/// Checks that a block has an id or an offset for every bag, and that no bag leaves its ids.
fn check(block: IdBlock<'_>, bags: usize, samples_left: usize) -> Result<()> {
    if block.samples > samples_left {
        return expect("samples", block.samples, samples_left);
    }
    let bags = block.samples.saturating_mul(bags);
    if block.offsets.is_empty() {
        return expect("ids", block.ids.len(), bags);
    }
    expect("offsets", block.offsets.len(), bags.saturating_add(1))?;
    if !block.offsets.is_sorted() {
        return Err(Error::DescendingOffsets);
    }
    match block.offsets.last() {
        Some(&end) if end as usize > block.ids.len() => {
            expect("ids", block.ids.len(), end as usize)
        }
        _ => Ok(()),
    }
}

fn expect(what: &'static str, found: usize, expected: usize) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Error::FaultyDataset {
        what,
        found,
        expected,
    })
}
