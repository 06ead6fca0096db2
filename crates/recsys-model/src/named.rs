//! Flat parameters as named tensors and back.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use candle_core::{DType, Device, Tensor};

use crate::{Error, Result};

/// One named parameter tensor and its place in the flat buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterSpec {
    /// Its name in files.
    pub name: String,
    /// `[outputs, inputs]` of a weight, `[outputs]` of a bias.
    pub shape: Vec<usize>,
    /// Its values in the flat buffer, row-major.
    pub range: Range<usize>,
}

/// An empty buffer with room for `parameters` values.
///
/// # Errors
/// [`Error::Allocation`], where there is no such room.
pub fn room_for(parameters: usize) -> Result<Vec<f32>> {
    let mut room = Vec::new();
    match room.try_reserve_exact(parameters) {
        Ok(()) => Ok(room),
        Err(_) => Err(Error::Allocation {
            bytes: (parameters as u64).saturating_mul(4),
        }),
    }
}

/// Copies of the flat parameters under their names, in the order of `specs`.
///
/// # Errors
/// candle's, where the device fails.
pub fn named_tensors(flat: &Tensor, specs: Vec<ParameterSpec>) -> Result<Vec<(String, Tensor)>> {
    let named = |spec: ParameterSpec| -> Result<(String, Tensor)> {
        let values = flat.narrow(0, spec.range.start, spec.range.len())?.copy()?;
        Ok((spec.name, values.reshape(spec.shape)?))
    };
    specs.into_iter().map(named).collect()
}

/// The flat parameters from named tensors, which must be those of `specs`, no more and no fewer, in
/// any order. `specs` must cover the flat buffer in its order.
///
/// # Errors
/// When names are missing or unknown (all of them are listed), when a shape differs, or when candle
/// fails.
pub fn flat_parameters(
    specs: Vec<ParameterSpec>,
    parameters: &HashMap<String, Tensor>,
    device: &Device,
) -> Result<Tensor> {
    let missing: Vec<String> = specs
        .iter()
        .filter(|spec| !parameters.contains_key(&spec.name))
        .map(|spec| spec.name.clone())
        .collect();
    let known = |name: &str| specs.iter().any(|spec| spec.name == name);
    let mut unknown: Vec<String> = parameters
        .keys()
        .filter(|name| !known(name))
        .cloned()
        .collect();
    if !missing.is_empty() || !unknown.is_empty() {
        unknown.sort_unstable();
        return Err(Error::ParameterNames { missing, unknown });
    }
    let mut flat = Vec::with_capacity(specs.len());
    for spec in specs {
        let Some(tensor) = parameters.get(&spec.name) else {
            continue;
        };
        if tensor.dims() != spec.shape {
            let found = tensor.dims().to_vec();
            return Err(Error::ParameterShape {
                name: spec.name,
                expected: spec.shape,
                found,
            });
        }
        flat.push(
            tensor
                // Through the host: candle's copy from device to device may run when what it reads
                // is gone.
                .to_device(&Device::Cpu)?
                .to_device(device)?
                .to_dtype(DType::F32)?
                .flatten_all()?,
        );
    }
    Ok(Tensor::cat(&flat, 0)?.detach())
}

/// That no name stands twice.
///
/// # Errors
/// [`Error::DuplicateName`].
pub fn distinct_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            let name = name.to_owned();
            return Err(Error::DuplicateName { name });
        }
    }
    Ok(())
}
