//! A module: where its functions stand in the text, and the memory of its variables.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::decode::decode;
use super::error::Error;
use super::function::{Function, Parameter};
use super::lexer::{Lexer, Token, integer};
use super::types::Type;

/// A translation unit of PTX.
#[derive(Debug)]
pub struct Module {
    text: String,
    index: Index,
    functions: Mutex<HashMap<String, Arc<Function>>>,
}

/// What stands at the top level of a module.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) headers: HashMap<String, Header>,
    pub(super) variables: HashMap<String, Variable>,
    pub(super) files: HashMap<u64, String>,
    pub(super) globals: Arc<Globals>,
    entries: Vec<String>,
}

/// A function's declaration, and where its body is.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub(super) entry: bool,
    pub(super) parameters: Vec<(String, Parameter)>,
    pub(super) results: Vec<(String, Parameter)>,
    pub(super) max_threads: Option<u32>,
    /// The byte behind the opening brace, and its line; nothing for a function that is elsewhere.
    pub(super) body: Option<(usize, u32)>,
}

/// A variable that is no register.
#[derive(Debug, Clone)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) space: VariableSpace,
    pub(super) bytes: u64,
    pub(super) align: u64,
    /// Where it is in global memory.
    pub(super) address: u64,
}

/// Where a variable is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VariableSpace {
    Global,
    Constant,
    Shared,
    /// As large as the launch says.
    DynamicShared,
    Local,
    Parameter,
}

/// The memory of a module's variables.
#[derive(Debug, Default)]
pub(super) struct Globals {
    words: Vec<AtomicU64>,
    /// Sorted by address.
    ranges: Vec<Range<u64>>,
}

impl Globals {
    /// The variable that contains an address.
    pub(super) fn allocation(&self, address: u64) -> Option<Range<u64>> {
        let behind = self.ranges.partition_point(|range| range.start <= address);
        let range = self.ranges.get(behind.checked_sub(1)?)?;
        range.contains(&address).then(|| range.clone())
    }

    /// The text at an address, up to a zero.
    pub(super) fn text(&self, address: u64) -> Box<str> {
        let Some(range) = self.allocation(address) else {
            return Box::default();
        };
        let base = self.base();
        let byte = |at: u64| {
            let word = self.words[((at - base) / 8) as usize].load(Ordering::Relaxed);
            word.to_le_bytes()[((at - base) % 8) as usize]
        };
        let bytes: Vec<u8> = (address..range.end)
            .map(byte)
            .take_while(|&byte| byte != 0)
            .collect();
        String::from_utf8_lossy(&bytes).into()
    }

    fn base(&self) -> u64 {
        self.words.as_ptr().expose_provenance() as u64
    }
}

impl Module {
    /// Indexes a module; functions are decoded when they are asked for.
    ///
    /// # Errors
    /// Text whose top level is not PTX, or declares what is not supported.
    pub fn parse(text: &str) -> Result<Self, Error> {
        // Drivers take the text with the zero that ends it.
        let text = text.trim_end_matches('\0').to_owned();
        let index = index(&text)?;
        Ok(Self {
            text,
            index,
            functions: Mutex::default(),
        })
    }

    /// The names of the kernels, in the order of the text.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.index.entries.iter().map(String::as_str)
    }

    /// A kernel, decoded.
    ///
    /// # Errors
    /// No kernel of that name, or one with an instruction that is not supported.
    pub fn function(&self, name: &str) -> Result<Arc<Function>, Error> {
        let mut functions = self
            .functions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = functions.get(name) {
            return Ok(Arc::clone(function));
        }
        match self.index.headers.get(name) {
            Some(header) if header.entry && header.body.is_some() => {}
            _ => {
                return Err(Error::NoFunction {
                    name: name.to_owned(),
                });
            }
        }
        let function = Arc::new(decode(&self.text, &self.index, name)?);
        functions.insert(name.to_owned(), Arc::clone(&function));
        Ok(function)
    }

    /// Address and bytes of a variable in global or constant memory. It lives as long as the module and its functions.
    pub fn global(&self, name: &str) -> Option<(u64, usize)> {
        let variable = self.index.variables.get(name)?;
        let global = matches!(
            variable.space,
            VariableSpace::Global | VariableSpace::Constant
        );
        global.then_some((variable.address, variable.bytes as usize))
    }
}

