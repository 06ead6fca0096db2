//! Sorted files of tallies, merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::path::PathBuf;

use super::positional::read_exact_at;
use super::tally::Tally;
use crate::error::{Error, Result};

/// Sorted tallies on disk, read from the front a piece at a time. The file is open only while a piece is read, so that there may be
/// any number of them.
#[derive(Debug)]
pub(super) struct TallyReader {
    path: PathBuf,
    position: u64,
    end: u64,
    piece: Vec<Tally>,
    next: usize,
    buffer: usize,
}

impl TallyReader {
    /// Reads a file, `buffer` bytes at a time.
    ///
    /// # Errors
    /// The file is missing.
    pub(super) fn new(path: PathBuf, buffer: usize) -> Result<Self> {
        let end = path
            .metadata()
            .map_err(Error::io("cannot open", &path))?
            .len();
        Ok(Self {
            path,
            position: 0,
            end,
            piece: Vec::new(),
            next: 0,
            buffer,
        })
    }

    /// Shows tallies that are in memory.
    pub(super) fn of(piece: Vec<Tally>) -> Self {
        Self {
            path: PathBuf::new(),
            position: 0,
            end: 0,
            piece,
            next: 0,
            buffer: 0,
        }
    }

    fn next(&mut self) -> Result<Option<Tally>> {
        if self.next == self.piece.len() && self.position < self.end {
            self.fill()?;
        }
        let tally = self.piece.get(self.next).copied();
        self.next += 1;
        Ok(tally)
    }

    fn fill(&mut self) -> Result<()> {
        let bytes = (self.end - self.position).min(self.buffer as u64) as usize;
        let mut buffer = vec![0; bytes];
        File::open(&self.path)
            .and_then(|file| read_exact_at(&file, &mut buffer, self.position))
            .map_err(Error::io("cannot read", &self.path))?;
        self.position += bytes as u64;
        self.piece.clear();
        let tallies = buffer.as_chunks().0.iter();
        self.piece
            .extend(tallies.map(|bytes| Tally::from_bytes(*bytes)));
        self.next = 0;
        Ok(())
    }
}

/// Gives the tallies of all readers to `visit` in the given order, with the number of the reader; ties in the order of readers.
///
/// # Errors
/// A file that cannot be read, and what `visit` returns.
pub(super) fn merge(
    mut readers: Vec<TallyReader>,
    order: impl Fn(Tally) -> u128,
    mut visit: impl FnMut(Tally, usize) -> Result<()>,
) -> Result<()> {
    let mut heads = BinaryHeap::with_capacity(readers.len());
    for (number, reader) in readers.iter_mut().enumerate() {
        if let Some(tally) = reader.next()? {
            heads.push(Reverse((order(tally), number, tally)));
        }
    }
    while let Some(mut head) = heads.peek_mut() {
        let Reverse((_, number, tally)) = *head;
        visit(tally, number)?;
        match readers[number].next()? {
            Some(next) => *head = Reverse((order(next), number, next)),
            None => {
                std::collections::binary_heap::PeekMut::pop(head);
            }
        }
    }
    Ok(())
}

/// How many tallies of a file, sorted by `order`, come before `tally`.
///
/// # Errors
/// The file cannot be read.
pub(super) fn count_before(
    path: &std::path::Path,
    order: impl Fn(Tally) -> u128,
    tally: Tally,
) -> Result<u64> {
    let io = || Error::io("cannot read", path);
    let file = File::open(path).map_err(io())?;
    let (mut low, mut high) = (
        0,
        file.metadata().map_err(io())?.len() / Tally::BYTES as u64,
    );
    let mut bytes = [0; Tally::BYTES];
    while low < high {
        let middle = low + (high - low) / 2;
        read_exact_at(&file, &mut bytes, middle * Tally::BYTES as u64).map_err(io())?;
        if order(Tally::from_bytes(bytes)) < order(tally) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_memory_are_merged_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let tally = |key| Tally::new(key, 1 + key % 3, key);
        let mut readers = Vec::new();
        for file in 0..3 {
            let path = folder.path().join(file.to_string());
            let keys = (0..3000u64).filter(|key| key % 4 == file);
            let bytes: Vec<u8> = keys.flat_map(|key| tally(key).to_bytes()).collect();
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(count_before(&path, Tally::by_key, tally(300)).unwrap(), 75);
            readers.push(TallyReader::new(path, 64).unwrap());
        }
        let rest = (0..3000).filter(|key| key % 4 == 3).map(tally).collect();
        readers.push(TallyReader::of(rest));
        let mut next = 0;
        merge(readers, Tally::by_key, |found, reader| {
            assert_eq!((found, reader as u64), (tally(next), next % 4));
            next += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(next, 3000);
    }
}
