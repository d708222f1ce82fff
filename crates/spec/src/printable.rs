//! Texts of others (names of files and records, answers of servers) as a terminal and a log may show them.
//!
//! A control character would move the cursor, rename the window, or begin a line that looks like one of ours. A character
//! that turns the direction of writing would show a name as another one.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a terminal shows this character and does nothing else.
#[must_use]
pub fn is_printable(c: char) -> bool {
    let separates_lines = matches!(c, '\u{2028}' | '\u{2029}');
    let turns =
        matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !c.is_control() && !separates_lines && !turns
}

/// `text` in one line: `a\nb`, `\u001b[2J`.
///
/// The escapes are those of JSON, so that text which is JSON stays the same JSON.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, is_printable)
}

/// `text` with its line breaks and tabs, and all else as [`printable`] has it.
#[must_use]
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_printable(c) || matches!(c, '\n' | '\t'))
}

fn escaped(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.chars().all(&stays) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            c if stays(c) => out.push(c),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => write!(out, "\\u{:04x}", u32::from(c)).expect("a String takes every write"),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_more_than_show_itself_is_escaped() {
        assert_eq!(
            printable("a\u{1b}[2Jb\u{7f}\u{9b}31m\r\n\t\0"),
            "a\\u001b[2Jb\\u007f\\u009b31m\\r\\n\\t\\u0000"
        );
        assert_eq!(printable("gpj.\u{202e}exe\u{2028}"), "gpj.\\u202eexe\\u2028");
        assert_eq!(printable_lines("a\n\tb\u{1b}c\r\n"), "a\n\tb\\u001bc\\r\n");
        for plain in ["", "größe 字 🙂 \\ \"", "a\u{301}"] {
            assert!(matches!(printable(plain), Cow::Borrowed(same) if same == plain));
        }
        assert!((0..=0x2fff).filter_map(char::from_u32).all(|c| {
            let shown = printable(c.encode_utf8(&mut [0; 4])).into_owned();
            shown.chars().all(is_printable) && printable(&shown) == shown
        }));
    }
}
