//! The vector instructions that loops and products use: chosen once for the process, the widest
//! that the processor gains from.
//!
//! The numbers of a level are the same on every processor. Those of two levels differ in the last
//! bits: [`SimdLevel::Portable`] rounds products before it adds them, and the library of products
//! cuts the sums of narrow layers by the width of the vectors, so that a model of layers of a few
//! values trains to other bits with [`SimdLevel::Avx512`] than with [`SimdLevel::Avx2`]. Products of
//! wide layers, and slices of up to 512 samples, have the same bits with both.
//!
//! [`level`] says what is in use. A process that must repeat the numbers of another machine forces
//! its level, by [`force`] or by the environment variable `RECSYS_SIMD`: `portable`, `avx2` or
//! `avx512`.
//!
//! candle's own products (`Tensor::matmul` on the CPU) choose for themselves, by what the processor
//! has.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::{Error, Result};

/// A set of vector instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum SimdLevel {
    /// What the build's target has.
    Portable,
    /// AVX2 with FMA: vectors of 256 bits.
    Avx2,
    /// AVX2 with FMA, and AVX-512 for matrix products.
    Avx512,
}

/// The variable that forces a level.
const VARIABLE: &str = "RECSYS_SIMD";

/// 0 before the first use, else a level's number.
static LEVEL: AtomicU8 = AtomicU8::new(0);

impl SimdLevel {
    const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Avx512];

    fn number(self) -> u8 {
        self as u8 + 1
    }

    /// The level of a name, as the variable `RECSYS_SIMD` has it.
    fn named(name: &str) -> Option<Self> {
        match name {
            "portable" => Some(Self::Portable),
            "avx2" => Some(Self::Avx2),
            "avx512" => Some(Self::Avx512),
            _ => None,
        }
    }

    /// The level that this processor gains most from. Processors of AMD before Zen 5 run 512-bit
    /// instructions as two halves or at a lower rate, so that wider products lose there: they have
    /// [`SimdLevel::Avx2`], as all other makers' but Intel's.
    pub fn detected() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if !(has!("avx2") && has!("fma")) {
                return Self::Portable;
            }
            if has!("avx512f") && gains_from_512_bits(vendor(), family()) {
                return Self::Avx512;
            }
            Self::Avx2
        }
        #[cfg(not(target_arch = "x86_64"))]
        Self::Portable
    }

    /// Whether this processor can run the level at all.
    fn is_there(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            let wide = has!("avx2") && has!("fma");
            match self {
                Self::Portable => true,
                Self::Avx2 => wide,
                Self::Avx512 => wide && has!("avx512f"),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        return self == Self::Portable;
    }
}

/// The level in use: that of [`force`], else that of `RECSYS_SIMD` where the processor has it, else
/// [`SimdLevel::detected`]. The first call decides. A variable that names no level is ignored.
#[inline]
pub fn level() -> SimdLevel {
    match LEVEL.load(Ordering::Relaxed) {
        0 => decide(),
        number => SimdLevel::ALL[usize::from(number - 1).min(2)],
    }
}

#[cold]
fn decide() -> SimdLevel {
    let wanted = std::env::var(VARIABLE).ok();
    let wanted = wanted.as_deref().and_then(SimdLevel::named);
    let wanted = wanted.filter(|level| level.is_there());
    let chosen = wanted.unwrap_or_else(SimdLevel::detected);
    // Another thread may have forced one meanwhile.
    match LEVEL.compare_exchange(0, chosen.number(), Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => chosen,
        Err(_) => level(),
    }
}

/// Makes the process use a level from the start. To be called before the first model runs.
///
/// # Errors
/// [`Error::SimdLevelMissing`] where the processor cannot run it, and [`Error::SimdLevelInUse`]
/// where another one has been used.
pub fn force(wanted: SimdLevel) -> Result<()> {
    if !wanted.is_there() {
        let detected = SimdLevel::detected();
        return Err(Error::SimdLevelMissing { wanted, detected });
    }
    match LEVEL.compare_exchange(0, wanted.number(), Ordering::Relaxed, Ordering::Relaxed) {
        Err(current) if current != wanted.number() => {
            Err(Error::SimdLevelInUse { current: level() })
        }
        _ => Ok(()),
    }
}

/// Whether the loops of [`dispatch`](crate::dispatch!) run with AVX2 and FMA.
#[inline]
pub fn is_wide() -> bool {
    level() >= SimdLevel::Avx2
}

