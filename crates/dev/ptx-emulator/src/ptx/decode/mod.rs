//! Makes instructions of a function's text. Functions that it calls become part of it.

mod branch;
mod compute;
mod data;
mod memory;
mod operand;
mod operand_slots;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use self::operand::{Mnemonic, Operand};
use super::error::Error;
use super::function::Function;
use super::index::{Index, Variable, VariableSpace, variables};
use super::instruction::{Atomic, Instruction, Slot, Special, WarpInstruction};
use super::lexer::{Lexer, Token};
use super::types::Type;

/// Decodes a kernel that has a body.
pub(super) fn decode(text: &str, index: &Index, name: &str) -> Result<Function, Error> {
    let Some(header) = index.headers.get(name) else {
        return Err(Error::NoFunction {
            name: name.to_owned(),
        });
    };
    let mut decoder = Decoder::new(text, index, name);
    let parameters = header.parameters.iter();
    let names = parameters
        .map(|(name, parameter)| (name.clone(), Symbol::Argument(parameter.offset as u32)))
        .collect();
    decoder.body(name, names)?;
    decoder.emit(Instruction::Exit)?;
    decoder.finish(header.max_threads)
}

/// What a name stands for.
#[derive(Debug, Clone, Copy)]
enum Symbol {
    Register(Slot, Type),
    /// The first of as many registers as the number says, named by a prefix and their number.
    Registers(Slot, u32, Type),
    /// A parameter of the kernel, at an offset.
    Argument(u32),
    /// Memory of the thread, at an offset.
    Local(u32),
    /// Memory of the block, at an offset.
    Shared(u32),
    /// Memory of the block that the launch adds.
    DynamicShared,
    /// Global memory, at an address.
    Global(u64),
}

/// Jumps of a function to its labels.
#[derive(Default)]
struct Jumps {
    labels: HashMap<String, u32>,
    /// Instructions whose target is yet to be found, and the line of each.
    open: Vec<(usize, String, u32)>,
}

/// How far apart variables in shared memory are, so that an access behind the end of one does not hit the next.
const SHARED_GAP: u32 = 128;

/// The label behind a function's last instruction; no name in PTX has a space.
const END: &str = "the end";

struct Decoder<'t> {
    text: &'t str,
    index: &'t Index,
    function: String,
    lexer: Lexer<'t>,
    line: u32,
    source: (u32, u32),
    files: Vec<String>,
    file_numbers: HashMap<u64, u32>,
    code: Vec<Instruction>,
    lines: Vec<u32>,
    sources: Vec<(u32, u32)>,
    template: Vec<u64>,
    constants: HashMap<u64, Slot>,
    specials: Vec<(Special, Slot)>,
    arguments: Vec<(usize, Type, Slot)>,
    lists: Vec<Slot>,
    atomics: Vec<Atomic>,
    warp_instructions: Vec<WarpInstruction>,
    scopes: Vec<HashMap<String, Symbol>>,
    jumps: Jumps,
    /// The functions that are being decoded, each called by the one before.
    callers: Vec<String>,
    local_bytes: u32,
    /// Where the variables in shared memory are, in order.
    shared: Vec<Range<u32>>,
    shared_variables: HashMap<String, u32>,
    shared_granule: u32,
    global_granule: u32,
    dynamic_shared: Option<Slot>,
    carry: Option<Slot>,
    waits: bool,
}

impl<'t> Decoder<'t> {
    fn new(text: &'t str, index: &'t Index, function: &str) -> Self {
        Self {
            text,
            index,
            function: function.to_owned(),
            lexer: Lexer::new(text, 0, 1),
            line: 0,
            source: (0, 0),
            files: Vec::new(),
            file_numbers: HashMap::new(),
            code: Vec::new(),
            lines: Vec::new(),
            sources: Vec::new(),
            template: Vec::new(),
            constants: HashMap::new(),
            specials: Vec::new(),
            arguments: Vec::new(),
            lists: Vec::new(),
            atomics: Vec::new(),
            warp_instructions: Vec::new(),
            scopes: Vec::new(),
            jumps: Jumps::default(),
            callers: Vec::new(),
            local_bytes: 0,
            shared: Vec::new(),
            shared_variables: HashMap::new(),
            shared_granule: 8,
            global_granule: 8,
            dynamic_shared: None,
            carry: None,
            waits: false,
        }
    }

