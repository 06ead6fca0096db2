//! Devices and what was asked of them.

mod order;
#[cfg(test)]
mod tests;
mod work;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::thread::{self, ThreadId};
use std::time::Instant;

use crate::gemm::Product;
use crate::memory::{Memory, Place};
use crate::ptx;
use crate::settings::{Random, Settings};
use crate::status::Status;

/// What a call comes to.
pub(crate) type Outcome<T = ()> = Result<T, Status>;

/// A stream's number; as in the driver, 0 is the default stream of the current device.
pub(crate) type StreamId = u64;

/// Something that a stream was asked for.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    Launch(Arc<Kernel>),
    Copy {
        from: Source,
        into: u64,
        bytes: usize,
    },
    Fill {
        into: u64,
        bytes: usize,
        value: u8,
    },
    Product(Product),
    /// The sum of floats in several places.
    Sum {
        from: Arc<[u64]>,
        into: u64,
        count: usize,
    },
    Free {
        address: u64,
    },
    Record {
        event: u64,
        turn: u64,
    },
    Wait {
        event: u64,
        turn: u64,
    },
}

/// A kernel with its arguments.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) function: Arc<ptx::Function>,
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) shared_bytes: u32,
    pub(crate) arguments: Vec<u8>,
}

/// One device's part in a sum over several: its floats, where the sum goes, and in the order of which stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Collective {
    pub(crate) from: u64,
    pub(crate) into: u64,
    pub(crate) count: usize,
    pub(crate) stream: StreamId,
}

/// Where a copy comes from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// Read when the copy runs.
    Address(u64),
    /// Read when it was asked for, as the driver does with memory that may move.
    Staged(Arc<[u8]>),
}

#[derive(Debug, Default)]
struct Stream {
    device: usize,
    queue: VecDeque<Work>,
    /// What is recorded, where it is, and by whom.
    recording: Option<Vec<Work>>,
    recorder: Option<ThreadId>,
    /// It runs only when somebody waits for it, for so many calls.
    stalled: usize,
}

#[derive(Debug, Default)]
struct Event {
    /// How many times it was asked to be recorded, and which of them have run.
    asked: u64,
    done: u64,
    /// Of the last record.
    stream: StreamId,
    at: Option<Instant>,
}

/// What was asked for since the start.
#[derive(Debug, Default)]
struct Counts {
    launches: u64,
    graphs: u64,
    products: u64,
    copies: u64,
    allocations: u64,
}

/// All devices of the emulated machine.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) settings: Settings,
    pub(crate) memory: Memory,
    random: Random,
    streams: BTreeMap<StreamId, Stream>,
    events: HashMap<u64, Event>,
    modules: HashMap<u64, Arc<ptx::Module>>,
    functions: HashMap<u64, Arc<ptx::Function>>,
    graphs: HashMap<u64, Arc<Vec<Work>>>,
    /// Of devices to memory of others.
    peers: Vec<Vec<bool>>,
    next: u64,
    /// Why every further call fails.
    lost: Option<Status>,
    counts: Counts,
}

