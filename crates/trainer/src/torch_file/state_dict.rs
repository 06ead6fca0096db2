//! The weights in what a pickle holds: a state dictionary, wherever programs put it, or a module
//! that was saved as a whole.

use super::pickle::Nodes;
use super::value::{Node, Tensor, Value};
use crate::text::list_of;

/// Keys under which programs put the weights beside other things, the likeliest first.
const KEYS: [&str; 6] = [
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "module",
    "net",
];
/// Modules within modules.
const MAX_DEPTH: usize = 64;
/// Tensors of a module, and modules without any.
const MAX_VISITS: usize = 1 << 18;
/// Bytes of all names.
const MAX_NAMES: usize = 64 << 20;

/// A name and its tensor.
pub(super) type Named<'a> = (String, &'a Tensor);

/// The weights under the root of a pickle.
///
/// # Errors
/// No weights, or several sets of them.
pub(super) fn weights(nodes: &Nodes, root: Value) -> Result<Vec<Named<'_>>, String> {
    for key in KEYS {
        if let Some(inner) = nodes.item(root, key) {
            // A checkpoint may hold a checkpoint.
            for inner in [nodes.item(inner, KEYS[0]).unwrap_or(inner), inner] {
                let found = tensors(nodes, inner)?;
                if !found.is_empty() {
                    return Ok(found);
                }
            }
        }
    }
    let direct = tensors(nodes, root)?;
    if !direct.is_empty() {
        return Ok(direct);
    }
    let mut sets = Vec::new();
    for &(key, value) in nodes.entries(root).unwrap_or_default() {
        let found = tensors(nodes, value)?;
        if let (Some(key), false) = (nodes.text(key), found.is_empty()) {
            sets.push((key, found));
        }
    }
    match (sets.pop(), sets.is_empty()) {
        (Some((_, only)), true) => Ok(only),
        (Some((last, _)), false) => Err(format!(
            "holds several sets of weights, under {}; save the one to be read alone",
            list_of(sets.iter().map(|(key, _)| *key).chain([last]))
        )),
        (None, _) => Err(format!(
            "holds no weights but {}; save `model.state_dict()`",
            kind_of(nodes, root)
        )),
    }
}

/// The tensors directly in a dictionary, or anywhere in a module.
fn tensors(nodes: &Nodes, value: Value) -> Result<Vec<Named<'_>>, String> {
    let mut walk = Walk {
        nodes,
        found: Vec::new(),
        visits: 0,
        bytes: 0,
    };
    match nodes.get(value) {
        Some(Node::Object(object)) if object.entries.is_empty() => {
            walk.module(object.state, "", 0)?;
        }
        _ => walk.direct(value, "")?,
    }
    Ok(walk.found)
}

struct Walk<'a> {
    nodes: &'a Nodes,
    found: Vec<Named<'a>>,
    visits: usize,
    bytes: usize,
}

impl<'a> Walk<'a> {
    fn visit(&mut self, name: &str) -> Result<(), String> {
        self.visits += 1;
        self.bytes += name.len();
        if self.visits > MAX_VISITS || self.bytes > MAX_NAMES {
            return Err("holds a module of too many parts; save `model.state_dict()`".to_owned());
        }
        Ok(())
    }

    /// The tensors in a dictionary.
    fn direct(&mut self, dict: Value, prefix: &str) -> Result<(), String> {
        for &(key, value) in self.nodes.entries(dict).unwrap_or_default() {
            if let (Some(key), Some(Node::Tensor(tensor))) =
                (self.nodes.text(key), self.nodes.get(value))
            {
                let name = format!("{prefix}{key}");
                self.visit(&name)?;
                self.found.push((name, tensor));
            }
        }
        Ok(())
    }

    /// The tensors of a module: those of its parameters, buffers and modules, or, in TorchScript,
    /// of its attributes.
    fn module(&mut self, state: Value, prefix: &str, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err("holds modules within modules without end".to_owned());
        }
        let nodes = self.nodes;
        let of_python = nodes.item(state, "_parameters");
        let inner = match of_python {
            Some(parameters) => {
                self.direct(parameters, prefix)?;
                if let Some(buffers) = nodes.item(state, "_buffers") {
                    self.direct(buffers, prefix)?;
                }
                nodes.item(state, "_modules").unwrap_or(Value::None)
            }
            None => {
                self.direct(state, prefix)?;
                state
            }
        };
        for &(key, value) in nodes.entries(inner).unwrap_or_default() {
            if let (Some(key), Some(Node::Object(module))) = (nodes.text(key), nodes.get(value)) {
                let prefix = format!("{prefix}{key}.");
                self.visit(&prefix)?;
                self.module(module.state, &prefix, depth + 1)?;
            }
        }
        Ok(())
    }
}

/// What a value is, for messages.
fn kind_of(nodes: &Nodes, value: Value) -> String {
    match nodes.get(value) {
        Some(Node::Dict(entries)) => {
            let keys = entries.iter().filter_map(|(key, _)| nodes.text(*key));
            match list_of(keys) {
                none if none.is_empty() => "a dictionary without names".to_owned(),
                keys => format!("a dictionary of {keys}"),
            }
        }
        Some(Node::Tensor(_)) => "one tensor without a name".to_owned(),
        Some(Node::Sequence(_)) => "a list".to_owned(),
        Some(Node::Text(_)) => "a text".to_owned(),
        Some(Node::Object(object)) => match nodes.global(object.class) {
            Some(class) => format!("an object of {}", list_of([class])),
            None => "an object".to_owned(),
        },
        _ => "a value that is no model".to_owned(),
    }
}
