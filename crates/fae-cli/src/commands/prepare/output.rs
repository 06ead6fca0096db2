//! What programs share that make data sets: where the result goes, the threads, the report.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use fae_run::on_threads;
use recsys_data::packed::WriterOptions;
use recsys_data::progress::Progress;
use serde::Serialize;
use serde_json::{Value, json};

use crate::process::{peak_memory_bytes, probe, write_json};
use crate::progress::Bars;
use crate::text::{bytes, print_peak_memory};

/// Where a packed data set is written, and by how many threads.
#[derive(Debug, Args)]
pub(crate) struct OutputArguments {
    /// Folder of the packed data set; made if it does not exist.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Most samples of one output file.
    #[arg(long, value_name = "SAMPLES", default_value_t = WriterOptions::default().shard_rows, value_parser = clap::value_parser!(u64).range(1..))]
    pub shard_rows: u64,
    /// Replace the output folder if it holds a packed data set.
    #[arg(long)]
    pub force: bool,
    /// Threads and report.
    #[command(flatten)]
    pub run: RunArguments,
}

/// By how many threads work is done, and where its report goes.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// Worker threads; changes no byte of the output [default: one for each core].
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Write the report as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl RunArguments {
    /// Does the work with a progress bar, prints its report, and writes it as JSON where a file is
    /// named, with the fields of `more`.
    ///
    /// # Errors
    /// Those of `work`, threads that the system does not give, or a file that cannot be written.
    pub(crate) fn run<T: Serialize + Send>(
        &self,
        work: impl FnOnce(&dyn Progress) -> recsys_data::Result<T> + Send,
        print: impl FnOnce(&T),
        more: impl FnOnce(&T) -> Value,
    ) -> Result<()> {
        self.json.as_deref().map_or(Ok(()), probe)?;
        let (report, threads) = on_threads(self.threads, || {
            anyhow::Ok((work(&Bars::new())?, rayon::current_num_threads()))
        })?;
        let written = self.json.as_deref().map_or(Ok(()), |path| {
            write_json(path, &Self::value(&report, threads, more(&report))?)
        });
        print(&report);
        written
    }

    fn value<T: Serialize>(report: &T, threads: usize, more: Value) -> Result<Value> {
        let mut value = serde_json::to_value(report).context("the report has no JSON form")?;
        let machine = json!({
            "peak_memory_bytes": peak_memory_bytes(),
            "threads": threads,
            "version": env!("CARGO_PKG_VERSION"),
        });
        for fields in [more, machine] {
            if let Value::Object(fields) = fields {
                fields
                    .into_iter()
                    .for_each(|(name, field)| value[name] = field);
            }
        }
        Ok(value)
    }
}

/// Prints how large the files were that were read, how large the data set is, and the memory that
/// it took.
pub(crate) fn print_sizes(read: &str, read_bytes: u64, packed_bytes: u64) {
    say!("{read:<14} {:>14}", bytes(read_bytes));
    say!("{:<14} {:>14}", "packed", bytes(packed_bytes));
    print_peak_memory(14);
}

/// Prints how long it took, and at which rate.
pub(crate) fn print_rate(seconds: f64, rate: f64, what: &str) {
    say!("{:<14} {seconds:>12.1} s   {rate:.0} {what}/s", "in all");
}
