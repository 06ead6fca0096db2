//! Files through parallel workers, results in file order.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rayon::prelude::*;

use super::chunk::{Chunk, Chunks};
use super::input::Source;
use crate::error::Result;
use crate::packed::SourceFile;

/// Chunks in work at a time for each thread: enough that the threads rarely wait for the slowest one.
const CHUNKS_PER_THREAD: usize = 6;

/// Reads all files once: `work` turns chunks into results in parallel, `consume` gets the results in file order.
///
/// One thread reads ahead, the threads of the current rayon pool work; while they work on one group of chunks, the group before
/// is consumed. So memory is that of a few chunks for each thread, however long the files are.
///
/// # Errors
/// The error that comes first in the order of the text.
pub(crate) fn read_all<T: Send>(
    paths: &[PathBuf],
    work: impl Fn(Chunk) -> Result<T> + Sync,
    mut consume: impl FnMut(Vec<T>) -> Result<()> + Send,
) -> Result<Vec<SourceFile>> {
    let group = CHUNKS_PER_THREAD * rayon::current_num_threads();
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(group);
        let reader = scope.spawn(move || read(paths, &sender));
        let mut before: Option<Vec<T>> = None;
        let mut failure = None;
        while failure.is_none() {
            let chunks = next_group(&receiver, group, &mut failure);
            if chunks.is_empty() {
                break;
            }
            let (consumed, done) = rayon::join(
                || before.take().map_or(Ok(()), &mut consume),
                || chunks.into_par_iter().map(&work).collect::<Vec<_>>(),
            );
            consumed?;
            // The first error in file order wins over one that the reader met later.
            before = Some(done.into_iter().collect::<Result<_>>()?);
        }
        if let Some(results) = before {
            consume(results)?;
        }
        if let Some(error) = failure {
            return Err(error);
        }
        // Nothing is left to receive, so the reader has returned; a panic there goes on here.
        reader
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Waits for a chunk, then takes what else is there. A reader's error ends the group and is put into `failure`.
fn next_group(
    receiver: &Receiver<Result<Chunk>>,
    most: usize,
    failure: &mut Option<crate::error::Error>,
) -> Vec<Chunk> {
    let mut chunks = Vec::with_capacity(most);
    let mut received = receiver.recv().ok();
    while let Some(result) = received.take() {
        match result {
            Ok(chunk) => chunks.push(chunk),
            Err(error) => {
                *failure = Some(error);
                break;
            }
        }
        if chunks.len() < most {
            received = receiver.try_recv().ok();
        }
    }
    chunks
}

fn read(paths: &[PathBuf], sender: &SyncSender<Result<Chunk>>) -> Result<Vec<SourceFile>> {
    let mut files = Vec::with_capacity(paths.len());
    for (file, path) in paths.iter().enumerate() {
        let mut chunks = match Source::text(path) {
            Ok(source) => Chunks::new(source, file),
            Err(error) => {
                let _ = sender.send(Err(error));
                break;
            }
        };
        while let Some(result) = chunks.next().transpose() {
            let failed = result.is_err();
            // Nobody listens any more when a row was bad: then there is nothing to read for.
            if sender.send(result).is_err() || failed {
                return Ok(files);
            }
        }
        files.push(chunks.into_source().identity());
    }
    Ok(files)
}
