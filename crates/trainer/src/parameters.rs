//! A model's parameters by name.

use candle_core::Var;
use recsys_model::distinct_names;

use crate::{Model, Result};

/// The model's parameters, copies apart, whose names differ.
///
/// # Errors
/// Two of one name: files could hold the weights and the state of one of them alone.
pub(crate) fn distinct_parameters<M: Model>(model: &M) -> Result<Vec<(String, Var)>> {
    let mut parameters = model.named_parameters();
    parameters.truncate(parameters.len() / model.copies().max(1));
    distinct_names(parameters.iter().map(|(name, _)| name.as_str()))?;
    Ok(parameters)
}
