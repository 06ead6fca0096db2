//! The functions of libcuda that the workspace's programs call, by their names. What is missing here is found to be missing when it
//! is called: the stand-in that programs are linked with says "no device" then.

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::{Arc, Once};

use crate::machine::{Kernel, Outcome, Source, StreamId, Work, default_stream, machine};
use crate::status::Status;

thread_local! {
    /// The device whose context is the thread's.
    static CURRENT: Cell<usize> = const { Cell::new(0) };
}

/// Attributes of devices that programs ask for.
const MAX_THREADS_PER_BLOCK: c_int = 1;
const MAX_SHARED_MEMORY_PER_BLOCK: c_int = 8;
const WARP_SIZE: c_int = 10;
const MULTIPROCESSOR_COUNT: c_int = 16;
const COMPUTE_CAPABILITY_MAJOR: c_int = 75;
const COMPUTE_CAPABILITY_MINOR: c_int = 76;
const MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: c_int = 97;
const MEMORY_POOLS_SUPPORTED: c_int = 115;

/// As the driver's own: CUDA 13.0.
const VERSION: c_int = 13_000;

fn done(outcome: Outcome) -> u32 {
    outcome.err().unwrap_or(Status::Success) as u32
}

/// Writes the result of a call to where it is wanted.
fn give<T, U: From<T>>(outcome: Outcome<T>, into: *mut U) -> u32 {
    match outcome {
        Ok(_) if into.is_null() => Status::InvalidValue as u32,
        Ok(value) => {
            // SAFETY: the caller gives a place for the result, as the driver asks of it.
            unsafe { into.write(value.into()) };
            Status::Success as u32
        }
        Err(status) => status as u32,
    }
}

/// A handle of the driver is a number to us.
fn handle(number: u64) -> *mut c_void {
    number as *mut c_void
}

fn give_handle(outcome: Outcome<u64>, into: *mut *mut c_void) -> u32 {
    give(outcome.map(handle), into)
}

fn number(handle: *mut c_void) -> u64 {
    handle as u64
}

/// The stream that a handle means: small numbers are default streams.
fn stream_of(handle: *mut c_void) -> StreamId {
    match number(handle) {
        0..=2 => default_stream(CURRENT.get()),
        number => number,
    }
}

fn text_of<'a>(text: *const c_char) -> Outcome<&'a str> {
    if text.is_null() {
        return Err(Status::InvalidValue);
    }
    // SAFETY: the caller gives a string that ends, as the driver asks of it.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map_err(|_| Status::InvalidValue)
}

#[unsafe(no_mangle)]
extern "C" fn cuInit(_flags: c_uint) -> u32 {
    let machine = machine();
    if machine.settings.report {
        // SAFETY: a plain function of this library, which is not unloaded.
        SAY.call_once(|| unsafe {
            atexit(say_counts);
        });
    }
    match machine.settings.devices {
        0 => Status::NoDevice as u32,
        _ => done(machine.check()),
    }
}

static SAY: Once = Once::new();

unsafe extern "C" {
    fn atexit(function: extern "C" fn()) -> c_int;
}

extern "C" fn say_counts() {
    eprintln!("ptx-emulator: {}", machine().report());
}

#[unsafe(no_mangle)]
extern "C" fn cuDriverGetVersion(into: *mut c_int) -> u32 {
    give(Ok(VERSION), into)
}

#[unsafe(no_mangle)]
extern "C" fn cuGetErrorName(code: u32, into: *mut *const c_char) -> u32 {
    let status = Status::of(code).ok_or(Status::InvalidValue);
    give(status.map(|status| status.name().as_ptr()), into)
}

#[unsafe(no_mangle)]
extern "C" fn cuGetErrorString(code: u32, into: *mut *const c_char) -> u32 {
    let status = Status::of(code).ok_or(Status::InvalidValue);
    give(status.map(|status| status.text().as_ptr()), into)
}

