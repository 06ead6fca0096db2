//! Kernels written by hand, small enough that what they must do is plain.
#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

use std::ops::Range;

use cuda_emulator::ptx::{Error, Fault, FaultKind, Function, Launch, Memory, Module, Space};

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

impl Memory for Allocations {
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

#[test]
fn integers() {
    assert_eq!(value("add.s32 %r9, %r1, -9;") as i32, -2);
    assert_eq!(value("mad.lo.s32 %r9, %r1, %r1, 1;"), 50);
    assert_eq!(value("div.u32 %r9, %r1, 0;"), u32::MAX);
    assert_eq!(value("rem.s32 %r9, -8, %r1;") as i32, -1);
    assert_eq!(value("shr.s32 %r9, -8, 1;") as i32, -4);
    assert_eq!(value("shr.u32 %r9, %r1, 33;"), 0);
    assert_eq!(value("shl.b32 %r9, 1, %r1;"), 128);
    assert_eq!(value("popc.b32 %r9, %r1;"), 3);
    assert_eq!(value("clz.b32 %r9, %r1;"), 29);
    assert_eq!(value("bfi.b32 %r9, %r1, 0, 8, 2;"), 0x300);
    assert_eq!(value("bfe.u32 %r9, 0xABCD, 4, 8;"), 0xBC);
    assert_eq!(
        value("prmt.b32 %r9, 0x33221100, 0x77665544, 0x7531;"),
        0x7755_3311
    );
    assert_eq!(value("mul.hi.u32 %r9, 0x80000000, 6;"), 3);
    assert_eq!(
        value("mul.wide.s32 %rd9, -3, 5; cvt.u32.u64 %r9, %rd9;") as i32,
        -15
    );
    assert_eq!(value("min.s32 %r9, -1, %r1;") as i32, -1);
    assert_eq!(value("max.u32 %r9, -1, %r1;"), u32::MAX);
    assert_eq!(value("not.b32 %r9, %r1;"), !7);
}

#[test]
fn carries_go_from_one_sum_to_the_next() {
    let body =
        "add.cc.u32 %r3, 0xFFFFFFFF, %r1; addc.cc.u32 %r4, 0xFFFFFFFF, 0; addc.u32 %r9, 5, 0;";
    assert_eq!(value(body), 6);
    assert_eq!(value("sub.cc.u32 %r3, 0, %r1; subc.u32 %r9, 5, 0;"), 4);
    let body = "mad.lo.cc.u32 %r3, -1, -1, -1; madc.hi.u32 %r9, -1, -1, 0;";
    assert_eq!(
        value(body),
        ((u64::from(u32::MAX).pow(2) + u64::from(u32::MAX)) >> 32) as u32
    );
}

#[test]
fn floats_round_as_written_and_are_not_fused() {
    let (a, b) = (1.0 + f32::EPSILON, 1.0 - f32::EPSILON / 2.0);
    let operands = format!("mov.f32 %f1, {}; mov.f32 %f2, {};", hex(a), hex(b));
    let run = |body: &str| float(&format!("{operands}{body}"));
    let apart = run("mul.rn.f32 %f3, %f1, %f2; sub.rn.f32 %f9, %f3, 0f3F800000;");
    assert_eq!(apart, a * b - 1.0);
    let fused = run("fma.rn.f32 %f9, %f1, %f2, 0fBF800000;");
    assert_eq!(fused, a.mul_add(b, -1.0));
    assert_ne!(apart, fused);
    let down = run("mul.rm.f32 %f9, %f1, %f2;");
    assert_eq!(run("mul.rp.f32 %f9, %f1, %f2;"), down.next_up());
    assert_eq!(run("fma.rm.f32 %f9, %f1, %f2, 0f00000000;"), down);
    assert_eq!(run("div.rn.f32 %f9, %f1, %f2;"), a / b);
    assert_eq!(run("sqrt.rn.f32 %f9, %f1;"), a.sqrt());
    assert_eq!(run("rcp.rn.f32 %f9, %f2;"), 1.0 / b);
    assert_eq!(run("ex2.approx.ftz.f32 %f9, 0f40400000;"), 8.0);
    assert_eq!(run("lg2.approx.f32 %f9, 0f41000000;"), 3.0);
    assert_eq!(run("rsqrt.approx.f32 %f9, 0f40800000;"), 0.5);
    assert_eq!(run("copysign.f32 %f9, 0f80000000, %f1;"), -a);
    assert_eq!(run("max.f32 %f9, 0f7FFFFFFF, %f1;"), a);
    assert!(run("max.NaN.f32 %f9, 0f7FFFFFFF, %f1;").is_nan());
    assert_eq!(run("add.sat.f32 %f9, %f1, %f1;"), 1.0);
}

#[test]
fn subnormal_numbers_are_flushed_where_it_is_written() {
    let tiny = hex(1e-40);
    assert_eq!(
        float(&format!("add.f32 %f9, {tiny}, {tiny};")),
        1e-40 + 1e-40
    );
    assert_eq!(float(&format!("add.ftz.f32 %f9, {tiny}, {tiny};")), 0.0);
    assert_eq!(
        float(&format!(
            "mul.ftz.f32 %f9, {}, 0f3F000000;",
            hex(f32::MIN_POSITIVE)
        )),
        0.0
    );
    assert!(float("rcp.approx.ftz.f32 %f9, 0f00000001;").is_infinite());
}

#[test]
fn doubles() {
    let run = |body: &str| {
        let text = module(&format!("{body}\nst.global.f64 [%rd1], %fd1;"));
        // Eight bytes need an address that is a multiple of eight.
        let mut words = [0_u64; 1];
        let module = Module::parse(&text).unwrap();
        let mut memory = Allocations::default();
        let mut arguments = memory.add(&mut words).to_le_bytes().to_vec();
        arguments.extend_from_slice(&7_u32.to_le_bytes());
        run_one(&module.function("k").unwrap(), &arguments, &memory).unwrap();
        f64::from_bits(words[0])
    };
    assert_eq!(run("mov.f64 %fd1, 0d3FF8000000000000;"), 1.5);
    assert_eq!(
        run("fma.rn.f64 %fd1, 0d4000000000000000, 0d4008000000000000, 0dBFF0000000000000;"),
        5.0
    );
    assert_eq!(run("cvt.f64.f32 %fd1, 0f3DCCCCCD;"), f64::from(0.1_f32));
    assert_eq!(run("mov.b64 %fd1, {%r1, %r1};").to_bits(), 0x7_0000_0007);
    // Twenty bits of the quotient, and zeros.
    let coarse = run("rcp.approx.ftz.f64 %fd1, 0d4008000000000000;");
    assert!((coarse - 1.0 / 3.0).abs() < 1e-6 && coarse.to_bits() as u32 == 0);
    assert_eq!(
        run("add.rz.f64 %fd1, 0d3FF0000000000000, 0dB970000000000000;"),
        1_f64.next_down()
    );
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

#[test]
fn conversions() {
    assert_eq!(value("cvt.rzi.u32.f32 %r9, 0fBF800000;"), 0);
    assert_eq!(value("cvt.rni.s32.f32 %r9, 0f40200000;"), 2);
    assert_eq!(float("cvt.rn.f32.u32 %f9, 16777217;"), 16_777_216.0);
    assert_eq!(float("cvt.rp.f32.u32 %f9, 16777217;"), 16_777_218.0);
    assert_eq!(float("cvt.sat.f32.f32 %f9, 0f40000000;"), 1.0);
    assert_eq!(float("cvt.rmi.f32.f32 %f9, 0fBFC00000;"), -2.0);
    assert_eq!(
        float("cvt.rn.f16.f32 %rs1, 0f3DCCCCCD; cvt.f32.f16 %f9, %rs1;"),
        0.099_975_586
    );
    assert_eq!(
        value("cvt.rn.bf16.f32 %rs1, 0f3F808001; cvt.u32.u16 %r9, %rs1;"),
        0x3F81
    );
    assert_eq!(
        value("mov.u32 %r3, 0x80; cvt.s32.s8 %r9, %r3;") as i32,
        -128
    );
    // Vectors in and out of a register.
    assert_eq!(
        value("mov.b32 {%rs1, %rs2}, 0x12345678; mov.b32 %r9, {%rs2, %rs1};"),
        0x5678_1234
    );
}

#[test]
fn comparisons_and_selections() {
    assert_eq!(
        value("setp.gt.s32 %p1, %r1, -1; selp.b32 %r9, 1, 2, %p1;"),
        1
    );
    assert_eq!(
        value("setp.gt.u32 %p1, %r1, -1; selp.b32 %r9, 1, 2, %p1;"),
        2
    );
    assert_eq!(
        value("setp.ltu.f32 %p1, 0f7FFFFFFF, 0f00000000; selp.b32 %r9, 1, 2, %p1;"),
        1
    );
    assert_eq!(
        value("setp.lt.f32 %p1, 0f7FFFFFFF, 0f00000000; selp.b32 %r9, 1, 2, %p1;"),
        2
    );
    assert_eq!(
        value("setp.eq.s32 %p1|%p2, %r1, 8; selp.b32 %r3, 1, 0, %p1; selp.b32 %r9, 5, %r3, %p2;"),
        5
    );
    assert_eq!(
        value("mov.pred %p1, -1; setp.eq.and.s32 %p2, %r1, 7, !%p1; selp.b32 %r9, 1, 2, %p2;"),
        2
    );
    assert_eq!(value("set.eq.u32.s32 %r9, %r1, 7;"), u32::MAX);
    assert_eq!(float("set.gt.f32.f32 %f9, 0f40000000, 0f3F800000;"), 1.0);
}

#[test]
fn guards_and_loops() {
    assert_eq!(
        value("mov.u32 %r9, 1; setp.eq.s32 %p1, %r1, 7; @!%p1 mov.u32 %r9, 2;"),
        1
    );
    assert_eq!(
        value("mov.u32 %r9, 1; setp.eq.s32 %p1, %r1, 7; @%p1 mov.u32 %r9, 2;"),
        2
    );
    let body = "mov.u32 %r9, 0; $L_1: add.s32 %r9, %r9, %r1; add.s32 %r1, %r1, -1;\n\
                setp.ne.s32 %p1, %r1, 0; @%p1 bra $L_1;";
    assert_eq!(value(body), 28);
}

#[test]
fn names_of_a_block_hide_those_around_it() {
    let body = "mov.u32 %r9, 3; { .reg .b32 %r9; .reg.b16 low, high; mov.u32 %r9, 4;\n\
                mov.b32 {low, high}, %r9; }";
    assert_eq!(value(body), 3);
}

#[test]
fn functions_are_called_and_keep_their_own_memory() {
    let text = module(
        "{ .reg .b32 temp; .param .b32 a; st.param.b32 [a+0], %r1; .param .b32 result;\n\
         call.uni (result), twice, (a); ld.param.b32 %r3, [result+0]; }\n\
         { .param .b32 a; st.param.b32 [a+0], %r3; .param .b32 result;\n\
         call.uni (result), twice, (a); ld.param.b32 %r9, [result+0]; }\n\
         st.global.u32 [%rd1], %r9;",
    );
    let callee = ".func (.param .b32 out) twice(.param .b32 x)\n{\n.local .align 4 .b8 depot[8];\n\
                  .reg .b32 %r<4>; .reg .b64 %rd<3>; .reg .pred %p1;\n\
                  mov.u64 %rd1, depot; cvta.local.u64 %rd2, %rd1; ld.param.b32 %r1, [x];\n\
                  st.local.u32 [%rd1+4], %r1; ld.u32 %r2, [%rd2+4]; add.s32 %r3, %r1, %r2;\n\
                  setp.ne.s32 %p1, %r3, 0; st.param.b32 [out+0], %r3; @%p1 ret;\n\
                  st.param.b32 [out+0], 99; ret;\n}\n";
    let mut out = [0];
    launch(&format!("{text}{callee}"), threads(1), &mut out, 7).unwrap();
    assert_eq!(out, [28]);
}

#[test]
fn variables_of_a_module() {
    let text = module(
        "mov.u64 %rd4, table; mul.wide.u32 %rd5, %r1, 4; add.s64 %rd6, %rd4, %rd5;\n\
         ld.global.u32 %r9, [%rd6]; ld.const.f32 %f1, [scale]; st.global.u32 [%rd1], %r9;\n\
         st.global.f32 [%rd1+4], %f1;",
    );
    let variables = ".global .align 4 .b8 table[32] = {1, 0, 0, 0, 0, 0, 0, 0, 2};\n\
                     .const .f32 scale = 0f3F000000;\n";
    let text = text.replace(".visible", &format!("{variables}.visible"));
    let mut out = [0, 0];
    launch(&text, threads(1), &mut out, 2).unwrap();
    assert_eq!(out, [2, 0.5_f32.to_bits()]);
    let module = Module::parse(&text).unwrap();
    assert_eq!(module.global("table").unwrap().1, 32);
    assert!(
        module.global("table").unwrap().0.is_multiple_of(16) && module.global("other").is_none()
    );
    // One element behind the end.
    let kind = launch(&text, threads(1), &mut out, 8).unwrap_err().kind;
    assert!(matches!(
        kind,
        FaultKind::OutOfBounds {
            space: Space::Global,
            bytes: 4,
            write: false,
            ..
        }
    ));
}

#[test]
fn vectors_are_loaded_and_stored() {
    let body = "setp.ne.s32 %p1, %r2, 0; @%p1 ret;\n\
                ld.global.v4.u32 {%r3, %r4, %r5, %r6}, [%rd1]; st.global.v2.u32 [%rd1+16], {%r6, %r3};";
    // Sixteen bytes need an address that is a multiple of sixteen.
    let mut words = [4_u128 << 96 | 3 << 64 | 2 << 32 | 1, 0];
    let module = Module::parse(&module(body)).unwrap();
    let mut memory = Allocations::default();
    let mut arguments = memory.add(&mut words).to_le_bytes().to_vec();
    arguments.extend_from_slice(&[0; 4]);
    run_one(&module.function("k").unwrap(), &arguments, &memory).unwrap();
    assert_eq!(words[1], 1 << 32 | 4);
}

#[test]
fn the_grid_is_covered_in_any_order() {
    let body = "mov.u32 %r3, %ctaid.x; mov.u32 %r4, %ctaid.y; mov.u32 %r5, %nctaid.x;\n\
                mad.lo.s32 %r6, %r4, %r5, %r3; mov.u32 %r7, %ntid.x; mov.u32 %r8, %ntid.y;\n\
                mov.u32 %r10, %tid.y; mad.lo.s32 %r11, %r6, %r8, %r10; mad.lo.s32 %r12, %r11, %r7, %r2;\n\
                mul.wide.u32 %rd4, %r12, 4; add.s64 %rd5, %rd1, %rd4; st.global.u32 [%rd5], %r12;";
    for order in 0..10 {
        let shape = Shape {
            grid: [3, 2, 1],
            block: [5, 2, 1],
            order,
            race_check: true,
            ..threads(1)
        };
        let mut out = vec![0; 60];
        launch(&module(body), shape, &mut out, 0).unwrap();
        assert!(out.iter().copied().eq(0..60));
    }
}

/// Every thread writes its number, and reads that of the thread behind it.
const EXCHANGE: &str = ".shared .align 4 .b8 stage[256]; mov.u32 %r3, stage; shl.b32 %r4, %r2, 2;\n\
    add.s32 %r5, %r3, %r4; st.shared.u32 [%r5], %r2; BARRIER\n\
    mov.u32 %r6, %ntid.x; add.s32 %r7, %r2, 1; rem.u32 %r7, %r7, %r6; shl.b32 %r8, %r7, 2;\n\
    add.s32 %r8, %r3, %r8; ld.shared.u32 %r9, [%r8]; st.global.u32 [%rd3], %r9;";

#[test]
fn a_barrier_orders_shared_memory() {
    for order in 0..5 {
        let body = EXCHANGE.replace("BARRIER", "bar.sync 0;");
        let mut out = vec![0; 64];
        launch(
            &module(&body),
            Shape {
                order,
                ..threads(64)
            },
            &mut out,
            0,
        )
        .unwrap();
        assert!(
            out.iter()
                .enumerate()
                .all(|(i, &found)| found == (i as u32 + 1) % 64)
        );
    }
}

#[test]
fn a_missing_barrier_is_found_in_any_order() {
    for order in 0..5 {
        let body = EXCHANGE.replace("BARRIER", "");
        let kind = fault(
            &body,
            Shape {
                order,
                ..threads(64)
            },
        );
        let FaultKind::SharedRace { other, .. } = kind else {
            panic!("{kind}")
        };
        assert!(other[0] < 64);
    }
}

#[test]
fn a_warp_orders_its_own_lanes_only() {
    let body = EXCHANGE.replace("BARRIER", "bar.warp.sync -1;");
    let mut out = vec![0; 32];
    launch(&module(&body), threads(32), &mut out, 0).unwrap();
    assert_eq!(out[31], 0);
    assert!(matches!(
        fault(&body, threads(64)),
        FaultKind::SharedRace { .. }
    ));
}

#[test]
fn what_was_read_must_not_be_overwritten() {
    // All read the first word, then one writes it.
    let body = ".shared .align 4 .b8 word[4]; ld.shared.u32 %r9, [word]; BARRIER\n\
                setp.ne.s32 %p1, %r2, 40; @%p1 ret; st.shared.u32 [word], %r2;";
    let kind = fault(&body.replace("BARRIER", ""), threads(64));
    assert!(matches!(kind, FaultKind::SharedRace { .. }), "{kind}");
    let mut out = [0];
    launch(
        &module(&body.replace("BARRIER", "bar.sync 0;")),
        threads(64),
        &mut out,
        0,
    )
    .unwrap();
}

#[test]
fn atomic_instructions_need_no_barrier() {
    let body = ".shared .align 4 .b8 count[4]; setp.ne.s32 %p1, %r2, 0; @%p1 bra $L_1;\n\
                st.shared.u32 [count], 0; $L_1: bar.sync 0; atom.shared.add.u32 %r3, [count], %r1;\n\
                bar.sync 0; @%p1 ret; ld.shared.u32 %r9, [count]; st.global.u32 [%rd1], %r9;";
    let mut out = [0];
    launch(&module(body), threads(64), &mut out, 2).unwrap();
    assert_eq!(out, [128]);
}

#[test]
fn atomics_in_global_memory() {
    let body = "atom.global.add.u32 %r3, [%rd1], %r1; red.global.max.u32 [%rd1+4], %r2;\n\
                atom.global.add.f32 %f1, [%rd1+8], 0f3F000000; atom.global.cas.b32 %r4, [%rd1+12], 0, 9;\n\
                atom.global.exch.b32 %r5, [%rd1+16], 5;";
    let mut out = [1, 0, 0, 0, 0];
    let shape = Shape {
        grid: [3, 1, 1],
        order: 3,
        race_check: true,
        ..threads(40)
    };
    launch(&module(body), shape, &mut out, 2).unwrap();
    assert_eq!(out, [241, 39, 60_f32.to_bits(), 9, 5]);
}

#[test]
fn shuffles_and_votes() {
    let body = "mov.u32 %r9, %r2; shfl.sync.bfly.b32 %r3|%p1, %r9, 16, 31, -1; add.s32 %r9, %r9, %r3;\n\
                shfl.sync.bfly.b32 %r3|%p1, %r9, 8, 31, -1; add.s32 %r9, %r9, %r3;\n\
                shfl.sync.bfly.b32 %r3|%p1, %r9, 4, 31, -1; add.s32 %r9, %r9, %r3;\n\
                shfl.sync.bfly.b32 %r3|%p1, %r9, 2, 31, -1; add.s32 %r9, %r9, %r3;\n\
                shfl.sync.bfly.b32 %r3|%p1, %r9, 1, 31, -1; add.s32 %r9, %r9, %r3;\n\
                setp.gt.u32 %p2, %r2, 35; vote.sync.ballot.b32 %r4, %p2, -1; add.s32 %r9, %r9, %r4;\n\
                st.global.u32 [%rd3], %r9;";
    for order in 0..3 {
        let mut out = vec![0; 64];
        launch(
            &module(body),
            Shape {
                order,
                ..threads(64)
            },
            &mut out,
            0,
        )
        .unwrap();
        let (first, second) = out.split_at(32);
        assert!(first.iter().all(|&found| found == 496));
        assert!(
            second
                .iter()
                .all(|&found| found == (496_u32 + 1024).wrapping_add(0xFFFF_FFF0))
        );
    }
}

#[test]
fn a_shuffle_out_of_a_lane_that_is_not_there() {
    let kind = fault("shfl.sync.bfly.b32 %r3, %r2, 16, 31, -1;", threads(40));
    assert!(
        matches!(kind, FaultKind::ShuffleSource { lane: 16..32 }),
        "{kind}"
    );
}

#[test]
fn lanes_that_never_come() {
    let body = "setp.lt.u32 %p1, %r2, 16; @%p1 bra $L_1; bar.sync 0; $L_1:\n\
                shfl.sync.bfly.b32 %r3, %r2, 1, 31, -1;";
    let kind = fault(body, threads(32));
    assert_eq!(
        kind,
        FaultKind::WarpDivergence {
            missing: 0xFFFF_0000
        }
    );
}

#[test]
fn threads_at_different_barriers() {
    let body = "setp.lt.u32 %p1, %r2, 16; @%p1 bra $L_1; bar.sync 0; $L_1: bar.sync 0;";
    let kind = fault(body, threads(32));
    assert!(
        matches!(kind, FaultKind::BarrierDivergence { .. }),
        "{kind}"
    );
}

#[test]
fn a_barrier_does_not_wait_for_threads_that_ended() {
    let body = "setp.lt.u32 %p1, %r2, 16; @%p1 ret; bar.sync 0; st.global.u32 [%rd3], %r2;";
    let mut out = vec![0; 32];
    launch(&module(body), threads(32), &mut out, 0).unwrap();
    assert_eq!((out[15], out[16]), (0, 16));
}

#[test]
fn accesses_behind_the_end() {
    let text = module("st.global.u32 [%rd3], %r2;");
    let mut out = vec![0; 40];
    let fault = launch(
        &text,
        Shape {
            order: 5,
            ..threads(41)
        },
        &mut out,
        0,
    )
    .unwrap_err();
    assert_eq!((fault.thread, fault.block), ([40, 0, 0], [0; 3]));
    let FaultKind::OutOfBounds {
        space,
        bytes,
        write,
        nearest,
        address,
    } = fault.kind.clone()
    else {
        panic!("{fault}")
    };
    assert_eq!((space, bytes, write), (Space::Global, 4, true));
    assert_eq!(nearest.unwrap().end, address);
    assert!(
        fault
            .to_string()
            .contains("0 bytes behind the end of an allocation of 160")
    );
    // Half of eight bytes.
    let kind = launch(
        &module("st.global.u64 [%rd1+4], %rd1;"),
        threads(1),
        &mut [0; 2],
        0,
    );
    assert!(kind.is_err());
}

#[test]
fn addresses_that_are_no_multiples() {
    let kind = fault("ld.global.u32 %r9, [%rd1+2];", threads(1));
    assert!(matches!(
        kind,
        FaultKind::Misaligned {
            space: Space::Global,
            bytes: 4,
            write: false,
            ..
        }
    ));
    let body = ".shared .align 16 .b8 stage[64]; mov.u32 %r3, stage;\n\
                st.shared.v4.f32 [%r3+8], {%f1, %f1, %f1, %f1};";
    let kind = fault(body, threads(1));
    assert!(matches!(
        kind,
        FaultKind::Misaligned {
            space: Space::Shared,
            bytes: 16,
            write: true,
            ..
        }
    ));
}

#[test]
fn shared_memory_has_an_end() {
    let body = "add.s32 %r3, %r2, %r1; shl.b32 %r3, %r3, 2; mov.u32 %r4, dynamic; add.s32 %r4, %r4, %r3;\n\
                st.shared.u32 [%r4], %r2;";
    let text = module(body).replace(
        ".visible",
        ".extern .shared .align 16 .b8 dynamic[];\n.visible",
    );
    let shape = Shape {
        shared_bytes: 4 * 16,
        ..threads(16)
    };
    launch(&text, shape, &mut [0], 0).unwrap();
    let kind = launch(&text, shape, &mut [0], 1).unwrap_err().kind;
    assert!(
        matches!(
            kind,
            FaultKind::OutOfBounds {
                space: Space::Shared,
                address: 64,
                ..
            }
        ),
        "{kind}"
    );
}

#[test]
fn an_access_behind_one_variable_does_not_hit_the_next() {
    let body = ".shared .align 4 .b8 first[8]; .shared .align 4 .b8 second[8]; shl.b32 %r3, %r1, 2;\n\
                mov.u32 %r4, first; add.s32 %r4, %r4, %r3; st.shared.u32 [second+4], %r2;\n\
                st.shared.u32 [%r4], %r2;";
    let text = module(body);
    launch(&text, threads(1), &mut [0], 1).unwrap();
    let fault = launch(&text, threads(1), &mut [0], 2).unwrap_err();
    assert!(
        fault
            .to_string()
            .contains("0 bytes behind the end of an allocation of 8"),
        "{fault}"
    );
    let function = Module::parse(&text).unwrap().function("k").unwrap();
    assert_eq!(function.shared_bytes(), 16);
}

#[test]
fn local_memory_has_an_end() {
    let body = ".local .align 4 .b8 depot[8]; mov.u64 %rd4, depot; st.local.u32 [%rd4+16], %r2;";
    let kind = fault(body, threads(1));
    assert!(
        matches!(
            kind,
            FaultKind::OutOfBounds {
                space: Space::Local,
                ..
            }
        ),
        "{kind}"
    );
}

#[test]
fn generic_addresses_of_shared_memory() {
    let body = ".shared .align 4 .b8 stage[8]; mov.u64 %rd4, stage; cvta.shared.u64 %rd5, %rd4;\n\
                st.u32 [%rd5+4], %r1; ld.shared.u32 %r9, [stage+4];";
    assert_eq!(value(body), 7);
    // They are no global ones.
    let kind = fault(&body.replace("st.u32", "st.global.u32"), threads(1));
    assert!(
        matches!(
            kind,
            FaultKind::OutOfBounds {
                space: Space::Global,
                ..
            }
        ),
        "{kind}"
    );
}

#[test]
fn blocks_that_write_the_same() {
    let shape = Shape {
        grid: [2, 1, 1],
        race_check: true,
        ..threads(4)
    };
    let kind = fault("st.global.u32 [%rd3], %r2;", shape);
    assert!(
        matches!(
            kind,
            FaultKind::GlobalRace {
                write: true,
                other: [0, 0, 0],
                other_wrote: true,
                ..
            }
        ),
        "{kind}"
    );
    let body = "mov.u32 %r3, %ctaid.x; setp.eq.s32 %p1, %r3, 0; @%p1 ld.global.u32 %r9, [%rd3];\n\
                @!%p1 st.global.u32 [%rd3], %r2;";
    assert!(matches!(
        fault(body, shape),
        FaultKind::GlobalRace {
            other_wrote: false,
            ..
        }
    ));
}

#[test]
fn kernels_that_end_themselves_or_not_at_all() {
    assert_eq!(fault("trap;", threads(1)), FaultKind::Trap);
    let text = module(
        "{ .param .b64 a; st.param.b64 [a], message; .param .b64 b; st.param.b64 [b], file;\n\
         .param .b32 c; st.param.b32 [c], 42; .param .b64 d; st.param.b64 [d], file;\n\
         .param .b64 e; st.param.b64 [e], 1; call.uni __assertfail, (a, b, c, d, e); }",
    );
    let declared = ".extern .func __assertfail(.param .b64 a, .param .b64 b, .param .b32 c, .param .b64 d, .param .b64 e);\n\
                    .global .align 1 .b8 message[6] = {105, 32, 60, 32, 110};\n\
                    .global .align 1 .b8 file[5] = {120, 46, 99, 117};\n";
    let text = text.replace(".visible", &format!("{declared}.visible"));
    let kind = launch(&text, threads(1), &mut [0], 0).unwrap_err().kind;
    let (message, file) = ("i < n".into(), "x.cu".into());
    assert_eq!(
        kind,
        FaultKind::Assertion {
            message,
            file,
            line: 42
        }
    );
}

#[test]
fn faults_say_where() {
    let text = module(".loc 1 12 5\nst.global.u32 [0], %r2;") + ".file 1 \"a/b.cu\"\n";
    let fault = launch(&text, threads(1), &mut [0], 0).unwrap_err();
    let source = fault.source.clone().unwrap();
    assert_eq!((&*source.file, source.line), ("a/b.cu", 12));
    assert!(
        text.lines()
            .nth(fault.line as usize - 1)
            .unwrap()
            .starts_with("st.global")
    );
    assert!(
        fault.to_string().starts_with("k (a/b.cu:12; line "),
        "{fault}"
    );
}

#[test]
fn launches_that_cannot_be() {
    let text = module("");
    let wrong = |shape| match launch(&text, shape, &mut [0], 0).unwrap_err().kind {
        FaultKind::Launch { what, .. } => what,
        kind => panic!("{kind}"),
    };
    assert_eq!(wrong(threads(1025)), "threads of a block");
    assert_eq!(
        wrong(Shape {
            block: [1 << 31, 1 << 31, 4],
            ..threads(1)
        }),
        "threads of a block"
    );
    assert_eq!(
        wrong(Shape {
            grid: [u32::MAX; 3],
            ..threads(1)
        }),
        "blocks"
    );
    assert_eq!(
        wrong(Shape {
            shared_bytes: 1 << 20,
            ..threads(1)
        }),
        "bytes of shared memory"
    );
    let module = Module::parse(&text).unwrap();
    let function = module.function("k").unwrap();
    let fault = run_one(&function, &[0; 11], &Allocations::default()).unwrap_err();
    assert!(matches!(
        fault.kind,
        FaultKind::Launch {
            what: "bytes of parameters",
            ..
        }
    ));
}

#[test]
fn parameters_and_limits() {
    let text = ".version 9.0\n.target sm_80\n.address_size 64\n.visible .entry k(\n\
                .param .u8 a,\n.param .u64 .ptr .global .align 16 b,\n.param .align 4 .b8 c[12],\n.param .f32 d\n)\n\
                .maxntid 128, 2, 1\n.minnctapersm 2\n{\n.shared .align 8 .b8 s[24];\nret;\n}\n";
    let function = Module::parse(text).unwrap().function("k").unwrap();
    let found: Vec<_> = function
        .parameters()
        .iter()
        .map(|p| (p.offset, p.bytes, p.align))
        .collect();
    assert_eq!(found, [(0, 1, 1), (8, 8, 8), (16, 12, 4), (28, 4, 4)]);
    assert_eq!(
        (function.parameter_bytes(), function.shared_bytes()),
        (32, 24)
    );
    assert_eq!((function.max_threads(), function.name()), (256, "k"));
}

#[test]
fn what_is_not_supported_is_named_when_it_is_asked_for() {
    let good = module("");
    let bad =
        module("add.s32 %r9, %r9, 1;\nwmma.load.a.sync %r9, [%rd1];").replace(" k(", " other(");
    let body = bad.split_once(".visible").unwrap().1;
    let text = format!("{good}.visible{body}");
    let module = Module::parse(&text).unwrap();
    assert!(module.names().eq(["k", "other"]));
    assert!(module.function("k").is_ok());
    match module.function("other").unwrap_err() {
        Error::Unsupported {
            function,
            line,
            instruction,
            ..
        } => {
            assert_eq!(
                (function.as_str(), instruction.as_str()),
                ("other", "wmma.load.a.sync")
            );
            assert!(
                text.lines()
                    .nth(line as usize - 1)
                    .unwrap()
                    .starts_with("wmma")
            );
        }
        error => panic!("{error}"),
    }
    assert!(matches!(
        module.function("none"),
        Err(Error::NoFunction { .. })
    ));
}

#[test]
fn texts_that_are_not_ptx() {
    for text in [
        "\0",
        "nonsense",
        ".visible .entry k(",
        ".visible .entry k() {",
        ".file 1",
        "}",
        "é",
    ] {
        let parsed = Module::parse(text);
        assert!(parsed.is_err() || text == "\0", "{text}");
    }
    for body in [
        "add.s32 %r9, %r1;",
        "add.s32 %r99, %r1, 1;",
        "bra $L_nowhere;",
        "setp.eq.s32;",
        "ld.global.u32 %r9, [%rd1+99999999999];",
        "mov.b32 {%rs1, %rs2, %rs3}, %r1;",
        "call.uni k, (%r1, %r1);",
        "add.foo.s32 %r9, %r1, 1;",
        "st.global.u32 %r9",
        "bar.sync %r1;",
        "@",
    ] {
        let text = module(body);
        let decoded = Module::parse(&text).and_then(|module| module.function("k").map(|_| ()));
        assert!(decoded.is_err(), "{body}");
    }
}
