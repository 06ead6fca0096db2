//! The shards of one split while they are being written.

use std::path::Path;

use super::block::{BlockBuffer, BlockBytes};
use super::layout::ShardLayout;
use super::manifest::{ShardFile, SplitFiles};
use super::shard_files::ShardFiles;
use super::{BLOCK_SAMPLES, xxh3_hex};
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::packed::error::Error as PackedError;
use crate::schema::Schema;
use crate::split::Split;

/// A shard to be written: its name, its shape, and where its tensors start in the file.
#[derive(Debug)]
pub(super) struct ShardPlan {
    name: String,
    pub(super) layout: ShardLayout,
    label: u64,
    dense: u64,
    ids: u64,
    offsets: u64,
}

impl ShardPlan {
    pub(super) fn new(layout: ShardLayout) -> Self {
        let at = |name| layout.position(name);
        let (label, dense, ids) = (at("label"), at("dense"), at("ids"));
        let offsets = if layout.multi_hot { at("offsets") } else { 0 };
        Self {
            name: layout.split.shard_name(layout.shard),
            label,
            dense,
            ids,
            offsets,
            layout,
        }
    }

    /// Size of the file as far as it is known before the samples are.
    pub(super) fn least_bytes(&self) -> u64 {
        self.layout.file_bytes(if self.layout.multi_hot {
            0
        } else {
            self.layout.single_hot_ids()
        })
    }

    /// Writes samples that start at row `row` of the shard, and in multi-hot data at id `id`.
    fn write(
        &self,
        files: &mut ShardFiles,
        row: u64,
        id: u64,
        bytes: &BlockBytes<'_>,
    ) -> Result<()> {
        let ShardLayout {
            dense,
            bags,
            multi_hot,
            ..
        } = self.layout;
        let id = if multi_hot { id } else { row * bags };
        files.write_at(&self.name, self.label + row * 4, bytes.label)?;
        if !bytes.dense.is_empty() {
            files.write_at(&self.name, self.dense + row * dense * 4, bytes.dense)?;
        }
        if !bytes.ids.is_empty() {
            files.write_at(&self.name, self.ids + id * 4, bytes.ids)?;
        }
        if multi_hot {
            files.write_at(&self.name, self.offsets + row * bags * 8, bytes.offsets)?;
        }
        Ok(())
    }

    /// Writes header and checksums and syncs the file.
    fn close(&self, files: &mut ShardFiles, ids: u64, checksums: &[u8]) -> Result<ShardFile> {
        let header = self.layout.header(ids);
        files.write_at(&self.name, 0, &header)?;
        files.write_at(&self.name, header.len() as u64, checksums)?;
        let bytes = self.layout.file_bytes(ids);
        files.close(&self.name, bytes)?;
        Ok(ShardFile {
            file: self.name.clone(),
            rows: self.layout.rows,
            bytes,
            header_xxh3: xxh3_hex(&header),
            checksums_xxh3: xxh3_hex(checksums),
        })
    }
}

/// How the samples of a split come.
#[derive(Debug)]
enum Mode {
    /// None came yet.
    Fresh,
    /// One after the other; blocks are checked and hashed on the way.
    Append,
    /// In any order, each row once: one bit a row. Blocks are hashed at the end.
    Scatter(Vec<u64>),
}

/// Writes one split.
#[derive(Debug)]
pub(super) struct SplitWriter {
    split: Split,
    announced: u64,
    written: u64,
    shard_rows: u64,
    shards: Vec<ShardPlan>,
    mode: Mode,
    buffer: BlockBuffer,
    /// While appending: the shard, its rows and ids already on disk, and their checksums.
    shard: usize,
    rows: u64,
    ids: u64,
    checksums: Vec<u8>,
    done: Vec<ShardFile>,
}

impl SplitWriter {
    /// Bytes that a split takes at least.
    pub(super) fn needed(schema: &Schema, split: Split, rows: u64, shard_rows: u64) -> u64 {
        let bytes = |rows| ShardPlan::new(ShardLayout::new(schema, split, 0, rows)).least_bytes();
        let last = rows % shard_rows;
        let full = if rows < shard_rows {
            0
        } else {
            bytes(shard_rows).saturating_mul(rows / shard_rows)
        };
        full.saturating_add(if last == 0 { 0 } else { bytes(last) })
    }

