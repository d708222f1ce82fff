//! Messages as they travel, and the connections on which they do.

mod convert;
mod incoming;
