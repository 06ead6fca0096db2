#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of `kernel.h`.
pub fn include_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("include")
}

/// Why there is no PTX.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// No compiler was found.
    NoCompiler,
    /// The compiler could not be started.
    Start(PathBuf, std::io::Error),
    /// A folder of kernels that cannot be read.
    Kernels(PathBuf, std::io::Error),
    /// The compiler has refused a kernel; it has said why.
    Refused(PathBuf),
    /// A variable that cargo sets for build scripts is missing.
    NotABuildScript,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCompiler => f.write_str(
                "the feature `cuda` needs nvcc, which comes with NVIDIA's CUDA toolkit, and none was found: put it on PATH, or \
                 set NVCC to it or CUDA_HOME to the toolkit; the repository's `scripts/cuda-toolkit` fetches one that is enough",
            ),
            Self::Start(path, error) => write!(f, "cannot run {}: {error}", path.display()),
            Self::Kernels(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::Refused(path) => write!(f, "nvcc has refused {}", path.display()),
            Self::NotABuildScript => f.write_str("cargo's variables are missing: call this from a build script"),
        }
    }
}

impl std::error::Error for Error {}

/// Compiles every `kernels/*.cu` of the crate that is being built to `OUT_DIR/NAME.ptx`, for the virtual architecture
/// `CUDA_COMPUTE_CAP` (80 where not set: A100 and newer), which the driver compiles for the device at hand.
///
/// Products are not fused with sums, so that results are those of the CPU; a kernel that wants it calls `fmaf`.
///
/// # Errors
/// No nvcc, or one that refuses a kernel.
pub fn ptx() -> Result<(), Error> {
    for variable in ["NVCC", "CUDA_HOME", "CUDA_PATH", "CUDA_COMPUTE_CAP"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    println!("cargo::rerun-if-changed=kernels");
    println!("cargo::rerun-if-changed={}", include_dir().display());
    let cargo = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .ok_or(Error::NotABuildScript)
    };
    let (kernels, out) = (
        cargo("CARGO_MANIFEST_DIR")?.join("kernels"),
        cargo("OUT_DIR")?,
    );
    let capability = env::var("CUDA_COMPUTE_CAP").unwrap_or_else(|_| "80".into());
    let compiler = compiler().ok_or(Error::NoCompiler)?;
    let unreadable = |error| Error::Kernels(kernels.clone(), error);
    for entry in std::fs::read_dir(&kernels).map_err(unreadable)? {
        let source = entry.map_err(unreadable)?.path();
        let Some(stem) = source
            .file_stem()
            .filter(|_| source.extension().is_some_and(|end| end == "cu"))
        else {
            continue;
        };
        let status = Command::new(&compiler)
            .args(["--ptx", "-O3", "-std=c++17", "-lineinfo", "-fmad=false"])
            .arg(format!("-arch=compute_{capability}"))
            .arg("-I")
            .arg(include_dir())
            .arg("-o")
            .arg(out.join(stem).with_extension("ptx"))
            .arg(&source)
            .status()
            .map_err(|error| Error::Start(compiler.clone(), error))?;
        if !status.success() {
            return Err(Error::Refused(source));
        }
    }
    Ok(())
}

/// `NVCC`, or the one of `CUDA_HOME` or `CUDA_PATH`, or the one on `PATH`, or that of the usual place.
fn compiler() -> Option<PathBuf> {
    if let Some(named) = env::var_os("NVCC") {
        return Some(named.into());
    }
    let homes = ["CUDA_HOME", "CUDA_PATH"]
        .into_iter()
        .filter_map(env::var_os);
    let homes = homes.map(|home| Path::new(&home).join("bin"));
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders = homes
        .chain(env::split_paths(&path))
        .chain([PathBuf::from("/usr/local/cuda/bin")]);
    let name = format!("nvcc{}", env::consts::EXE_SUFFIX);
    folders.find_map(|folder| Some(folder.join(&name)).filter(|file| file.is_file()))
}
