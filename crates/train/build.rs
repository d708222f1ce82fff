//! Compiles our C++ and lets this crate's tests and examples find libtorch.

#[path = "../../build/rpath.rs"]
mod rpath;

fn main() {
    rpath::link_libtorch();
    let include = rpath::libtorch().join("include");
    println!("cargo:rerun-if-changed=native/more.cpp");
    cc::Build::new()
        .cpp(true)
        .warnings(false)
        .std("c++17")
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .file("native/more.cpp")
        .compile("lsgan_more");
}
