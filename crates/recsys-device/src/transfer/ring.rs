//! Buffers that take turns.

use super::Queues;
use crate::{Error, Result};

/// Slots that take turns before one is used again: the copy for the next batch then waits for no
/// work of the running one, nor the host for a copy that it has just submitted.
const TURNS: usize = 3;

/// Copies from the host to the device, each in a buffer that stays as it is until it is released.
pub struct Uploads<T, Q: Queues<T>> {
    queues: Q,
    slots: Vec<Slot<T, Q>>,
    released: u64,
}

struct Slot<T, Q: Queues<T>> {
    len: usize,
    host: Q::Host,
    /// None where copies come from elsewhere on the device.
    buffer: Option<Q::Buffer>,
    /// Behind the slot's last copy.
    copied: Option<Q::Event>,
    /// Behind the work that has last used the slot's device memory.
    worked: Option<Q::Event>,
    taken: bool,
    /// When it was given back last, counted by its ring.
    released: u64,
}

/// A place in the ring, with what was copied there. To be given back by [`Uploads::release`].
#[derive(Debug)]
#[must_use]
pub struct Uploaded {
    slot: usize,
}

impl<T, Q: Queues<T>> Slot<T, Q> {
    fn new(queues: &Q, len: usize) -> Result<Self> {
        Ok(Self {
            len,
            host: queues.host(len)?,
            buffer: None,
            copied: None,
            worked: None,
            taken: false,
            released: 0,
        })
    }

    fn buffer(&mut self, queues: &Q) -> Result<&Q::Buffer> {
        Ok(match &mut self.buffer {
            Some(buffer) => buffer,
            none => none.insert(queues.buffer(self.len)?),
        })
    }
}

/// The slot that has been free for longest of those that are large enough, or a new one while these
/// are too few to take turns; nothing is made anew once the sizes have been seen.
fn free_slot<T, Q: Queues<T>>(
    queues: &Q,
    slots: &mut Vec<Slot<T, Q>>,
    len: usize,
) -> Result<usize> {
    let fitting = slots.iter().filter(|slot| slot.len >= len).count();
    let free = slots.iter().enumerate();
    let free = free.filter(|(_, slot)| !slot.taken && slot.len >= len);
    if let Some((found, _)) = free.min_by_key(|(_, slot)| slot.released)
        && fitting >= TURNS
    {
        return Ok(found);
    }
    // Batches differ a little in their distinct rows: leave room, so that the next one fits.
    let capacity = isize::MAX as usize;
    let room = len.checked_next_power_of_two();
    let room = room.ok_or(Error::TransferSize { len, capacity })?;
    slots.push(Slot::new(queues, room)?);
    Ok(slots.len() - 1)
}

/// The slot of a transfer that is under way.
fn slot_of<T, Q: Queues<T>>(slots: &mut [Slot<T, Q>], number: usize) -> Result<&mut Slot<T, Q>> {
    let slot = slots.get_mut(number).filter(|slot| slot.taken);
    slot.ok_or(Error::ForeignTransfer)
}

impl<T, Q: Queues<T>> Uploads<T, Q> {
    /// A ring without slots; they are made when they are needed.
    pub fn new(queues: Q) -> Self {
        Self {
            queues,
            slots: Vec::new(),
            released: 0,
        }
    }

    /// Lets `fill` write `len` elements and submits their copy. Waits where the memory is still
    /// being copied.
    ///
    /// # Errors
    /// A device that fails.
    pub fn upload(&mut self, len: usize, fill: impl FnOnce(&mut [T])) -> Result<Uploaded> {
        let at = free_slot(&self.queues, &mut self.slots, len)?;
        let slot = &mut self.slots[at];
        if let Some(copied) = slot.copied.take() {
            self.queues.wait(&copied)?;
        }
        self.queues.write(&mut slot.host, len, fill)?;
        slot.buffer(&self.queues)?;
        if let Some(worked) = slot.worked.take() {
            self.queues.copies_after(&worked)?;
        }
        if let Some(buffer) = &slot.buffer {
            self.queues.upload(&slot.host, len, buffer)?;
        }
        slot.copied = Some(self.queues.copies_so_far()?);
        slot.taken = true;
        Ok(Uploaded { slot: at })
    }

