//! Where the binaries under test are: beside the test executables, as cargo built them.

use std::path::{Path, PathBuf};

/// The binary of this name in the target directory and profile of the running test.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running test has an executable");
    // target/<profile>/deps/<test>, and target/<profile>/chaos
    let folder = test.parent().expect("a file is in a folder");
    let profile = if folder.ends_with("deps") { folder.parent() } else { Some(folder) };
    let path = profile.expect("cargo puts tests into target/<profile>/deps").join(name);
    assert!(
        path.is_file(),
        "{} is missing: run `cargo build --release --workspace` first (`make test` does)",
        path.display()
    );
    path
}

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package is a folder of the workspace")
}
