//! The header of a safetensors file, written so that the same contents give the same bytes.
//!
//! The `safetensors` crate writes `__metadata__` in the order of a hash map, which changes from run to run; reading uses it.

use serde_json::{Map, Value};

/// A tensor of a file: name, type as safetensors spells it, and shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TensorEntry {
    pub(crate) name: &'static str,
    pub(crate) dtype: &'static str,
    pub(crate) shape: Vec<u64>,
}

impl TensorEntry {
    /// Size of the data; saturates where it would not fit.
    pub(crate) fn bytes(&self) -> u64 {
        let element = match self.dtype {
            "U64" => 8,
            "U8" => 1,
            _ => 4,
        };
        self.shape
            .iter()
            .fold(element, |bytes: u64, &extent| bytes.saturating_mul(extent))
    }
}

/// The header of a file that holds `tensors` in this order: length, JSON, and spaces up to `least` bytes and to a multiple of
/// eight, so that every tensor that follows is aligned in a memory map.
pub(crate) fn encode_header(
    metadata: &[(&str, String)],
    tensors: &[TensorEntry],
    least: usize,
) -> Vec<u8> {
    let metadata = metadata
        .iter()
        .map(|(key, value)| ((*key).to_owned(), Value::from(value.as_str())));
    let mut entries = vec![("__metadata__".to_owned(), Value::Object(metadata.collect()))];
    let mut position = 0u64;
    for tensor in tensors {
        let end = position.saturating_add(tensor.bytes());
        let entry = [
            ("data_offsets".to_owned(), Value::from(vec![position, end])),
            ("dtype".to_owned(), Value::from(tensor.dtype)),
            ("shape".to_owned(), Value::from(tensor.shape.clone())),
        ];
        entries.push((
            tensor.name.into(),
            Value::Object(entry.into_iter().collect()),
        ));
        position = end;
    }
    // Sorted here as well, so that the bytes are the same where serde_json keeps the order of insertion.
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    let mut json = Value::Object(entries.into_iter().collect())
        .to_string()
        .into_bytes();
    let length = (json.len() + 8).max(least).next_multiple_of(8) - 8;
    json.resize(length, b' ');
    let mut header = (length as u64).to_le_bytes().to_vec();
    header.append(&mut json);
    header
}

/// The bytes of the header (length included) at the start of a file, and its JSON; `None` where there is no header.
pub(crate) fn parse_header(file: &[u8]) -> Option<(&[u8], Map<String, Value>)> {
    let length = u64::from_le_bytes(file.get(..8)?.try_into().ok()?);
    let end = usize::try_from(length).ok()?.checked_add(8)?;
    let header = file.get(..end)?;
    let json = serde_json::from_slice(&header[8..]).ok()?;
    Some((header, json))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_safetensors_crate_reads_what_is_written() {
        let tensors = [
            TensorEntry {
                name: "count",
                dtype: "U64",
                shape: vec![3],
            },
            TensorEntry {
                name: "category",
                dtype: "U32",
                shape: vec![3],
            },
        ];
        let mut file = encode_header(&[("b", "1".into()), ("a", "2".into())], &tensors, 0);
        assert_eq!(file.len() % 8, 0);
        file.extend_from_slice(&[0; 36]);
        let (length, metadata) = safetensors::SafeTensors::read_metadata(&file).unwrap();
        assert_eq!(length + 8 + 36, file.len());
        assert_eq!(metadata.info("category").unwrap().data_offsets, (24, 36));
        assert_eq!(metadata.metadata().as_ref().unwrap()["a"], "2");
        let (header, json) = parse_header(&file).unwrap();
        assert_eq!(header.len(), length + 8);
        assert_eq!(json["__metadata__"]["b"], "1");
    }
}
