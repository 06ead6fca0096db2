//! System calls that fail, do a part of their work, are interrupted, or are the last ones of a
//! process.
//!
//! What lies on the disk changes at system calls alone, so a kill before every one of them meets
//! every state that a kill at any moment can leave.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::cases::{CASES, Case, Inputs};
use crate::table::{Line, Outcome, check, contents, names, points};

/// A fault: its name, the kind of calls, what happens to them, the error.
struct Fault {
    name: &'static str,
    calls: &'static str,
    how: &'static str,
    error: i32,
}

const fn fault(name: &'static str, calls: &'static str, how: &'static str, error: i32) -> Fault {
    Fault {
        name,
        calls,
        how,
        error,
    }
}

const FAULTS: [Fault; 8] = [
    fault("disk full from a call on", "space", "full", libc::ENOSPC),
    fault("disk full at one call", "change", "fail", libc::ENOSPC),
    fault("quota exceeded at a rename", "names", "fail", libc::EDQUOT),
    fault("error at a sync", "sync", "fail", libc::EIO),
    fault("error at a read", "read", "fail", libc::EIO),
    fault("short reads and writes", "any", "short", 0),
    fault("interrupted calls", "any", "interrupt", 0),
    fault("killed at a call", "change", "kill", 0),
];

/// The library that makes calls fail, and the folder in which they do.
struct Shim {
    library: PathBuf,
    root: PathBuf,
}

impl Shim {
    /// Compiles it; says why where that cannot be done.
    fn new(folder: &Path, root: &Path) -> Result<Self, String> {
        if !cfg!(target_os = "linux") {
            return Err("system calls are intercepted on Linux alone".into());
        }
        let library = folder.join("shim.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/shim.c");
        let compiled = Command::new("cc")
            .args(["-O1", "-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(source)
            .arg("-ldl")
            .output()
            .map_err(|error| format!("there is no C compiler `cc` ({error})"))?;
        let messages = String::from_utf8_lossy(&compiled.stderr);
        assert!(compiled.status.success(), "{messages}");
        Ok(Self {
            library,
            root: root.to_path_buf(),
        })
    }

    /// Runs a program under a fault at call `at`; returns exit code, messages and how many calls
    /// there were.
    fn run(
        &self,
        mut command: Command,
        fault: &Fault,
        how: &str,
        at: u64,
    ) -> (Option<i32>, String, u64) {
        let count = tempfile::NamedTempFile::new().unwrap();
        count.as_file().set_len(8).unwrap();
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAULT_ROOT", &self.root)
            .env("FAULT_COUNT", count.path())
            .env("FAULT_CALLS", fault.calls)
            .env("FAULT_HOW", how)
            .env("FAULT_AT", at.to_string())
            .env("FAULT_ERRNO", fault.error.to_string());
        let output = command.output().unwrap();
        let calls = std::fs::read(count.path()).unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
            u64::from_ne_bytes(calls.try_into().unwrap()),
        )
    }
}

type Contents = BTreeMap<PathBuf, Vec<u8>>;

/// A program, what it should write, and where it is tried.
struct Trial<'a> {
    shim: &'a Shim,
    inputs: &'a Inputs,
    case: &'a Case,
    work: PathBuf,
    expected: Contents,
}

impl<'a> Trial<'a> {
    fn new(shim: &'a Shim, inputs: &'a Inputs, case: &'a Case, work: PathBuf) -> Self {
        std::fs::create_dir(&work).unwrap();
        let out = work.join("out");
        let output = case.command(inputs, &out).output().unwrap();
        assert!(
            output.status.success(),
            "{}: {}",
            case.name,
            String::from_utf8_lossy(&output.stderr)
        );
        let expected = contents(&out);
        let mut trial = Self {
            shim,
            inputs,
            case,
            work,
            expected,
        };
        trial.clear();
        trial
    }

    fn out(&self) -> PathBuf {
        self.work.join("out")
    }

    fn clear(&mut self) {
        std::fs::remove_dir_all(&self.work).unwrap();
        std::fs::create_dir(&self.work).unwrap();
    }