/// Whether 512-bit products are faster than 256-bit ones on a processor that has both.
#[cfg(target_arch = "x86_64")]
fn gains_from_512_bits(vendor: [u8; 12], family: u32) -> bool {
    /// Zen 5. Zen 4, family 0x19, runs 512-bit instructions in halves.
    const ZEN_5: u32 = 0x1a;
    match &vendor {
        b"GenuineIntel" => true,
        b"AuthenticAMD" => family >= ZEN_5,
        _ => false,
    }
}

/// The maker's name, as `CPUID` leaf 0 has it.
#[cfg(target_arch = "x86_64")]
fn vendor() -> [u8; 12] {
    let leaf = std::arch::x86_64::__cpuid(0);
    let mut name = [0; 12];
    for (into, register) in name.chunks_exact_mut(4).zip([leaf.ebx, leaf.edx, leaf.ecx]) {
        into.copy_from_slice(&register.to_le_bytes());
    }
    name
}

/// The processor's family, as `CPUID` leaf 1 has it.
#[cfg(target_arch = "x86_64")]
fn family() -> u32 {
    let leaf = std::arch::x86_64::__cpuid(1);
    let base = (leaf.eax >> 8) & 0xf;
    match base {
        0xf => base + ((leaf.eax >> 20) & 0xff),
        _ => base,
    }
}

/// Defines `pub(crate) fn $name(arguments)`, which calls `$body::<true>` compiled for AVX2 and FMA
/// where [`is_wide`] says so, and `$body::<false>` elsewhere. The body must be `#[inline(always)]`,
/// so that it is compiled in its caller's target.
///
/// The body's one generic parameter, `WIDE: bool`, says which of the two it is compiled for: see
/// [`multiply_add`].
///
/// ```
/// use recsys_model::simd::multiply_add;
///
/// recsys_model::dispatch! {
///     /// `y += a x`.
///     fn add_scaled => add_scaled_body(a: f32, x: &[f32], y: &mut [f32])
/// }
/// #[inline(always)]
/// fn add_scaled_body<const WIDE: bool>(a: f32, x: &[f32], y: &mut [f32]) {
///     for (y, x) in y.iter_mut().zip(x) {
///         *y = multiply_add::<WIDE>(a, *x, *y);
///     }
/// }
///
/// let mut y = [1.0, 2.0];
/// add_scaled(2.0, &[1.0, 10.0], &mut y);
/// assert_eq!(y, [3.0, 22.0]);
/// ```
#[macro_export]
macro_rules! dispatch {
    ($(#[$doc:meta])* fn $name:ident => $body:ident($($argument:ident: $type:ty),* $(,)?)) => {
        $(#[$doc])*
        pub(crate) fn $name($($argument: $type),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                fn wide($($argument: $type),*) {
                    $body::<true>($($argument),*);
                }
                if $crate::simd::is_wide() {
                    // SAFETY: `is_wide` is true only where both target features were detected.
                    unsafe { wide($($argument),*) };
                    return;
                }
            }
            $body::<false>($($argument),*);
        }
    };
}

/// `a * b + c`, as one instruction in bodies compiled for FMA. Without the instruction
/// `f32::mul_add` would be a call into the C library, hence the two roundings there.
#[inline(always)]
pub fn multiply_add<const WIDE: bool>(a: f32, b: f32, c: f32) -> f32 {
    if WIDE { a.mul_add(b, c) } else { a * b + c }
}

/// `value` where `y` is above zero or NaN, and zero elsewhere: the gradient of a ReLU that gave
/// `y`.
///
/// The zero that is added changes no value (but the sign of a zero): a value that may stay as it is
/// where it lies would make the compiler store under a mask, which costs many processors dozens of
/// cycles.
#[inline(always)]
pub fn keep_above_zero(y: f32, value: f32) -> f32 {
    let kept = if y <= 0.0 { 0.0 } else { value };
    kept + 0.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

    use super::*;

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn amd_before_zen_5_and_unknown_makers_keep_to_256_bits() {
        assert!(gains_from_512_bits(*b"GenuineIntel", 6));
        assert!(!gains_from_512_bits(*b"AuthenticAMD", 0x19));
        assert!(gains_from_512_bits(*b"AuthenticAMD", 0x1a));
        assert!(!gains_from_512_bits(*b"HygonGenuine", 0x18));
    }

    #[test]
    fn a_level_is_forced_before_the_first_use_alone() {
        let current = level();
        assert!(current.is_there());
        force(current).unwrap();
        for other in SimdLevel::ALL {
            if other != current {
                assert!(force(other).is_err(), "{other:?}");
            }
        }
        assert_eq!(level(), current);
        assert_eq!(SimdLevel::named("avx512"), Some(SimdLevel::Avx512));
        assert_eq!(SimdLevel::named("AVX"), None);
    }
}
