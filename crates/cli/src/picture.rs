//! The picture, animation or other file that a command writes. Whether it can be written is checked before the work begins.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use lsgan_console::Failure;
use lsgan_pictures::{AnimationFormat, RgbImage, animation};

/// A file that could be written when it was checked.
#[derive(Debug)]
pub struct PictureFile(PathBuf);

impl PictureFile {
    /// Checks the path of the option `--out` (or a similar one). A file there stays as it is until [`write`](Self::write),
    /// and nothing is left there if no picture is made.
    ///
    /// # Errors
    /// A name of another format, or a place that cannot be written: bad input.
    pub fn open(option: &str, path: &Path) -> Result<Self, Failure> {
        let refuse = |problem: String| Failure::bad_input(format!("{option} {}: {problem}", path.display()));
        if let Some(extension) = extension(path).filter(|extension| extension != "png") {
            return Err(refuse(format!(
                "pictures are written as PNG, which loses nothing; .{extension} is another format. Name it {}.",
                path.with_extension("png").display()
            )));
        }
        check_place(option, path, "grid.png")?;
        Ok(Self(path.to_owned()))
    }

    /// Writes the picture in place of what was there.
    ///
    /// # Errors
    /// A disk that is full or fails.
    pub fn write(self, png: &[u8]) -> Result<(), Failure> {
        fs::write(&self.0, png).map_err(|error| {
            Failure::failed(format!("{}: the picture cannot be written: {error}", self.0.display()))
        })
    }
}

/// An animation that could be written when it was checked.
#[derive(Debug)]
pub struct AnimationFile {
    file: PictureFile,
    format: AnimationFormat,
}

impl AnimationFile {
    /// As [`PictureFile::open`]. A name that ends in .webp is of an animated WebP, others are of an animated PNG.
    ///
    /// # Errors
    /// A name of another format, or a place that cannot be written: bad input.
    pub fn open(option: &str, path: &Path) -> Result<Self, Failure> {
        let format = match extension(path).as_deref() {
            None | Some("png") => AnimationFormat::Png,
            Some("webp") => AnimationFormat::Webp,
            Some(other) => {
                return Err(Failure::bad_input(format!(
                    "{option} {}: animations are written as PNG or WebP, which lose nothing; .{other} is another format. \
                     Name it {} or {}.",
                    path.display(),
                    path.with_extension("png").display(),
                    path.with_extension("webp").display()
                )));
            }
        };
        check_place(option, path, "animation.webp")?;
        Ok(Self { file: PictureFile(path.to_owned()), format })
    }

    /// Writes the frames in place of what was there, `frames_per_s` of them a second.
    ///
    /// # Errors
    /// Frames that the format does not take, a disk that is full or fails.
    pub fn write(self, frames: &[RgbImage], frames_per_s: u16) -> Result<(), Failure> {
        let encoded = animation(frames, frames_per_s, self.format)
            .map_err(|error| Failure::failed(format!("the animation cannot be encoded: {error}")))?;
        self.file.write(&encoded)
    }
}

fn extension(path: &Path) -> Option<String> {
    path.extension().map(|extension| extension.to_string_lossy().to_lowercase())
}

/// Checks that the file which `option` names can be written; `example` is a name for one. A file there stays as it is.
///
/// # Errors
/// A place that cannot be written: bad input.
pub fn check_place(option: &str, path: &Path, example: &str) -> Result<(), Failure> {
    let refuse = |problem: String| Failure::bad_input(format!("{option} {}: {problem}", path.display()));
    if path.is_dir() {
        return Err(refuse(format!(
            "this is a directory. Name a file in it, as {}.",
            path.join(example).display()
        )));
    }
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    if let Some(above) = above.filter(|above| !above.is_dir()) {
        return Err(refuse(format!("there is no directory {}. Make it, or name another.", above.display())));
    }
    try_to_write(path).map_err(|error| refuse(format!("it cannot be written: {error}. Name another file.")))
}

/// Opens a file there and removes it again: no other check is certain, and a signal may end the process before there is a
/// picture.
fn try_to_write(path: &Path) -> std::io::Result<()> {
    match path.metadata() {
        Ok(meta) if meta.is_file() => File::options().write(true).open(path).map(drop),
        // To open a pipe or a device may already have an effect.
        Ok(_) => Ok(()),
        Err(_) if path.is_symlink() => Ok(()), // it leads to a file that is not there yet
        Err(_) => File::create_new(path).and_then(|_| fs::remove_file(path)),
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
    fn an_animation_has_the_format_of_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let frames = [RgbImage::new(2, 2), RgbImage::new(2, 2)];
        for (name, begins) in [("a", b"\x89PNG"), ("a.png", b"\x89PNG"), ("a.WebP", b"RIFF")] {
            let path = dir.path().join(name);
            AnimationFile::open("--out", &path).unwrap().write(&frames, 10).unwrap();
            assert!(fs::read(path).unwrap().starts_with(begins), "{name}");
        }
        let failure = AnimationFile::open("--out", &dir.path().join("a.gif")).expect_err("it is none");
        assert_eq!(failure.code, Failure::BAD_INPUT);
        assert!(failure.text.contains("PNG or WebP") && failure.text.contains("a.webp."), "{}", failure.text);
        let single = refused(&dir.path().join("a.webp"));
        assert!(single.contains(".webp is another format"), "{single}");
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
