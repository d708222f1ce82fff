//! What a source leaves out of its data set: counted by reason, with some names.
//!
//! A record that is there and does not decode is another matter (see [`crate::corrupt`]): it has a number and a place in
//! the order. What stands here has none, and would never be reported otherwise.

use std::collections::BTreeMap;

use crate::index::Numbers;

/// Names that are kept of each reason.
const EXAMPLES_MAX: usize = 3;

/// Why something is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A picture in another format than JPEG, PNG or WebP.
    OtherFormat,
    /// A picture that is not the first of its sample, in a tar file.
    FurtherPicture,
    /// A picture in a tar file whose name has no sample's name in it.
    NamelessPicture,
    /// A link in a tar file that is called as a picture is.
    TarLink,
    /// A picture behind the end of a tar file's first archive.
    BehindEnd,
    /// A picture whose name begins with a dot.
    HiddenPicture,
    /// A link that leads nowhere.
    BrokenLink,
    /// A file that may not be read.
    UnreadableFile,
    /// A folder that may not be read.
    UnreadableFolder,
    /// A file that is no picture.
    NoPicture,
    /// A file without a byte that is not called as a picture is.
    EmptyFile,
    /// A sample in a tar file without a picture.
    SampleWithout,
    /// A member of a tar file that is no file.
    NoFile,
    /// A file or folder whose name begins with a dot.
    Hidden,
    /// The folder in which a file system's repair puts what it finds.
    LostAndFound,
    /// A pipe, a socket or a device.
    Special,
    /// A link to a folder that it lies in.
    Loop,
}

/// What is told of a reason: its word in JSON, one of them, many of them, and what to do, where something may be missed.
struct Row(Reason, &'static str, &'static str, &'static str, Option<&'static str>);

/// In the order in which they are told: first what looks like a picture.
const TABLE: &[Row] = &[
    Row(
        Reason::OtherFormat,
        "other_format",
        "picture in a format that is not read",
        "pictures in formats that are not read",
        Some("convert them to JPEG, PNG or WebP"),
    ),
    Row(
        Reason::FurtherPicture,
        "further_picture",
        "picture that is not the first of its sample",
        "pictures that are not the first of their sample",
        Some(
            "a sample's name ends at the first dot behind the last slash, and its first picture is the record; give \
             each picture such a name of its own",
        ),
    ),
    Row(
        Reason::NamelessPicture,
        "nameless_picture",
        "picture whose name begins with a dot or has none",
        "pictures whose names begin with a dot or have none",
        Some("call them NAME.jpg, NAME.png or NAME.webp"),
    ),
    Row(
        Reason::TarLink,
        "tar_link",
        "link in a tar file",
        "links in tar files",
        Some("write the files themselves, with `tar --hard-dereference --dereference`"),
    ),
    Row(
        Reason::BehindEnd,
        "behind_end",
        "picture behind the end of a tar file",
        "pictures behind the ends of tar files, to which others were appended",
        Some("unpack with `tar --ignore-zeros`, and make one tar file of it"),
    ),
    Row(
        Reason::HiddenPicture,
        "hidden_picture",
        "picture whose name begins with a dot",
        "pictures whose names begin with a dot",
        Some("give them other names, if they are wanted"),
    ),
    Row(
        Reason::BrokenLink,
        "broken_link",
        "link that leads nowhere",
        "links that lead nowhere",
        Some("bring back what they lead to, or remove them"),
    ),
    Row(
        Reason::UnreadableFile,
        "unreadable_file",
        "file that this user may not read",
        "files that this user may not read",
        Some("let this user read them"),
    ),
    Row(
        Reason::UnreadableFolder,
        "unreadable_folder",
        "folder that this user may not read",
        "folders that this user may not read",
        Some("let this user read them"),
    ),
    Row(Reason::NoPicture, "no_picture", "file that is no picture", "files that are no pictures", None),
    Row(Reason::EmptyFile, "empty_file", "empty file", "empty files", None),
    Row(
        Reason::SampleWithout,
        "sample_without",
        "sample without a picture",
        "samples without a picture",
        None,
    ),
    Row(Reason::NoFile, "no_file", "member that is no file", "members that are no files", None),
    Row(
        Reason::Hidden,
        "hidden",
        "file or folder whose name begins with a dot",
        "files and folders whose names begin with a dot",
        None,
    ),
    Row(
        Reason::LostAndFound,
        "lost_and_found",
        "folder of a file system's repair",
        "folders of file systems' repair",
        None,
    ),
    Row(Reason::Special, "special", "pipe, socket or device", "pipes, sockets or devices", None),
    Row(Reason::Loop, "loop", "link to a folder around it", "links to folders around them", None),
];

