//! Progress bars for long work on files.

use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressStyle};
use recsys_data::progress::{Progress, Stage};

use crate::text::bytes;

/// One progress bar for each stage of a preparation, on standard error; none where that is no
/// terminal.
#[derive(Debug, Default)]
pub struct Bars {
    bar: Mutex<Option<Bar>>,
}

#[derive(Debug)]
struct Bar {
    bytes: ProgressBar,
    rows: u64,
}

impl Bars {
    /// No bar so far; each appears when its stage begins.
    pub fn new() -> Self {
        Self::default()
    }

    fn with(&self, work: impl FnOnce(&mut Option<Bar>)) {
        // A bar is good enough whatever happened to the thread that drew it last.
        work(&mut self.bar.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Progress for Bars {
    fn begin(&self, stage: Stage, bytes: u64) {
        const TEMPLATE: &str =
            "{prefix:>9} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {msg} {eta} left";
        let bar = ProgressBar::new(bytes).with_prefix(stage.name());
        // The template is a constant; were it wrong, the plain bar would do.
        let bar = bar.with_style(
            ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        self.with(|current| {
            *current = Some(Bar {
                bytes: bar,
                rows: 0,
            })
        });
    }

    fn advance(&self, bytes: u64, rows: u64) {
        self.with(|current| {
            if let Some(bar) = current {
                bar.rows += rows;
                bar.bytes.set_message(format!("{} rows", bar.rows));
                bar.bytes.inc(bytes);
            }
        });
    }

    fn disk(&self, needed: u64, free: Option<u64>) {
        let free = free.map_or("an unknown number".to_owned(), bytes);
        note!(
            "disk: about {} more at the peak, {free} free",
            bytes(needed)
        );
    }

    fn end(&self) {
        self.with(|current| {
            if let Some(bar) = current.take() {
                bar.bytes.finish_and_clear();
            }
        });
    }
}
