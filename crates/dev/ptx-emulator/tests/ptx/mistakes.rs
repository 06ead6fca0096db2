//! Threads beside each other, and what a kernel may not do.

use super::*;

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
