//! A picture in memory.

use std::borrow::Cow;

pub use lsgan_pictures::Channels;

/// A picture, `[height, width, channels]`, row after row; 0 is black. Both sides are at least 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture<'a> {
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
    /// What a pixel is.
    pub channels: Channels,
    /// `height · width · channels` bytes.
    pub pixels: Cow<'a, [u8]>,
}