    /// The device memory, for work that is submitted from now on.
    ///
    /// # Errors
    /// A device that fails.
    pub fn read(&mut self, uploaded: &Uploaded) -> Result<&Q::Buffer> {
        let slot = slot_of(&mut self.slots, uploaded.slot)?;
        if let Some(copied) = &slot.copied {
            self.queues.work_after(copied)?;
        }
        slot.buffer(&self.queues)
    }

    /// Gives the memory back: all work that reads it has been submitted.
    ///
    /// # Errors
    /// A device that fails.
    pub fn release(&mut self, uploaded: Uploaded) -> Result<()> {
        let slot = slot_of(&mut self.slots, uploaded.slot)?;
        self.released += 1;
        (slot.taken, slot.released) = (false, self.released);
        slot.worked = Some(self.queues.work_so_far()?);
        Ok(())
    }
}

/// Copies from the device to the host.
pub struct Downloads<T, Q: Queues<T>> {
    queues: Q,
    slots: Vec<Slot<T, Q>>,
    released: u64,
}

/// A copy that was submitted. To be taken by [`Downloads::take`].
#[derive(Debug)]
#[must_use]
pub struct Downloading {
    slot: usize,
    len: usize,
}

impl<T, Q: Queues<T>> Downloads<T, Q> {
    /// A ring without slots; they are made when they are needed.
    pub fn new(queues: Q) -> Self {
        Self {
            queues,
            slots: Vec::new(),
            released: 0,
        }
    }

    /// Lets `submit` submit work that writes device memory of `len` elements, and submits its copy
    /// behind that.
    ///
    /// # Errors
    /// A device that fails, and what `submit` answers.
    pub fn download<E: From<Error>>(
        &mut self,
        len: usize,
        submit: impl FnOnce(&Q::Buffer) -> std::result::Result<(), E>,
    ) -> std::result::Result<Downloading, E> {
        let at = free_slot(&self.queues, &mut self.slots, len)?;
        let slot = &mut self.slots[at];
        // The device memory is written again when its last copy has run; whoever took that copy has
        // waited for it.
        submit(slot.buffer(&self.queues)?)?;
        let buffer = slot.buffer.take();
        let pending = match &buffer {
            Some(buffer) => self.fetch(at, buffer, len).map_err(E::from),
            None => Ok(Downloading { slot: at, len }),
        };
        self.slots[at].buffer = buffer;
        pending
    }

    /// Submits a copy of device memory that nothing writes until it is taken, behind all work
    /// submitted until now.
    ///
    /// # Errors
    /// A device that fails.
    pub fn download_from(&mut self, from: &Q::Buffer, len: usize) -> Result<Downloading> {
        let at = free_slot(&self.queues, &mut self.slots, len)?;
        self.fetch(at, from, len)
    }

    fn fetch(&mut self, at: usize, from: &Q::Buffer, len: usize) -> Result<Downloading> {
        let slot = &mut self.slots[at];
        let written = self.queues.work_so_far()?;
        self.queues.copies_after(&written)?;
        self.queues.download(from, len, &mut slot.host)?;
        slot.copied = Some(self.queues.copies_so_far()?);
        slot.taken = true;
        Ok(Downloading { slot: at, len })
    }

