//! What calls of the driver return.

use std::ffi::CStr;

/// A code of the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Status {
    Success = 0,
    InvalidValue = 1,
    OutOfMemory = 2,
    NoDevice = 100,
    InvalidDevice = 101,
    InvalidPtx = 218,
    NotFound = 500,
    NotReady = 600,
    IllegalAddress = 700,
    CaptureUnsupported = 900,
}

impl Status {
    pub(crate) fn of(code: u32) -> Option<Self> {
        use Status::*;
        let all = [
            Success,
            InvalidValue,
            OutOfMemory,
            NoDevice,
            InvalidDevice,
            InvalidPtx,
            NotFound,
            NotReady,
            IllegalAddress,
            CaptureUnsupported,
        ];
        all.into_iter().find(|status| *status as u32 == code)
    }

    pub(crate) fn name(self) -> &'static CStr {
        match self {
            Self::Success => c"CUDA_SUCCESS",
            Self::InvalidValue => c"CUDA_ERROR_INVALID_VALUE",
            Self::OutOfMemory => c"CUDA_ERROR_OUT_OF_MEMORY",
            Self::NoDevice => c"CUDA_ERROR_NO_DEVICE",
            Self::InvalidDevice => c"CUDA_ERROR_INVALID_DEVICE",
            Self::InvalidPtx => c"CUDA_ERROR_INVALID_PTX",
            Self::NotFound => c"CUDA_ERROR_NOT_FOUND",
            Self::NotReady => c"CUDA_ERROR_NOT_READY",
            Self::IllegalAddress => c"CUDA_ERROR_ILLEGAL_ADDRESS",
            Self::CaptureUnsupported => c"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
        }
    }

    pub(crate) fn text(self) -> &'static CStr {
        match self {
            Self::Success => c"no error",
            Self::InvalidValue => c"invalid argument",
            Self::OutOfMemory => c"out of memory",
            Self::NoDevice => c"no CUDA-capable device is detected",
            Self::InvalidDevice => c"invalid device ordinal",
            Self::InvalidPtx => c"a PTX JIT compilation failed",
            Self::NotFound => c"named symbol not found",
            Self::NotReady => c"device not ready",
            Self::IllegalAddress => c"an illegal memory access was encountered",
            Self::CaptureUnsupported => c"operation not permitted when stream is capturing",
        }
    }
}
