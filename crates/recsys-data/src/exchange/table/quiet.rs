//! Panics of libraries that read files: they become errors.
//!
//! Lengths are checked before a library sees a file. What such checks do not know of may still make
//! it panic, which must not end the program.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    /// Whether this thread's panics are caught and told as errors, so that nothing prints them.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Does what a library may panic in.
///
/// # Errors
/// What the panic said.
pub(super) fn without_panic<T>(work: impl FnOnce() -> T) -> std::result::Result<T, String> {
    static ONCE: Once = Once::new();
    // Once for the process: exchanging it around every call would race with other threads. All
    // panics but those that are caught here go on to the hook that was there.
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                usual(panic);
            }
        }));
    });
    let before = QUIET.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    QUIET.set(before);
    result.map_err(|panic| message(&*panic))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a failure without a message")
        .replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_become_messages_on_their_thread() {
        assert_eq!(without_panic(|| 3), Ok(3));
        let failed: std::result::Result<(), _> = without_panic(|| panic!("two\nlines {}", 7));
        assert_eq!(failed, Err("two lines 7".to_owned()));
        assert!(!QUIET.get());
    }
}
