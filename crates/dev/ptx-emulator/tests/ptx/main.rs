//! Kernels written by hand, small enough that what they must do is plain.
#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod instructions;
mod mistakes;

use std::ops::Range;

use ptx_emulator::ptx::{Error, Fault, FaultKind, Function, Launch, Memory, Module, Space};

/// The allocations of a test.
#[derive(Default)]
struct Allocations(Vec<Range<u64>>);

impl Allocations {
    fn add<T>(&mut self, values: &mut [T]) -> u64 {
        let range = values.as_mut_ptr_range();
        let start = range.start.expose_provenance() as u64;
        self.0.push(start..range.end.addr() as u64);
        start
    }
}

// SAFETY: a test keeps what it has added, and looks at it after the launch.
unsafe impl Memory for Allocations {
    fn allocation(&self, address: u64) -> Option<Range<u64>> {
        self.0
            .iter()
            .find(|range| range.contains(&address))
            .cloned()
    }

    fn nearest(&self, address: u64) -> Option<Range<u64>> {
        let distance = |range: &&Range<u64>| {
            range
                .start
                .saturating_sub(address)
                .max(address.saturating_sub(range.end))
        };
        self.0.iter().min_by_key(distance).cloned()
    }
}

/// A module of one kernel, `k(out, n)`, with registers of every type.
fn module(body: &str) -> String {
    format!(
        ".version 9.0\n.target sm_80\n.address_size 64\n\
         .visible .entry k(\n.param .u64 k_param_0,\n.param .u32 k_param_1\n)\n{{\n\
         .reg .pred %p<9>; .reg .b16 %rs<9>; .reg .b32 %r<20>; .reg .f32 %f<20>;\n\
         .reg .b64 %rd<20>; .reg .f64 %fd<9>;\n\
         ld.param.u64 %rd1, [k_param_0]; ld.param.u32 %r1, [k_param_1];\n\
         mov.u32 %r2, %tid.x; mul.wide.u32 %rd2, %r2, 4; add.s64 %rd3, %rd1, %rd2;\n\
         {body}\nret;\n}}\n"
    )
}

/// How a test launches.
#[derive(Clone, Copy)]
struct Shape {
    grid: [u32; 3],
    block: [u32; 3],
    shared_bytes: u32,
    order: u64,
    race_check: bool,
}

fn threads(threads: u32) -> Shape {
    let (grid, block) = ([1; 3], [threads, 1, 1]);
    Shape {
        grid,
        block,
        shared_bytes: 0,
        order: 0,
        race_check: false,
    }
}

fn launch(text: &str, shape: Shape, out: &mut [u32], n: u32) -> Result<(), Fault> {
    let module = Module::parse(text).unwrap();
    let function = module.function("k").unwrap();
    let mut memory = Allocations::default();
    let mut arguments = memory.add(out).to_le_bytes().to_vec();
    arguments.extend_from_slice(&n.to_le_bytes());
    function.launch(&Launch {
        grid: shape.grid,
        block: shape.block,
        shared_bytes: shape.shared_bytes,
        arguments: &arguments,
        memory: &memory,
        order: shape.order,
        race_check: shape.race_check,
    })
}

/// What one thread leaves in `%r9`, as the body says.
fn value(body: &str) -> u32 {
    let mut out = [0];
    launch(
        &module(&format!("{body}\nst.global.u32 [%rd1], %r9;")),
        threads(1),
        &mut out,
        7,
    )
    .unwrap();
    out[0]
}

/// What one thread leaves in `%f9`, as the body says.
fn float(body: &str) -> f32 {
    f32::from_bits(value(&format!("{body}\nmov.b32 %r9, %f9;")))
}

#[track_caller]
fn fault(body: &str, shape: Shape) -> FaultKind {
    let mut out = vec![0; 64];
    launch(&module(body), shape, &mut out, 7).unwrap_err().kind
}

/// A float as PTX writes it.
fn hex(value: f32) -> String {
    format!("0f{:08X}", value.to_bits())
}

fn run_one(function: &Function, arguments: &[u8], memory: &Allocations) -> Result<(), Fault> {
    function.launch(&Launch {
        grid: [1; 3],
        block: [1; 3],
        shared_bytes: 0,
        arguments,
        memory,
        order: 0,
        race_check: false,
    })
}
