//! PTX: reading a module's text, and running its functions on the CPU, one thread at a time.
//!
//! A [`Module`] indexes its text; a [`Function`] is decoded when it is asked for. Every access is checked against the
//! allocations, and accesses to shared memory against those of the block's other threads.

mod arithmetic;
mod decode;
mod error;
mod execute;
mod function;
mod globals;
mod index;
mod instruction;
mod launch;
mod lexer;
mod memory;
mod module;
mod types;

pub use error::{Error, Fault, FaultKind, Location, Space};
pub use function::{Function, Parameter};
pub use launch::{Launch, Memory};
pub use module::Module;
