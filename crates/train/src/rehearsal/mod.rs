//! **For tests only.** Release binaries have these parts too, so that whole-system tests need no second build.
//!
//! - [`Rehearsal`]: a device's engine on a CPU, with stand-ins for a recorder of CUDA graphs.
//! - [`flip_a_bit`]: a memory error.
//! - [`runs`]: runs that step in milliseconds, and groups in one process.

pub mod runs;

use crate::graphs::{Recorder, Recording};
use crate::replica::Replica;

/// A device's engine on a CPU: slower than the host's, and the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rehearsal {
    /// Halves are queued call by call.
    CallByCall,
    /// Halves are recorded and replayed by a stand-in, which computes again instead.
    Recorded,
    /// The stand-in cannot record.
    RecordsNothing,
    /// What the stand-in replays has other bits.
    ReplaysOtherBits,
}

impl Rehearsal {
    pub(crate) fn recorder(self) -> Option<Box<dyn Recorder>> {
        (self != Self::CallByCall).then(|| Box::new(self) as Box<dyn Recorder>)
    }
}

impl Recorder for Rehearsal {
    fn record(&mut self, _work: &mut dyn FnMut()) -> Result<Box<dyn Recording>, String> {
        match self {
            Self::RecordsNothing => Err("this stand-in records nothing".to_owned()),
            Self::CallByCall | Self::Recorded | Self::ReplaysOtherBits => Ok(Box::new(*self)),
        }
    }

    fn begin_anew(&mut self) {}
}

impl Recording for Rehearsal {
    fn replay(&self, work: &mut dyn FnMut()) -> Result<(), String> {
        work();
        if *self == Self::ReplaysOtherBits {
            work();
        }
        Ok(())
    }
}

/// Flips the lowest bit of G's first weight, as bad memory may.
pub fn flip_a_bit(replica: &mut Replica) {
    replica.change_state(|state| {
        let at = state.regions().generator.weights.start;
        let weight = &mut state.numbers_mut()[at];
        *weight = f32::from_bits(weight.to_bits() ^ 1);
    });
}
