//! Transposing blocks of 8 × 8 values.

/// `into[c][r] = from[r][c]` for 8 rows and 8 columns, with `from_stride` and `into_stride` values
/// from row to row.
///
/// # Safety
/// With `WIDE`, the processor must have AVX: as in the bodies that [`dispatch`](crate::dispatch!)
/// calls with `WIDE`.
///
/// # Panics
/// When the block exceeds `from` or `into`.
#[inline(always)]
pub unsafe fn transpose_block<const WIDE: bool>(
    from: &[f32],
    from_stride: usize,
    into: &mut [f32],
    into_stride: usize,
) {
    #[cfg(target_arch = "x86_64")]
    if WIDE {
        assert!(
            from.len() >= 7 * from_stride + 8 && into.len() >= 7 * into_stride + 8,
            "block exceeds its slice"
        );
        // SAFETY: eight values at each of eight strides lie within both slices, as just asserted.
        // The caller guarantees the processor.
        unsafe { transpose_avx(from.as_ptr(), from_stride, into.as_mut_ptr(), into_stride) };
        return;
    }
    for r in 0..8 {
        for (c, value) in from[r * from_stride..][..8].iter().enumerate() {
            into[c * into_stride + r] = *value;
        }
    }
}

/// The transposition in registers: pairs, then quadruples, then halves are exchanged.
///
/// # Safety
/// Eight values must be readable at `from + k * from_stride` and writable at `into + k *
/// into_stride` for `k` below 8, and the processor must have AVX.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn transpose_avx(from: *const f32, from_stride: usize, into: *mut f32, into_stride: usize) {
    use std::arch::x86_64::*;
    // SAFETY: the caller guarantees the addresses and the processor.
    unsafe {
        let row = |k: usize| _mm256_loadu_ps(from.add(k * from_stride));
        let (r0, r1, r2, r3) = (row(0), row(1), row(2), row(3));
        let (r4, r5, r6, r7) = (row(4), row(5), row(6), row(7));
        let (p0, p1) = (_mm256_unpacklo_ps(r0, r1), _mm256_unpackhi_ps(r0, r1));
        let (p2, p3) = (_mm256_unpacklo_ps(r2, r3), _mm256_unpackhi_ps(r2, r3));
        let (p4, p5) = (_mm256_unpacklo_ps(r4, r5), _mm256_unpackhi_ps(r4, r5));
        let (p6, p7) = (_mm256_unpacklo_ps(r6, r7), _mm256_unpackhi_ps(r6, r7));
        const LOW: i32 = 0b01_00_01_00;
        const HIGH: i32 = 0b11_10_11_10;
        let (q0, q1) = (
            _mm256_shuffle_ps::<LOW>(p0, p2),
            _mm256_shuffle_ps::<HIGH>(p0, p2),
        );
        let (q2, q3) = (
            _mm256_shuffle_ps::<LOW>(p1, p3),
            _mm256_shuffle_ps::<HIGH>(p1, p3),
        );
        let (q4, q5) = (
            _mm256_shuffle_ps::<LOW>(p4, p6),
            _mm256_shuffle_ps::<HIGH>(p4, p6),
        );
        let (q6, q7) = (
            _mm256_shuffle_ps::<LOW>(p5, p7),
            _mm256_shuffle_ps::<HIGH>(p5, p7),
        );
        for (k, (a, b)) in [(q0, q4), (q1, q5), (q2, q6), (q3, q7)]
            .into_iter()
            .enumerate()
        {
            _mm256_storeu_ps(
                into.add(k * into_stride),
                _mm256_permute2f128_ps::<0x20>(a, b),
            );
            _mm256_storeu_ps(
                into.add((k + 4) * into_stride),
                _mm256_permute2f128_ps::<0x31>(a, b),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_columns() {
        let from: Vec<f32> = (0..8 * 11).map(|k| k as f32).collect();
        let mut into = vec![-1.0; 8 * 9];
        // SAFETY: the portable form runs everywhere.
        unsafe { transpose_block::<false>(&from, 11, &mut into, 9) };
        for r in 0..8 {
            for c in 0..8 {
                assert_eq!(into[c * 9 + r], from[r * 11 + c]);
            }
        }
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            let mut wide = vec![-1.0; 8 * 9];
            // SAFETY: AVX2, just detected, includes AVX.
            unsafe { transpose_block::<true>(&from, 11, &mut wide, 9) };
            assert_eq!(wide, into);
        }
    }
}
