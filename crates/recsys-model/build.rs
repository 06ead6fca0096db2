//! With the feature `cuda`: kernels to PTX.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_CUDA").is_some() {
        kernel_build::ptx().unwrap_or_else(|error| panic!("{error}"));
    }
}
