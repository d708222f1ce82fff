//! An error with its causes, in one line.

use std::error::Error;

use crate::printable::printable_lines;

/// `error` and the errors that caused it, in one line; a cause whose text is in the line already is left out.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    match printable_lines(&text) {
        std::borrow::Cow::Borrowed(_) => text,
        std::borrow::Cow::Owned(printable) => printable,
    }
}