    /// Puts something there that an earlier run wrote: a folder for a folder, a file for a file.
    fn put_old(&self) {
        if self.is_file() {
            std::fs::write(self.out(), "old").unwrap();
            return;
        }
        for (name, bytes) in contents(&self.inputs.old()) {
            let path = self.out().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }

    fn is_file(&self) -> bool {
        self.expected.contains_key(Path::new(""))
    }

    /// All points of a fault.
    fn line(&mut self, fault: &Fault) -> Line {
        let disturbs_once = !matches!(fault.how, "short" | "interrupt");
        let mut calls = 0;
        for old in [false, true] {
            self.clear();
            if old {
                self.put_old();
            }
            let command = self.case.command(self.inputs, &self.out());
            calls = self.shim.run(command, fault, "count", 0).2.max(calls);
        }
        let chosen = if disturbs_once {
            points(calls)
        } else {
            vec![0]
        };
        let outcomes: Vec<Outcome> = (0..)
            .zip(chosen)
            .flat_map(|(number, point)| {
                let both = !disturbs_once || std::env::var_os("RECSYS_FAULTS").is_some();
                let olds = if both {
                    vec![false, true]
                } else {
                    vec![number % 2 == 1]
                };
                olds.into_iter().map(move |old| (point, old))
            })
            .map(|(point, old)| self.try_point(fault, point, old))
            .collect();
        Line::new(fault.name, self.case.name, outcomes)
    }

    fn try_point(&mut self, fault: &Fault, point: u64, old: bool) -> Outcome {
        self.clear();
        if old {
            self.put_old();
        }
        let before = contents(&self.out());
        let command = self.case.command(self.inputs, &self.out());
        let (code, message, _) = self.shim.run(command, fault, fault.how, point);
        let after = contents(&self.out());
        let whole = after == self.expected;
        let outcome = match code {
            Some(0) if whole => Ok(Outcome::Harmless),
            Some(0) => Err("said to be done, and the output is not what it should be"),
            Some(2) if matches!(fault.how, "short" | "interrupt") => {
                Err("a part of the work, or a signal, is no reason to stop")
            }
            Some(2) if !message.contains(self.shim.root.to_str().unwrap()) => {
                Err("the message names no file")
            }
            // A file that has its name already is complete, whatever its folder's sync says, and so
            // is a data set that could not be looked at behind its writing.
            Some(2) if after == before || (whole && (self.is_file() || fault.calls == "read")) => {
                Ok(Outcome::Detected)
            }
            Some(2) => Err("refused, and the output was changed"),
            None if fault.how == "kill" && (after == before || whole) => {
                return self.go_on(point, old);
            }
            None if fault.how == "kill" => {
                Err("killed, and the output is neither the old nor the new one")
            }
            _ => Err("neither done nor refused"),
        };
        let left = self.beside();
        let problem = match outcome {
            Ok(Outcome::Detected) if self.case.resumes => match self.go_on(point, old) {
                Outcome::Harmless => return Outcome::Detected,
                lost => return lost,
            },
            Ok(outcome) if left.is_empty() => return outcome,
            Ok(_) => format!("{left:?} was left behind"),
            Err(problem) => problem.to_owned(),
        };
        Outcome::Lost(format!(
            "call {point}, old output: {old}: {problem}: exit code {code:?}, {message}"
        ))
    }

    /// What lies beside the output and should not stay there.
    fn beside(&self) -> Vec<String> {
        let mut names = names(&self.work);
        names.retain(|name| name != "out" && !self.case.stays.contains(&name.as_str()));
        names
    }

    /// The next run gives what an undisturbed one gives, and nothing remains of the one before.
    fn go_on(&self, point: u64, old: bool) -> Outcome {
        let output = self
            .case
            .command(self.inputs, &self.out())
            .output()
            .unwrap();
        let same = output.status.success() && contents(&self.out()) == self.expected;
        if same && self.beside().is_empty() {
            return Outcome::Harmless;
        }
        Outcome::Lost(format!(
            "ended at call {point}, old output: {old}: the next run leaves {:?} ({}), {}",
            names(&self.work),
            if same {
                "output as it should be"
            } else {
                "output another one"
            },
            String::from_utf8_lossy(&output.stderr)
        ))
    }
}

#[test]
fn failing_calls_and_kills_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap().join("root");
    std::fs::create_dir(&root).unwrap();
    let shim = match Shim::new(folder.path(), &root) {
        Ok(shim) => shim,
        Err(reason) => {
            println!("skipped: {reason}");
            return;
        }
    };
    let inputs = Inputs::new(root.join("in"));
    let (next, lines) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = || {
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(case) = CASES.get(place) else {
                break;
            };
            let work = root.join(case.name.replace(' ', "-"));
            let mut trial = Trial::new(&shim, &inputs, case, work);
            let of_case: Vec<Line> = FAULTS.iter().map(|fault| trial.line(fault)).collect();
            lines.lock().unwrap().insert(place, of_case);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let lines: Vec<Line> = lines
        .into_inner()
        .unwrap()
        .into_values()
        .flatten()
        .collect();
    check(&lines);
}
