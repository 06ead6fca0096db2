//! The matrix product with numbers that nobody means: a matrix either lies in its slice or is refused.

use std::panic::catch_unwind;

use proptest::prelude::*;
use recsys_model::{Matrix, multiply};

/// Small numbers, and those around the limits of the types.
fn number() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 0..6usize,
        1 => prop_oneof![
            Just(usize::MAX),
            Just(1 << 63),
            Just((1 << 63) + 1),
            Just(isize::MAX as usize),
            Just(1 << 32),
        ],
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_product_reads_or_writes_outside(
        [rows, inner, columns] in [number(), number(), number()],
        strides in [number(), number(), number()],
        len in 0..30usize,
    ) {
        let (left, right) = (vec![1.0f32; len], vec![1.0f32; len]);
        let product = || {
            let mut into = vec![0.0f32; len];
            let left = Matrix::new(&left, rows, inner, strides[0]);
            let right = Matrix::new(&right, inner, columns, strides[1]);
            multiply(left, right, &mut into, strides[2], false);
            into
        };
        // The panic that is documented, and no other end.
        if let Ok(into) = catch_unwind(product) {
            for value in into {
                prop_assert!(value == 0.0 || value == inner as f32);
            }
        }
    }
}