fn index(text: &str) -> Result<Index, Error> {
    let mut index = Index::default();
    let mut lexer = Lexer::new(text, 0, 1);
    let mut initialised: Vec<(Variable, Vec<u8>)> = Vec::new();
    loop {
        let word = match lexer.next() {
            Token::End => break,
            Token::Sign(b';') => continue,
            Token::Word(word) => word,
            found => return Err(lexer.syntax("a directive", found)),
        };
        match word {
            ".visible" | ".weak" | ".common" | ".extern" => {}
            ".version" | ".address_size" => {
                lexer.word("a number")?;
            }
            ".target" => {
                lexer.word("a target")?;
                while lexer.accept(b',') {
                    lexer.word("a target")?;
                }
            }
            ".file" => {
                let number = lexer.number("the number of a file")?;
                let found = lexer.next();
                let Token::Text(path) = found else {
                    return Err(lexer.syntax("a path", found));
                };
                index.files.insert(number, path.to_owned());
                while lexer.accept(b',') {
                    lexer.number("a number")?;
                }
            }
            ".section" => {
                lexer.word("the name of a section")?;
                lexer.expect(b'{', "{")?;
                lexer.skip_braces()?;
            }
            ".pragma" => {
                while lexer.next() != Token::Sign(b';') {
                    if lexer.peek() == Token::End {
                        return Err(lexer.syntax(";", Token::End));
                    }
                }
            }
            ".entry" | ".func" => {
                let (name, header) = header(&mut lexer, word == ".entry")?;
                // A definition may follow a declaration.
                let known = index
                    .headers
                    .get(&name)
                    .is_some_and(|known| known.body.is_some());
                if header.entry && !known {
                    index.entries.push(name.clone());
                }
                if !known {
                    index.headers.insert(name, header);
                }
            }
            ".global" | ".const" | ".shared" => {
                let space = match word {
                    ".global" => VariableSpace::Global,
                    ".const" => VariableSpace::Constant,
                    _ => VariableSpace::Shared,
                };
                for (variable, value) in variables(&mut lexer, space)? {
                    if space == VariableSpace::Shared {
                        index.variables.insert(variable.name.clone(), variable);
                    } else {
                        initialised.push((variable, value));
                    }
                }
            }
            found => return Err(lexer.syntax("a directive", Token::Word(found))),
        }
    }
    place(&mut index, initialised);
    Ok(index)
}

/// How far apart variables are, so that what is written behind one does not hit the next.
const GAP: usize = 256;

fn place(index: &mut Index, initialised: Vec<(Variable, Vec<u8>)>) {
    let room = |bytes: u64| (bytes as usize).next_multiple_of(GAP) + GAP;
    let bytes: usize = initialised
        .iter()
        .map(|(variable, _)| room(variable.bytes))
        .sum();
    let mut globals = Globals {
        words: (0..(bytes + GAP) / 8).map(|_| AtomicU64::new(0)).collect(),
        ranges: Vec::new(),
    };
    let base = globals.base();
    let mut address = base.next_multiple_of(GAP as u64);
    for (mut variable, value) in initialised {
        for (i, &byte) in value.iter().enumerate() {
            let at = (address - base) as usize + i;
            let word = globals.words[at / 8].get_mut();
            *word |= u64::from(byte) << (8 * (at % 8));
        }
        variable.address = address;
        globals.ranges.push(address..address + variable.bytes);
        address += room(variable.bytes) as u64;
        index.variables.insert(variable.name.clone(), variable);
    }
    index.globals = Arc::new(globals);
}

fn header(lexer: &mut Lexer<'_>, entry: bool) -> Result<(String, Header), Error> {
    let results = if !entry && lexer.peek() == Token::Sign(b'(') {
        parameters(lexer)?
    } else {
        Vec::new()
    };
    let name = lexer.word("the name of a function")?.to_owned();
    let parameters = if lexer.peek() == Token::Sign(b'(') {
        parameters(lexer)?
    } else {
        Vec::new()
    };
    let mut header = Header {
        entry,
        parameters,
        results,
        max_threads: None,
        body: None,
    };
    loop {
        match lexer.next() {
            Token::Sign(b';') => break,
            Token::Sign(b'{') => {
                header.body = Some((lexer.position(), lexer.line()));
                lexer.skip_braces()?;
                break;
            }
            Token::Word(".maxntid" | ".reqntid") => {
                let mut threads = lexer.number("a number of threads")?;
                while lexer.accept(b',') {
                    threads = threads.saturating_mul(lexer.number("a number of threads")?);
                }
                header.max_threads = Some(u32::try_from(threads).unwrap_or(u32::MAX));
            }
            Token::Word(".minnctapersm" | ".maxnreg" | ".maxnctapersm") => {
                lexer.number("a number")?;
            }
            Token::Word(".noreturn" | ".pragma") | Token::Text(_) => {}
            found => return Err(lexer.syntax("the body of a function", found)),
        }
    }
    Ok((name, header))
}

