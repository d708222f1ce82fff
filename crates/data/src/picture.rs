//! A picture in memory.

use std::borrow::Cow;

pub use lsgan_pictures::Channels;

/// A picture, `[height, width, channels]`, row after row; 0 is black. Both sides are at least 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture<'a> {
    pub height: u32,
    pub width: u32,
    pub channels: Channels,
    /// `height · width · channels` bytes.
    pub pixels: Cow<'a, [u8]>,
}

impl Picture<'_> {
    pub(crate) fn into_owned(self) -> Picture<'static> {
        let Self { height, width, channels, pixels } = self;
        Picture { height, width, channels, pixels: pixels.into_owned().into() }
    }
}
