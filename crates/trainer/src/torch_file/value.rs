//! What a pickle holds, as data.

/// A value, or where it is among the nodes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    None,
    Int(i64),
    /// Of no use for weights: truth values, floats, bytes, long integers.
    Other,
    At(u32),
}

/// A value that others may name.
#[derive(Debug)]
pub(super) enum Node {
    Text(Box<str>),
    /// A tuple or a list.
    Sequence(Vec<Value>),
    /// A dictionary in the order in which it was filled.
    Dict(Vec<(Value, Value)>),
    /// A class or a function, by its module and name.
    Global(Box<str>),
    Storage(Storage),
    Tensor(Tensor),
    /// What a class or a function would have made.
    Object(Object),
}

/// An object that is not made, with what it would have been given.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) class: Value,
    pub(super) state: Value,
    /// Entries, where it is some kind of dictionary.
    pub(super) entries: Vec<(Value, Value)>,
}

/// Numbers that tensors are views of.
#[derive(Debug, Clone)]
pub(super) struct Storage {
    pub(super) key: Box<str>,
    pub(super) kind: ElementKind,
    /// The first number of the storage `key` that belongs to this one.
    pub(super) first: u64,
    pub(super) elements: u64,
}

/// A tensor: `shape` numbers of a storage, from `offset` on, `strides` apart.
#[derive(Debug, Clone)]
pub(super) struct Tensor {
    /// The node of its storage.
    pub(super) storage: u32,
    pub(super) offset: u64,
    pub(super) shape: Vec<u64>,
    pub(super) strides: Vec<u64>,
}

/// Elements of a storage, by the class of the storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ElementKind {
    pub(super) name: &'static str,
    pub(super) bytes: u64,
}

impl ElementKind {
    const ALL: [Self; 16] = [
        Self::new("Float", 4),
        Self::new("Half", 2),
        Self::new("BFloat16", 2),
        Self::new("Double", 8),
        Self::new("Long", 8),
        Self::new("Int", 4),
        Self::new("Short", 2),
        Self::new("Char", 1),
        Self::new("Byte", 1),
        Self::new("Bool", 1),
        Self::new("ComplexFloat", 8),
        Self::new("ComplexDouble", 16),
        Self::new("QInt8", 1),
        Self::new("QUInt8", 1),
        Self::new("QInt32", 4),
        Self::new("Untyped", 1),
    ];

    const fn new(name: &'static str, bytes: u64) -> Self {
        Self { name, bytes }
    }

    /// Of a class such as `torch.FloatStorage` or `torch.cuda.FloatStorage`.
    pub(super) fn of(class: &str) -> Option<Self> {
        let name = class.rsplit('.').next()?.strip_suffix("Storage")?;
        Self::ALL.into_iter().find(|kind| kind.name == name)
    }
}