fn parameters(lexer: &mut Lexer<'_>) -> Result<Vec<(String, Parameter)>, Error> {
    lexer.expect(b'(', "(")?;
    let mut parameters = Vec::new();
    let mut offset = 0_u64;
    while !lexer.accept(b')') {
        let space = lexer.word(".param")?;
        if space != ".param" {
            return Err(lexer.syntax(".param", Token::Word(space)));
        }
        let variable = declarator(lexer, None, VariableSpace::Parameter)?.0;
        offset = offset.next_multiple_of(variable.align);
        let narrow = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        let parameter = Parameter {
            offset: narrow(offset),
            bytes: narrow(variable.bytes),
            align: narrow(variable.align),
        };
        offset = offset.saturating_add(variable.bytes);
        parameters.push((variable.name, parameter));
        lexer.accept(b',');
    }
    Ok(parameters)
}

/// The variables of a declaration, behind the word for their space and up to the semicolon.
pub(super) fn variables(
    lexer: &mut Lexer<'_>,
    space: VariableSpace,
) -> Result<Vec<(Variable, Vec<u8>)>, Error> {
    let (first, value, ty) = declarator(lexer, None, space)?;
    let mut all = vec![(first, value)];
    while lexer.accept(b',') {
        let align = all[0].0.align;
        let (next, value, _) = declarator(lexer, Some((ty, align)), space)?;
        all.push((next, value));
    }
    lexer.expect(b';', ";")?;
    Ok(all)
}

/// One variable: alignment and type (unless given), name, dimensions and value.
fn declarator(
    lexer: &mut Lexer<'_>,
    given: Option<(Type, u64)>,
    space: VariableSpace,
) -> Result<(Variable, Vec<u8>, Type), Error> {
    let mut align = given.map(|(_, align)| align);
    let mut ty = given.map(|(ty, _)| ty);
    let mut elements = 1_u64;
    let name = loop {
        let word = lexer.word("a variable")?;
        match word {
            ".align" => {
                let number = lexer.number("an alignment")?;
                if !number.is_power_of_two() || number > GAP as u64 {
                    return Err(lexer.syntax("an alignment", Token::Word(".align")));
                }
                align = align.max(Some(number));
            }
            // What a pointer points to, which is no matter here; its `.align` only raises the parameter's.
            ".ptr" => {
                for _ in 0..3 {
                    match lexer.peek() {
                        Token::Word(".global" | ".shared" | ".const" | ".local") => {
                            lexer.next();
                        }
                        Token::Word(".align") => {
                            lexer.next();
                            lexer.number("an alignment")?;
                        }
                        _ => {}
                    }
                }
            }
            ".v2" => elements *= 2,
            ".v4" => elements *= 4,
            _ => match word.strip_prefix('.') {
                Some(modifier) => match Type::named(modifier) {
                    Some(found) => ty = Some(found),
                    None => return Err(lexer.syntax("a type", Token::Word(word))),
                },
                None => break word,
            },
        }
    };
    let Some(ty) = ty else {
        return Err(lexer.syntax("a type", Token::Word(name)));
    };
    let mut space = space;
    while lexer.accept(b'[') {
        if lexer.accept(b']') {
            if space == VariableSpace::Shared {
                space = VariableSpace::DynamicShared;
            }
            elements = 0;
        } else {
            elements = elements.saturating_mul(lexer.number("a dimension")?);
            lexer.expect(b']', "]")?;
        }
    }
    // Far below what would overflow, far above what a device has.
    let bytes = elements.saturating_mul(u64::from(ty.bytes()));
    if bytes > 1 << 32 {
        return Err(lexer.syntax("a variable of less than 4 GiB", Token::Word(name)));
    }
    let mut value = Vec::new();
    if lexer.accept(b'=') {
        initialiser(lexer, ty, &mut value)?;
        value.truncate(bytes as usize);
    }
    let align = align.unwrap_or(u64::from(ty.bytes()));
    let variable = Variable {
        name: name.to_owned(),
        space,
        bytes,
        align,
        address: 0,
    };
    Ok((variable, value, ty))
}

fn initialiser(lexer: &mut Lexer<'_>, ty: Type, value: &mut Vec<u8>) -> Result<(), Error> {
    if lexer.accept(b'{') {
        while !lexer.accept(b'}') {
            initialiser(lexer, ty, value)?;
            lexer.accept(b',');
        }
        return Ok(());
    }
    let negative = lexer.accept(b'-');
    let word = lexer.word("a value")?;
    let bits = match word.get(..2) {
        Some("0f" | "0F" | "0d" | "0D") => u64::from_str_radix(&word[2..], 16).ok(),
        _ => integer(word),
    };
    let Some(bits) = bits else {
        return Err(lexer.syntax("a number", Token::Word(word)));
    };
    let bits = if negative { bits.wrapping_neg() } else { bits };
    value.extend_from_slice(&bits.to_le_bytes()[..ty.bytes() as usize]);
    Ok(())
}
