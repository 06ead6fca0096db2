//! What instructions compute.

use super::*;

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
