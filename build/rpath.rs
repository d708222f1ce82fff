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

/// Where a binary looks for libtorch first, seen from its own folder: where `make dist` puts the libraries, where
/// `bin/get-libtorch` puts pip's, and beside it for those who copy files together. scripts/dist_archive/elf.py knows
/// this text, and cuts off what follows it.
const BESIDE: &str =
    "$ORIGIN/../lib:$ORIGIN/../libtorch/torch/lib:$ORIGIN/../libtorch/nvidia/cu13/lib:$ORIGIN/lib:$ORIGIN";

/// Lets the binaries, examples and tests of this crate find libtorch without `LD_LIBRARY_PATH`.
pub fn link_libtorch() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let libtorch = libtorch();
    // The old DT_RPATH (not DT_RUNPATH) also serves what is loaded later by name, such as libtorch_cuda.so.
    println!("cargo:rustc-link-arg=-Wl,--disable-new-dtags");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{BESIDE}");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", libtorch.join("lib").display());
    let cuda = libtorch.parent().unwrap_or(Path::new("/")).join("nvidia/cu13/lib");
    if cuda.is_dir() {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", cuda.display());
    }
}

/// Lets this crate say `env!("LSGAN_VERSION")`: its own version and that of the libtorch of this build, as
/// `0.1.0 (libtorch 2.11.0)`. A crate that does not link libtorch says it too: what is installed together is known by it.
#[allow(dead_code, reason = "a crate without a binary has no use for it")]
pub fn name_version() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let ours = std::env::var("CARGO_PKG_VERSION").expect("cargo names the version");
    println!("cargo:rustc-env=LSGAN_VERSION={ours} (libtorch {})", version().as_deref().unwrap_or("unknown"));
}

/// The version of the libtorch that `LIBTORCH` names, which says it in one of two files.
fn version() -> Option<String> {
    let libtorch = PathBuf::from(std::env::var_os("LIBTORCH")?);
    let read = |file: &str| std::fs::read_to_string(libtorch.join(file)).ok();
    let said = read("build-version").or_else(|| {
        let text = read("version.py")?;
        let line = text.lines().find_map(|line| line.strip_prefix("__version__ = '"))?;
        line.strip_suffix('\'').map(str::to_owned)
    })?;
    said.trim().split('+').next().map(str::to_owned)
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
