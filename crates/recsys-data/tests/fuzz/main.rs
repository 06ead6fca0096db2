//! No input makes a parser panic or take much memory, and what a parser accepts is what a slow, plain one reads.
//!
//! `RECSYS_FUZZ_SECONDS=600 cargo test --release -p recsys-data --test fuzz -- --nocapture` tries new inputs for ten minutes.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod containers;
mod exchange;
#[path = "../numbered/mod.rs"]
mod numbered;
mod packed;
mod reference;
mod sequences;
#[path = "../taobao_text/mod.rs"]
mod taobao_text;
mod text;

#[global_allocator]
static ALLOCATOR: testing::Counting = testing::Counting;

#[test]
fn damaged_inputs_are_refused_or_read_as_the_reference_reads_them() {
    let mut targets = text::targets();
    targets.extend(packed::targets());
    targets.extend(sequences::targets());
    targets.extend(containers::targets());
    targets.extend(exchange::targets());
    testing::fuzzing::run(&mut targets);
}