    /// Waits for a copy, and shows it.
    ///
    /// # Errors
    /// A device that fails.
    pub fn take<R>(&mut self, downloading: Downloading, see: impl FnOnce(&[T]) -> R) -> Result<R> {
        let slot = slot_of(&mut self.slots, downloading.slot)?;
        if downloading.len > slot.len {
            return Err(Error::ForeignTransfer);
        }
        if let Some(copied) = slot.copied.take() {
            self.queues.wait(&copied)?;
        }
        self.released += 1;
        (slot.taken, slot.released) = (false, self.released);
        self.queues.read(&slot.host, downloading.len, see)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

    use proptest::prelude::*;

    use super::*;
    use crate::transfer::fake::{FakeQueues, Omit};

    /// A run like that of training: the values of a batch go to the device, ahead of their use;
    /// work on the device mixes them into its state, in the order of the batches, and hands a
    /// result back, which the host adds up a batch later.
    fn train(queues: &FakeQueues, batches: &[Vec<u32>], ahead: usize) -> (u32, Vec<u32>) {
        let state = queues.cell();
        let mut uploads = Uploads::new(queues.clone());
        let mut downloads = Downloads::new(queues.clone());
        let (mut waiting, mut coming) = (std::collections::VecDeque::new(), batches.iter());
        let (mut results, mut pending) = (Vec::new(), None);
        for _ in batches {
            while waiting.len() <= ahead
                && let Some(batch) = coming.next()
            {
                let copy = |into: &mut [u32]| into.copy_from_slice(batch);
                let uploaded = uploads.upload(batch.len(), copy).unwrap();
                waiting.push_back((batch.len(), uploaded));
            }
            let (len, uploaded) = waiting.pop_front().unwrap();
            let input = uploads.read(&uploaded).unwrap().clone();
            let after = state.clone();
            let work = |output: &<FakeQueues as Queues<u32>>::Buffer| {
                let output = output.clone();
                queues.work(move || {
                    for at in 0..len {
                        let mixed = after.borrow()[0].wrapping_mul(31);
                        let mixed = mixed.wrapping_add(input.borrow()[at]);
                        after.borrow_mut()[0] = mixed;
                        output.borrow_mut()[at] = mixed;
                    }
                });
                Ok(())
            };
            // From memory of the ring, or from elsewhere.
            let asked = if len.is_multiple_of(2) {
                downloads.download(len, work)
            } else {
                let own = Queues::<u32>::buffer(queues, len).unwrap();
                work(&own).and_then(|()| downloads.download_from(&own, len))
            };
            uploads.release(uploaded).unwrap();
            if let Some(before) = pending.replace(asked.unwrap()) {
                downloads
                    .take(before, |values| results.extend_from_slice(values))
                    .unwrap();
            }
        }
        if let Some(last) = pending {
            downloads
                .take(last, |values| results.extend_from_slice(values))
                .unwrap();
        }
        queues.finish();
        let state = state.borrow()[0];
        (state, results)
    }

    /// The same, one step after the other.
    fn expected(batches: &[Vec<u32>]) -> (u32, Vec<u32>) {
        let (mut state, mut results) = (0u32, Vec::new());
        for &value in batches.iter().flatten() {
            state = state.wrapping_mul(31).wrapping_add(value);
            results.push(state);
        }
        (state, results)
    }

    fn batches() -> impl Strategy<Value = Vec<Vec<u32>>> {
        prop::collection::vec(prop::collection::vec(any::<u32>(), 1..20), 1..30)
    }

    proptest! {
        #[test]
        fn any_order_that_events_allow_gives_the_same_numbers(
            batches in batches(), ahead in 0..5usize, seed in any::<u64>()
        ) {
            let found = train(&FakeQueues::new(seed, Omit::Nothing), &batches, ahead);
            prop_assert_eq!(found, expected(&batches));
        }
    }

    #[test]
    fn every_wait_is_needed() {
        let batches: Vec<Vec<u32>> = (0..40u32).map(|at| vec![at, at * at, 7]).collect();
        for omit in [Omit::Wait, Omit::WorkAfter, Omit::CopiesAfter] {
            let wrong = (0..50)
                .any(|seed| train(&FakeQueues::new(seed, omit), &batches, 2) != expected(&batches));
            assert!(wrong, "without {omit:?} nothing goes wrong");
        }
    }

    #[test]
    fn nothing_is_made_anew_once_sizes_have_been_seen() {
        let queues = FakeQueues::new(1, Omit::Nothing);
        let batches: Vec<Vec<u32>> = (0..100)
            .map(|at| vec![at; 10 + 2 * (at as usize % 3)])
            .collect();
        train(&queues, &batches, 2);
        // Three batches on their way up, three results that take turns on their way down, each on
        // both sides.
        assert_eq!(queues.made(), 2 * (3 + 3));
    }
}