    /// Reserves the files of a split.
    pub(super) fn create(
        files: &mut ShardFiles,
        schema: &Schema,
        split: Split,
        announced: u64,
        shard_rows: u64,
        needed: u64,
    ) -> Result<Self> {
        let mut shards = Vec::new();
        for shard in 0..announced.div_ceil(shard_rows) {
            let rows = shard_rows.min(announced - shard * shard_rows);
            let plan = ShardPlan::new(ShardLayout::new(schema, split, shard, rows));
            files.reserve(&plan.name, plan.least_bytes(), needed)?;
            shards.push(plan);
        }
        Ok(Self::new(schema, split, announced, shard_rows, shards))
    }

    /// Reserves the file of one shard, to write that alone.
    pub(super) fn of_shard(
        files: &mut ShardFiles,
        schema: &Schema,
        plan: ShardPlan,
    ) -> Result<Self> {
        let (split, rows) = (plan.layout.split, plan.layout.rows);
        let bytes = plan.least_bytes();
        files.reserve(&plan.name, bytes, bytes)?;
        Ok(Self::new(schema, split, rows, rows, vec![plan]))
    }

    fn new(
        schema: &Schema,
        split: Split,
        announced: u64,
        shard_rows: u64,
        shards: Vec<ShardPlan>,
    ) -> Self {
        let mut buffer = BlockBuffer::default();
        buffer.restart(0, schema.multi_hot);
        let (mode, done, checksums) = (Mode::Fresh, Vec::new(), Vec::new());
        let (written, shard, rows, ids) = (0, 0, 0, 0);
        Self {
            split,
            announced,
            written,
            shard_rows,
            shards,
            mode,
            buffer,
            shard,
            rows,
            ids,
            checksums,
            done,
        }
    }

    fn check_room(&self, more: usize) -> Result<()> {
        let written = self.written + more as u64;
        if written > self.announced {
            return Err(Error::Packed(PackedError::TooManyRows {
                split: self.split,
                announced: self.announced,
                written,
            }));
        }
        Ok(())
    }

    /// Adds samples behind those that came before.
    pub(super) fn append(
        &mut self,
        files: &mut ShardFiles,
        schema: &Schema,
        batch: &Batch,
        target: &Path,
    ) -> Result<()> {
        batch.check(schema)?;
        self.check_room(batch.len())?;
        match self.mode {
            Mode::Fresh => self.mode = Mode::Append,
            Mode::Append => {}
            Mode::Scatter(_) => {
                return Err(Error::Packed(PackedError::MixedWriting {
                    split: self.split,
                }));
            }
        }
        let mut at = 0;
        while at < batch.len() {
            let left = self.shards[self.shard].layout.rows - self.rows - self.buffer.samples as u64;
            let room = (BLOCK_SAMPLES - self.buffer.samples as u64).min(left);
            let end = batch.len().min(at + room as usize);
            self.buffer.push(batch, at..end, schema);
            if (end - at) as u64 == room {
                self.write_block(files, schema, target)?;
            }
            at = end;
        }
        self.written += batch.len() as u64;
        Ok(())
    }

    fn write_block(
        &mut self,
        files: &mut ShardFiles,
        schema: &Schema,
        target: &Path,
    ) -> Result<()> {
        let plan = &self.shards[self.shard];
        let bytes = self.buffer.bytes();
        if let Some(bad) = bytes.bad_value(schema) {
            let first = self.shard as u64 * self.shard_rows + self.rows;
            return Err(
                bad.into_error(&target.join(&plan.name), self.split, |sample| {
                    first + sample as u64
                }),
            );
        }
        plan.write(files, self.rows, self.ids, &bytes)?;
        self.checksums
            .extend(bytes.checksums(schema.multi_hot).flat_map(u64::to_le_bytes));
        self.rows += self.buffer.samples as u64;
        self.ids = self.buffer.last_offset();
        self.buffer.restart(self.ids, schema.multi_hot);
        if self.rows == plan.layout.rows {
            self.done
                .push(plan.close(files, self.ids, &self.checksums)?);
            self.checksums.clear();
            self.buffer.restart(0, schema.multi_hot);
            (self.shard, self.rows, self.ids) = (self.shard + 1, 0, 0);
        }
        Ok(())
    }

