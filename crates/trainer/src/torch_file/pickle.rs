//! A pickle read as data. Nothing of it is imported, called or executed: classes and functions are
//! names, and only those that make up tensors and dictionaries mean something.

use std::collections::HashMap;
use std::io::Read;

use super::rebuild::{call, persistent};
use super::value::{Node, Object, Value};

/// Values that may wait on the stack.
const MAX_STACK: usize = 1 << 20;
/// Bytes that all values may take together.
const MAX_MEMORY: usize = 64 << 20;
/// Bytes of a pickle.
const MAX_BYTES: u64 = 64 << 20;
/// What a node takes apart from what it holds.
const NODE_BYTES: usize = size_of::<Node>();
const VALUE_BYTES: usize = size_of::<Value>();
const ENTRY_BYTES: usize = 2 * VALUE_BYTES;

/// What a pickle was read into.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    nodes: Vec<Node>,
    bytes: usize,
}

impl Nodes {
    /// Adds a node that holds `bytes` more than itself.
    pub(super) fn add(&mut self, node: Node, bytes: usize) -> Result<Value, String> {
        self.charge(NODE_BYTES + bytes)?;
        let at = self.nodes.len() as u32;
        self.nodes.push(node);
        Ok(Value::At(at))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    fn charge(&mut self, bytes: usize) -> Result<(), String> {
        self.bytes += bytes;
        if self.bytes > MAX_MEMORY {
            let problem = "holds more than weights need; save the state dictionary alone";
            return Err(problem.to_owned());
        }
        Ok(())
    }

    pub(super) fn get(&self, value: Value) -> Option<&Node> {
        match value {
            Value::At(at) => self.nodes.get(at as usize),
            _ => None,
        }
    }

    fn get_mut(&mut self, value: Value) -> Option<&mut Node> {
        match value {
            Value::At(at) => self.nodes.get_mut(at as usize),
            _ => None,
        }
    }

    pub(super) fn text(&self, value: Value) -> Option<&str> {
        match self.get(value)? {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn global(&self, value: Value) -> Option<&str> {
        match self.get(value)? {
            Node::Global(name) => Some(name),
            _ => None,
        }
    }

    pub(super) fn sequence(&self, value: Value) -> Option<&[Value]> {
        match self.get(value)? {
            Node::Sequence(values) => Some(values),
            _ => None,
        }
    }

    /// The entries of a dictionary, or of an object that is one.
    pub(super) fn entries(&self, value: Value) -> Option<&[(Value, Value)]> {
        match self.get(value)? {
            Node::Dict(entries) => Some(entries),
            Node::Object(object) if !object.entries.is_empty() => Some(&object.entries),
            _ => None,
        }
    }

    /// The value of a dictionary under a key.
    pub(super) fn item(&self, dict: Value, key: &str) -> Option<Value> {
        let entries = self.entries(dict)?.iter().rev();
        let mut found = entries.filter(|(name, _)| self.text(*name) == Some(key));
        found.next().map(|(_, value)| *value)
    }
}

/// Reads one pickle from the front of `reader` into `nodes`, and leaves `reader` behind it.
///
/// # Errors
/// What is wrong with it; instructions that no pickle of tensors has.
pub(super) fn read_pickle(reader: &mut dyn Read, nodes: &mut Nodes) -> Result<Value, String> {
    let mut machine = Machine {
        reader,
        left: MAX_BYTES,
        nodes,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    loop {
        let [code] = machine.take()?;
        if code == b'.' {
            return machine.pop();
        }
        machine.step(code)?;
    }
}

struct Machine<'a> {
    reader: &'a mut dyn Read,
    /// Bytes that may still be read.
    left: u64,
    nodes: &'a mut Nodes,
    stack: Vec<Value>,
    /// Heights of the stack at its marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
}

impl Machine<'_> {
    fn fill(&mut self, into: &mut [u8]) -> Result<(), String> {
        let left = self.left.checked_sub(into.len() as u64);
        self.left = left
            .ok_or("describes its tensors in more than 64 MiB; save the state dictionary alone")?;
        self.reader
            .read_exact(into)
            .map_err(|error| format!("is cut off or damaged ({error})"))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// As many bytes as a number before them says.
    fn bytes<const N: usize>(&mut self) -> Result<Vec<u8>, String> {
        let mut length = [0; 8];
        length[..N].copy_from_slice(&self.take::<N>()?);
        let length = u64::from_le_bytes(length);
        let mut bytes = Vec::new();
        // Memory is taken as bytes come: a length may promise more than there is.
        while (bytes.len() as u64) < length {
            let start = bytes.len();
            bytes.resize(start + (length - start as u64).min(1 << 16) as usize, 0);
            self.fill(&mut bytes[start..])?;
        }
        Ok(bytes)
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = Vec::new();
        loop {
            match self.take()? {
                [b'\n'] => return Ok(String::from_utf8_lossy(&line).into_owned()),
                [byte] => line.push(byte),
            }
        }
    }

    fn push(&mut self, value: Value) -> Result<(), String> {
        if self.stack.len() == MAX_STACK {
            return Err("is no pickle of tensors: its stack grows without end".to_owned());
        }
        self.stack.push(value);
        Ok(())
    }

    fn push_node(&mut self, node: Node, bytes: usize) -> Result<(), String> {
        let value = self.nodes.add(node, bytes)?;
        self.push(value)
    }

    fn push_text(&mut self, bytes: &[u8]) -> Result<(), String> {
        let text: Box<str> = String::from_utf8_lossy(bytes).into();
        let length = text.len();
        self.push_node(Node::Text(text), length)
    }

    fn push_sequence(&mut self, values: Vec<Value>) -> Result<(), String> {
        let bytes = values.len() * VALUE_BYTES;
        self.push_node(Node::Sequence(values), bytes)
    }

    fn push_global(&mut self, module: &str, name: &str) -> Result<(), String> {
        let global = format!("{module}.{name}");
        let length = global.len();
        self.push_node(Node::Global(global.into()), length)
    }

    /// Takes the top of the stack, above the last mark.
    fn pop(&mut self) -> Result<Value, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err("is damaged: an instruction finds no value".to_owned());
        }
        self.stack.pop().ok_or_else(String::new)
    }

    fn top(&self) -> Result<Value, String> {
        let top = self.stack.last().copied();
        top.ok_or_else(|| "is damaged: an instruction finds no value".to_owned())
    }

    fn pop_mark(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.marks.pop();
        let mark = mark.ok_or("is damaged: an instruction finds no mark")?;
        Ok(self.stack.split_off(mark))
    }

    fn pop_some(&mut self, count: usize) -> Result<Vec<Value>, String> {
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(self.pop()?);
        }
        values.reverse();
        Ok(values)
    }

