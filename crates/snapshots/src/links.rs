//! Links in a directory's store: nothing that deletes or moves follows one.
//!
//! People archive snapshots by moving them to another disk and linking them back. The directory that `checkpoint.to` names
//! may be a link itself: naming it means what is behind it. Below it,
//! - a link to a file is deleted as a link; the file behind it stays,
//! - a step's folder that is a link, or lies behind one, is read as all others, and left alone otherwise: it is not deleted,
//!   does not count as one of `keep_last`, and is set aside by moving the link.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path as FsPath, PathBuf};

use lsgan_spec::Step;
use object_store::path::Path;

use crate::error::Error;
use crate::layout;
use crate::store::{Root, Store, blocking};

impl Store {
    /// Folders of this store that are links, as a person finds them, with what they lead to: what is behind them is never
    /// deleted. Only those that hold all snapshots are looked at, not those of single steps.
    #[must_use]
    pub fn linked_folders(&self) -> Vec<(String, String)> {
        let Root::Directory(root) = &self.root else { return Vec::new() };
        let folder = root.join(self.prefix.clone().join(layout::SNAPSHOTS).as_ref());
        let target = fs::read_link(&folder).ok();
        target.map(|to| (folder.display().to_string(), to.display().to_string())).into_iter().collect()
    }

    /// The first folder on the way to `path`, below the store's own, that is a link.
    pub(crate) fn link_above(&self, path: &Path) -> Option<PathBuf> {
        let Root::Directory(root) = &self.root else { return None };
        let whole = root.join(path.as_ref());
        let above = whole.ancestors().skip(1).take_while(|dir| *dir != root);
        let links = above.filter(|dir| dir.is_symlink());
        links.last().map(FsPath::to_owned)
    }

    /// Whether a step's folder is a link, or lies behind one.
    pub(crate) fn is_linked(&self, step: Step) -> bool {
        self.link_above(&self.manifest_path(step)).is_some()
    }

    /// Refuses what lies behind a link.
    pub(crate) fn expect_no_link(&self, path: &Path) -> Result<(), Error> {
        match self.link_above(path) {
            Some(link) => Err(Error::Unsafe {
                path: self.show(path),
                text: format!(
                    "lies behind the link `{}`, and nothing behind a link is deleted or moved. Move it away yourself, or \
                     put a directory in the link's place.",
                    link.display()
                ),
            }),
            None => Ok(()),
        }
    }

    /// Deletes a step's folder and all that is in it. Links in it are deleted, and not what is behind them.
    pub(crate) async fn remove_folder(&self, step: Step, dir: PathBuf) -> Result<(), Error> {
        let path = layout::step_dir(&self.prefix, step);
        self.expect_no_link(&path)?;
        let removed = blocking(move || match fs::remove_dir_all(dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        });
        removed.await.map_err(|source| self.failed_locally("delete", &path, source))
    }

    /// Moves a step's folder, or the link that it is, to `suspect/`.
    pub(crate) async fn move_folder_aside(&self, step: Step, dir: PathBuf) -> Result<(), Error> {
        let path = layout::step_dir(&self.prefix, step);
        self.expect_no_link(&path)?;
        let aside =
            dir.ancestors().nth(2).expect("a step's folder lies two below the store's").join(layout::SUSPECT);
        let moved = blocking(move || {
            fs::create_dir_all(&aside)?;
            let name = layout::step_name(step);
            let numbered = (1_u32..).map(|number| aside.join(format!("{name}.{number}")));
            fs::rename(&dir, first_free(std::iter::once(aside.join(&name)).chain(numbered)))?;
            [dir.parent().unwrap_or(&dir), &aside].into_iter().try_for_each(|dir| File::open(dir)?.sync_all())
        });
        moved.await.map_err(|source| self.failed_locally("move", &path, source))
    }

    /// Renames the link `final`, so that what it leads to is not overwritten.
    pub(crate) async fn move_final_link_aside(&self) -> Result<(), Error> {
        let Root::Directory(root) = &self.root else { return Ok(()) };
        let path = self.prefix.clone().join(layout::FINAL);
        let link = root.join(path.as_ref());
        let moved = blocking(move || {
            let numbers =
                (1_u32..).map(|number| link.with_file_name(format!("{}.old-{number}", layout::FINAL)));
            fs::rename(&link, first_free(numbers))
        });
        moved.await.map_err(|source| self.failed_locally("move", &path, source))
    }

    fn failed_locally(&self, action: &'static str, path: &Path, source: io::Error) -> Error {
        let source = object_store::Error::Generic { store: "LocalFileSystem", source: source.into() };
        self.failed(action, path, source)
    }
}

/// The first of `names` that nothing has. A link that leads nowhere has its name too.
fn first_free(mut names: impl Iterator<Item = PathBuf>) -> PathBuf {
    names.find(|path| path.symlink_metadata().is_err()).expect("there are more numbers than files")
}
