//! What every crate with a binary or a test that runs libtorch puts into its build script:
//!
//! ```ignore
//! #[path = "../../build/rpath.rs"]
//! mod rpath;
//!
//! fn main() {
//!     rpath::link_libtorch();
//! }
//! ```
//!
//! Link arguments of a dependency do not reach the binaries above it, so each such crate says them itself.

use std::path::{Path, PathBuf};

/// Lets the binaries, examples and tests of this crate find libtorch without `LD_LIBRARY_PATH`.
pub fn link_libtorch() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let libtorch = libtorch();
    // The old DT_RPATH (not DT_RUNPATH) also serves what is loaded later by name, such as libtorch_cuda.so.
    println!("cargo:rustc-link-arg=-Wl,--disable-new-dtags");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", libtorch.join("lib").display());
    let cuda = libtorch.parent().unwrap_or(Path::new("/")).join("nvidia/cu13/lib");
    if cuda.is_dir() {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", cuda.display());
    }
}

/// The folder that `LIBTORCH` names, with every link followed: libtorch's own libraries find each other from
/// where they really lie.
pub fn libtorch() -> PathBuf {
    let named = std::env::var_os("LIBTORCH").map(PathBuf::from);
    let Some(found) = named.as_ref().and_then(|path| path.canonicalize().ok()) else {
        let named = named.map_or("nothing".to_owned(), |path| path.display().to_string());
        panic!("LIBTORCH names {named}, which is no folder of libtorch 2.11.0; `make setup` installs one");
    };
    found
}
