//! What the functions that make tensors would do.

use super::pickle::Nodes;
use super::value::{ElementKind, Node, Object, Storage, Tensor, Value};

/// More dimensions than PyTorch has.
const MAX_DIMENSIONS: usize = 64;
/// Wrappers around one tensor.
const MAX_WRAPPERS: usize = 8;

/// What a class or function would answer to arguments: tensors and dictionaries are made, anything
/// else is an object that only remembers its class.
///
/// # Errors
/// A tensor without sense.
pub(super) fn call(nodes: &mut Nodes, class: Value, arguments: Value) -> Result<Value, String> {
    let (mut class, mut arguments) = (class, arguments);
    for _ in 0..MAX_WRAPPERS {
        let given = nodes.sequence(arguments).unwrap_or_default();
        match nodes.global(class).unwrap_or_default() {
            "torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor" => {
                let tensor = tensor(nodes, given)?;
                let bytes = 2 * size_of::<u64>() * tensor.shape.len();
                return nodes.add(Node::Tensor(tensor), bytes);
            }
            "torch._utils._rebuild_parameter"
            | "torch._utils._rebuild_parameter_with_state"
            | "torch.nn.parameter.Parameter" => {
                return given.first().copied().ok_or_else(incomplete);
            }
            // A function, the type of what it makes, and its arguments.
            "torch._tensor._rebuild_from_type_v2" | "torch._tensor._rebuild_from_type" => {
                let &[inner, _, inner_arguments, ..] = given else {
                    return Err(incomplete());
                };
                (class, arguments) = (inner, inner_arguments);
            }
            "collections.OrderedDict"
            | "collections.defaultdict"
            | "builtins.dict"
            | "__builtin__.dict" => return dictionary(nodes, arguments),
            _ => {
                let object = Object {
                    class,
                    state: Value::None,
                    entries: Vec::new(),
                };
                return nodes.add(Node::Object(object), 0);
            }
        }
    }
    Err("is damaged: a tensor is wrapped without end".to_owned())
}

fn incomplete() -> String {
    "is damaged: a tensor is incomplete".to_owned()
}

/// A dictionary, of the pairs of its first argument where that is a list of pairs.
fn dictionary(nodes: &mut Nodes, arguments: Value) -> Result<Value, String> {
    let first = nodes
        .sequence(arguments)
        .and_then(<[Value]>::first)
        .copied();
    let pairs = first
        .and_then(|first| nodes.sequence(first))
        .unwrap_or_default();
    let pairs = pairs.iter().filter_map(|&pair| match nodes.sequence(pair) {
        Some(&[key, value]) => Some((key, value)),
        _ => None,
    });
    let pairs: Vec<_> = pairs.collect();
    let bytes = pairs.len() * size_of::<(Value, Value)>();
    nodes.add(Node::Dict(pairs), bytes)
}

fn numbers(nodes: &Nodes, value: Value) -> Option<Vec<u64>> {
    let numbers = nodes.sequence(value)?;
    let number = |value: &Value| match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    };
    numbers.iter().map(number).collect()
}

/// A tensor of storage, offset, shape and strides.
fn tensor(nodes: &Nodes, given: &[Value]) -> Result<Tensor, String> {
    let &[Value::At(storage), Value::Int(offset), shape, strides, ..] = given else {
        return Err(incomplete());
    };
    let Some(Node::Storage(numbers_of)) = nodes.get(Value::At(storage)) else {
        return Err(incomplete());
    };
    let (shape, strides) = (numbers(nodes, shape), numbers(nodes, strides));
    let (Some(shape), Some(strides), Ok(offset)) = (shape, strides, u64::try_from(offset)) else {
        return Err(incomplete());
    };
    if shape.len() != strides.len() || shape.len() > MAX_DIMENSIONS {
        return Err(incomplete());
    }
    let elements = shape
        .iter()
        .try_fold(1u64, |all, &extent| all.checked_mul(extent));
    let last = || {
        let steps = shape.iter().zip(&strides);
        steps.clone().try_fold(offset, |last, (&extent, &stride)| {
            last.checked_add(extent.saturating_sub(1).checked_mul(stride)?)
        })
    };
    let fits = match elements {
        Some(0) => true,
        Some(_) => last().is_some_and(|last| last < numbers_of.elements),
        None => false,
    };
    if !fits {
        return Err("is damaged: a tensor is larger than its storage".to_owned());
    }
    Ok(Tensor {
        storage,
        offset,
        shape,
        strides,
    })
}

/// What an identifier outside of the pickle stands for: a storage, or a class with its source.
///
/// # Errors
/// Something else.
pub(super) fn persistent(nodes: &mut Nodes, id: Value) -> Result<Value, String> {
    let parts = nodes.sequence(id).unwrap_or_default();
    let kind = parts.first().and_then(|&kind| nodes.text(kind));
    let refused = || "is damaged: what a tensor's numbers are is incomplete".to_owned();
    match (kind, parts) {
        (Some("module"), &[_, class, ..]) => Ok(class),
        (Some("storage"), &[_, class, key, _, Value::Int(elements), ref view @ ..]) => {
            let kind = nodes.global(class).and_then(ElementKind::of);
            let key = nodes.text(key).map(str::to_owned);
            // Of a view of a storage: its own key, where it begins, how long it is.
            let view = view.first().and_then(|&view| nodes.sequence(view));
            let (first, elements) = match view {
                Some(&[_, Value::Int(first), Value::Int(length), ..]) => (first, length),
                _ => (0, elements),
            };
            let (Some(kind), Some(key)) = (kind, key) else {
                return Err(refused());
            };
            let (Ok(first), Ok(elements)) = (u64::try_from(first), u64::try_from(elements)) else {
                return Err(refused());
            };
            let length = key.len();
            let storage = Storage {
                key: key.into(),
                kind,
                first,
                elements,
            };
            nodes.add(Node::Storage(storage), length)
        }
        _ => Err(refused()),
    }
}
