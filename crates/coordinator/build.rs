//! Lets the binary say which libtorch its workers were built with; it links none.

#[allow(dead_code, reason = "only the version is of use here")]
#[path = "../../build/rpath.rs"]
mod rpath;

fn main() {
    rpath::name_version();
}
