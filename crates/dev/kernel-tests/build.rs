//! Compiles the kernels of all crates for the CPU.

use std::path::{Path, PathBuf};

fn main() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
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
    let owners = std::fs::read_dir(&crates).expect("the folder of crates");
    let mut folders: Vec<PathBuf> = owners
        .map(|owner| owner.expect("a crate").path().join("kernels"))
        .filter(|kernels| kernels.is_dir())
        .collect();
    folders.sort();
    for kernels in folders {
        println!("cargo::rerun-if-changed={}", kernels.display());
        for entry in std::fs::read_dir(&kernels).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|end| end == "cu") {
                // `-x c++` is asked for by name: the compiler knows the ending only as CUDA's.
                let copy = Path::new(&std::env::var("OUT_DIR").expect("cargo sets it"))
                    .join(path.file_name().expect("a name"))
                    .with_extension("cpp");
                std::fs::write(
                    &copy,
                    format!("#include {:?}\n", path.canonicalize().expect("a file")),
                )
                .expect("room on disk");
                build.file(copy);
            }
        }
    }
    build.compile("kernels");
}
