//! In which order work runs: one thing at a time, drawn at random from all that events allow.

use super::{Machine, Outcome, Source, StreamId, Work, refused};

/// Streams whose work is late stay so for up to as many calls.
const LONGEST_STALL: usize = 200;

impl Machine {
    /// Asks a stream for work, which runs now or later.
    pub(crate) fn ask(&mut self, stream: StreamId, work: Work) -> Outcome {
        self.check()?;
        let stalls = self.random.once_in(16);
        let stall = self.random.below(LONGEST_STALL);
        let asked = self.stream(stream)?;
        if let Some(recording) = &mut asked.recording {
            return match &work {
                Work::Launch(_) | Work::Product(_) | Work::Fill { .. } => {
                    recording.push(work);
                    Ok(())
                }
                Work::Copy {
                    from: Source::Address(_),
                    ..
                } => {
                    recording.push(work);
                    Ok(())
                }
                _ => Err(refused(&format!("{work:?}"))),
            };
        }
        asked.queue.push_back(work);
        if stalls && asked.stalled == 0 {
            asked.stalled = stall;
        }
        for stream in self.streams.values_mut() {
            stream.stalled = stream.stalled.saturating_sub(1);
        }
        // Some of what is waiting runs, of any stream: often nothing, now and then much.
        while !self.random.once_in(2) && self.advance_any(false)? {}
        Ok(())
    }

    /// Runs the next thing of some stream that can go on; `false` where none can.
    fn advance_any(&mut self, stalled_too: bool) -> Outcome<bool> {
        let ready: Vec<StreamId> = self
            .streams
            .iter()
            .filter(|(_, stream)| stalled_too || stream.stalled == 0)
            .filter(|(_, stream)| stream.queue.front().is_some_and(|work| self.is_ready(work)))
            .map(|(&number, _)| number)
            .collect();
        if ready.is_empty() {
            return Ok(false);
        }
        let chosen = ready[self.random.below(ready.len())];
        self.advance(chosen)?;
        Ok(true)
    }

    fn is_ready(&self, work: &Work) -> bool {
        match *work {
            Work::Wait { event, turn } => self.is_done(event, turn),
            _ => true,
        }
    }

    /// Events that are gone were reached.
    pub(super) fn is_done(&self, event: u64, turn: u64) -> bool {
        self.events
            .get(&event)
            .is_none_or(|event| event.done >= turn)
    }

    /// Runs the first thing of a stream, which is ready.
    fn advance(&mut self, stream: StreamId) -> Outcome {
        let stream = self.stream(stream)?;
        let device = stream.device;
        match stream.queue.pop_front() {
            Some(work) => self.run(work, device),
            None => Ok(()),
        }
    }

    /// Runs something that brings an event nearer, or something else.
    pub(super) fn advance_towards(&mut self, event: u64) -> Outcome {
        if self.random.once_in(4) && self.advance_any(true)? {
            return Ok(());
        }
        let mut event = event;
        // A stream may wait for another; never in a circle, since an event is recorded before anybody waits for it.
        loop {
            let Some(stream) = self.events.get(&event).map(|event| event.stream) else {
                return Ok(());
            };
            let first = self.stream(stream)?.queue.front().cloned();
            match first {
                Some(Work::Wait { event: other, turn }) if !self.is_done(other, turn) => {
                    event = other;
                }
                Some(_) => return self.advance(stream),
                None => return Ok(()),
            }
        }
    }

    pub(super) fn run_until_done(&mut self, event: u64, turn: u64) -> Outcome {
        while !self.is_done(event, turn) {
            self.advance_towards(event)?;
        }
        Ok(())
    }

    /// Runs all that a stream was asked for.
    pub(crate) fn finish(&mut self, stream: StreamId) -> Outcome {
        self.check()?;
        self.refuse_recording("waiting")?;
        loop {
            match self.stream(stream)?.queue.front() {
                None => return Ok(()),
                Some(&Work::Wait { event, turn }) => {
                    self.run_until_done(event, turn)?;
                    self.advance(stream)?;
                }
                Some(_) => self.advance(stream)?,
            }
        }
    }

    /// Runs all that was asked for.
    pub(crate) fn finish_all(&mut self) -> Outcome {
        self.check()?;
        self.refuse_recording("waiting")?;
        while self.advance_any(true)? {}
        Ok(())
    }
}