    fn finish(mut self, max_threads: Option<u32>) -> Result<Function, Error> {
        let (mut shared_bytes, mut dynamic_shared) = (0, 0);
        for variable in &self.shared {
            // As a compiler would place them; no alignment is larger than that of their place.
            let align = 1 << variable.start.trailing_zeros().min(4);
            shared_bytes = u32::next_multiple_of(shared_bytes, align) + variable.len() as u32;
            dynamic_shared = (variable.end + SHARED_GAP).next_multiple_of(16);
        }
        if let Some(slot) = self.dynamic_shared {
            self.template[slot as usize] = u64::from(dynamic_shared);
        }
        let header = &self.index.headers[&self.function];
        Ok(Function {
            parameters: header
                .parameters
                .iter()
                .map(|(_, parameter)| *parameter)
                .collect(),
            name: self.function,
            max_threads: max_threads.unwrap_or(1024).min(1024),
            shared_bytes,
            shared: self.shared,
            dynamic_shared,
            shared_granule: self.shared_granule,
            global_granule: self.global_granule,
            local_bytes: self.local_bytes.next_multiple_of(16),
            code: self.code,
            lines: self.lines,
            sources: self.sources,
            files: self.files,
            template: self.template,
            specials: self.specials,
            arguments: self.arguments,
            lists: self.lists,
            atomics: self.atomics,
            warp_instructions: self.warp_instructions,
            waits: self.waits,
            globals: Arc::clone(&self.index.globals),
        })
    }

    /// Decodes the body of a function, whose parameters and results have the names given.
    fn body(&mut self, name: &str, names: HashMap<String, Symbol>) -> Result<(), Error> {
        let Some((position, line)) = self.index.headers.get(name).and_then(|found| found.body)
        else {
            return Err(self.unsupported(name, "the function is defined elsewhere"));
        };
        if self.callers.iter().any(|caller| caller == name) {
            return Err(self.unsupported(name, "recursion"));
        }
        self.callers.push(name.to_owned());
        let lexer = std::mem::replace(&mut self.lexer, Lexer::new(self.text, position, line));
        let (line, source) = (self.line, self.source);
        let jumps = std::mem::take(&mut self.jumps);
        // A callee does not see its caller's names.
        let scopes = std::mem::replace(&mut self.scopes, vec![names]);
        self.statements()?;
        self.label(END)?;
        let Jumps { labels, open } = std::mem::replace(&mut self.jumps, jumps);
        for (jump, label, line) in open {
            let Some(&found) = labels.get(&label) else {
                self.line = line;
                return Err(self.undeclared(&label));
            };
            match &mut self.code[jump] {
                Instruction::Jump { target }
                | Instruction::JumpIf { target, .. }
                | Instruction::JumpUnless { target, .. } => *target = found,
                _ => {}
            }
        }
        (self.lexer, self.scopes) = (lexer, scopes);
        (self.line, self.source) = (line, source);
        self.callers.pop();
        Ok(())
    }

