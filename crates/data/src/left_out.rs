//! What a source leaves out of its data set, counted by reason, with some names.
//!
//! A record that does not decode is not left out (see [`crate::corrupt`]): it has a number, and training reports it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Names that are kept for each reason.
const EXAMPLES_MAX: usize = 3;

/// Why a file or a member is no record; reasons by which a picture may be missed come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A picture in another format than JPEG, PNG or WebP.
    OtherFormat,
    /// A picture that is not the first of its sample, in a tar file.
    FurtherPicture,
    /// A picture in a tar file without a sample's name.
    NamelessPicture,
    /// A link in a tar file with a picture's extension.
    TarLink,
    /// A picture behind the end of a tar file's first archive.
    BehindEnd,
    /// A picture whose name begins with a dot.
    HiddenPicture,
    BrokenLink,
    UnreadableFile,
    UnreadableFolder,
    /// A file that is no picture.
    NoPicture,
    /// An empty file without a picture's extension.
    EmptyFile,
    /// A sample in a tar file without a picture.
    SampleWithout,
    /// A member of a tar file that is no file.
    NoFile,
    /// A file or folder whose name begins with a dot.
    Hidden,
    /// The folder of a file system's repair tool.
    LostAndFound,
    /// A pipe, a socket or a device.
    Special,
    /// A link to a folder that it lies in.
    Loop,
}

impl Reason {
    /// Singular and plural in messages, and advice if a picture may be missing for this reason.
    #[expect(clippy::too_many_lines, reason = "a flat table")]
    fn texts(self) -> (&'static str, &'static str, Option<&'static str>) {
        const READABLE: Option<&str> = Some("let this user read them");
        match self {
            Self::OtherFormat => (
                "picture in a format that is not read",
                "pictures in formats that are not read",
                Some("convert them to JPEG, PNG or WebP"),
            ),
            Self::FurtherPicture => (
                "picture that is not the first of its sample",
                "pictures that are not the first of their sample",
                Some(
                    "a sample's name ends at the first dot behind the last slash, and its first picture is the record; \
                     give each picture such a name of its own",
                ),
            ),
            Self::NamelessPicture => (
                "picture whose name begins with a dot or has none",
                "pictures whose names begin with a dot or have none",
                Some("call them NAME.jpg, NAME.png or NAME.webp"),
            ),
            Self::TarLink => (
                "link in a tar file",
                "links in tar files",
                Some("write the files themselves, with `tar --hard-dereference --dereference`"),
            ),
            Self::BehindEnd => (
                "picture behind the end of a tar file",
                "pictures behind the ends of tar files, to which others were appended",
                Some("unpack with `tar --ignore-zeros`, and make one tar file of it"),
            ),
            Self::HiddenPicture => (
                "picture whose name begins with a dot",
                "pictures whose names begin with a dot",
                Some("give them other names, if they are wanted"),
            ),
            Self::BrokenLink => (
                "link that leads nowhere",
                "links that lead nowhere",
                Some("bring back what they lead to, or remove them"),
            ),
            Self::UnreadableFile => {
                ("file that this user may not read", "files that this user may not read", READABLE)
            }
            Self::UnreadableFolder => {
                ("folder that this user may not read", "folders that this user may not read", READABLE)
            }
            Self::NoPicture => ("file that is no picture", "files that are no pictures", None),
            Self::EmptyFile => ("empty file", "empty files", None),
            Self::SampleWithout => ("sample without a picture", "samples without a picture", None),
            Self::NoFile => ("member that is no file", "members that are no files", None),
            Self::Hidden => (
                "file or folder whose name begins with a dot",
                "files and folders whose names begin with a dot",
                None,
            ),
            Self::LostAndFound => {
                ("folder of a file system's repair", "folders of file systems' repair", None)
            }
            Self::Special => ("pipe, socket or device", "pipes, sockets or devices", None),
            Self::Loop => ("link to a folder around it", "links to folders around them", None),
        }
    }

    /// Advice if a picture may be missing for this reason.
    #[must_use]
    pub fn remedy(self) -> Option<&'static str> {
        self.texts().2
    }
}

/// What was left out for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub count: u64,
    /// The first names, in the order of the data set.
    pub examples: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    groups: BTreeMap<Reason, Group>,
}

impl LeftOut {
    pub const NOTHING: &'static Self = &Self { groups: BTreeMap::new() };

    pub(crate) fn add(&mut self, reason: Reason, name: impl FnOnce() -> String) {
        let group = self.groups.entry(reason).or_default();
        group.count += 1;
        if group.examples.len() < EXAMPLES_MAX {
            group.examples.push(name());
        }
    }

    /// Adds what a later part of the same data set leaves out.
    pub(crate) fn append(&mut self, other: Self) {
        for (reason, Group { count, examples }) in other.groups {
            let group = self.groups.entry(reason).or_default();
            group.count += count;
            let room = EXAMPLES_MAX - group.examples.len();
            group.examples.extend(examples.into_iter().take(room));
        }
    }

    /// The groups in the order of [`Reason`].
    pub fn groups(&self) -> impl Iterator<Item = (Reason, &Group)> {
        self.groups.iter().map(|(reason, group)| (*reason, group))
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.groups.values().map(|group| group.count).sum()
    }

    /// Whether a picture that the user expects may be among them.
    #[must_use]
    pub fn may_be_missed(&self) -> bool {
        self.groups.keys().any(|reason| reason.remedy().is_some())
    }

    /// Whether another listing may find more records although no file was added or removed.
    pub(crate) fn may_be_mended(&self) -> bool {
        let mendable = [Reason::BrokenLink, Reason::UnreadableFile, Reason::UnreadableFolder];
        mendable.iter().any(|reason| self.groups.contains_key(reason))
    }

    /// A line for each reason: count, some names, advice.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let line = |(reason, group): (Reason, &Group)| {
            let (one, many, remedy) = reason.texts();
            let names: Vec<String> =
                group.examples.iter().map(|name| format!("`{}`", name.escape_debug())).collect();
            let more = if group.count > group.examples.len() as u64 { ", …" } else { "" };
            let what = if group.count == 1 { one } else { many };
            let remedy = remedy.map(|remedy| format!(": {remedy}")).unwrap_or_default();
            format!("{} {what} ({}{more}){remedy}", group.count, names.join(", "))
        };
        self.groups().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> LeftOut {
        let mut some = LeftOut::default();
        for name in ["a.bmp", "b.tif", "c.gif", "d.bmp"] {
            some.add(Reason::OtherFormat, || name.to_owned());
        }
        some.add(Reason::NoPicture, || "READ\nME".to_owned());
        some
    }

    #[test]
    fn each_reason_is_a_line_with_a_count_some_names_and_what_to_do() {
        assert_eq!(
            some().lines(),
            [
                "4 pictures in formats that are not read (`a.bmp`, `b.tif`, `c.gif`, …): convert them to JPEG, PNG or WebP",
                "1 file that is no picture (`READ\\nME`)",
            ]
        );
        assert_eq!((some().count(), some().may_be_missed()), (5, true));
        assert!(LeftOut::NOTHING.is_empty() && LeftOut::NOTHING.lines().is_empty());
    }

    #[test]
    fn parts_are_added_up() {
        let mut whole = some();
        whole.append(some());
        assert_eq!(whole.count(), 10);
        assert_eq!(whole.groups().map(|(_, group)| group.examples.len()).collect::<Vec<_>>(), [3, 2]);
    }
}
