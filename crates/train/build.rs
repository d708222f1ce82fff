//! Compiles our C++ and lets this crate's tests and examples find libtorch.

use std::path::{Path, PathBuf};

#[path = "../../build/rpath.rs"]
mod rpath;

fn main() {
    rpath::link_libtorch();
    let include = rpath::libtorch().join("include");
    for file in ["more.cpp", "dense.cpp", "reused.cpp", "reused.h", "guarded.h", "kernels.cpp", "kernels"] {
        println!("cargo:rerun-if-changed=native/{file}");
    }
    cc::Build::new()
        .cpp(true)
        .warnings(false)
        .std("c++17")
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .files(["native/more.cpp", "native/dense.cpp", "native/reused.cpp"])
        .compile("lsgan_more");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        // A product and a sum are rounded each: the same bits as on a GPU.
        .flag("-ffp-contract=off")
        .file("native/kernels.cpp")
        .compile("lsgan_kernels");
    println!("cargo:rerun-if-changed=native/graphs.cpp");
    println!("cargo:rerun-if-env-changed=CUDA_HOME");
    println!("cargo:rustc-check-cfg=cfg(cuda_graphs)");
    let Some(cuda) = cuda_headers(&rpath::libtorch()) else { return };
    match compile_graphs(&include, &cuda) {
        Ok(()) => println!("cargo:rustc-cfg=cuda_graphs"),
        Err(why) => println!("cargo:warning=CUDA graphs are not built in: {why}"),
    }
}

/// Where the headers of CUDA's runtime are, if they are: beside libtorch, as pip installs them, or where CUDA is.
fn cuda_headers(libtorch: &Path) -> Option<PathBuf> {
    let beside = libtorch.parent()?.join("nvidia/cu13/include");
    if beside.is_dir() {
        // Some of them may be installed later.
        println!("cargo:rerun-if-changed={}", beside.display());
    }
    let homes =
        std::env::var_os("CUDA_HOME").map(PathBuf::from).into_iter().chain(["/usr/local/cuda".into()]);
    let needed = ["cuda_runtime_api.h", "crt/host_defines.h"];
    std::iter::once(beside)
        .chain(homes.map(|home| home.join("include")))
        .find(|folder| needed.iter().all(|header| folder.join(header).is_file()))
}

/// A library that links nothing: it is opened where libtorch's CUDA part is, and found by `include_bytes!`.
fn compile_graphs(include: &Path, cuda: &Path) -> Result<(), String> {
    let mut compiler = cc::Build::new();
    compiler.cpp(true).warnings(false).std("c++17").pic(true).include(include).include(cuda);
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo names no OUT_DIR")?);
    let mut command = compiler.try_get_compiler().map_err(|error| error.to_string())?.to_command();
    // It travels in every binary.
    command.args(["-g0", "-shared", "native/graphs.cpp", "-o"]).arg(out.join("liblsgan_graphs.so"));
    let output = command.output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().find(|line| line.contains("error")).unwrap_or("the compiler failed");
    if output.status.success() { Ok(()) } else { Err(first.to_owned()) }
}
