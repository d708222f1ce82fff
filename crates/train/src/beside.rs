//! What a caller does while a replica computes a half.

use crate::word::Words;

/// What a caller does while a replica computes a half; by default, nothing.
pub trait Beside {
    /// The first virtual rank is computed, or queued on a GPU. There the caller may wait for the update before, so that
    /// little is queued behind one that may not be made.
    fn after_first(&mut self) {}

    /// Whether words may leave before the half is whole.
    fn takes_early(&self) -> bool {
        false
    }

    /// Whether the caller wants to be told what is added to the sum. Asked once a half.
    fn watches(&self) -> bool {
        false
    }

    /// What a virtual rank has computed is added to the sum now, until [`Self::added`].
    fn adds(&mut self) {}

    /// It is added.
    fn added(&mut self) {}

    /// These words of the half are whole, and are to be added up over all workers before those that
    /// [`Replica::take_words`](crate::Replica::take_words) returns. They are given back with them.
    fn ready(&mut self, _words: Vec<Words>) {}
}

/// Nothing.
impl Beside for () {}