/// The machine of this process.
pub(crate) fn machine() -> MutexGuard<'static, Machine> {
    static MACHINE: OnceLock<Mutex<Machine>> = OnceLock::new();
    let machine = MACHINE.get_or_init(|| Mutex::new(Machine::new(Settings::from_environment())));
    machine
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Machine {
    pub(crate) fn new(settings: Settings) -> Self {
        let devices = settings.devices;
        let mut streams = BTreeMap::new();
        for device in 0..devices {
            streams.insert(
                default_stream(device),
                Stream {
                    device,
                    ..Stream::default()
                },
            );
        }
        Self {
            memory: Memory::new(devices),
            random: Random::new(settings.seed),
            streams,
            events: HashMap::new(),
            modules: HashMap::new(),
            functions: HashMap::new(),
            graphs: HashMap::new(),
            peers: vec![vec![false; devices]; devices],
            // Beyond the numbers of default streams.
            next: 1 << 16,
            lost: None,
            counts: Counts::default(),
            settings,
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Fails where the devices are lost.
    pub(crate) fn check(&self) -> Outcome {
        self.lost.map_or(Ok(()), Err)
    }

    /// Says what is wrong; from now on every call fails, as on a device after a fault.
    fn lose(&mut self, why: &str) -> Status {
        eprintln!("ptx-emulator: {why}");
        *self.lost.get_or_insert(Status::IllegalAddress)
    }

    // Memory.

    /// `stream` is the one in whose order the memory is allocated, if any.
    pub(crate) fn allocate(
        &mut self,
        bytes: usize,
        device: usize,
        stream: Option<StreamId>,
    ) -> Outcome<u64> {
        self.check()?;
        match stream {
            Some(stream) if self.is_recording(stream)? => return Err(refused("an allocation")),
            Some(_) => {}
            None => self.refuse_recording("an allocation")?,
        }
        if self.memory.used(device) + bytes > self.settings.memory {
            return Err(Status::OutOfMemory);
        }
        self.counts.allocations += 1;
        let address = self.memory.allocate(bytes, Place::Device(device));
        address.ok_or(Status::OutOfMemory)
    }

    pub(crate) fn allocate_pinned(&mut self, bytes: usize) -> Outcome<u64> {
        self.check()?;
        self.refuse_recording("an allocation")?;
        self.counts.allocations += 1;
        let address = self.memory.allocate(bytes, Place::Pinned);
        address.ok_or(Status::OutOfMemory)
    }

    /// Frees at once, behind all that was asked for.
    pub(crate) fn free(&mut self, address: u64) -> Outcome {
        self.finish_all()?;
        if address != 0 && !self.memory.free(address) {
            return Err(self.lose(&format!("{address:#x} is freed, but was not allocated")));
        }
        Ok(())
    }

    /// Whether the memory is host memory that may move.
    pub(crate) fn may_move(&self, address: u64) -> bool {
        self.memory.find(address).is_none()
    }

    pub(crate) fn let_peer(&mut self, device: usize, peer: usize) -> Outcome {
        let devices = self.settings.devices;
        if device >= devices || peer >= devices || device == peer {
            return Err(Status::InvalidDevice);
        }
        self.peers[device][peer] = true;
        Ok(())
    }

    // Streams and events.

    pub(crate) fn make_stream(&mut self, device: usize) -> Outcome<StreamId> {
        self.check()?;
        let number = self.number();
        let stream = Stream {
            device,
            ..Stream::default()
        };
        self.streams.insert(number, stream);
        Ok(number)
    }

    pub(crate) fn end_stream(&mut self, stream: StreamId) -> Outcome {
        self.finish(stream)?;
        self.streams.remove(&stream);
        Ok(())
    }

    fn stream(&mut self, stream: StreamId) -> Outcome<&mut Stream> {
        self.streams.get_mut(&stream).ok_or(Status::InvalidValue)
    }

    pub(crate) fn make_event(&mut self) -> Outcome<u64> {
        self.check()?;
        let number = self.number();
        self.events.insert(number, Event::default());
        Ok(number)
    }

    /// An event that somebody still waits for counts as reached by then.
    pub(crate) fn end_event(&mut self, event: u64) -> Outcome {
        if let Some((stream, turn)) = self.events.get(&event).map(|e| (e.stream, e.asked)) {
            if self.streams.contains_key(&stream) {
                self.run_until_done(event, turn)?;
            }
            self.events.remove(&event);
        }
        Ok(())
    }

    pub(crate) fn record(&mut self, event: u64, stream: StreamId) -> Outcome {
        self.stream(stream)?;
        let kept = self.events.get_mut(&event).ok_or(Status::InvalidValue)?;
        kept.asked += 1;
        kept.stream = stream;
        let turn = kept.asked;
        self.ask(stream, Work::Record { event, turn })
    }

    pub(crate) fn wait(&mut self, stream: StreamId, event: u64) -> Outcome {
        let turn = self
            .events
            .get(&event)
            .map(|event| event.asked)
            .ok_or(Status::InvalidValue)?;
        self.ask(stream, Work::Wait { event, turn })
    }

    /// Whether an event has been reached, after giving it a chance.
    pub(crate) fn query(&mut self, event: u64) -> Outcome<bool> {
        self.check()?;
        let turn = self
            .events
            .get(&event)
            .map(|event| event.asked)
            .ok_or(Status::InvalidValue)?;
        if self.random.once_in(2) && !self.is_done(event, turn) {
            self.advance_towards(event)?;
        }
        Ok(self.is_done(event, turn))
    }

    pub(crate) fn wait_for_event(&mut self, event: u64) -> Outcome {
        self.check()?;
        self.refuse_recording("waiting")?;
        let turn = self
            .events
            .get(&event)
            .map(|event| event.asked)
            .ok_or(Status::InvalidValue)?;
        self.run_until_done(event, turn)
    }

    /// Seconds between two events that were reached.
    pub(crate) fn seconds_between(&self, first: u64, last: u64) -> Outcome<f64> {
        self.check()?;
        let at = |event| {
            self.events
                .get(event)
                .and_then(|event| event.at)
                .ok_or(Status::NotReady)
        };
        Ok(at(&last)?
            .saturating_duration_since(at(&first)?)
            .as_secs_f64())
    }

    /// Asks all streams for the sum of all parts. Nobody writes before everybody has read: the sum may go where the floats are.
    pub(crate) fn sum(&mut self, parts: &[Collective]) -> Outcome {
        let from: Arc<[u64]> = parts.iter().map(|part| part.from).collect();
        let all_wait_for_each = |machine: &mut Self| -> Outcome {
            let mut events = Vec::with_capacity(parts.len());
            for part in parts {
                let event = machine.make_event()?;
                machine.record(event, part.stream)?;
                events.push(event);
            }
            for part in parts {
                let mut events = events.iter();
                events.try_for_each(|&event| machine.wait(part.stream, event))?;
            }
            Ok(())
        };
        all_wait_for_each(self)?;
        let mut sums = Vec::with_capacity(parts.len());
        for part in parts {
            let device = self.stream(part.stream)?.device;
            let bytes = part.count * size_of::<f32>();
            let sum = self.memory.allocate(bytes, Place::Device(device));
            let sum = sum.ok_or(Status::OutOfMemory)?;
            let work = Work::Sum {
                from: Arc::clone(&from),
                into: sum,
                count: part.count,
            };
            self.ask(part.stream, work)?;
            sums.push((sum, bytes));
        }
        all_wait_for_each(self)?;
        for (part, (sum, bytes)) in parts.iter().zip(sums) {
            let work = Work::Copy {
                from: Source::Address(sum),
                into: part.into,
                bytes,
            };
            self.ask(part.stream, work)?;
            self.ask(part.stream, Work::Free { address: sum })?;
        }
        Ok(())
    }

    // Modules, kernels and graphs.

    pub(crate) fn load(&mut self, text: &str) -> Outcome<u64> {
        self.check()?;
        self.refuse_recording("loading a module")?;
        let module = ptx::Module::parse(text).map_err(|error| {
            eprintln!("ptx-emulator: {error}");
            Status::InvalidPtx
        })?;
        let number = self.number();
        self.modules.insert(number, Arc::new(module));
        Ok(number)
    }

    pub(crate) fn unload(&mut self, module: u64) -> Outcome {
        self.finish_all()?;
        self.modules.remove(&module);
        Ok(())
    }

    pub(crate) fn find(&mut self, module: u64, name: &str) -> Outcome<u64> {
        let module = self.modules.get(&module).ok_or(Status::InvalidValue)?;
        let function = module.function(name).map_err(|error| {
            eprintln!("ptx-emulator: {error}");
            Status::NotFound
        })?;
        let number = self.number();
        self.functions.insert(number, function);
        Ok(number)
    }

    pub(crate) fn function(&self, function: u64) -> Outcome<Arc<ptx::Function>> {
        let function = self.functions.get(&function).cloned();
        function.ok_or(Status::InvalidValue)
    }

    pub(crate) fn begin_recording(&mut self, stream: StreamId) -> Outcome {
        self.check()?;
        self.refuse_recording("another recording")?;
        let stream = self.stream(stream)?;
        stream.recording = Some(Vec::new());
        stream.recorder = Some(thread::current().id());
        Ok(())
    }

    pub(crate) fn end_recording(&mut self, stream: StreamId) -> Outcome<u64> {
        let recorded = self.stream(stream)?.recording.take();
        self.check()?;
        let recorded = recorded.ok_or(Status::InvalidValue)?;
        let number = self.number();
        self.graphs.insert(number, Arc::new(recorded));
        Ok(number)
    }

    pub(crate) fn is_recording(&mut self, stream: StreamId) -> Outcome<bool> {
        Ok(self.stream(stream)?.recording.is_some())
    }

    pub(crate) fn copy_graph(&mut self, graph: u64) -> Outcome<u64> {
        let graph = self.graphs.get(&graph).cloned();
        let graph = graph.ok_or(Status::InvalidValue)?;
        let number = self.number();
        self.graphs.insert(number, graph);
        Ok(number)
    }

    pub(crate) fn end_graph(&mut self, graph: u64) {
        self.graphs.remove(&graph);
    }

    pub(crate) fn repeat(&mut self, graph: u64, stream: StreamId) -> Outcome {
        let graph = self.graphs.get(&graph).cloned();
        let graph = graph.ok_or(Status::InvalidValue)?;
        self.counts.graphs += 1;
        graph
            .iter()
            .try_for_each(|work| self.ask(stream, work.clone()))
    }

    /// What a thread may not ask for while it records a stream. Other threads may: recording is asked for with that mode.
    fn refuse_recording(&mut self, what: &str) -> Outcome {
        let here = Some(thread::current().id());
        let mut streams = self.streams.values();
        match streams.any(|stream| stream.recording.is_some() && stream.recorder == here) {
            true => Err(refused(what)),
            false => Ok(()),
        }
    }
}

/// Says what may not be done while a stream is recorded.
fn refused(what: &str) -> Status {
    eprintln!("ptx-emulator: {what} while a stream is recorded");
    Status::CaptureUnsupported
}

/// The default stream of a device, as a number that no other stream has.
pub(crate) fn default_stream(device: usize) -> StreamId {
    device as u64 + 16
}
