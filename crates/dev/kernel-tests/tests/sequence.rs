//! The kernels of `tbsm` against plain loops, bit for bit: one thread makes one result, in the loops' order. The operators that
//! call them are compared with the plain candle graph in `tbsm`'s tests.

use kernel_tests::Launch;
use proptest::prelude::*;
use testing::values;

/// Of the kernels that take two operands and a window.
type WindowKernel = unsafe extern "C" fn(*const f32, *const f32, *mut f32, u64, u32, u32, u32, u32);

unsafe extern "C" {
    fn sequence_compare(
        vectors: *const f32,
        x: *const f32,
        a: *mut f32,
        count: u64,
        positions: u32,
        width: u32,
        first: u32,
        span: u32,
        apart: u64,
    );
    fn sequence_join(
        vectors: *const f32,
        y: *const f32,
        joined: *mut f32,
        count: u64,
        positions: u32,
        width: u32,
        first: u32,
        span: u32,
    );
    fn sequence_gradient(
        y: *const f32,
        joined_grad: *const f32,
        a_grad: *const f32,
        x: *const f32,
        w_grad: *const f32,
        grads: *mut f32,
        count: u64,
        positions: u32,
        width: u32,
        first: u32,
        span: u32,
        apart: u64,
        add: u32,
    );
    fn sequence_weigh(
        vectors: *const f32,
        y: *const f32,
        c: *mut f32,
        count: u64,
        positions: u32,
        width: u32,
        first: u32,
        span: u32,
    );
    fn sequence_spread(
        y: *const f32,
        x: *const f32,
        grads: *mut f32,
        count: u64,
        positions: u32,
        width: u32,
        first: u32,
        span: u32,
    );
    fn normalise_forward(
        vectors: *const f32,
        units: *mut f32,
        rows: u64,
        width: u32,
        shortest: f32,
    );
    fn normalise_backward(
        vectors: *const f32,
        unit_grads: *const f32,
        grads: *mut f32,
        rows: u64,
        width: u32,
        shortest: f32,
    );
}

fn threads_for(items: usize, threads: u32) -> Launch {
    Launch {
        blocks: (items as u32).div_ceil(threads),
        threads,
        shared_bytes: 0,
    }
}

#[derive(Debug, Clone, Copy)]
struct Shape {
    count: usize,
    width: usize,
    before: usize,
    span: usize,
    behind: usize,
    threads: u32,
}

impl Shape {
    fn positions(self) -> usize {
        self.before + self.span + self.behind
    }

    fn run(self, kernel: WindowKernel, left: &[f32], right: &[f32], len: usize) -> Vec<f32> {
        let mut output = vec![f32::NAN; len];
        let into = output.as_mut_ptr();
        // SAFETY: the caller gives slices and a length of the kernel's shapes.
        threads_for(len, self.threads).run(|| unsafe {
            kernel(
                left.as_ptr(),
                right.as_ptr(),
                into,
                self.count as u64,
                self.positions() as u32,
                self.width as u32,
                self.before as u32,
                self.span as u32,
            );
        });
        output
    }
}

fn check_window(shape: Shape) {
    let Shape {
        count,
        width,
        before,
        span,
        ..
    } = shape;
    let positions = shape.positions();
    let vectors = values(count * positions * width, 1);
    let (x, y) = (values(count * width, 2), values(count * span, 3));
    let mut a = vec![0.0f32; count * span];
    let mut c = vec![0.0f32; count * width];
    let mut grads = vec![0.0f32; vectors.len()];
    for s in 0..count {
        for t in 0..span {
            for d in 0..width {
                let at = (s * positions + before + t) * width + d;
                let (a, c) = (&mut a[s * span + t], &mut c[s * width + d]);
                *a = vectors[at].mul_add(x[s * width + d], *a);
                *c = y[s * span + t].mul_add(vectors[at], *c);
                grads[at] = y[s * span + t] * x[s * width + d];
            }
        }
    }
    // The vectors compared with lie in rows of their own, or in every sequence's memory.
    for apart in [width, positions * width] {
        let mut rows = vec![f32::NAN; count * apart];
        for (row, x) in rows.chunks_exact_mut(apart).zip(x.chunks_exact(width)) {
            row[..width].copy_from_slice(x);
        }
        let mut found = vec![f32::NAN; a.len()];
        let into = found.as_mut_ptr();
        // SAFETY: the slices have the lengths of the kernel's shapes.
        threads_for(a.len(), shape.threads).run(|| unsafe {
            sequence_compare(
                vectors.as_ptr(),
                rows.as_ptr(),
                into,
                count as u64,
                positions as u32,
                width as u32,
                before as u32,
                span as u32,
                apart as u64,
            );
        });
        assert_eq!(found, a, "{shape:?} {apart}");
    }
    assert_eq!(
        shape.run(sequence_weigh, &vectors, &y, c.len()),
        c,
        "{shape:?}"
    );
    assert_eq!(
        shape.run(sequence_spread, &y, &x, grads.len()),
        grads,
        "{shape:?}"
    );
}

