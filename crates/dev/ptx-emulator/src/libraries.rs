//! The functions of cuBLAS and cuRAND that programs need. A handle is the stream that work is asked of.

use std::ffi::{c_int, c_void};

use crate::gemm::{Matrix, Product};
use crate::machine::{Work, default_stream, machine};

const SUCCESS: u32 = 0;
const INVALID_VALUE: u32 = 7;
const EXECUTION_FAILED: u32 = 13;
const NOT_SUPPORTED: u32 = 15;
/// `CUDA_R_32F`.
const F32: c_int = 0;

/// A new handle: a place for the number of a stream.
fn make_handle(into: *mut *mut c_void) -> u32 {
    let handle = Box::new(default_stream(0));
    // SAFETY: the caller gives a place for the handle.
    unsafe { into.write(Box::into_raw(handle).cast()) };
    SUCCESS
}

fn end_handle(handle: *mut c_void) -> u32 {
    // SAFETY: a handle is what `make_handle` gave, and is ended once.
    drop(unsafe { Box::from_raw(handle.cast::<u64>()) });
    SUCCESS
}

fn set_stream(handle: *mut c_void, stream: *mut c_void) -> u32 {
    // SAFETY: a handle is what `make_handle` gave.
    unsafe { handle.cast::<u64>().write(stream as u64) };
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn cublasCreate_v2(into: *mut *mut c_void) -> u32 {
    make_handle(into)
}

#[unsafe(no_mangle)]
extern "C" fn cublasDestroy_v2(handle: *mut c_void) -> u32 {
    end_handle(handle)
}

#[unsafe(no_mangle)]
extern "C" fn cublasSetStream_v2(handle: *mut c_void, stream: *mut c_void) -> u32 {
    set_stream(handle, stream)
}

#[unsafe(no_mangle)]
extern "C" fn cublasGemmEx(
    handle: *mut c_void,
    a_operation: c_int,
    b_operation: c_int,
    m: c_int,
    n: c_int,
    k: c_int,
    alpha: *const f32,
    a: u64,
    a_type: c_int,
    a_stride: c_int,
    b: u64,
    b_type: c_int,
    b_stride: c_int,
    beta: *const f32,
    c: u64,
    c_type: c_int,
    c_stride: c_int,
    compute: c_int,
    algorithm: c_int,
) -> u32 {
    cublasGemmStridedBatchedEx(
        handle,
        a_operation,
        b_operation,
        m,
        n,
        k,
        alpha,
        a,
        a_type,
        a_stride,
        0,
        b,
        b_type,
        b_stride,
        0,
        beta,
        c,
        c_type,
        c_stride,
        0,
        1,
        compute,
        algorithm,
    )
}

#[unsafe(no_mangle)]
extern "C" fn cublasGemmStridedBatchedEx(
    handle: *mut c_void,
    a_operation: c_int,
    b_operation: c_int,
    m: c_int,
    n: c_int,
    k: c_int,
    alpha: *const f32,
    a: u64,
    a_type: c_int,
    a_stride: c_int,
    a_next: i64,
    b: u64,
    b_type: c_int,
    b_stride: c_int,
    b_next: i64,
    beta: *const f32,
    c: u64,
    c_type: c_int,
    c_stride: c_int,
    c_next: i64,
    batch: c_int,
    _compute: c_int,
    _algorithm: c_int,
) -> u32 {
    if [a_type, b_type, c_type] != [F32; 3] {
        return NOT_SUPPORTED;
    }
    let matrix = |address, stride: c_int, next: i64, operation: c_int| Matrix {
        address,
        stride: stride as usize,
        next: next as usize,
        transposed: operation != 0,
    };
    if [m, n, k, batch, a_stride, b_stride, c_stride]
        .iter()
        .any(|&extent| extent < 0)
        || a_next.min(b_next).min(c_next) < 0
    {
        return INVALID_VALUE;
    }
    // SAFETY: the caller gives both factors, in host memory, and a handle of this library.
    let (alpha, beta, stream) = unsafe { (alpha.read(), beta.read(), handle.cast::<u64>().read()) };
    let product = Product {
        rows: m as usize,
        columns: n as usize,
        depth: k as usize,
        batch: batch as usize,
        alpha,
        beta,
        a: matrix(a, a_stride, a_next, a_operation),
        b: matrix(b, b_stride, b_next, b_operation),
        c: matrix(c, c_stride, c_next, 0),
    };
    match machine().ask(stream, Work::Product(product)) {
        Ok(()) => SUCCESS,
        Err(_) => EXECUTION_FAILED,
    }
}

#[unsafe(no_mangle)]
extern "C" fn curandCreateGenerator(into: *mut *mut c_void, _kind: c_int) -> u32 {
    make_handle(into)
}

#[unsafe(no_mangle)]
extern "C" fn curandDestroyGenerator(handle: *mut c_void) -> u32 {
    end_handle(handle)
}

#[unsafe(no_mangle)]
extern "C" fn curandSetStream(handle: *mut c_void, stream: *mut c_void) -> u32 {
    set_stream(handle, stream)
}

#[unsafe(no_mangle)]
extern "C" fn curandSetPseudoRandomGeneratorSeed(_handle: *mut c_void, _seed: u64) -> u32 {
    SUCCESS
}
