//! A model that does not fit the machine is an error, and not the end of the process.

use embedding_store::memory_limit;
use recsys_data::Schema;

use crate::error::{Result, require};
use crate::model::ModelConfig;

/// Refuses a model whose weights, or whose batches of that many samples, are larger than all memory
/// of the machine. Embedding tables are the store's, which refuses those itself.
///
/// # Errors
/// That, and a shape that makes no sense.
pub(crate) fn check_memory(config: &ModelConfig, schema: &Schema, batch: u64) -> Result<()> {
    const FLOAT: u64 = size_of::<f32>() as u64;
    let weights = config.parameter_count()? as u64;
    // Of a sample: dense values, and rows with their gradients.
    let rows = (schema.tables.len() as u64).checked_mul(2 * config.dim() as u64);
    let sample = rows.and_then(|rows| rows.checked_add(schema.dense.len() as u64));
    let sample = sample.and_then(|floats| floats.checked_mul(schema.positions() as u64));
    let limit = memory_limit().unwrap_or(isize::MAX as u64);
    for (what, floats, remedy) in [
        (
            "the dense weights",
            Some(weights),
            "give the MLPs smaller widths",
        ),
        (
            "a batch",
            sample.and_then(|floats| floats.checked_mul(batch)),
            "give a smaller batch size, or prepare shorter sequences",
        ),
    ] {
        let bytes = floats.and_then(|floats| floats.checked_mul(FLOAT));
        require!(
            bytes.is_some_and(|bytes| bytes <= limit),
            "{what} would take {} bytes and the machine has {limit}: {remedy}",
            bytes.map_or("more than 2^64".into(), |bytes| bytes.to_string())
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

    use std::num::NonZeroU32;

    use dlrm::DlrmConfig;
    use recsys_data::TableSchema;

    use super::*;

    #[test]
    fn widths_and_sequences_that_fit_no_machine_are_refused() {
        let table = TableSchema {
            name: "C1".into(),
            rows: 9,
        };
        let schema = |length: Option<u32>| Schema {
            dense: vec!["I1".into()],
            tables: vec![table.clone()],
            sequence_length: length.map(|length| NonZeroU32::new(length).unwrap()),
            ..Schema::default()
        };
        let model = |width: usize| {
            ModelConfig::Dlrm(DlrmConfig {
                tables: 1,
                bottom: vec![1, width, 16],
                ..DlrmConfig::default()
            })
        };
        let refused = |model: &ModelConfig, schema: &Schema, batch| {
            check_memory(model, schema, batch).unwrap_err().to_string()
        };
        check_memory(&model(64), &schema(None), 2048).unwrap();
        let message = refused(&model(1 << 45), &schema(None), 1);
        assert!(
            message.starts_with("the dense weights would take"),
            "{message}"
        );
        for (length, batch) in [(u32::MAX, u64::MAX), (u32::MAX, 1 << 20), (1, 1 << 50)] {
            let message = refused(&model(64), &schema(Some(length)), batch);
            assert!(message.starts_with("a batch would take"), "{message}");
        }
    }
}
