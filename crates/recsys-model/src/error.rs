//! The errors of this crate.

/// Result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong while a model is loaded or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A batch without samples.
    #[error("the batch is empty; a forward pass needs at least one sample")]
    EmptyBatch,
    /// A slice has the wrong number of values.
    #[error("{what} has {found} values, but {shape} needs {expected}")]
    Length {
        /// The argument: "dense", "rows" …
        what: &'static str,
        /// The shape it stands for, with its extents.
        shape: String,
        /// Number of values that the shape needs.
        expected: usize,
        /// Number of values given.
        found: usize,
    },
    /// A tensor has the wrong shape.
    #[error("{what} has the shape {found:?}, but the model needs {expected}")]
    Shape {
        /// The argument: "dense", "rows" …
        what: &'static str,
        /// The shape needed, with its extents.
        expected: String,
        /// The shape given.
        found: Vec<usize>,
    },
    /// A tensor holds another type than 32-bit floats.
    #[error(
        "{what} holds {found}, but the model computes in F32; convert it with to_dtype(DType::F32)"
    )]
    ElementType {
        /// The argument: "dense", "rows" …
        what: &'static str,
        /// The type given.
        found: &'static str,
    },
    /// A backward pass without the forward pass that belongs to it.
    #[error(
        "backward was called for a batch of {batch}, but this pass holds {}; call forward with the \
         same batch first",
        match .forward {
            Some(batch) => format!("the forward pass of a batch of {batch}"),
            None => "no forward pass of this network".to_owned(),
        }
    )]
    NoForward {
        /// Samples of the backward pass.
        batch: usize,
        /// Samples of the forward pass that the pass holds, if any.
        forward: Option<usize>,
    },
    /// The operating system has no memory for the parameters.
    #[error("cannot allocate {bytes} bytes for the parameters; make the layers narrower or fewer")]
    Allocation {
        /// Bytes of all parameters.
        bytes: u64,
    },
    /// Named parameters do not cover the model one to one.
    #[error("the named parameters do not fit the model: missing {missing:?}, unknown {unknown:?}")]
    ParameterNames {
        /// Names that the model has and the map lacks.
        missing: Vec<String>,
        /// Names that the map has and the model lacks.
        unknown: Vec<String>,
    },
    /// Two parameters of one name.
    #[error("two parameters are named `{name}`; files know parameters by name, so rename one")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// A named parameter has another shape than in the model.
    #[error("parameter {name} has the shape {found:?}, but the model's is {expected:?}")]
    ParameterShape {
        /// The parameter's name.
        name: String,
        /// The model's shape.
        expected: Vec<usize>,
        /// The shape given.
        found: Vec<usize>,
    },
    /// The SIMD level was forced after it had been used.
    #[error("the SIMD level is {current:?} already; force another before the first model runs")]
    SimdLevelInUse {
        /// The level in use.
        current: crate::simd::SimdLevel,
    },
    /// A SIMD level beyond what the processor has.
    #[error(
        "this processor has no {wanted:?}, its level is {detected:?}; force that or a lower one"
    )]
    SimdLevelMissing {
        /// The level to be forced.
        wanted: crate::simd::SimdLevel,
        /// What there is.
        detected: crate::simd::SimdLevel,
    },
    /// A device failed, or a tensor is not laid out as its memory is used.
    #[error(transparent)]
    Device(#[from] recsys_device::Error),
    /// candle failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// An error of a model, a loss or another part from outside of this crate.
    #[error(transparent)]
    External(Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// An error from outside of this crate, to be found again in [`Error::External`].
    pub fn external(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::External(error.into())
    }
}
