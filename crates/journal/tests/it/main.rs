//! Journals in files: what is written, read again, copied, thinned and refused.

mod changes;
mod common;
mod derived;
mod older;
mod replay;
mod strangers;
mod thinning;
mod together;
