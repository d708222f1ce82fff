//! Why a run is to end before its last step.

use serde::{Deserialize, Serialize};

use super::effect::{Effect, Entry};
use super::machine::Run;

/// Why a run is to end. A later one in this list goes before an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ending {
    /// An operator asked for it: at the next step boundary, with a snapshot.
    Stop,
    /// The data set cannot be trained on: the run fails at the next step boundary, with a snapshot.
    Unfit(String),
    /// A step failed on all members: the run fails with the newest boundary that a member holds.
    Failed(String),
}

impl Ending {
    /// 0 for the weakest.
    fn rank(&self) -> u8 {
        match self {
            Self::Stop => 0,
            Self::Unfit(_) => 1,
            Self::Failed(_) => 2,
        }
    }
}

impl Run {
    /// The run is to end for this reason, unless it is for the same one or a stronger one, or has ended.
    pub(crate) fn end_for(&mut self, ending: Ending, effects: &mut Vec<Effect>) {
        if self.ended() || self.ending.as_ref().is_some_and(|known| known.rank() >= ending.rank()) {
            return;
        }
        match &ending {
            Ending::Stop => effects.push(Effect::Journal(Entry::StopRequested)),
            Ending::Unfit(why) => effects.push(Effect::Journal(Entry::DataUnfit(why.clone()))),
            Ending::Failed(_) => {}
        }
        self.ending = Some(ending);
        self.wished = None;
    }

    /// The members are to park at the next step boundary, because the run ends there.
    pub(crate) fn ends_early(&self) -> bool {
        matches!(self.ending, Some(Ending::Stop | Ending::Unfit(_)))
    }

    /// An operator asked the run to stop.
    #[must_use]
    pub fn stops(&self) -> bool {
        self.ending == Some(Ending::Stop)
    }
}
