//! What the sources of encoded pictures have in common.

use std::cell::RefCell;

use crate::RecordError;
use crate::decode::decode;
use crate::found::instead_of_a_picture;
use crate::transform::Transform;

thread_local! {
    /// The encoded bytes of a record: a thread reads one at a time.
    static BYTES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// More than this is no picture that would be decoded; what a damaged length says is not worth gigabytes.
pub(super) const RECORD_BYTES_MAX: u64 = 1 << 30;

/// Lets `read` fill a buffer that is used again.
pub(super) fn with_bytes<T>(read: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    BYTES.with(|bytes| match bytes.try_borrow_mut() {
        Ok(mut bytes) => read(&mut bytes),
        // This thread reads a record while it reads one: slower, and right.
        Err(_) => read(&mut Vec::new()),
    })
}

/// The sample of an encoded picture.
pub(super) fn sample(
    kind: &'static str,
    key: impl FnOnce() -> String,
    bytes: &[u8],
    transform: &Transform,
    out: &mut [f32],
) -> Result<(), RecordError> {
    match decode(bytes, transform.channels()) {
        Ok(picture) => {
            transform.apply(&picture, out);
            Ok(())
        }
        Err(reason) => {
            Err(RecordError::Undecodable { kind, key: key(), reason: instead_of_a_picture(bytes, reason) })
        }
    }
}