    /// Puts sample `i` of the batch into row `positions[i]`.
    pub(super) fn scatter(
        &mut self,
        files: &mut ShardFiles,
        schema: &Schema,
        positions: &[u64],
        batch: &Batch,
        target: &Path,
    ) -> Result<()> {
        batch.check(schema)?;
        if positions.len() != batch.len() {
            return Err(Error::BatchShape {
                what: "positions",
                found: positions.len(),
                expected: batch.len(),
            });
        }
        if schema.multi_hot {
            return Err(Error::Packed(PackedError::ScatterMultiHot));
        }
        self.check_room(batch.len())?;
        if let Mode::Fresh = self.mode {
            self.mode = Mode::Scatter(vec![0; self.announced.div_ceil(64) as usize]);
        }
        let Mode::Scatter(seen) = &mut self.mode else {
            return Err(Error::Packed(PackedError::MixedWriting {
                split: self.split,
            }));
        };
        for &row in positions {
            if row >= self.announced {
                return Err(Error::SampleOutOfRange {
                    sample: row,
                    len: self.announced,
                });
            }
            let (word, bit) = ((row / 64) as usize, 1 << (row % 64));
            if seen[word] & bit != 0 {
                return Err(Error::Packed(PackedError::RowWrittenTwice {
                    split: self.split,
                    row,
                }));
            }
            seen[word] |= bit;
        }
        self.buffer.restart(0, false);
        self.buffer.push(batch, 0..batch.len(), schema);
        let bytes = self.buffer.bytes();
        if let Some(bad) = bytes.bad_value(schema) {
            return Err(bad.into_error(target, self.split, |sample| positions[sample]));
        }
        let (dense, ids) = (4 * schema.dense_values(), 4 * schema.bags());
        let mut start = 0;
        while start < positions.len() {
            let shard = positions[start] / self.shard_rows;
            let follows = |&end: &usize| {
                end < positions.len()
                    && positions[end] == positions[end - 1] + 1
                    && positions[end] / self.shard_rows == shard
            };
            let end = (start + 1..).find(|end| !follows(end)).unwrap_or(start + 1);
            let part = BlockBytes {
                label: &bytes.label[start * 4..end * 4],
                dense: &bytes.dense[start * dense..end * dense],
                ids: &bytes.ids[start * ids..end * ids],
                offsets: &[],
            };
            self.shards[shard as usize].write(
                files,
                positions[start] % self.shard_rows,
                0,
                &part,
            )?;
            start = end;
        }
        self.written += batch.len() as u64;
        Ok(())
    }

    /// Closes the shards.
    pub(super) fn finish(mut self, files: &mut ShardFiles) -> Result<SplitFiles> {
        if self.written < self.announced {
            return Err(Error::Packed(PackedError::RowsMissing {
                split: self.split,
                announced: self.announced,
                written: self.written,
            }));
        }
        if let Mode::Scatter(_) = self.mode {
            for plan in &self.shards {
                let checksums = scattered_checksums(plan, files)?;
                self.done
                    .push(plan.close(files, plan.layout.single_hot_ids(), &checksums)?);
            }
        }
        Ok(SplitFiles {
            rows: self.announced,
            shards: self.done,
        })
    }
}

/// Reads a scattered shard back, block by block, and hashes it.
fn scattered_checksums(plan: &ShardPlan, files: &mut ShardFiles) -> Result<Vec<u8>> {
    let ShardLayout {
        rows, dense, bags, ..
    } = plan.layout;
    let mut checksums = Vec::new();
    let mut bytes = Vec::new();
    for first in (0..rows).step_by(BLOCK_SAMPLES as usize) {
        let samples = BLOCK_SAMPLES.min(rows - first);
        for (start, width) in [
            (plan.label, 4),
            (plan.dense, 4 * dense),
            (plan.ids, 4 * bags),
        ] {
            bytes.resize((samples * width) as usize, 0);
            files.read_at(&plan.name, start + first * width, &mut bytes)?;
            checksums.extend(xxhash_rust::xxh3::xxh3_64(&bytes).to_le_bytes());
        }
    }
    Ok(checksums)
}
