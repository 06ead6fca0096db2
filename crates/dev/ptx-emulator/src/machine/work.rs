//! Doing what streams are asked for.

use std::ops::Range;
use std::time::Instant;

use super::{Counts, Kernel, Machine, Outcome, Source, Work};
use crate::memory::{Memory, Place};
use crate::ptx;

impl Machine {
    pub(super) fn run(&mut self, work: Work, device: usize) -> Outcome {
        match work {
            Work::Launch(kernel) => self.launch(&kernel, device),
            Work::Copy { from, into, bytes } => self.copy(&from, into, bytes),
            Work::Fill { into, bytes, value } => {
                if !self.memory.holds(into, bytes) {
                    let what = format!("{bytes} bytes at {into:#x} are filled, outside of memory");
                    return Err(self.lose(&what));
                }
                // SAFETY: the bytes are within an allocation, and nobody else runs.
                unsafe { (into as *mut u8).write_bytes(value, bytes) };
                Ok(())
            }
            Work::Product(product) => {
                self.counts.products += 1;
                let done = product.run(&self.memory);
                done.map_err(|why| self.lose(&why))
            }
            Work::Sum { from, into, count } => self.add(&from, into, count),
            Work::Free { address } => match self.memory.free(address) {
                true => Ok(()),
                false => Err(self.lose(&format!("{address:#x} is freed, but was not allocated"))),
            },
            Work::Record { event, turn } => {
                if let Some(event) = self.events.get_mut(&event) {
                    event.done = event.done.max(turn);
                    event.at = Some(Instant::now());
                }
                Ok(())
            }
            Work::Wait { .. } => Ok(()),
        }
    }

    fn add(&mut self, from: &[u64], into: u64, count: usize) -> Outcome {
        let bytes = count * size_of::<f32>();
        let outside = |address: &&u64| !self.memory.holds(**address, bytes);
        if let Some(&address) = from.iter().chain([&into]).find(outside) {
            let what =
                format!("{count} floats at {address:#x} are added, outside of memory or freed");
            return Err(self.lose(&what));
        }
        for at in 0..count {
            // SAFETY: all are within allocations, as checked above, and nobody else runs.
            unsafe {
                let value = |address: &u64| (*address as *const f32).add(at).read();
                (into as *mut f32)
                    .add(at)
                    .write(from.iter().map(value).sum());
            }
        }
        Ok(())
    }

    fn copy(&mut self, from: &Source, into: u64, bytes: usize) -> Outcome {
        self.counts.copies += 1;
        let from = match from {
            Source::Staged(staged) => staged.as_ptr(),
            Source::Address(from) if self.memory.holds(*from, bytes) => *from as *const u8,
            Source::Address(from) => {
                let what =
                    format!("{bytes} bytes at {from:#x} are copied, outside of memory or freed");
                return Err(self.lose(&what));
            }
        };
        if !self.memory.holds(into, bytes) {
            let what = format!("{bytes} bytes are copied to {into:#x}, outside of memory or freed");
            return Err(self.lose(&what));
        }
        // SAFETY: both are within allocations, and nobody else runs.
        unsafe { std::ptr::copy(from, into as *mut u8, bytes) };
        Ok(())
    }

    fn launch(&mut self, kernel: &Kernel, device: usize) -> Outcome {
        self.counts.launches += 1;
        if self.settings.launches > 0 && self.counts.launches > self.settings.launches {
            return Err(self.lose("the devices are lost, as PTX_EMULATOR_LAUNCHES asks"));
        }
        let reach = Reach {
            memory: &self.memory,
            device,
            peers: &self.peers[device],
        };
        let done = kernel.function.launch(&ptx::Launch {
            grid: kernel.grid,
            block: kernel.block,
            shared_bytes: kernel.shared_bytes,
            arguments: &kernel.arguments,
            memory: &reach,
            order: self.random.next(),
            race_check: self.settings.races,
        });
        done.map_err(|fault| self.lose(&fault.to_string()))
    }

    /// What was asked for, in words.
    pub(crate) fn report(&self) -> String {
        let Counts {
            launches,
            graphs,
            products,
            copies,
            allocations,
        } = self.counts;
        format!(
            "{launches} kernels, {graphs} graphs, {products} products, {copies} copies, {allocations} allocations"
        )
    }
}

/// Memory that a device's kernels reach.
struct Reach<'a> {
    memory: &'a Memory,
    device: usize,
    peers: &'a [bool],
}

// SAFETY: the machine is locked while a kernel runs, so that nothing is freed meanwhile.
unsafe impl ptx::Memory for Reach<'_> {
    fn allocation(&self, address: u64) -> Option<Range<u64>> {
        let (range, place) = self.memory.find(address)?;
        let reached = match place {
            Place::Pinned => true,
            Place::Device(device) => device == self.device || self.peers[device],
        };
        reached.then_some(range)
    }

    fn nearest(&self, address: u64) -> Option<Range<u64>> {
        self.memory.nearest(address)
    }
}
