//! The picture that a command is asked to write: whether it can be is found out before the work, not after it.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use lsgan_console::Failure;

/// A file that can be written, open until the picture is there.
#[derive(Debug)]
pub struct PictureFile {
    path: PathBuf,
    file: File,
    /// It was not there before, so nobody misses it if there will be no picture.
    is_new: bool,
    is_written: bool,
}

impl PictureFile {
    /// Opens what the option `--out` (or its like) says. What is there stays as it is until [`write`](Self::write).
    ///
    /// # Errors
    /// A name of another format, or a place that cannot be written: bad input.
    pub fn open(option: &str, path: &Path) -> Result<Self, Failure> {
        let refuse = |problem: String| Failure::bad_input(format!("{option} {}: {problem}", path.display()));
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        if let Some(extension) = extension.filter(|extension| extension != "png") {
            return Err(refuse(format!(
                "pictures are written as PNG, which loses nothing; .{extension} is another format. Name it {}.",
                path.with_extension("png").display()
            )));
        }
        if path.is_dir() {
            return Err(refuse(format!(
                "this is a directory. Name a file in it, as {}.",
                path.join("grid.png").display()
            )));
        }
        let above = path.parent().filter(|above| !above.as_os_str().is_empty());
        if let Some(above) = above.filter(|above| !above.is_dir()) {
            return Err(refuse(format!(
                "there is no directory {}. Make it, or name another.",
                above.display()
            )));
        }
        let is_new = path.symlink_metadata().is_err();
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file =
            file.map_err(|error| refuse(format!("it cannot be written: {error}. Name another file.")))?;
        Ok(Self { path: path.to_owned(), file, is_new, is_written: false })
    }

    /// Writes the picture in place of what was there.
    ///
    /// # Errors
    /// A disk that is full or fails.
    pub fn write(mut self, png: &[u8]) -> Result<(), Failure> {
        // A pipe or a terminal has no length to cut.
        let is_file = self.file.metadata().is_ok_and(|meta| meta.is_file());
        let cut = if is_file { self.file.set_len(0) } else { Ok(()) };
        cut.and_then(|()| self.file.write_all(png)).map_err(|error| {
            Failure::failed(format!("{}: the picture cannot be written: {error}", self.path.display()))
        })?;
        self.is_written = true;
        Ok(())
    }
}

impl Drop for PictureFile {
    fn drop(&mut self) {
        if self.is_new && !self.is_written {
            // An empty file is no picture; if it cannot be removed, nothing is lost.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &Path) -> String {
        let failure = PictureFile::open("--out", path).expect_err("it cannot be a picture");
        assert_eq!(failure.code, Failure::BAD_INPUT);
        failure.text
    }

    #[test]
    fn another_format_and_a_place_that_is_none_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        for (name, words) in [
            ("x.jpg", ".jpg is another format"),
            ("x.JPEG", ".jpeg is another format"),
            ("nowhere/x.png", "there is no directory"),
            ("", "this is a directory"),
        ] {
            let text = refused(&dir.path().join(name));
            assert!(text.starts_with("--out ") && text.contains(words), "{text}");
        }
        fs::write(dir.path().join("file"), "text").unwrap();
        assert!(refused(&dir.path().join("file/x.png")).contains("there is no directory"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was made");
    }

    #[test]
    fn what_was_there_stays_until_there_is_a_picture() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old.png"), dir.path().join("new.PNG"));
        fs::write(&old, "an old picture").unwrap();
        for path in [&old, &new] {
            drop(PictureFile::open("--out", path).unwrap());
        }
        assert_eq!((fs::read_to_string(&old).unwrap().as_str(), new.exists()), ("an old picture", false));
        for path in [&old, &new] {
            PictureFile::open("--out", path).unwrap().write(b"png").unwrap();
            assert_eq!(fs::read(path).unwrap(), b"png");
        }
    }
}
