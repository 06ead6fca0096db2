//! Where the numbers of a file's tensors are.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use zip::{CompressionMethod, ZipArchive};

use super::pickle::{Nodes, read_pickle};
use super::value::{Node, Storage, Value};
use crate::text::list_of;

/// The number that begins the older form, as a pickled integer.
const MAGIC: [u8; 12] = *b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19";
/// Protocols, frames and the magic number of the older form are before this byte.
const MAGIC_WITHIN: usize = 32;
/// What the description of the tensors is called in an archive.
const DESCRIPTION: &str = "data.pkl";

/// What is wrong with a packed member.
fn packed(name: &str) -> String {
    format!(
        "holds {} in packed form; load it in PyTorch and save it again, or write the archive \
         without packing",
        list_of([name])
    )
}

/// Whether a file that begins so is a zip archive.
pub(super) fn is_zip(start: &[u8]) -> bool {
    start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06")
}

/// Whether a file that begins so is a pickle, of protocol 2 or later.
pub(super) fn is_pickle(start: &[u8]) -> bool {
    matches!(start, [0x80, 2..=5, ..])
}

/// Bytes of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) bytes: u64,
}

/// What a file holds: a pickle, and the numbers of its storages.
pub(super) struct Contents {
    pub(super) root: Value,
    /// By key; `None` where a storage is packed.
    storages: HashMap<String, Option<Span>>,
}

impl Contents {
    /// Reads the pickle of a file and finds the storages.
    ///
    /// # Errors
    /// A file of another kind, or a damaged one.
    pub(super) fn read(file: &mut File, nodes: &mut Nodes) -> Result<Self, String> {
        let unreadable = |error: std::io::Error| format!("cannot be read ({error})");
        let mut start = Vec::new();
        let head = file.by_ref().take(MAGIC_WITHIN as u64);
        { head }.read_to_end(&mut start).map_err(unreadable)?;
        file.rewind().map_err(unreadable)?;
        if is_zip(&start) {
            return Self::in_zip(file, nodes);
        }
        if !start.windows(MAGIC.len()).any(|part| part == MAGIC) {
            return Err(
                "is a pickle that torch.save did not write; save `model.state_dict()` with it"
                    .to_owned(),
            );
        }
        Self::in_sequence(file, nodes)
    }

    fn in_zip(file: &File, nodes: &mut Nodes) -> Result<Self, String> {
        let damaged = |error: zip::result::ZipError| format!("is damaged ({error})");
        let mut archive = ZipArchive::new(BufReader::new(file)).map_err(damaged)?;
        let mut members: Vec<(String, Option<Span>)> = Vec::new();
        let mut description = None;
        for index in 0..archive.len() {
            let member = archive.by_index_raw(index).map_err(damaged)?;
            let name = member.name().map_err(damaged)?.into_owned();
            let is_description = name.rsplit('/').next() == Some(DESCRIPTION);
            if is_description && description.is_none() {
                let folder = name.strip_suffix(DESCRIPTION).unwrap_or_default();
                description = Some((index, folder.to_owned()));
            }
            let plain = member.compression() == CompressionMethod::STORE && !member.encrypted();
            let span = member.data_start().filter(|_| plain).map(|start| Span {
                start,
                bytes: member.size().min(member.compressed_size()),
            });
            members.push((name, span));
        }
        let Some((index, folder)) = description else {
            let names = list_of(members.iter().map(|(name, _)| name.as_str()));
            return Err(format!(
                "is an archive without {DESCRIPTION}; it has {names}: unpack it, or save \
                 `model.state_dict()` with torch.save"
            ));
        };
        if members[index].1.is_none() {
            return Err(packed(DESCRIPTION));
        }
        let order = format!("{folder}byteorder");
        if let Ok(mut order) = archive.by_name(&order) {
            let mut text = [0; 3];
            if order.read_exact(&mut text).is_ok() && text == *b"big" {
                return Err(
                    "was saved by a big-endian machine; load it in PyTorch and save it \
                            again on this one"
                        .to_owned(),
                );
            }
        }
        let mut reader = archive.by_index(index).map_err(damaged)?;
        let root = read_pickle(&mut BufReader::new(&mut reader), nodes)?;
        let folder = format!("{folder}data/");
        let storages = members
            .into_iter()
            .filter_map(|(name, span)| Some((name.strip_prefix(&folder)?.to_owned(), span)));
        Ok(Self {
            root,
            storages: storages.collect(),
        })
    }

    /// The older form: a magic number, a version, the machine's properties, the tensors, the keys
    /// of the storages (a pickle each), then for each key a count and the numbers.
    fn in_sequence(file: &mut File, nodes: &mut Nodes) -> Result<Self, String> {
        let unreadable = |error: std::io::Error| format!("is cut off ({error})");
        let length = file.metadata().map_err(unreadable)?.len();
        let mut reader = BufReader::new(file);
        for _ in 0..3 {
            read_pickle(&mut reader, nodes)?;
        }
        let root = read_pickle(&mut reader, nodes)?;
        let keys = read_pickle(&mut reader, nodes)?;
        let sizes = nodes.storage_sizes();
        let mut storages = HashMap::new();
        let mut start = reader.stream_position().map_err(unreadable)?;
        for &key in nodes.sequence(keys).unwrap_or_default() {
            let Some((key, &size)) = nodes.text(key).and_then(|key| Some((key, sizes.get(key)?)))
            else {
                return Err("is damaged: it has numbers of no tensor".to_owned());
            };
            let mut count = [0; 8];
            reader.seek(SeekFrom::Start(start)).map_err(unreadable)?;
            reader.read_exact(&mut count).map_err(unreadable)?;
            let bytes = u64::from_le_bytes(count).checked_mul(size);
            let span = bytes.and_then(|bytes| {
                let span = Span {
                    start: start + 8,
                    bytes,
                };
                (span.start.checked_add(bytes)? <= length).then_some(span)
            });
            let span = span.ok_or("is cut off: numbers of a tensor are missing")?;
            start = span.start + span.bytes;
            storages.insert(key.to_owned(), Some(span));
        }
        Ok(Self { root, storages })
    }

    /// Where a storage is.
    ///
    /// # Errors
    /// It is not in the file, or packed.
    pub(super) fn storage(&self, storage: &Storage) -> Result<Span, String> {
        match self.storages.get(&*storage.key) {
            Some(Some(span)) => Ok(*span),
            Some(None) => Err(packed(&storage.key)),
            None => Err(format!(
                "is damaged: the storage {} is missing",
                list_of([&*storage.key])
            )),
        }
    }
}

impl Nodes {
    /// Bytes of a number of every storage, by key.
    fn storage_sizes(&self) -> HashMap<&str, u64> {
        let storages = self.all().filter_map(|node| match node {
            Node::Storage(storage) => Some((&*storage.key, storage.kind.bytes)),
            _ => None,
        });
        storages.collect()
    }
}
