//! The top level of a module: where its functions stand in the text, and its variables.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::error::Error;
use super::function::Parameter;
use super::globals::Globals;
use super::lexer::{Lexer, Token, integer};
use super::types::Type;

/// What stands at the top level of a module.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) headers: HashMap<String, Header>,
    pub(super) variables: HashMap<String, Variable>,
    pub(super) files: HashMap<u64, String>,
    pub(super) globals: Arc<Globals>,
    /// Names of the kernels, in the order of the text.
    pub(super) entries: Vec<String>,
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

/// Reads the top level of a module.
///
/// # Errors
/// Text that is not PTX there, or declares what is not supported.
pub(super) fn index(text: &str) -> Result<Index, Error> {
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
            // What a pointer points to, which is no matter here; its `.align` only raises the
            // parameter's.
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
