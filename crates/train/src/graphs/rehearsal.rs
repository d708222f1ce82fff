//! Stand-ins for a recorder, so that all around it can be tried on a CPU: they record nothing, and replay by computing
//! again.

use super::{Recorder, Recording};

/// What a stand-in does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rehearsal {
    /// What a recorder does.
    Works,
    /// It cannot record.
    RecordsNothing,
    /// What it replays has other bits.
    ReplaysOtherBits,
}

impl Recorder for Rehearsal {
    fn record(&mut self, _work: &mut dyn FnMut()) -> Result<Box<dyn Recording>, String> {
        match self {
            Self::RecordsNothing => Err("this stand-in records nothing".to_owned()),
            Self::Works | Self::ReplaysOtherBits => Ok(Box::new(*self)),
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
