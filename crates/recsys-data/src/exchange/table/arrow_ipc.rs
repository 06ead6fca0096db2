//! Arrow IPC: files (Feather too) and streams, as one sequence of messages.
//!
//! A file is a stream between a magic word and a footer. Every length that a message names is
//! compared with what there is before the library decodes it: it would allocate first.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::{Buffer, MutableBuffer};
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{read_dictionary, read_record_batch};
use arrow_ipc::{
    CompressionType, Message, MessageHeader, RecordBatch as BatchMessage, root_as_footer,
    root_as_message,
};
use arrow_schema::SchemaRef;

use super::arrow_files::{ArrowTable, damaged};
use super::files::TableFiles;
use super::quiet::without_panic;
use crate::error::{Error, Result};

const MAGIC: &[u8] = b"ARROW1";
const CONTINUATION: u32 = u32::MAX;
/// What a batch may take where it is unpacked, whatever its size in the file.
const MOST_UNPACKED: u64 = 256 << 20;
/// What it may take for each of its bytes beyond that.
const MOST_RATIO: u64 = 1 << 12;

/// A file whose messages are read in their order.
struct Messages {
    path: PathBuf,
    file: BufReader<File>,
    /// Bytes up to the footer, or of the stream, that were not read.
    left: u64,
    /// Batches that the footer names.
    expected: Option<usize>,
    schema: SchemaRef,
    dictionaries: HashMap<i64, ArrayRef>,
    /// The columns of the mapping.
    projection: Vec<usize>,
    found: usize,
    ended: bool,
}

type Problem<T> = std::result::Result<T, String>;

pub(super) fn open(files: &TableFiles, path: &Path) -> Result<ArrowTable> {
    let file = File::open(path).map_err(Error::io("cannot open", path))?;
    let messages = without_panic(|| Messages::new(path, file)).and_then(|messages| messages);
    let mut messages = messages.map_err(|problem| damaged(path, problem))?;
    let names: Vec<String> = messages
        .schema
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    let used = |name: &String| files.mapping.columns().any(|column| column == name);
    messages.projection = (0..names.len()).filter(|&at| used(&names[at])).collect();
    Ok(ArrowTable {
        names,
        batches: Box::new(messages),
    })
}

impl Messages {
    fn new(path: &Path, mut file: File) -> Problem<Self> {
        let io = |error: std::io::Error| error.to_string();
        let size = file.seek(SeekFrom::End(0)).map_err(io)?;
        let mut first = vec![0; size.min(8) as usize];
        file.rewind().map_err(io)?;
        file.read_exact(&mut first).map_err(io)?;
        if first.starts_with(b"FEA1") {
            return Err("it is Feather of version 1: write it again as version 2".to_owned());
        }
        let (mut expected, mut bytes) = (None, 0..size);
        if first.starts_with(MAGIC) {
            let (footer, batches) = footer(&mut file, size)?;
            (expected, bytes) = (Some(batches), first.len() as u64..footer);
        }
        file.seek(SeekFrom::Start(bytes.start)).map_err(io)?;
        let mut messages = Self {
            path: path.to_path_buf(),
            file: BufReader::new(file),
            left: bytes.end.saturating_sub(bytes.start),
            expected,
            schema: SchemaRef::new(arrow_schema::Schema::empty()),
            dictionaries: HashMap::new(),
            projection: Vec::new(),
            found: 0,
            ended: false,
        };
        let metadata = messages.metadata()?.ok_or("it has no schema")?;
        let message = parse(&metadata)?;
        let schema = message.header_as_schema().ok_or("it has no schema")?;
        if !schema.endianness().equals_to_target_endianness() {
            return Err("its numbers have the byte order of another machine".to_owned());
        }
        messages.body(&message)?;
        messages.schema = Arc::new(try_fb_to_schema(schema).map_err(|error| error.to_string())?);
        Ok(messages)
    }

    /// The metadata of the next message; `None` at the end.
    fn metadata(&mut self) -> Problem<Option<Vec<u8>>> {
        if self.left == 0 && self.expected.is_some() {
            return Ok(None);
        }
        // Without it a stream that was cut between two messages would look whole.
        let cut = || "it has no end mark".to_owned();
        let mut length = self.number().map_err(|_| cut())?;
        if length == CONTINUATION {
            length = self.number()?;
        }
        if length == 0 {
            return Ok(None);
        }
        let mut metadata = vec![0; self.take(i64::from(length as i32))?];
        self.read(&mut metadata)?;
        Ok(Some(metadata))
    }

    /// The body of a message.
    fn body(&mut self, message: &Message<'_>) -> Problem<Buffer> {
        let mut body = MutableBuffer::from_len_zeroed(self.take(message.bodyLength())?);
        self.read(&mut body)?;
        Ok(body.into())
    }