    /// Reads up to the closing brace of the body.
    fn statements(&mut self) -> Result<(), Error> {
        let outermost = self.scopes.len();
        loop {
            let token = self.lexer.next();
            self.line = self.lexer.line();
            match token {
                Token::Sign(b';') => {}
                Token::Sign(b'{') => self.scopes.push(HashMap::new()),
                Token::Sign(b'}') if self.scopes.len() == outermost => return Ok(()),
                Token::Sign(b'}') => {
                    self.scopes.pop();
                }
                Token::Sign(b'@') => {
                    let negated = self.lexer.accept(b'!');
                    let name = self.lexer.word("a predicate")?;
                    let predicate = self.read(&Operand::Name(name), Type::Pred)?;
                    let word = self.lexer.word("an instruction")?;
                    self.instruction(word, Some((predicate, negated)))?;
                }
                Token::Word(word) if word.starts_with('.') => self.directive(word)?,
                Token::Word(word) if self.lexer.accept(b':') => self.label(word)?,
                Token::Word(word) => self.instruction(word, None)?,
                found => return Err(self.lexer.syntax("an instruction", found)),
            }
        }
    }

    fn label(&mut self, name: &str) -> Result<(), Error> {
        let here = self.code.len() as u32;
        if self.jumps.labels.insert(name.to_owned(), here).is_some() {
            return Err(self.unsupported(name, "a second label of that name"));
        }
        Ok(())
    }

    fn directive(&mut self, word: &'t str) -> Result<(), Error> {
        // `.reg.b16` is two words.
        let (first, rest) = match word[1..].split_once('.') {
            Some((first, rest)) => (first, Some(rest)),
            None => (&word[1..], None),
        };
        match first {
            "reg" => self.registers(rest),
            "shared" | "local" | "param" if rest.is_none() => {
                let space = match first {
                    "shared" => VariableSpace::Shared,
                    "local" => VariableSpace::Local,
                    _ => VariableSpace::Parameter,
                };
                for (variable, _) in variables(&mut self.lexer, space)? {
                    let symbol = self.place(&variable)?;
                    self.declare(variable.name, symbol);
                }
                Ok(())
            }
            "loc" => self.location(),
            "pragma" => {
                while !matches!(self.lexer.next(), Token::Sign(b';') | Token::End) {}
                Ok(())
            }
            _ => Err(self.unsupported(word, "unknown directive")),
        }
    }

    /// `.loc file line column`, and perhaps where it was inlined.
    fn location(&mut self) -> Result<(), Error> {
        let file = self.lexer.number("a file")?;
        let line = self.lexer.number("a line")?;
        self.lexer.number("a column")?;
        if self.lexer.accept(b',') {
            self.lexer.word("function_name")?;
            self.lexer.word("a label")?;
            if self.lexer.accept(b'+') {
                self.lexer.number("an offset")?;
            }
            self.lexer.expect(b',', ",")?;
            for _ in 0..4 {
                self.lexer.word("inlined_at")?;
            }
        }
        // Line 0 is the compiler's own code: what was before tells more.
        if line != 0 {
            let next = self.files.len() as u32;
            let number = *self.file_numbers.entry(file).or_insert(next);
            if number == next {
                self.files
                    .push(self.index.files.get(&file).cloned().unwrap_or_default());
            }
            self.source = (number, u32::try_from(line).unwrap_or(0));
        }
        Ok(())
    }

    /// `.reg .type %prefix<count>, name;`
    fn registers(&mut self, ty: Option<&str>) -> Result<(), Error> {
        let ty = match ty {
            Some(ty) => ty,
            None => self.lexer.word("a type")?.trim_start_matches('.'),
        };
        let Some(ty) = Type::named(ty) else {
            return Err(self.unsupported(ty, "registers of that type"));
        };
        loop {
            let name = self.lexer.word("the name of a register")?.to_owned();
            let symbol = if self.lexer.accept(b'<') {
                let count = self.lexer.number("a number of registers")?;
                self.lexer.expect(b'>', ">")?;
                let most = u64::from(Slot::MAX);
                if count + self.template.len() as u64 > most {
                    return Err(self.too_many());
                }
                let first = self.template.len() as Slot;
                self.template
                    .resize(self.template.len() + count as usize, 0);
                Symbol::Registers(first, count as u32, ty)
            } else {
                Symbol::Register(self.slot(0)?, ty)
            };
            self.declare(name, symbol);
            if !self.lexer.accept(b',') {
                return self.lexer.expect(b';', ";");
            }
        }
    }

