//! Lets this crate's tests find libtorch.

#[path = "../../build/rpath.rs"]
mod rpath;

fn main() {
    rpath::link_libtorch();
}
