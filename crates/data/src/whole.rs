//! A file of somebody else's that is held in memory as a whole: [`read_whole`].

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;

/// Reads a plain file of so many bytes at most. Its length is looked at first: a sparse file takes no place on a disk and all of its
/// length in memory, and a device or a pipe has no end.
///
/// # Errors
/// What the system says; another kind of file; more bytes.
pub fn read_whole(path: &Path, len_bytes_max: u64) -> io::Result<Vec<u8>> {
    let refuse = |why: String| io::Error::new(ErrorKind::InvalidData, why);
    // Before it is opened, which would wait for the other end of a pipe.
    let meta = fs::metadata(path)?;
    if !meta.is_file() {
        return Err(refuse("it is no plain file".to_owned()));
    }
    let too_long = |len: u64| refuse(format!("it has {len} bytes; accepted are at most {len_bytes_max}"));
    if meta.len() > len_bytes_max {
        return Err(too_long(meta.len()));
    }
    let mut bytes = Vec::new();
    // It may grow meanwhile.
    File::open(path)?.take(len_bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > len_bytes_max {
        return Err(too_long(bytes.len() as u64));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_bound_and_nothing_without_an_end_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("weights");
        fs::write(&path, [7; 10]).unwrap();
        assert_eq!(read_whole(&path, 10).unwrap(), [7; 10]);
        let refused = read_whole(&path, 9).unwrap_err().to_string();
        assert_eq!(refused, "it has 10 bytes; accepted are at most 9");
        // It takes no place on the disk.
        File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
        assert!(read_whole(&path, 1 << 30).unwrap_err().to_string().contains("accepted are at most"));
        for other in [dir.path(), Path::new("/dev/zero")] {
            assert_eq!(read_whole(other, 10).unwrap_err().to_string(), "it is no plain file");
        }
        assert_eq!(read_whole(&dir.path().join("none"), 10).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
