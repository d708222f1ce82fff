//! Lets the binary find libtorch, and say its version.

#[path = "../../build/rpath.rs"]
mod rpath;

fn main() {
    rpath::link_libtorch();
    rpath::name_version();
}