    fn number(&mut self) -> Problem<u32> {
        let mut bytes = [0; 4];
        self.take(4)?;
        self.read(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// Some of the bytes that are left.
    fn take(&mut self, bytes: i64) -> Problem<usize> {
        let taken = u64::try_from(bytes)
            .ok()
            .filter(|&bytes| bytes <= self.left);
        let taken = taken
            .ok_or_else(|| format!("a message has {bytes} bytes, where {} are left", self.left))?;
        self.left -= taken;
        usize::try_from(taken).map_err(|error| error.to_string())
    }

    fn read(&mut self, into: &mut [u8]) -> Problem<()> {
        self.file
            .read_exact(into)
            .map_err(|error| error.to_string())
    }

    fn batch(&mut self) -> Problem<Option<(RecordBatch, u64)>> {
        let before = self.left;
        while let Some(metadata) = self.metadata()? {
            let message = parse(&metadata)?;
            let body = self.body(&message)?;
            let version = message.version();
            match message.header_type() {
                MessageHeader::DictionaryBatch => {
                    let batch = message.header_as_dictionary_batch();
                    let batch = batch.ok_or("a dictionary is damaged")?;
                    check(batch.data().ok_or("a dictionary has no values")?, &body)?;
                    let dictionaries = &mut self.dictionaries;
                    read_dictionary(&body, batch, &self.schema, dictionaries, &version)
                        .map_err(|error| error.to_string())?;
                }
                MessageHeader::RecordBatch => {
                    let batch = message.header_as_record_batch();
                    let batch = batch.ok_or("a batch is damaged")?;
                    check(batch, &body)?;
                    self.found += 1;
                    let schema = Arc::clone(&self.schema);
                    let projection = Some(self.projection.as_slice());
                    let dictionaries = &self.dictionaries;
                    let batch =
                        read_record_batch(&body, batch, schema, dictionaries, projection, &version)
                            .map_err(|error| error.to_string())?;
                    return Ok(Some((batch, before - self.left)));
                }
                other => return Err(format!("a message is {other:?} and no batch")),
            }
        }
        match self.expected {
            Some(expected) if expected != self.found => Err(format!(
                "it holds {} batches, and its footer names {expected}",
                self.found
            )),
            _ => Ok(None),
        }
    }
}

impl Iterator for Messages {
    type Item = Result<(RecordBatch, u64)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let batch = without_panic(|| self.batch()).and_then(|batch| batch);
        self.ended = !matches!(batch, Ok(Some(_)));
        batch
            .map_err(|problem| damaged(&self.path, problem))
            .transpose()
    }
}

fn parse(metadata: &[u8]) -> Problem<Message<'_>> {
    root_as_message(metadata).map_err(|error| first_line(&error))
}

/// Where the footer of a file starts, and how many batches it names.
fn footer(file: &mut File, size: u64) -> Problem<(u64, usize)> {
    const TAIL: u64 = 10;
    let io = |error: std::io::Error| error.to_string();
    let mut tail = [0; TAIL as usize];
    let before = size.checked_sub(TAIL).ok_or("it is too short")?;
    file.seek(SeekFrom::Start(before)).map_err(io)?;
    file.read_exact(&mut tail).map_err(io)?;
    let (length, magic) = tail.split_at(4);
    let length = u32::from_le_bytes(length.try_into().unwrap_or_default());
    let start = before.checked_sub(length.into());
    let (Some(start), true) = (start, magic == MAGIC) else {
        return Err("it has no footer".to_owned());
    };
    let mut footer = vec![0; length as usize];
    file.seek(SeekFrom::Start(start)).map_err(io)?;
    file.read_exact(&mut footer).map_err(io)?;
    let footer = root_as_footer(&footer).map_err(|error| first_line(&error))?;
    Ok((
        start,
        footer.recordBatches().map_or(0, |batches| batches.len()),
    ))
}

/// What is wrong, without the trace through the structure that follows.
fn first_line(error: &impl ToString) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}

/// Whether all that a batch names lies in its body, also what is packed there.
fn check(batch: BatchMessage<'_>, body: &[u8]) -> Problem<()> {
    let negative = || "a batch has a length below 0".to_owned();
    let nodes = batch.nodes().into_iter().flatten();
    let mut lengths = nodes.flat_map(|node| [node.length(), node.null_count()]);
    if batch.length() < 0 || lengths.any(|length| length < 0) {
        return Err(negative());
    }
    let codec = batch.compression().map(|compression| compression.codec());
    let mut unpacked: u64 = 0;
    for buffer in batch.buffers().into_iter().flatten() {
        let start = usize::try_from(buffer.offset()).map_err(|_| negative())?;
        let length = usize::try_from(buffer.length()).map_err(|_| negative())?;
        let end = start.checked_add(length);
        let bytes = end.and_then(|end| body.get(start..end));
        let bytes = bytes.ok_or("a buffer reaches beyond its message")?;
        if let (Some(codec), Some((prefix, packed))) = (codec, bytes.split_first_chunk()) {
            // -1: not packed.
            let length = u64::try_from(i64::from_le_bytes(*prefix)).unwrap_or(0);
            unpacked = unpacked.saturating_add(length);
            if !may_unpack(codec, packed, length) {
                return Err(format!("a packed buffer cannot hold {length} bytes"));
            }
        }
    }
    if unpacked > MOST_UNPACKED.max((body.len() as u64).saturating_mul(MOST_RATIO)) {
        return Err(format!(
            "a batch of {} bytes unpacks to {unpacked}",
            body.len()
        ));
    }
    Ok(())
}

/// Whether packed bytes may stand for that number of unpacked ones.
fn may_unpack(codec: CompressionType, packed: &[u8], length: u64) -> bool {
    if codec == CompressionType::LZ4_FRAME {
        // A byte stands for 255 at most.
        return length <= (packed.len() as u64).saturating_mul(255);
    }
    match zstd::zstd_safe::get_frame_content_size(packed) {
        Ok(Some(content)) => length == 0 || content == length,
        Ok(None) => true,
        Err(_) => length == 0,
    }
}