/// A head's sum over its window beside the candidate, and the gradient of the vectors; the last position is the candidate's.
fn check_head(shape: Shape, add: bool) {
    let Shape {
        count,
        width,
        before,
        span,
        ..
    } = shape;
    let positions = shape.positions();
    let vectors = values(count * positions * width, 1);
    let (y, a_grad) = (values(count * span, 2), values(count * span, 3));
    let joined_grad = values(count * 2 * width, 4);
    let w_grad = values(count * width, 5);
    let there = values(vectors.len(), 6);
    let mut joined = vec![0.0f32; count * 2 * width];
    let mut grads = match add {
        true => there.clone(),
        false => vec![0.0; vectors.len()],
    };
    // The candidate is compared with as it lies in the sequence.
    let (last, apart) = ((positions - 1) * width, positions * width);
    let x = &vectors[last..];
    for s in 0..count {
        for d in 0..width {
            let context = s * 2 * width + d;
            for t in 0..span {
                let (at, seen) = (s * apart + (before + t) * width + d, s * span + t);
                joined[context] = y[seen].mul_add(vectors[at], joined[context]);
                let through_x = a_grad[seen].mul_add(x[s * apart + d], grads[at]);
                grads[at] = y[seen].mul_add(joined_grad[context], through_x);
            }
            let at = s * apart + last + d;
            joined[context + width] = vectors[at];
            grads[at] += joined_grad[context + width];
            grads[at] += w_grad[s * width + d];
        }
    }
    assert_eq!(
        shape.run(sequence_join, &vectors, &y, joined.len()),
        joined,
        "{shape:?}"
    );
    let mut found = match add {
        true => there,
        false => vec![f32::NAN; vectors.len()],
    };
    let into = found.as_mut_ptr();
    // SAFETY: the slices have the lengths of the kernel's shapes; `x` ends with the last sequence's candidate.
    threads_for(vectors.len(), shape.threads).run(|| unsafe {
        sequence_gradient(
            y.as_ptr(),
            joined_grad.as_ptr(),
            a_grad.as_ptr(),
            x.as_ptr(),
            w_grad.as_ptr(),
            into,
            count as u64,
            positions as u32,
            width as u32,
            before as u32,
            span as u32,
            apart as u64,
            u32::from(add),
        );
    });
    assert_eq!(found, grads, "{shape:?}");
}

fn check_normalise(rows: usize, width: usize, threads: u32) {
    const SHORTEST: f32 = 1e-12;
    let (mut vectors, unit_grads) = (values(rows * width, 1), values(rows * width, 2));
    // A vector of zeros has no direction: it stays, and its gradient is divided by the bound.
    vectors[..width].fill(0.0);
    let (mut units, mut grads) = (Vec::new(), Vec::new());
    let rows_of = vectors
        .chunks_exact(width)
        .zip(unit_grads.chunks_exact(width));
    for (row, (vector, grad)) in rows_of.enumerate() {
        let length = vector
            .iter()
            .fold(0.0f32, |sum, v| v.mul_add(*v, sum))
            .sqrt();
        let length = if row == 0 { SHORTEST } else { length };
        let unit: Vec<f32> = vector.iter().map(|v| v / length).collect();
        let both = unit.iter().zip(grad);
        let along = both.fold(0.0f32, |sum, (u, g)| u.mul_add(*g, sum));
        let along = if row == 0 { 0.0 } else { along };
        let pairs = unit.iter().zip(grad);
        grads.extend(pairs.map(|(u, g)| (-along).mul_add(*u, *g) / length));
        units.extend(unit);
    }
    let (mut found_units, mut found) = (vec![f32::NAN; units.len()], vec![f32::NAN; units.len()]);
    let (units_into, into) = (found_units.as_mut_ptr(), found.as_mut_ptr());
    let launch = threads_for(rows, threads);
    // SAFETY: all slices have the length of `[rows, width]`.
    launch.run(|| unsafe {
        normalise_forward(
            vectors.as_ptr(),
            units_into,
            rows as u64,
            width as u32,
            SHORTEST,
        );
    });
    // SAFETY: as above.
    launch.run(|| unsafe {
        let (vectors, unit_grads) = (vectors.as_ptr(), unit_grads.as_ptr());
        normalise_backward(
            vectors,
            unit_grads,
            into,
            rows as u64,
            width as u32,
            SHORTEST,
        );
    });
    assert_eq!(found_units, units, "{rows} {width}");
    assert_eq!(found, grads, "{rows} {width}");
}

fn threads() -> impl Strategy<Value = u32> {
    prop_oneof![Just(1u32), Just(32), Just(96), Just(256)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_window(
        count in 1usize..20,
        width in 1usize..65,
        before in 0usize..5,
        span in 1usize..30,
        behind in 0usize..3,
        threads in threads(),
    ) {
        check_window(Shape { count, width, before, span, behind, threads });
    }

    #[test]
    fn any_head(
        count in 1usize..20,
        width in 1usize..65,
        before in 0usize..5,
        span in 1usize..30,
        add in any::<bool>(),
        threads in threads(),
    ) {
        check_head(Shape { count, width, before, span, behind: 1, threads }, add);
    }

    #[test]
    fn any_length(rows in 1usize..60, width in 1usize..513, threads in threads()) {
        check_normalise(rows, width, threads);
    }
}
