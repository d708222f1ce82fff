//! The trait, and the description of a call.
#![warn(missing_docs)]

use std::fmt;

use lsgan_spec::Generation;

use crate::{Aborter, GroupError};

/// One rank's end of one generation's collective group.
///
/// All ranks make the same calls in the same order with the same lengths. A call returns when this rank's values are
/// final; other ranks may still be in it. After an error the values of that call are undefined but no longer written to,
/// and the group is over: every later call returns an error too.
///
/// Where ranks make different calls, the call of each rank that is affected fails, and the next call of the others.
pub trait Group: Send {
    /// This end's rank, in `0..size`.
    fn rank(&self) -> usize;

    /// How many ranks there are, at least 1.
    fn size(&self) -> usize;

    /// The generation that this group serves.
    fn generation(&self) -> Generation;

    /// Replaces each value by its sum over all ranks. Sums beyond the range of `i64` wrap; the caller chooses its scale so
    /// that none does. Every rank ends with the same values, whatever the size and the order.
    fn all_reduce_i64(&mut self, values: &mut [i64]) -> Result<(), GroupError>;

    /// Makes each value of `sums` the sum of that of `own` over all ranks; both are equally long, and `own` stays as it is.
    /// Sums beyond the range of `i32` wrap.
    fn all_reduce_i32(&mut self, own: &[i32], sums: &mut [i32]) -> Result<(), GroupError>;

    /// Replaces each value by its sum over all ranks. Every rank ends with the same bits, which depend on the size, because
    /// floating-point addition depends on its order.
    fn all_reduce_f32(&mut self, values: &mut [f32]) -> Result<(), GroupError>;

    /// Replaces `bytes` on every rank by those of rank `root`.
    fn broadcast(&mut self, root: usize, bytes: &mut [u8]) -> Result<(), GroupError>;

    /// Returns once every rank has made this call.
    fn barrier(&mut self) -> Result<(), GroupError> {
        self.all_reduce_i64(&mut [0])
    }

    /// Ends this group from any thread.
    fn aborter(&self) -> Aborter;
}

/// The operation of a call; all ranks must agree on it.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    AllReduceI64,
    AllReduceI32,
    AllReduceF32,
    Broadcast { root: u32 },
}

/// One call on a group, as the ranks compare it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The operation.
    pub kind: CallKind,
    /// The number of calls before it on this group.
    pub sequence: u64,
    /// The number of values (of an all-reduce) or bytes (of a broadcast).
    pub length: u64,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, sequence, length } = self;
        match kind {
            CallKind::AllReduceI64 => write!(f, "call {sequence}, all_reduce_i64 of {length} values"),
            CallKind::AllReduceI32 => write!(f, "call {sequence}, all_reduce_i32 of {length} values"),
            CallKind::AllReduceF32 => write!(f, "call {sequence}, all_reduce_f32 of {length} values"),
            CallKind::Broadcast { root } => {
                write!(f, "call {sequence}, broadcast of {length} bytes from rank {root}")
            }
        }
    }
}