    fn declare(&mut self, name: String, symbol: Symbol) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name, symbol);
        }
    }

    /// Finds room for a variable.
    fn place(&mut self, variable: &Variable) -> Result<Symbol, Error> {
        let align = variable.align.max(1) as u32;
        let bytes = u32::try_from(variable.bytes).unwrap_or(u32::MAX);
        let used = match variable.space {
            VariableSpace::Shared => self.shared.last().map_or(0, |last| last.end + SHARED_GAP),
            VariableSpace::Local | VariableSpace::Parameter => self.local_bytes,
            VariableSpace::DynamicShared => return Ok(Symbol::DynamicShared),
            VariableSpace::Global | VariableSpace::Constant => {
                return Ok(Symbol::Global(variable.address));
            }
        };
        let offset = used.next_multiple_of(align);
        // The launch compares with what a block can have; this only keeps the sum in range.
        let Some(end) = offset.checked_add(bytes).filter(|&end| end < 1 << 30) else {
            return Err(self.unsupported(&variable.name, "that much memory"));
        };
        if variable.space == VariableSpace::Shared {
            self.shared.push(offset..end);
            return Ok(Symbol::Shared(offset));
        }
        self.local_bytes = end;
        Ok(Symbol::Local(offset))
    }

    fn instruction(&mut self, word: &'t str, guard: Option<(Slot, bool)>) -> Result<(), Error> {
        self.line = self.lexer.line();
        let mnemonic = Mnemonic::new(word);
        if mnemonic.op == "bra" {
            return self.branch(mnemonic, guard);
        }
        // A guard jumps over what it guards.
        let skip = match guard {
            None => None,
            Some((p, negated)) => {
                let target = 0;
                self.emit(if negated {
                    Instruction::JumpIf { p, target }
                } else {
                    Instruction::JumpUnless { p, target }
                })?;
                Some(self.code.len() - 1)
            }
        };
        self.decode(mnemonic)?;
        let here = self.code.len() as u32;
        if let Some(skip) = skip {
            match &mut self.code[skip] {
                Instruction::JumpIf { target, .. } | Instruction::JumpUnless { target, .. } => {
                    *target = here;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn emit(&mut self, instruction: Instruction) -> Result<(), Error> {
        if self.code.len() >= 1 << 24 {
            return Err(self.unsupported("a function", "more than 2^24 instructions"));
        }
        self.code.push(instruction);
        self.lines.push(self.line);
        self.sources.push(self.source);
        Ok(())
    }

    /// A new slot that holds a value when a thread starts.
    fn slot(&mut self, value: u64) -> Result<Slot, Error> {
        let slot = Slot::try_from(self.template.len()).map_err(|_| self.too_many())?;
        self.template.push(value);
        Ok(slot)
    }

    fn constant(&mut self, value: u64) -> Result<Slot, Error> {
        if let Some(&slot) = self.constants.get(&value) {
            return Ok(slot);
        }
        let slot = self.slot(value)?;
        self.constants.insert(value, slot);
        Ok(slot)
    }

    fn special(&mut self, special: Special) -> Result<Slot, Error> {
        if let Some(&(_, slot)) = self.specials.iter().find(|(known, _)| *known == special) {
            return Ok(slot);
        }
        let slot = self.slot(0)?;
        self.specials.push((special, slot));
        Ok(slot)
    }

    fn too_many(&self) -> Error {
        Error::Registers {
            function: self.function.clone(),
            most: Slot::MAX as usize,
        }
    }

    fn unsupported(&self, instruction: &str, reason: &'static str) -> Error {
        Error::Unsupported {
            function: self.function.clone(),
            line: self.line,
            instruction: instruction.to_owned(),
            reason,
        }
    }

    fn undeclared(&self, name: &str) -> Error {
        Error::Undeclared {
            function: self.function.clone(),
            line: self.line,
            name: name.to_owned(),
        }
    }
}