// Devices and contexts.

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetCount(into: *mut c_int) -> u32 {
    give(Ok(machine().settings.devices as c_int), into)
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGet(into: *mut c_int, ordinal: c_int) -> u32 {
    let devices = machine().settings.devices as c_int;
    let device = (0..devices).contains(&ordinal).then_some(ordinal);
    give(device.ok_or(Status::InvalidDevice), into)
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetAttribute(into: *mut c_int, attribute: c_int, _device: c_int) -> u32 {
    let value = match attribute {
        MAX_THREADS_PER_BLOCK => 1024,
        MAX_SHARED_MEMORY_PER_BLOCK | MAX_SHARED_MEMORY_PER_BLOCK_OPTIN => 48 << 10,
        WARP_SIZE => 32,
        MULTIPROCESSOR_COUNT => 16,
        COMPUTE_CAPABILITY_MAJOR => 8,
        COMPUTE_CAPABILITY_MINOR => 0,
        MEMORY_POOLS_SUPPORTED => 1,
        _ => 0,
    };
    give(Ok(value), into)
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetName(into: *mut c_char, bytes: c_int, _device: c_int) -> u32 {
    let name = c"CUDA emulator".to_bytes_with_nul();
    if bytes < name.len() as c_int {
        return Status::InvalidValue as u32;
    }
    // SAFETY: there is room for so many bytes, the caller says.
    unsafe { into.cast::<u8>().copy_from(name.as_ptr(), name.len()) };
    Status::Success as u32
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceTotalMem_v2(into: *mut usize, _device: c_int) -> u32 {
    give(Ok(machine().settings.memory), into)
}

#[unsafe(no_mangle)]
extern "C" fn cuDevicePrimaryCtxRetain(into: *mut *mut c_void, device: c_int) -> u32 {
    // Not null, which means no context.
    give_handle(machine().check().map(|()| device as u64 + 1), into)
}

#[unsafe(no_mangle)]
extern "C" fn cuDevicePrimaryCtxRelease_v2(_device: c_int) -> u32 {
    Status::Success as u32
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSetCurrent(context: *mut c_void) -> u32 {
    CURRENT.set(number(context).saturating_sub(1) as usize);
    Status::Success as u32
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxGetCurrent(into: *mut *mut c_void) -> u32 {
    give_handle(Ok(CURRENT.get() as u64 + 1), into)
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSynchronize() -> u32 {
    done(machine().finish_all())
}

// Memory.

#[unsafe(no_mangle)]
extern "C" fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> u32 {
    let machine = machine();
    let all = machine.settings.memory;
    let left = all - machine.memory.used(CURRENT.get());
    match give(machine.check().map(|()| left), free) {
        0 => give(Ok(all), total),
        failed => failed,
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuMemAlloc_v2(into: *mut u64, bytes: usize) -> u32 {
    if bytes == 0 {
        return Status::InvalidValue as u32;
    }
    give(machine().allocate(bytes, CURRENT.get(), None), into)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemAllocAsync(into: *mut u64, bytes: usize, stream: *mut c_void) -> u32 {
    if bytes == 0 {
        return Status::InvalidValue as u32;
    }
    let stream = stream_of(stream);
    give(machine().allocate(bytes, CURRENT.get(), Some(stream)), into)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFree_v2(address: u64) -> u32 {
    done(machine().free(address))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFreeAsync(address: u64, stream: *mut c_void) -> u32 {
    done(machine().ask(stream_of(stream), Work::Free { address }))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemHostAlloc(into: *mut *mut c_void, bytes: usize, _flags: c_uint) -> u32 {
    give_handle(machine().allocate_pinned(bytes), into)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFreeHost(memory: *mut c_void) -> u32 {
    // What still reads or writes it does so in vain and is found out.
    let address = number(memory);
    let mut machine = machine();
    match machine.memory.free(address) {
        true => done(machine.check()),
        false => Status::InvalidValue as u32,
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD8Async(into: u64, value: u8, bytes: usize, stream: *mut c_void) -> u32 {
    done(machine().ask(stream_of(stream), Work::Fill { into, bytes, value }))
}

/// Where a copy from host memory comes from.
fn from_host(from: *const c_void, bytes: usize) -> Source {
    match machine().may_move(from as u64) {
        true => {
            // SAFETY: the caller gives so many bytes, as the driver asks of it.
            let bytes = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), bytes) };
            Source::Staged(Arc::from(bytes))
        }
        false => Source::Address(from as u64),
    }
}

/// A copy to host memory that may move: it has run when the call returns.
fn to_moving_host(into: *mut c_void, from: u64, bytes: usize, stream: StreamId) -> u32 {
    let mut machine = machine();
    let copied = machine.finish(stream).and_then(|()| {
        if !machine.memory.holds(from, bytes) {
            eprintln!("ptx-emulator: {bytes} bytes at {from:#x} are copied, outside of memory");
            return Err(Status::InvalidValue);
        }
        // SAFETY: the source is within an allocation, and the caller gives room for so many bytes.
        unsafe { into.cast::<u8>().copy_from(from as *const u8, bytes) };
        Ok(())
    });
    done(copied)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyHtoDAsync_v2(
    into: u64,
    from: *const c_void,
    bytes: usize,
    stream: *mut c_void,
) -> u32 {
    let from = from_host(from, bytes);
    done(machine().ask(stream_of(stream), Work::Copy { from, into, bytes }))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyDtoHAsync_v2(
    into: *mut c_void,
    from: u64,
    bytes: usize,
    stream: *mut c_void,
) -> u32 {
    let stream = stream_of(stream);
    if machine().may_move(into as u64) {
        return to_moving_host(into, from, bytes, stream);
    }
    let (from, into) = (Source::Address(from), into as u64);
    done(machine().ask(stream, Work::Copy { from, into, bytes }))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyDtoDAsync_v2(into: u64, from: u64, bytes: usize, stream: *mut c_void) -> u32 {
    let from = Source::Address(from);
    done(machine().ask(stream_of(stream), Work::Copy { from, into, bytes }))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyPeerAsync(
    into: u64,
    _into_context: *mut c_void,
    from: u64,
    _from_context: *mut c_void,
    bytes: usize,
    stream: *mut c_void,
) -> u32 {
    cuMemcpyDtoDAsync_v2(into, from, bytes, stream)
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetDefaultMemPool(into: *mut *mut c_void, device: c_int) -> u32 {
    give_handle(Ok(device as u64 + 1), into)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemPoolSetAttribute(
    _pool: *mut c_void,
    _attribute: c_int,
    _value: *mut c_void,
) -> u32 {
    Status::Success as u32
}

#[unsafe(no_mangle)]
extern "C" fn cuMemPoolSetAccess(pool: *mut c_void, access: *const c_int, count: usize) -> u32 {
    let owner = number(pool).saturating_sub(1) as usize;
    let opened = (0..count).try_for_each(|at| {
        // SAFETY: the caller gives so many descriptions: the kind of a place, its number, and rights.
        let peer = unsafe { access.add(3 * at + 1).read() };
        machine().let_peer(peer as usize, owner)
    });
    done(opened)
}

// Streams and events.

#[unsafe(no_mangle)]
extern "C" fn cuStreamCreate(into: *mut *mut c_void, _flags: c_uint) -> u32 {
    give_handle(machine().make_stream(CURRENT.get()), into)
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamDestroy_v2(stream: *mut c_void) -> u32 {
    done(machine().end_stream(number(stream)))
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamSynchronize(stream: *mut c_void) -> u32 {
    done(machine().finish(stream_of(stream)))
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamWaitEvent(stream: *mut c_void, event: *mut c_void, _flags: c_uint) -> u32 {
    done(machine().wait(stream_of(stream), number(event)))
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamIsCapturing(stream: *mut c_void, into: *mut c_int) -> u32 {
    let recording = machine().is_recording(stream_of(stream));
    give(recording.map(c_int::from), into)
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamBeginCapture_v2(stream: *mut c_void, _mode: c_int) -> u32 {
    done(machine().begin_recording(stream_of(stream)))
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamEndCapture(stream: *mut c_void, into: *mut *mut c_void) -> u32 {
    give_handle(machine().end_recording(stream_of(stream)), into)
}

#[unsafe(no_mangle)]
extern "C" fn cuEventCreate(into: *mut *mut c_void, _flags: c_uint) -> u32 {
    give_handle(machine().make_event(), into)
}

#[unsafe(no_mangle)]
extern "C" fn cuEventRecord(event: *mut c_void, stream: *mut c_void) -> u32 {
    done(machine().record(number(event), stream_of(stream)))
}

#[unsafe(no_mangle)]
extern "C" fn cuEventQuery(event: *mut c_void) -> u32 {
    match machine().query(number(event)) {
        Ok(true) => Status::Success as u32,
        Ok(false) => Status::NotReady as u32,
        Err(status) => status as u32,
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuEventSynchronize(event: *mut c_void) -> u32 {
    done(machine().wait_for_event(number(event)))
}

#[unsafe(no_mangle)]
extern "C" fn cuEventElapsedTime_v2(into: *mut f32, first: *mut c_void, last: *mut c_void) -> u32 {
    let seconds = machine().seconds_between(number(first), number(last));
    give(seconds.map(|seconds| (1e3 * seconds) as f32), into)
}

#[unsafe(no_mangle)]
extern "C" fn cuEventDestroy_v2(event: *mut c_void) -> u32 {
    done(machine().end_event(number(event)))
}

// Modules, kernels and graphs.

#[unsafe(no_mangle)]
extern "C" fn cuModuleLoadData(into: *mut *mut c_void, image: *const c_void) -> u32 {
    let module = text_of(image.cast()).and_then(|text| machine().load(text));
    give_handle(module, into)
}

#[unsafe(no_mangle)]
extern "C" fn cuModuleUnload(module: *mut c_void) -> u32 {
    done(machine().unload(number(module)))
}

#[unsafe(no_mangle)]
extern "C" fn cuModuleGetFunction(
    into: *mut *mut c_void,
    module: *mut c_void,
    name: *const c_char,
) -> u32 {
    let function = text_of(name).and_then(|name| machine().find(number(module), name));
    give_handle(function, into)
}

#[unsafe(no_mangle)]
extern "C" fn cuFuncSetAttribute(_function: *mut c_void, _attribute: c_int, _value: c_int) -> u32 {
    Status::Success as u32
}

#[unsafe(no_mangle)]
extern "C" fn cuLaunchKernel(
    function: *mut c_void,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    shared_bytes: c_uint,
    stream: *mut c_void,
    arguments: *mut *mut c_void,
    _extra: *mut *mut c_void,
) -> u32 {
    let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
    if grid.contains(&0) || block.contains(&0) {
        return Status::InvalidValue as u32;
    }
    let mut machine = machine();
    let function = match machine.function(number(function)) {
        Ok(function) => function,
        Err(status) => return status as u32,
    };
    let mut bytes = vec![0; function.parameter_bytes()];
    for (place, parameter) in function.parameters().iter().enumerate() {
        let into = &mut bytes[parameter.offset..parameter.offset + parameter.bytes];
        // SAFETY: the caller gives a pointer for every parameter, to a value of its size, as the driver asks of it.
        unsafe {
            let from = arguments.add(place).read().cast::<u8>();
            from.copy_to(into.as_mut_ptr(), parameter.bytes);
        }
    }
    let kernel = Kernel {
        function,
        grid,
        block,
        shared_bytes,
        arguments: bytes,
    };
    done(machine.ask(stream_of(stream), Work::Launch(Arc::new(kernel))))
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphInstantiateWithFlags(
    into: *mut *mut c_void,
    graph: *mut c_void,
    _flags: u64,
) -> u32 {
    give_handle(machine().copy_graph(number(graph)), into)
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphLaunch(graph: *mut c_void, stream: *mut c_void) -> u32 {
    done(machine().repeat(number(graph), stream_of(stream)))
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphDestroy(graph: *mut c_void) -> u32 {
    machine().end_graph(number(graph));
    Status::Success as u32
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphExecDestroy(graph: *mut c_void) -> u32 {
    cuGraphDestroy(graph)
}