    fn remember(&mut self, index: u32) -> Result<(), String> {
        let top = self.top()?;
        self.nodes.charge(2 * ENTRY_BYTES)?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Result<(), String> {
        let value = self.memo.get(&index).copied();
        self.push(value.ok_or("is damaged: a value is used before it is there")?)
    }

    /// Adds values to the list on the top of the stack.
    fn append(&mut self, values: &[Value]) -> Result<(), String> {
        let list = self.top()?;
        self.nodes.charge(values.len() * VALUE_BYTES)?;
        // What is no list here is some collection that no weight lies in.
        if let Some(Node::Sequence(list)) = self.nodes.get_mut(list) {
            list.extend_from_slice(values);
        }
        Ok(())
    }

    /// Adds keys and values in turn to the dictionary on the top of the stack.
    fn set_items(&mut self, values: &[Value]) -> Result<(), String> {
        let dict = self.top()?;
        self.nodes.charge(values.len() * VALUE_BYTES)?;
        let (pairs, []) = values.as_chunks::<2>() else {
            return Err("is damaged: a key has no value".to_owned());
        };
        let entries = pairs.iter().map(|&[key, value]| (key, value));
        match self.nodes.get_mut(dict) {
            Some(Node::Dict(dict)) => dict.extend(entries),
            Some(Node::Object(object)) => object.entries.extend(entries),
            _ => return Err("is damaged: entries are put into what is no dictionary".to_owned()),
        }
        Ok(())
    }

    fn call(&mut self, class: Value, arguments: Value) -> Result<(), String> {
        let made = call(self.nodes, class, arguments)?;
        self.push(made)
    }

    /// Gives an object its state; what is no object has none that weights need.
    fn build(&mut self) -> Result<(), String> {
        let state = self.pop()?;
        let object = self.top()?;
        if let Some(Node::Object(Object { state: own, .. })) = self.nodes.get_mut(object) {
            *own = state;
        }
        Ok(())
    }

    /// A decimal number as text, as the oldest pickles hold it.
    fn number(text: &str) -> Value {
        text.trim_end_matches('L')
            .parse()
            .map_or(Value::Other, Value::Int)
    }

    /// A signed number of any length.
    fn long(bytes: &[u8]) -> Value {
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut all = [if negative { 0xff } else { 0 }; 8];
        // A ninth byte may say that the eighth is no sign.
        let bytes = match bytes {
            [low @ .., 0] if low.len() == 8 && low[7] < 0x80 => low,
            _ => bytes,
        };
        match all.get_mut(..bytes.len()) {
            Some(part) => {
                part.copy_from_slice(bytes);
                Value::Int(i64::from_le_bytes(all))
            }
            None => Value::Other,
        }
    }

    fn step(&mut self, code: u8) -> Result<(), String> {
        match code {
            // Protocol and frame.
            0x80 => self.take::<1>().map(drop),
            0x95 => self.take::<8>().map(drop),
            b'(' => {
                self.nodes.charge(size_of::<usize>())?;
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => match self.marks.last() {
                Some(&mark) if mark == self.stack.len() => self.pop_mark().map(drop),
                _ => self.pop().map(drop),
            },
            b'1' => self.pop_mark().map(drop),
            b'2' => self.push(self.top()?),
            // Atoms.
            b'N' => self.push(Value::None),
            0x88 | 0x89 => self.push(Value::Other),
            b'I' | b'L' => {
                let value = Self::number(&self.line()?);
                self.push(value)
            }
            b'J' => {
                let value = i32::from_le_bytes(self.take()?);
                self.push(Value::Int(value.into()))
            }
            b'K' => {
                let [value] = self.take()?;
                self.push(Value::Int(value.into()))
            }
            b'M' => {
                let value = u16::from_le_bytes(self.take()?);
                self.push(Value::Int(value.into()))
            }
            0x8a => {
                let value = Self::long(&self.bytes::<1>()?);
                self.push(value)
            }
            0x8b => {
                let value = Self::long(&self.bytes::<4>()?);
                self.push(value)
            }
            b'F' => {
                self.line()?;
                self.push(Value::Other)
            }
            b'G' => {
                self.take::<8>()?;
                self.push(Value::Other)
            }
            b'B' => self.opaque_bytes::<4>(),
            b'C' => self.opaque_bytes::<1>(),
            0x8e | 0x96 => self.opaque_bytes::<8>(),
            b'S' => {
                let line = self.line()?;
                self.push_text(line.trim_matches(['\'', '"']).as_bytes())
            }
            b'V' => {
                let line = self.line()?;
                self.push_text(line.as_bytes())
            }
            b'T' | b'X' => {
                let text = self.bytes::<4>()?;
                self.push_text(&text)
            }
            b'U' | 0x8c => {
                let text = self.bytes::<1>()?;
                self.push_text(&text)
            }
            0x8d => {
                let text = self.bytes::<8>()?;
                self.push_text(&text)
            }
            // Tuples, lists and sets.
            b')' | b']' | 0x8f => self.push_sequence(Vec::new()),
            b't' | b'l' | 0x91 => {
                let values = self.pop_mark()?;
                self.push_sequence(values)
            }
            0x85..=0x87 => {
                let values = self.pop_some(usize::from(code - 0x84))?;
                self.push_sequence(values)
            }
            b'a' => {
                let value = self.pop()?;
                self.append(&[value])
            }
            b'e' | 0x90 => {
                let values = self.pop_mark()?;
                self.append(&values)
            }
            // Dictionaries.
            b'}' => self.push_node(Node::Dict(Vec::new()), 0),
            b'd' => {
                let values = self.pop_mark()?;
                self.push_node(Node::Dict(Vec::new()), 0)?;
                self.set_items(&values)
            }
            b's' => {
                let values = self.pop_some(2)?;
                self.set_items(&values)
            }
            b'u' => {
                let values = self.pop_mark()?;
                self.set_items(&values)
            }
            // Names, and what they would make.
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push_global(&module, &name)
            }
            0x93 => {
                let names = self.pop_some(2)?;
                let text = |value| self.nodes.text(value).map(str::to_owned);
                let (Some(module), Some(name)) = (text(names[0]), text(names[1])) else {
                    return Err("is damaged: a name is no text".to_owned());
                };
                self.push_global(&module, &name)
            }
            b'R' | 0x81 => {
                let arguments = self.pop()?;
                let class = self.pop()?;
                self.call(class, arguments)
            }
            0x92 => {
                let values = self.pop_some(3)?;
                self.call(values[0], values[1])
            }
            b'i' => {
                let (module, name) = (self.line()?, self.line()?);
                let arguments = self.pop_mark()?;
                self.push_global(&module, &name)?;
                self.push_sequence(arguments)?;
                self.step(b'R')
            }
            b'o' => {
                let mut values = self.pop_mark()?.into_iter();
                let class = values.next().ok_or("is damaged: an object has no class")?;
                self.push(class)?;
                self.push_sequence(values.collect())?;
                self.step(b'R')
            }
            b'b' => self.build(),
            b'Q' => {
                let id = self.pop()?;
                let found = persistent(self.nodes, id)?;
                self.push(found)
            }
            // The memo.
            b'p' => {
                let index = self.line()?.parse();
                self.remember(index.map_err(|_| "is damaged: an index is no number")?)
            }
            b'q' => {
                let [index] = self.take()?;
                self.remember(index.into())
            }
            b'r' => {
                let index = u32::from_le_bytes(self.take()?);
                self.remember(index)
            }
            0x94 => self.remember(self.memo.len() as u32),
            b'g' => {
                let index = self.line()?.parse();
                self.recall(index.map_err(|_| "is damaged: an index is no number")?)
            }
            b'h' => {
                let [index] = self.take()?;
                self.recall(index.into())
            }
            b'j' => {
                let index = u32::from_le_bytes(self.take()?);
                self.recall(index)
            }
            _ => Err(format!(
                "is no pickle of tensors: it has the instruction {code:#04x}"
            )),
        }
    }

    /// Bytes that are passed over.
    fn opaque_bytes<const N: usize>(&mut self) -> Result<(), String> {
        self.bytes::<N>()?;
        self.push(Value::Other)
    }
}
