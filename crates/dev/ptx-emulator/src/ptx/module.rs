//! A module, whose functions are decoded by name.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::decode::decode;
use super::error::Error;
use super::function::Function;
use super::index::{Index, VariableSpace, index};

/// A translation unit of PTX.
#[derive(Debug)]
pub struct Module {
    text: String,
    index: Index,
    functions: Mutex<HashMap<String, Arc<Function>>>,
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
