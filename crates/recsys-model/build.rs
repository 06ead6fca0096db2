//! With the feature `cuda`: kernels to PTX.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "cuda")]
    recsys_kernel_build::ptx().unwrap_or_else(|error| panic!("{error}"));
}
