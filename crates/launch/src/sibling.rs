//! The binaries of an installation find each other.

use std::path::PathBuf;

use lsgan_console::Failure;

/// The binary of this name that was built together with this one.
///
/// # Errors
/// It is not there.
pub fn sibling(name: &str) -> Result<PathBuf, Failure> {
    let this = std::env::current_exe()?;
    let path = this.with_file_name(name);
    if path.is_file() {
        return Ok(path);
    }
    let this = this.file_name().unwrap_or_default().display().to_string();
    Err(Failure::failed(format!(
        "{} is missing; it is built together with {this}: `make build`",
        path.display()
    )))
}