impl Reason {
    fn row(self) -> &'static Row {
        TABLE.iter().find(|row| row.0 == self).expect("the table has a row for every reason")
    }

    /// Its word in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.row().1
    }

    /// What to do about it, where a picture may be missing because of it.
    #[must_use]
    pub fn remedy(self) -> Option<&'static str> {
        self.row().4
    }
}

/// How many were left out for one reason, and some of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// How many.
    pub count: u64,
    /// The names of the first of them, in the order of the data set.
    pub examples: Vec<String>,
}

/// What a source leaves out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    groups: BTreeMap<Reason, Group>,
}

impl LeftOut {
    /// Nothing.
    pub const NOTHING: &'static Self = &Self { groups: BTreeMap::new() };

    pub(crate) fn add(&mut self, reason: Reason, name: impl FnOnce() -> String) {
        let group = self.groups.entry(reason).or_default();
        group.count += 1;
        if group.examples.len() < EXAMPLES_MAX {
            group.examples.push(name());
        }
    }

    /// Takes in what another part of the same data set leaves out, which comes after this one.
    pub(crate) fn append(&mut self, other: Self) {
        for (reason, Group { count, examples }) in other.groups {
            let group = self.groups.entry(reason).or_default();
            group.count += count;
            let room = EXAMPLES_MAX - group.examples.len();
            group.examples.extend(examples.into_iter().take(room));
        }
    }

    /// Each reason with what was left out for it; first what looks like pictures.
    pub fn groups(&self) -> impl Iterator<Item = (Reason, &Group)> {
        self.groups.iter().map(|(reason, group)| (*reason, group))
    }

    /// Whether nothing was left out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// How many were left out.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.groups.values().map(|group| group.count).sum()
    }

    /// Whether one of them may be a picture that the user misses.
    #[must_use]
    pub fn may_be_missed(&self) -> bool {
        self.groups.keys().any(|reason| reason.remedy().is_some())
    }

    /// Whether another try may find more, though no file came or went.
    pub(crate) fn may_be_mended(&self) -> bool {
        let mendable = [Reason::BrokenLink, Reason::UnreadableFile, Reason::UnreadableFolder];
        mendable.iter().any(|reason| self.groups.contains_key(reason))
    }

    /// A line for each reason: how many, some of their names, and what to do.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let line = |(reason, group): (Reason, &Group)| {
            let Row(_, _, one, many, remedy) = reason.row();
            let names: Vec<String> =
                group.examples.iter().map(|name| format!("`{}`", name.escape_debug())).collect();
            let more = if group.count > group.examples.len() as u64 { ", …" } else { "" };
            let what = if group.count == 1 { one } else { many };
            let remedy = remedy.map(|remedy| format!(": {remedy}")).unwrap_or_default();
            format!("{} {what} ({}{more}){remedy}", group.count, names.join(", "))
        };
        self.groups().map(line).collect()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = (self.groups.len() as u64).to_le_bytes().to_vec();
        let text = |out: &mut Vec<u8>, text: &str| {
            out.extend_from_slice(&(text.len() as u64).to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        };
        for (reason, group) in self.groups() {
            text(&mut out, reason.word());
            out.extend_from_slice(&group.count.to_le_bytes());
            out.extend_from_slice(&(group.examples.len() as u64).to_le_bytes());
            group.examples.iter().for_each(|example| text(&mut out, example));
        }
        out
    }

    pub(crate) fn parse(numbers: &mut Numbers<'_>) -> Option<Self> {
        let mut found = Self::default();
        for _ in 0..numbers.u64()? {
            let word = numbers.text()?;
            let reason = TABLE.iter().find(|row| row.1 == word)?.0;
            let mut group = Group { count: numbers.u64()?, examples: Vec::new() };
            for _ in 0..numbers.u64()? {
                group.examples.push(numbers.text()?);
            }
            found.groups.insert(reason, group);
        }
        Some(found)
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
    fn parts_are_added_up_and_what_is_written_is_read_back() {
        let mut whole = some();
        whole.append(some());
        assert_eq!(whole.count(), 10);
        assert_eq!(whole.groups().map(|(_, group)| group.examples.len()).collect::<Vec<_>>(), [3, 2]);
        let bytes = whole.bytes();
        let mut numbers = Numbers(&bytes);
        assert_eq!(LeftOut::parse(&mut numbers), Some(whole));
        assert!(numbers.is_empty());
        assert!((0..bytes.len()).all(|cut| LeftOut::parse(&mut Numbers(&bytes[..cut])).is_none()));
    }

    #[test]
    fn the_table_has_every_reason_once_in_their_order() {
        assert!(TABLE.windows(2).all(|rows| rows[0].0 < rows[1].0));
        let words: std::collections::BTreeSet<_> = TABLE.iter().map(|row| row.1).collect();
        assert_eq!(words.len(), TABLE.len());
        assert_eq!(TABLE.last().map(|row| row.0 as usize), Some(TABLE.len() - 1), "a reason has no row");
    }
}
