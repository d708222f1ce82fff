//! What a member of a tar file is, by its name and its first bytes.

use std::io::{self, Read};

use crate::found::{Found, OTHER_EXTENSIONS};
use crate::left_out::Reason;

/// What the names of pictures end in.
pub(super) const EXTENSIONS: [&str; 5] = ["jpg", "jpeg", "jpe", "png", "webp"];
/// Bytes of a member that say which picture it is.
const BEGIN_BYTES: usize = 64;

/// `dir/name.left.jpg` is `dir/name` and `left.jpg`; none where there is no name or nothing behind it.
pub(super) fn parts(path: &[u8]) -> Option<(&[u8], &str)> {
    let file = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let dot = path[file..].iter().position(|byte| *byte == b'.').filter(|dot| *dot > 0)? + file;
    let extension = std::str::from_utf8(&path[dot + 1..]).ok()?;
    Some((&path[..dot], extension))
}

/// Whether the last part of an extension is one of these.
pub(super) fn is_called(extension: &str, known: &[&str]) -> bool {
    let last = extension.rsplit('.').next().unwrap_or(extension);
    known.iter().any(|known| known.eq_ignore_ascii_case(last))
}

/// What a member is, by its name or its first bytes.
pub(super) enum Kind {
    Picture,
    OtherPicture,
    NoPicture,
}

impl Kind {
    pub(super) fn of(extension: &str, member: &mut impl Read) -> io::Result<Self> {
        if is_called(extension, &EXTENSIONS) {
            return Ok(Self::Picture);
        }
        let mut begin = Vec::with_capacity(BEGIN_BYTES);
        member.take(BEGIN_BYTES as u64).read_to_end(&mut begin)?;
        Ok(match Found::of(&begin) {
            Found::Picture(_) => Self::Picture,
            Found::OtherPicture(_) => Self::OtherPicture,
            _ if OTHER_EXTENSIONS.iter().any(|(known, _)| is_called(extension, &[known])) => {
                Self::OtherPicture
            }
            _ => Self::NoPicture,
        })
    }
}

/// Why a file without a sample's name is left out.
pub(super) fn reason_without_a_name(path: &[u8], member: &mut impl Read) -> io::Result<Option<Reason>> {
    let file = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    // By its bytes alone: what macOS writes beside `1.jpg` is called `._1.jpg`, and is none.
    let is_picture = matches!(Kind::of("", member)?, Kind::Picture);
    Ok(Some(match file.first() {
        _ if is_picture => Reason::NamelessPicture,
        Some(b'.') => Reason::Hidden,
        Some(_) | None => Reason::NoPicture,
    }))
}

/// Why a member that is no file is left out; none for what is not expected to be a picture.
pub(super) fn reason_of_no_file(path: &[u8], kind: tar::EntryType) -> Option<Reason> {
    let is_picture = parts(path).is_some_and(|(_, extension)| is_called(extension, &EXTENSIONS));
    match is_picture {
        true if kind.is_hard_link() || kind.is_symlink() => Some(Reason::TarLink),
        true => Some(Reason::NoFile),
        false => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_at_the_first_dot_behind_the_last_slash() {
        let shown = |path: &'static str| {
            parts(path.as_bytes()).map(|(name, rest)| (std::str::from_utf8(name).unwrap(), rest))
        };
        assert_eq!(shown("a/b.c/d.left.jpg"), Some(("a/b.c/d", "left.jpg")));
        assert_eq!(shown("000.cls"), Some(("000", "cls")));
        for none in ["readme", "a.b/readme", ".hidden", "a/.hidden.jpg", ""] {
            assert_eq!(shown(none), None, "{none}");
        }
    }
}
