//! The libtorch that this process runs with, as its files say: what can be known before its CUDA part is loaded.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::gpu::CudaVersion;

/// The folder with libtorch's `lib`; none where the system does not say what is loaded.
fn home() -> Option<&'static Path> {
    static HOME: OnceLock<Option<PathBuf>> = OnceLock::new();
    HOME.get_or_init(|| home_in(&std::fs::read_to_string("/proc/self/maps").ok()?)).as_deref()
}

/// The same by the text of `/proc/self/maps`.
fn home_in(maps: &str) -> Option<PathBuf> {
    let mut files = maps.lines().filter_map(|line| line.find('/').map(|at| Path::new(&line[at..])));
    let library = files.find(|file| file.ends_with("lib/libtorch_cpu.so"))?;
    Some(library.parent()?.parent()?.to_owned())
}

/// The CUDA that it was built for; none if it was built without, or does not say.
#[must_use]
pub fn cuda() -> Option<CudaVersion> {
    cuda_of(home()?)
}

/// pip's says it in `version.py`, a downloaded one in the `+cu128` of `build-version`.
fn cuda_of(home: &Path) -> Option<CudaVersion> {
    if let Ok(text) = std::fs::read_to_string(home.join("version.py")) {
        let line = text.lines().find(|line| line.starts_with("cuda"))?;
        let (major, minor) = line.split('\'').nth(1)?.split_once('.')?;
        return Some(CudaVersion(major.parse().ok()?, minor.parse().ok()?));
    }
    let text = std::fs::read_to_string(home.join("build-version")).ok()?;
    let digits = text.trim().split_once("+cu")?.1;
    let (major, minor) = digits.split_at_checked(2)?;
    Some(CudaVersion(major.parse().ok()?, minor.parse().ok()?))
}

/// The NCCL that was installed with it; none where libtorch brings none as a file.
#[must_use]
pub fn nccl() -> Option<PathBuf> {
    nccl_beside(home()?)
}

/// pip puts it beside `torch`, others into `lib`.
fn nccl_beside(home: &Path) -> Option<PathBuf> {
    let places = [home.join("../nvidia/nccl/lib/libnccl.so.2"), home.join("lib/libnccl.so.2")];
    places.into_iter().find(|file| file.exists())
}

/// The library by which libtorch itself opens NVIDIA's compiler for GPUs; none where there is no CUDA part.
pub(crate) fn nvrtc() -> Option<PathBuf> {
    let file = home()?.join("lib/libcaffe2_nvrtc.so");
    file.exists().then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder can be made");
        for (file, text) in files {
            let file = folder.path().join(file);
            std::fs::create_dir_all(file.parent().expect("it is in the folder"))
                .expect("a folder can be made");
            std::fs::write(file, text).expect("it can be written");
        }
        folder
    }

    #[test]
    fn this_process_knows_its_own() {
        let home = home().expect("this test has loaded libtorch");
        assert!(home.join("lib/libtorch_cpu.so").exists(), "{}", home.display());
    }

    #[test]
    fn it_is_found_among_what_is_loaded() {
        let maps = "55d0-55d1 r--p 00000000 fe:00 12   /usr/bin/worker\n\
                    7f00-7f01 r-xp 00000000 fe:00 13   /opt/a b/torch/lib/libtorch_cpu.so\n\
                    7f02-7f03 rw-p 00000000 00:00 0\n";
        assert_eq!(home_in(maps), Some(PathBuf::from("/opt/a b/torch")));
        assert_eq!(home_in("7f02-7f03 rw-p 00000000 00:00 0\n"), None);
    }

    #[test]
    fn pips_and_downloaded_ones_say_their_cuda() {
        for (file, text, cuda) in [
            ("version.py", "__version__ = '2.11.0+cu130'\ncuda: Optional[str] = '13.0'\n", Some((13, 0))),
            ("version.py", "__version__ = '2.11.0'\ncuda = '12.8'\n", Some((12, 8))),
            ("version.py", "__version__ = '2.11.0+cpu'\ncuda: Optional[str] = None\n", None),
            ("build-version", "2.11.0+cu126\n", Some((12, 6))),
            ("build-version", "2.11.0+cpu\n", None),
            ("other", "", None),
        ] {
            let home = folder(&[(file, text)]);
            let wanted = cuda.map(|(major, minor)| CudaVersion(major, minor));
            assert_eq!(cuda_of(home.path()), wanted, "{file}: {text}");
        }
    }

    #[test]
    fn the_nccl_that_pip_installs_with_it_is_found() {
        let pip = folder(&[("torch/version.py", ""), ("nvidia/nccl/lib/libnccl.so.2", "")]);
        assert!(nccl_beside(&pip.path().join("torch")).is_some());
        let own = folder(&[("lib/libnccl.so.2", "")]);
        assert!(nccl_beside(own.path()).is_some());
        assert_eq!(nccl_beside(folder(&[]).path()), None);
    }
}
