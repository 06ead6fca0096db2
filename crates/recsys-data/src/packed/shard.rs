//! A memory-mapped shard.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};

use super::block::{BlockBytes, floats, ids, ids_in_place, longs};
use super::header::parse_header;
use super::layout::ShardLayout;
use super::manifest::ShardFile;
use super::{BLOCK_SAMPLES, FORMAT, FORMAT_VERSION, xxh3_hex};
use crate::batch::{Batch, SparseIds};
use crate::dataset::IdBlock;
use crate::error::{Error, Result};
use crate::input_file::open_regular;
use crate::packed::error::Error as PackedError;
use crate::schema::Schema;

/// A shard whose header and checksums are those of the manifest. Blocks are checked when they are first touched.
#[derive(Debug)]
pub(super) struct Shard {
    path: PathBuf,
    layout: ShardLayout,
    /// Number of the first sample in the split.
    first_sample: u64,
    map: Mmap,
    file: File,
    /// The last reading that found the file as long as its map.
    checked: AtomicU64,
    checksums: Range<usize>,
    label: Range<usize>,
    dense: Range<usize>,
    ids: Range<usize>,
    offsets: Range<usize>,
    /// One bit a block.
    verified: Vec<AtomicU64>,
}

impl Shard {
    /// Maps a shard and compares its header and checksums with the manifest.
    pub(super) fn open(
        folder: &Path,
        entry: &ShardFile,
        layout: ShardLayout,
        first_sample: u64,
    ) -> Result<Self> {
        let path = folder.join(&entry.file);
        let file = open_regular(&path).map_err(Error::io("cannot open", &path))?;
        // SAFETY: the map is read-only and lives as long as `Self`. That nobody changes the file meanwhile is asked for in the
        // documentation of `PackedDataset`; this crate replaces data sets by renaming and never writes to a finished file.
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io("cannot map", &path))?;
        check_identity(&path, &map, &layout, entry)?;
        let altered = |part| {
            Error::Packed(PackedError::Altered {
                path: path.clone(),
                part,
            })
        };
        let found = map.len() as u64;
        if found != entry.bytes {
            return Err(Error::Packed(PackedError::FileSize {
                path,
                expected: entry.bytes,
                found,
            }));
        }
        let Some((header, _)) = parse_header(&map) else {
            return Err(altered("the header"));
        };
        if xxh3_hex(header) != entry.header_xxh3 {
            return Err(altered("the header"));
        }
        let (length, metadata) =
            SafeTensors::read_metadata(&map).map_err(|_| altered("the header"))?;
        let data = length + 8;
        let ids = metadata
            .info("ids")
            .map_or(0, |info| info.shape.iter().product::<usize>() as u64);
        let range = |name: &str| {
            if name == "offsets" && !layout.multi_hot {
                return Ok(0..0);
            }
            let expected = layout
                .tensors(ids)
                .into_iter()
                .find(|tensor| tensor.name == name);
            let info = metadata
                .info(name)
                .zip(expected)
                .filter(|(info, expected)| {
                    let dtype = matches!(
                        (info.dtype, expected.dtype),
                        (Dtype::U64, "U64") | (Dtype::F32, "F32") | (Dtype::U32, "U32")
                    );
                    dtype
                        && info
                            .shape
                            .iter()
                            .map(|&extent| extent as u64)
                            .eq(expected.shape.iter().copied())
                });
            let Some((info, _)) = info else {
                return Err(altered("a tensor's shape"));
            };
            Ok(data + info.data_offsets.0..data + info.data_offsets.1)
        };
        let (checksums, offsets) = (range("checksums")?, range("offsets")?);
        let (label, dense, ids) = (range("label")?, range("dense")?, range("ids")?);
        if xxh3_hex(&map[checksums.clone()]) != entry.checksums_xxh3 {
            return Err(altered("the tensor of checksums"));
        }
        let verified = (0..layout.blocks().div_ceil(64))
            .map(|_| AtomicU64::new(0))
            .collect();
        Ok(Self {
            path,
            layout,
            first_sample,
            map,
            file,
            checked: AtomicU64::new(0),
            checksums,
            label,
            dense,
            ids,
            offsets,
            verified,
        })
    }

    /// Refuses to go on where the file has become shorter than its map, which must not be read
    /// there. Looks once for each reading, as `Access::begin` numbers them.
    pub(super) fn check_whole(&self, reading: u64) -> Result<()> {
        if self.checked.load(Ordering::Relaxed) == reading {
            return Ok(());
        }
        self.check_file()?;
        self.checked.store(reading, Ordering::Relaxed);
        Ok(())
    }

    fn check_file(&self) -> Result<()> {
        check_length(&self.file, &self.path, self.map.len() as u64)
    }

    /// Number of samples.
    pub(super) fn rows(&self) -> u64 {
        self.layout.rows
    }

    /// Number of the first sample in the split.
    pub(super) fn first_sample(&self) -> u64 {
        self.first_sample
    }

    /// Number of blocks.
    pub(super) fn blocks(&self) -> u64 {
        self.layout.blocks()
    }

    /// Part of a tensor whose rows have `width` bytes.
    fn part(&self, tensor: &Range<usize>, width: u64, rows: &Range<u64>) -> &[u8] {
        &self.map[tensor.clone()][(rows.start * width) as usize..(rows.end * width) as usize]
    }

    /// Offsets of samples `rows`, with the end of the last bag.
    fn offsets(&self, rows: &Range<u64>) -> &[u8] {
        let bags = rows.start * self.layout.bags..rows.end * self.layout.bags + 1;
        self.part(&self.offsets, 8, &bags)
    }

    /// The bytes of samples `rows`; `None` where offsets point outside the ids.
    fn bytes(&self, rows: &Range<u64>) -> Option<BlockBytes<'_>> {
        let label = self.part(&self.label, 4, rows);
        let dense = self.part(&self.dense, 4 * self.layout.dense, rows);
        if !self.layout.multi_hot {
            let ids = self.part(&self.ids, 4 * self.layout.bags, rows);
            return Some(BlockBytes {
                label,
                dense,
                ids,
                offsets: &[],
            });
        }
        let offsets = self.offsets(rows);
        let (first, last) = (longs(offsets).next()?, longs(offsets).next_back()?);
        let (start, end) = (usize::try_from(first).ok()?, usize::try_from(last).ok()?);
        let ids = self.map[self.ids.clone()].get(start.checked_mul(4)?..end.checked_mul(4)?)?;
        Some(BlockBytes {
            label,
            dense,
            ids,
            offsets,
        })
    }

    /// The samples of some blocks, as rows of this shard.
    pub(super) fn rows_of(&self, blocks: Range<u64>) -> Range<u64> {
        blocks.start * BLOCK_SAMPLES..self.layout.rows.min(blocks.end * BLOCK_SAMPLES)
    }

    /// Checks values and checksums of a block.
    pub(super) fn verify(&self, block: u64, schema: &Schema) -> Result<()> {
        let mut errors = Vec::new();
        self.examine(block, schema, &mut errors);
        errors.into_iter().next().map_or(Ok(()), Err)
    }

    /// Adds to `errors` what is wrong with a block: its first value out of range, and every tensor that does not have its
    /// checksum.
    pub(super) fn examine(&self, block: u64, schema: &Schema, errors: &mut Vec<Error>) {
        if let Err(error) = self.check_file() {
            errors.push(error);
            return;
        }
        let rows = self.rows_of(block..block + 1);
        let damaged = |tensor| {
            Error::Packed(PackedError::DamagedBlock {
                path: self.path.clone(),
                tensor,
                split: self.layout.split,
                first: self.first_sample + rows.start,
                last: self.first_sample + rows.end - 1,
            })
        };
        let tensors = self.layout.checked_tensors();
        let width = 8 * tensors.len() as u64;
        let expected = self.part(&self.checksums, width, &(block..block + 1));
        if self.layout.multi_hot {
            // Ids are found through offsets, so these come first.
            let found = xxhash_rust::xxh3::xxh3_64(self.offsets(&rows));
            if longs(expected).nth(3) != Some(found) {
                errors.push(damaged("offsets"));
                return;
            }
        }
        let Some(bytes) = self.bytes(&rows) else {
            errors.push(damaged("offsets"));
            return;
        };
        // A value out of range says more than a checksum does.
        if let Some(bad) = bytes.bad_value(schema) {
            let number = |sample| self.first_sample + rows.start + sample as u64;
            errors.push(bad.into_error(&self.path, self.layout.split, number));
        }
        let found = bytes.checksums(self.layout.multi_hot);
        for ((expected, found), tensor) in longs(expected).zip(found).zip(tensors) {
            if expected != found {
                errors.push(damaged(tensor));
            }
        }
    }

    /// Samples of a block whose label is 1; none where the file was truncated.
    pub(super) fn positives(&self, block: u64) -> u64 {
        if self.check_file().is_err() {
            return 0;
        }
        let labels = self.part(&self.label, 4, &self.rows_of(block..block + 1));
        floats(labels).filter(|&label| label == 1.0).count() as u64
    }

    /// Why some bytes of the file belong to no block, so that no checksum speaks for them; `None` where there are none.
    pub(super) fn uncovered(&self) -> Option<&'static str> {
        let known = [
            &self.checksums,
            &self.offsets,
            &self.label,
            &self.dense,
            &self.ids,
        ];
        let starts = known.iter().filter(|range| !range.is_empty());
        let start = starts.map(|range| range.start).min();
        let known: usize = known.iter().map(|range| range.len()).sum();
        if start.is_none_or(|start| start + known != self.map.len()) {
            return Some("it holds tensors that no packed data set has");
        }
        if !self.layout.multi_hot {
            return None;
        }
        let offsets = longs(&self.map[self.offsets.clone()]);
        let ends = (offsets.clone().next(), offsets.clone().next_back());
        let whole = (Some(0), Some(self.ids.len() as u64 / 4));
        (ends != whole).then_some("it holds ids that belong to no sample")
    }

    /// The word that holds a block's bit, and the bit.
    fn verified_bit(&self, block: u64) -> (&AtomicU64, u64) {
        (&self.verified[(block / 64) as usize], 1 << (block % 64))
    }

    /// Checks the blocks of samples `rows` that nobody checked before. Two threads may check the same block; the result is
    /// the same.
    fn verify_touched(&self, rows: &Range<u64>, schema: &Schema) -> Result<()> {
        for block in blocks_of(rows) {
            let (word, bit) = self.verified_bit(block);
            if word.load(Ordering::Relaxed) & bit == 0 {
                self.verify(block, schema)?;
                word.fetch_or(bit, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Says whether samples will be read in another order than an ascending one.
    pub(super) fn advise(&self, scattered: bool) {
        #[cfg(unix)]
        let _ = self.map.advise(match scattered {
            false => memmap2::Advice::Normal,
            true => memmap2::Advice::Random,
        });
    }

    /// Asks the system for what reading samples `rows` will touch: the whole of a block that nobody checked before. Where
    /// the ids of multi-hot samples lie is known only when their offsets are there, so these are not asked for.
    pub(super) fn read_ahead(&self, rows: Range<u64>) {
        for block in blocks_of(&rows) {
            let whole = self.rows_of(block..block + 1);
            let (word, bit) = self.verified_bit(block);
            if word.load(Ordering::Relaxed) & bit == 0 {
                self.ask_for(whole);
            } else {
                self.ask_for(rows.start.max(whole.start)..rows.end.min(whole.end));
            }
        }
    }

    fn ask_for(&self, rows: Range<u64>) {
        let layout = &self.layout;
        let ask = |tensor: &Range<usize>, width: u64| {
            let start = tensor.start + (rows.start * width) as usize;
            let end = tensor.start + (rows.end * width) as usize;
            if start < end {
                #[cfg(unix)]
                let _ = self
                    .map
                    .advise_range(memmap2::Advice::WillNeed, start, end - start);
            }
        };
        ask(&self.label, 4);
        ask(&self.dense, 4 * layout.dense);
        match layout.multi_hot {
            false => ask(&self.ids, 4 * layout.bags),
            true => ask(&self.offsets, 8 * layout.bags),
        }
    }

    /// Adds samples `rows` of this shard to a batch.
    pub(super) fn read(&self, rows: Range<u64>, schema: &Schema, into: &mut Batch) -> Result<()> {
        self.verify_touched(&rows, schema)?;
        let too_many = || Error::TooManyIds {
            samples: rows.end - rows.start,
        };
        let Some(bytes) = self.bytes(&rows) else {
            return Err(too_many());
        };
        into.label.extend(floats(bytes.label));
        into.dense.extend(floats(bytes.dense));
        let sparse = &mut into.sparse;
        if !extend_offsets(bytes, sparse) {
            return Err(too_many());
        }
        sparse.ids.extend(ids(bytes.ids));
        Ok(())
    }

    /// Shows the ids of samples `rows` of this shard where they lie; offsets are turned into those of the block in `scratch`.
    pub(super) fn visit_ids(
        &self,
        rows: Range<u64>,
        schema: &Schema,
        scratch: &mut SparseIds,
        visit: &mut dyn FnMut(IdBlock<'_>),
    ) -> Result<()> {
        self.verify_touched(&rows, schema)?;
        let samples = rows.end - rows.start;
        scratch.clear();
        if self.layout.multi_hot {
            scratch.offsets.push(0);
        }
        let bytes = self.bytes(&rows);
        let Some(bytes) = bytes.filter(|bytes| extend_offsets(*bytes, scratch)) else {
            return Err(Error::TooManyIds { samples });
        };
        let shown = match ids_in_place(bytes.ids) {
            Some(ids) => ids,
            None => {
                scratch.ids.extend(ids(bytes.ids));
                &scratch.ids
            }
        };
        visit(IdBlock {
            samples: samples as usize,
            ids: shown,
            offsets: &scratch.offsets,
        });
        Ok(())
    }
}

/// Refuses a file of another length.
pub(super) fn check_length(file: &File, path: &Path, expected: u64) -> Result<()> {
    let metadata = file.metadata().map_err(Error::io("cannot read", path))?;
    let found = metadata.len();
    if found != expected {
        return Err(Error::Packed(PackedError::FileSize {
            path: path.into(),
            expected,
            found,
        }));
    }
    Ok(())
}

/// The blocks that hold samples `rows`.
fn blocks_of(rows: &Range<u64>) -> Range<u64> {
    rows.start / BLOCK_SAMPLES..rows.end.div_ceil(BLOCK_SAMPLES)
}

/// Adds the offsets of multi-hot samples to those of a batch; `false` where its ids would be too many for 32 bits.
fn extend_offsets(bytes: BlockBytes<'_>, sparse: &mut SparseIds) -> bool {
    if bytes.offsets.is_empty() {
        return true;
    }
    let base = sparse.ids.len() as u64;
    if u32::try_from(base + bytes.ids.len() as u64 / 4).is_err() {
        return false;
    }
    let first = longs(bytes.offsets).next().unwrap_or(0);
    // The check above keeps every one of them within u32.
    sparse.offsets.extend(
        longs(bytes.offsets)
            .skip(1)
            .map(|offset| (base + offset - first) as u32),
    );
    true
}

/// Compares what a file says about itself with what the manifest expects under its name, so that a file of another version
/// or a swapped one is called just that.
fn check_identity(path: &Path, file: &[u8], layout: &ShardLayout, entry: &ShardFile) -> Result<()> {
    let size = || {
        Error::Packed(PackedError::FileSize {
            path: path.into(),
            expected: entry.bytes,
            found: file.len() as u64,
        })
    };
    let Some((header, json)) = parse_header(file) else {
        let short = (file.len() as u64) < entry.bytes;
        return Err(if short {
            size()
        } else {
            Error::Packed(PackedError::Altered {
                path: path.into(),
                part: "the header",
            })
        });
    };
    if xxh3_hex(header) == entry.header_xxh3 {
        return Ok(());
    }
    let field = |name: &str| {
        json.get("__metadata__")
            .and_then(|metadata| metadata.get(name)?.as_str())
            .unwrap_or("")
    };
    if field("format") != FORMAT {
        return Err(Error::Packed(PackedError::Altered {
            path: path.into(),
            part: "the header (it is not that of a packed shard)",
        }));
    }
    if field("version") != FORMAT_VERSION.to_string() {
        let found = field("version").to_owned();
        return Err(Error::Packed(PackedError::FormatVersion {
            path: path.into(),
            found,
            supported: FORMAT_VERSION,
        }));
    }
    let (split, shard) = (field("split"), field("shard"));
    if split != layout.split.name() || shard != layout.shard.to_string() {
        return Err(Error::Packed(PackedError::WrongShard {
            path: path.into(),
            expected: format!("shard {} of {}", layout.shard, layout.split),
            found: format!("shard {shard} of {split}"),
        }));
    }
    Ok(())
}
