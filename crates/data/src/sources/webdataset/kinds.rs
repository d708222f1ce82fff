//! Classifies the members of a tar file by their names and first bytes.

use std::io::{self, Read};

use crate::file_kind::{FileKind, OTHER_EXTENSIONS};
use crate::left_out::Reason;

/// Extensions of pictures.
pub(super) const EXTENSIONS: [&str; 5] = ["jpg", "jpeg", "jpe", "png", "webp"];
/// The first bytes of a member that suffice to classify it.
const BEGIN_BYTES: usize = 64;

/// Splits `dir/name.left.jpg` into the sample's name `dir/name` and the extension `left.jpg`. None if either is missing.
pub(super) fn split(path: &[u8]) -> Option<(&[u8], &str)> {
    let file = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let dot = path[file..].iter().position(|byte| *byte == b'.').filter(|dot| *dot > 0)? + file;
    let extension = std::str::from_utf8(&path[dot + 1..]).ok()?;
    Some((&path[..dot], extension))
}

/// Whether the last part of an extension is one of `known`.
pub(super) fn has_extension(extension: &str, known: &[&str]) -> bool {
    let last = extension.rsplit('.').next().unwrap_or(extension);
    known.iter().any(|known| known.eq_ignore_ascii_case(last))
}

pub(super) enum MemberKind {
    Picture,
    OtherPicture,
    NoPicture,
}

impl MemberKind {
    pub(super) fn of(extension: &str, member: &mut impl Read) -> io::Result<Self> {
        if has_extension(extension, &EXTENSIONS) {
            return Ok(Self::Picture);
        }
        let mut begin = Vec::with_capacity(BEGIN_BYTES);
        member.take(BEGIN_BYTES as u64).read_to_end(&mut begin)?;
        Ok(match FileKind::of(&begin) {
            FileKind::Picture(_) => Self::Picture,
            FileKind::OtherPicture(_) => Self::OtherPicture,
            _ if OTHER_EXTENSIONS.iter().any(|(known, _)| has_extension(extension, &[known])) => {
                Self::OtherPicture
            }
            _ => Self::NoPicture,
        })
    }
}

/// Why a file without a sample's name is left out.
pub(super) fn reason_without_a_name(path: &[u8], member: &mut impl Read) -> io::Result<Reason> {
    let file = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    // The bytes decide: macOS writes a `._1.jpg` that is no picture beside `1.jpg`.
    let is_picture = matches!(MemberKind::of("", member)?, MemberKind::Picture);
    Ok(match file.first() {
        _ if is_picture => Reason::NamelessPicture,
        Some(b'.') => Reason::Hidden,
        Some(_) | None => Reason::NoPicture,
    })
}

/// Why a member that is no file is left out; none if its name is not that of a picture.
pub(super) fn reason_of_no_file(path: &[u8], kind: tar::EntryType) -> Option<Reason> {
    let is_picture = split(path).is_some_and(|(_, extension)| has_extension(extension, &EXTENSIONS));
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
            split(path.as_bytes()).map(|(name, rest)| (std::str::from_utf8(name).unwrap(), rest))
        };
        assert_eq!(shown("a/b.c/d.left.jpg"), Some(("a/b.c/d", "left.jpg")));
        assert_eq!(shown("000.cls"), Some(("000", "cls")));
        for none in ["readme", "a.b/readme", ".hidden", "a/.hidden.jpg", ""] {
            assert_eq!(shown(none), None, "{none}");
        }
    }
}
