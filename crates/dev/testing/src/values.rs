//! Numbers that depend on a seed and a position alone.

/// Values without pattern, between -1 and 1.
pub fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Multiples of 1/512 between -1 and 1, with a period of 1,009: short sums of them are exact.
pub fn residues(count: usize, seed: usize) -> Vec<f32> {
    (0..count)
        .map(|k| (((k * 7_919 + seed * 104_729) % 1_009) as f32 - 504.0) / 512.0)
        .collect()
}
