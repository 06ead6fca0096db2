//! Events grouped by user, in memory or in temporary files.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::Behaviour;
use crate::error::{Error, Result};
use crate::packed::disk_space;

/// An event of known users and items, both numbered in the order of their first appearance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Event {
    /// The user's number.
    pub(super) user: u32,
    /// The item's number, with the behaviour in the two highest bits.
    item: u32,
    /// Unix time in seconds.
    pub(super) time: i32,
}

impl Event {
    /// Items are numbered below this.
    pub(super) const MOST_ITEMS: usize = 1 << 30;
    const BYTES: usize = 12;

    pub(super) fn new(user: u32, item: u32, behaviour: Behaviour, time: i32) -> Self {
        let item = item | (behaviour as u32) << 30;
        Self { user, item, time }
    }

    /// The item's number.
    #[inline]
    pub(super) fn item(self) -> u32 {
        self.item & (Self::MOST_ITEMS as u32 - 1)
    }

    pub(super) fn behaviour(self) -> Behaviour {
        Behaviour::ALL[(self.item >> 30) as usize]
    }

    /// Item and behaviour in one number.
    pub(super) fn deed(self) -> u32 {
        self.item
    }

    fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        for (into, word) in
            bytes
                .as_chunks_mut::<4>()
                .0
                .iter_mut()
                .zip([self.user, self.item, self.time as u32])
        {
            *into = word.to_le_bytes();
        }
        bytes
    }

    fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Self {
            user: word(0),
            item: word(4),
            time: word(8) as i32,
        }
    }
}

/// Users with neighbouring numbers share a partition. Events come into the partitions in the order of the text and keep it there.
/// When all events together pass the limit, they move to a temporary file, partition by partition; what a partition holds is then
/// its piece of every such file, and what came last in memory.
///
/// The temporary files lie beside the output and have no name, so that the system removes them whatever happens.
#[derive(Debug)]
pub(super) struct EventStore {
    folder: PathBuf,
    /// Most events in memory.
    most: usize,
    held: usize,
    events: u64,
    partitions: Vec<Vec<Event>>,
    runs: Vec<Run>,
}

#[derive(Debug)]
struct Run {
    file: Mutex<File>,
    /// Events before each partition, and in all.
    starts: Vec<u64>,
}

impl EventStore {
    /// Users of a partition. Sorting one then stays in the cache.
    const USERS: u32 = 256;

    /// A store that keeps `memory` bytes of events before it writes below `folder`.
    pub(super) fn new(folder: &Path, memory: u64) -> Self {
        let most = (memory / Event::BYTES as u64).max(1);
        Self {
            folder: folder.to_path_buf(),
            most: usize::try_from(most).unwrap_or(usize::MAX),
            held: 0,
            events: 0,
            partitions: Vec::new(),
            runs: Vec::new(),
        }
    }

    /// Adds an event.
    ///
    /// # Errors
    /// The temporary file cannot be written.
    #[inline]
    pub(super) fn push(&mut self, event: Event) -> Result<()> {
        let partition = (event.user / Self::USERS) as usize;
        if partition >= self.partitions.len() {
            self.partitions.resize_with(partition + 1, Vec::new);
        }
        let partition = &mut self.partitions[partition];
        if partition.len() == partition.capacity() && partition.len() >= 1024 {
            // Less than doubling: the unused part of all partitions together would be large.
            partition.reserve_exact(partition.len() / 4);
        }
        partition.push(event);
        self.held += 1;
        self.events += 1;
        if self.held >= self.most {
            self.spill()?;
        }
        Ok(())
    }

    /// Events in all.
    pub(super) fn len(&self) -> u64 {
        self.events
    }

    /// Bytes that went to temporary files.
    pub(super) fn spilled_bytes(&self) -> u64 {
        let events = |run: &Run| run.starts.last().copied().unwrap_or_default();
        self.runs.iter().map(events).sum::<u64>() * Event::BYTES as u64
    }

    pub(super) fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// Events of a partition.
    pub(super) fn partition_len(&self, partition: usize) -> usize {
        let pieces = self.runs.iter().map(|run| run.piece(partition));
        let spilled: u64 = pieces.map(|piece| piece.end - piece.start).sum();
        self.partitions[partition].len() + spilled as usize
    }

    /// The events of a partition, in the order of the text.
    ///
    /// # Errors
    /// A temporary file cannot be read.
    pub(super) fn load(&self, partition: usize) -> Result<Vec<Event>> {
        let mut events = Vec::with_capacity(self.partition_len(partition));
        let mut bytes = Vec::new();
        for run in &self.runs {
            let piece = run.piece(partition);
            bytes.resize((piece.end - piece.start) as usize * Event::BYTES, 0);
            let mut file = run.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(piece.start * Event::BYTES as u64))
                .and_then(|_| file.read_exact(&mut bytes))
                .map_err(Error::io("cannot read temporary events in", &self.folder))?;
            drop(file);
            events.extend(bytes.as_chunks().0.iter().map(Event::from_bytes));
        }
        events.extend_from_slice(&self.partitions[partition]);
        Ok(events)
    }

    fn spill(&mut self) -> Result<()> {
        let run = self.write_run().map_err(|source| match source.kind() {
            std::io::ErrorKind::StorageFull => Error::NoSpace {
                path: self.folder.clone(),
                needed: (self.held * Event::BYTES) as u64,
                available: disk_space::available(&self.folder),
                source,
            },
            _ => Error::Io {
                action: "cannot write temporary events in",
                path: self.folder.clone(),
                source,
            },
        })?;
        self.runs.push(run);
        self.partitions.iter_mut().for_each(|partition| {
            *partition = Vec::new();
        });
        self.held = 0;
        Ok(())
    }

    fn write_run(&self) -> std::io::Result<Run> {
        std::fs::create_dir_all(&self.folder)?;
        let mut file = BufWriter::with_capacity(1 << 20, tempfile::tempfile_in(&self.folder)?);
        let mut starts = vec![0];
        let mut written = 0;
        for partition in &self.partitions {
            for event in partition {
                file.write_all(&event.to_bytes())?;
            }
            written += partition.len() as u64;
            starts.push(written);
        }
        let file = file.into_inner().map_err(|error| error.into_error())?;
        Ok(Run {
            file: Mutex::new(file),
            starts,
        })
    }
}

impl Run {
    /// Where a partition's events lie; users that came later have none.
    fn piece(&self, partition: usize) -> Range<u64> {
        match self.starts.get(partition..partition + 2) {
            Some(piece) => piece[0]..piece[1],
            None => 0..0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_partition_gives_back_its_events_in_order_whatever_the_memory(
            users in prop::collection::vec(0u32..2000, 0..3000), most in 1u64..4000,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let mut store = EventStore::new(folder.path(), most * Event::BYTES as u64);
            let events: Vec<Event> = users.iter().zip(0..).map(|(&user, item)| {
                Event::new(user, item, Behaviour::ALL[item as usize % 4], -(item as i32))
            }).collect();
            for &event in &events {
                store.push(event).unwrap();
            }
            prop_assert_eq!(store.len(), events.len() as u64);
            let mut seen = 0;
            for partition in 0..store.partitions() {
                let loaded = store.load(partition).unwrap();
                let expected: Vec<Event> = events.iter().copied()
                    .filter(|event| (event.user / EventStore::USERS) as usize == partition).collect();
                prop_assert_eq!(store.partition_len(partition), expected.len());
                prop_assert_eq!(&loaded, &expected);
                seen += loaded.len();
            }
            prop_assert_eq!(seen, events.len());
        }
    }
}
