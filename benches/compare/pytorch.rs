//! The PyTorch side: a process that answers requests line by line.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

/// The program beside this file.
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/compare/pytorch_side.py");

/// What to do where PyTorch cannot be had.
const REMEDY: &str =
    "name an interpreter that has torch with --python, or leave PyTorch out with --without-pytorch";

/// A Python interpreter that has PyTorch.
pub(crate) struct Interpreter {
    python: PathBuf,
    threads: usize,
    version: String,
}

/// A running PyTorch side, which holds one case at a time; it ends when this is dropped.
pub(crate) struct PyTorch {
    process: Child,
    requests: ChildStdin,
    replies: BufReader<ChildStdout>,
}

impl Interpreter {
    /// The given one, or that of a virtual environment of this program's own; it is tried. PyTorch
    /// gets that number of threads.
    pub(crate) fn find(python: Option<&Path>, threads: usize) -> Result<Self> {
        let python = match python {
            Some(python) => python.to_owned(),
            None => virtual_environment()?,
        };
        let mut this = Self {
            python,
            threads,
            version: String::new(),
        };
        let (_, hello) = this.greet()?;
        this.version = text(&hello, "torch")?.to_owned();
        Ok(this)
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Starts a side.
    pub(crate) fn start(&self) -> Result<PyTorch> {
        Ok(self.greet()?.0)
    }

    /// Starts a side and takes what it says of itself.
    fn greet(&self) -> Result<(PyTorch, Value)> {
        let python = self.python.display();
        let mut process = Command::new(&self.python)
            // Nothing is written beside the program.
            .arg("-B")
            .arg(PROGRAM)
            .args(["--threads", &self.threads.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {python}; {REMEDY}"))?;
        let requests = process.stdin.take().context("no pipe to PyTorch")?;
        let replies = process.stdout.take().context("no pipe from PyTorch")?;
        let mut side = PyTorch {
            process,
            requests,
            replies: BufReader::new(replies),
        };
        let hello = side
            .reply()
            .with_context(|| format!("{python} cannot run the PyTorch side; {REMEDY}"))?;
        Ok((side, hello))
    }
}

impl PyTorch {
    /// Makes model and data of a case ready and returns the units of one repetition.
    pub(crate) fn prepare(&mut self, case: &Value) -> Result<f64> {
        let ready = self.ask(&json!({ "prepare": case }))?;
        number(&ready, "units")
    }

    /// Runs the prepared case so many times and returns the seconds.
    pub(crate) fn run(&mut self, repetitions: usize) -> Result<f64> {
        let done = self.ask(&json!({ "run": repetitions }))?;
        number(&done, "seconds")
    }

    fn ask(&mut self, request: &Value) -> Result<Value> {
        writeln!(self.requests, "{request}").context("the PyTorch side has ended")?;
        self.reply()
    }

    fn reply(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.replies.read_line(&mut line)?;
        ensure!(
            !line.is_empty(),
            "the PyTorch side has ended; its last words are above"
        );
        let reply: Value =
            serde_json::from_str(&line).with_context(|| format!("no reply: {line}"))?;
        if let Some(error) = reply.get("error") {
            bail!("PyTorch: {error}");
        }
        Ok(reply)
    }
}

impl Drop for PyTorch {
    fn drop(&mut self) {
        // It is idle, or in a case that nobody waits for any more.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn number(reply: &Value, field: &str) -> Result<f64> {
    reply[field]
        .as_f64()
        .with_context(|| format!("PyTorch's reply {reply} has no {field}"))
}

fn text<'a>(reply: &'a Value, field: &str) -> Result<&'a str> {
    reply[field]
        .as_str()
        .with_context(|| format!("PyTorch's reply {reply} has no {field}"))
}

/// The interpreter of a virtual environment with PyTorch beside this program, made where it is
/// missing.
fn virtual_environment() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let folder = program.with_file_name("compare-pytorch");
    let python = folder.join(if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    });
    let run = |program: &Path, arguments: &[&str]| -> Result<()> {
        let status = Command::new(program)
            .args(arguments)
            .stdout(Stdio::null())
            .status()
            .with_context(|| format!("cannot start {}; {REMEDY}", program.display()))?;
        ensure!(
            status.success(),
            "{} {} failed ({status}); {REMEDY}",
            program.display(),
            arguments.join(" ")
        );
        Ok(())
    };
    // An installation that was cut short lacks the mark.
    let mark = folder.join("complete");
    if !mark.exists() {
        eprintln!("installing PyTorch into {} …", folder.display());
        let path = folder
            .to_str()
            .context("the target folder's name is not Unicode")?;
        run(Path::new("python3"), &["-m", "venv", "--clear", path])?;
        run(
            &python,
            &["-m", "pip", "install", "--quiet", "torch", "numpy"],
        )?;
        std::fs::write(&mark, "")?;
    }
    Ok(python)
}
