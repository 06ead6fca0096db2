//! What the programs make of faults: a full disk, failing and interrupted system calls, kills,
//! signals, closed and full streams, outputs that cannot be written, damaged files, two writers
//! together.
//!
//! Every test prints lines of a table; `cargo test -p fae-cli --test faults -- --nocapture` shows
//! it. Of long lines a sample is tried; `RECSYS_FAULTS=full` tries all points.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod cases;
mod damage;
mod injected;
mod paths;
#[path = "../programs/mod.rs"]
mod programs;
mod signals;
mod streams;
mod table;
