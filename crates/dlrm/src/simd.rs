//! Runtime choice between the same code compiled for AVX2 with FMA and for the build's own target.

/// Defines `pub(crate) fn $name(arguments)`, which calls `$body::<true>` compiled for AVX2 and FMA where the processor has both, and
/// `$body::<false>` elsewhere. The body must be `#[inline(always)]`, so that it is compiled in its caller's target.
///
/// The body's one generic parameter, `WIDE: bool`, says which of the two it is compiled for: see
/// [`multiply_add`](crate::parts::multiply_add).
///
/// ```
/// use dlrm::parts::multiply_add;
///
/// dlrm::dispatch! {
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
                if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
                    // SAFETY: both target features were detected on this processor.
                    unsafe { wide($($argument),*) };
                    return;
                }
            }
            $body::<false>($($argument),*);
        }
    };
}
/// `a * b + c`, as one instruction in bodies compiled for FMA. Without the instruction `f32::mul_add` would be a call
/// into the C library, hence the two roundings there.
#[inline(always)]
pub fn multiply_add<const WIDE: bool>(a: f32, b: f32, c: f32) -> f32 {
    if WIDE { a.mul_add(b, c) } else { a * b + c }
}

/// `value` where `y` is above zero or NaN, and zero elsewhere: the gradient of a ReLU that gave `y`.
///
/// The zero that is added changes no value (but the sign of a zero): a value that may stay as it is where it lies would make the compiler
/// store under a mask, which costs many processors dozens of cycles.
#[inline(always)]
pub fn keep_above_zero(y: f32, value: f32) -> f32 {
    let kept = if y <= 0.0 { 0.0 } else { value };
    kept + 0.0
}
