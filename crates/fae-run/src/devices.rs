//! Devices by name.

use candle_core::Device;
use recsys_device::cuda_device;

use crate::error::{Context, Result, require};

/// Opens the first of the devices that a text names: `cpu`, `cuda`, `cuda:1`.
///
/// # Errors
/// Another text, or a device that this build or machine does not have.
pub fn one_device(text: &str) -> Result<Device> {
    Ok(devices(text, None)?.swap_remove(0))
}

/// Opens the devices that a text names: `cpu`, which `replicas` of a model may share, `cuda`,
/// `cuda:1` or `cuda:0,1`.
///
/// # Errors
/// As [`one_device`], and `replicas` beside NVIDIA devices.
pub fn devices(text: &str, replicas: Option<u16>) -> Result<Vec<Device>> {
    if text == "cpu" {
        return Ok(vec![Device::Cpu; replicas.map_or(1, usize::from)]);
    }
    let numbers = match text.strip_prefix("cuda") {
        Some("") => "0",
        Some(rest) => rest.strip_prefix(':').unwrap_or("?"),
        None => "?",
    };
    let numbers: Vec<usize> = numbers
        .split(',')
        .map(|number| number.parse().ok())
        .collect::<Option<_>>()
        .context(|| format!("device `{text}`: give cpu, cuda, cuda:N or cuda:N,M,…"))?;
    require!(
        replicas.is_none(),
        "`replicas` stands for several devices on the CPU; with {text}, name the devices: cuda:0,1"
    );
    let open = |number| cuda_device(number).context(|| format!("device `{text}`"));
    numbers.into_iter().map(open).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

    use std::error::Error as _;

    use super::*;

    #[test]
    fn devices_are_read_or_say_what_is_missing() {
        assert_eq!(devices("cpu", None).unwrap().len(), 1);
        assert_eq!(devices("cpu", Some(3)).unwrap().len(), 3);
        for text in ["gpu", "cudax", "cuda:", "cuda:x", "cuda:0,,1"] {
            let error = devices(text, None).unwrap_err().to_string();
            assert!(error.contains(text) && error.contains("cuda:N"), "{error}");
        }
        if !candle_core::utils::cuda_is_available() {
            let error = devices("cuda:0,1", None).unwrap_err();
            let cause = error.source().unwrap().to_string();
            assert!(cause.contains("the feature `cuda`"), "{cause}");
        }
    }
}
