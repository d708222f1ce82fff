//! Where the binaries under test are: beside the test executables, as cargo built them.

use std::path::{Path, PathBuf};

/// The binary of this name in the target directory and profile of the running test.
///
/// # Panics
/// If it was not built: the tests have no dependency on its crate that would make cargo do it.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running test has an executable");
    // target/<profile>/deps/<test>
    let profile = test.parent().and_then(Path::parent).expect("cargo puts tests into target/<profile>/deps");
    let path = profile.join(name);
    assert!(
        path.is_file(),
        "{} is missing: run `cargo build --release --workspace` first (`make test` does)",
        path.display()
    );
    path
}

/// The repository's root.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package is a folder of the workspace")
}
