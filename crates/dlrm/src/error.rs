//! The errors of this crate.

/// Result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong while a model is configured, loaded or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration has no embedding table.
    #[error("a DLRM needs at least one embedding table, but tables = 0")]
    NoTables,
    /// An extent of the configuration is zero.
    #[error("{what} is 0, but must be at least 1")]
    ZeroExtent {
        /// The field: `dim`, `bottom[2]` …
        what: String,
    },
    /// The bottom MLP names fewer than two widths.
    #[error(
        "the bottom MLP has {widths} width(s), but needs at least two: the number of dense features first, the embedding dimension last"
    )]
    BottomTooShort {
        /// Number of widths given.
        widths: usize,
    },
    /// The top MLP names no width.
    #[error(
        "the top MLP has no layer; give the widths after the interaction, for example [512, 256, 1]"
    )]
    TopEmpty,
    /// The bottom MLP does not end in the width of the embedding rows.
    #[error(
        "the bottom MLP ends in width {last}, but the embedding dimension is {dim}; the interaction needs the two to be equal"
    )]
    BottomWidth {
        /// Last width of the bottom MLP.
        last: usize,
        /// Width of an embedding row.
        dim: usize,
    },
    /// The configuration describes a model that cannot be addressed.
    #[error("the model is too large: {what} does not fit into 63 bits")]
    TooLarge {
        /// What was being counted.
        what: &'static str,
    },
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
    /// A slice of dense features is not a whole number of samples.
    #[error(
        "dense has {found} values, which is no multiple of the {features} dense features of the model"
    )]
    RaggedDense {
        /// Number of values given.
        found: usize,
        /// Dense features per sample.
        features: usize,
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
        "backward was called for a batch of {batch}, but this pass holds {}; call forward with the same batch first",
        match .forward { Some(batch) => format!("the forward pass of a batch of {batch}"), None => "no forward pass of this network".to_owned() }
    )]
    NoForward {
        /// Samples of the backward pass.
        batch: usize,
        /// Samples of the forward pass that the pass holds, if any.
        forward: Option<usize>,
    },
    /// Named parameters do not cover the model one to one.
    #[error("the named parameters do not fit the model: missing {missing:?}, unknown {unknown:?}")]
    ParameterNames {
        /// Names that the model has and the map lacks.
        missing: Vec<String>,
        /// Names that the map has and the model lacks.
        unknown: Vec<String>,
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
    /// candle failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
