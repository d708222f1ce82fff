//! Samples in a file each, as programs want them that compare two folders of pictures.

use std::fs;
use std::path::{Path, PathBuf};

use lsgan_console::{Counter, Failure};
use lsgan_pictures::single;
use lsgan_train::models::SampleShape;

/// A folder for new pictures.
pub struct Folder(PathBuf);

impl Folder {
    /// Makes the folder, if there is none.
    ///
    /// # Errors
    /// One that has something in it, or cannot be written.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let refuse = |problem: String| Failure::bad_input(format!("--singles {}: {problem}", path.display()));
        fs::create_dir_all(path)
            .map_err(|error| refuse(format!("it cannot be made: {error}. Name another.")))?;
        let mut entries = fs::read_dir(path)
            .map_err(|error| refuse(format!("it cannot be read: {error}. Name another.")))?;
        if entries.next().is_some() {
            return Err(refuse(
                "it is not empty, and nothing in it is overwritten. Name another.".to_owned(),
            ));
        }
        Ok(Self(path.to_owned()))
    }

    /// Writes `000000.png` and so on. `batches`: z; `make`: samples of them.
    ///
    /// # Errors
    /// 2-D points, or a disk that is full or fails.
    pub fn write(
        &self,
        shape: SampleShape,
        (count, batches): (usize, impl Iterator<Item = Vec<f32>>),
        make: impl Fn(&[f32]) -> Vec<f32>,
    ) -> Result<(), Failure> {
        let SampleShape::Picture { size, channels } = shape else {
            return Err(Failure::bad_input(
                "--singles writes pictures, and this run makes 2-D points. Use --out.",
            ));
        };
        let counter = Counter::new("sampling");
        let mut done = 0;
        for z in batches {
            for sample in make(&z).chunks(shape.len()) {
                let path = self.0.join(format!("{done:06}.png"));
                let png = single(sample, size, channels).map_err(|error| error.to_string());
                png.and_then(|png| fs::write(&path, png).map_err(|error| error.to_string())).map_err(
                    |error| {
                        Failure::failed(format!("{}: the picture cannot be written: {error}", path.display()))
                    },
                )?;
                done += 1;
            }
            counter.show("pictures", done, Some(count as u64));
        }
        counter.end();
        Ok(())
    }
}
