//! Compiles the kernels of all crates for the CPU.

use std::path::{Path, PathBuf};

fn main() {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++17")
        .flag("-ffp-contract=off")
        .flag("-Wno-unknown-pragmas")
        .opt_level(2)
        .include(recsys_kernel_build::include_dir())
        .file("src/host.cpp");
    println!("cargo::rerun-if-changed=src/host.cpp");
    println!(
        "cargo::rerun-if-changed={}",
        recsys_kernel_build::include_dir().display()
    );
    for kernels in kernel_folders() {
        println!("cargo::rerun-if-changed={}", kernels.display());
        for source in entries(&kernels) {
            if source.extension().is_some_and(|end| end == "cu") {
                // A copy with another ending, because the compiler takes `.cu` for CUDA.
                let copy = out
                    .join(source.file_name().expect("a name"))
                    .with_extension("cpp");
                let source = source.canonicalize().expect("a file");
                std::fs::write(&copy, format!("#include {source:?}\n")).expect("room on disk");
                build.file(copy);
            }
        }
    }
    build.compile("kernels");
}

/// `kernels` of every crate that has some.
fn kernel_folders() -> Vec<PathBuf> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    entries(&crates)
        .into_iter()
        .map(|package| package.join("kernels"))
        .filter(|kernels| kernels.is_dir())
        .collect()
}

/// The paths in a folder, in one order on every machine.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths
}
