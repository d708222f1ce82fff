//! The words for people and for JSON of what the wire has as numbers.

use std::fmt;

use lsgan_control::OutcomeKind;

use crate::v1::{self, Phase, Role, SpanKind};

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "unknown",
            Self::Starting => "starting",
            Self::Gathering => "gathering",
            Self::Adopting => "adopting",
            Self::Forming => "forming",
            Self::Stepping => "stepping",
            Self::Halting => "halting",
            Self::Closing => "closing",
            Self::Paused => "paused",
            Self::Ended => "ended",
        })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "unknown",
            Self::Standby => "standby",
            Self::Member => "member",
            Self::Parked => "parked",
            Self::Leaving => "leaving",
            Self::Evicted => "evicted",
            Self::CutOff => "cut off",
            Self::LeftBehind => "left behind",
            Self::Faulty => "faulty",
        })
    }
}

impl fmt::Display for SpanKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "unknown",
            Self::Step => "step",
            Self::DataWait => "data wait",
            Self::Discriminator => "D forward, backward",
            Self::DiscriminatorAhead => "D ahead",
            Self::Generator => "G forward, backward",
            Self::Quantise => "quantise",
            Self::Exchange => "exchange",
            Self::Apply => "apply",
            Self::DeviceWait => "GPU wait",
            Self::Boundary => "step end",
            Self::Travel => "sum travels",
        })
    }
}

impl v1::RunStatus {
    /// What the workers take of their hosts' memory together, in bytes; none before one of them has said it.
    #[must_use]
    pub fn memory_bytes(&self) -> Option<u64> {
        self.workers.iter().filter_map(|worker| worker.memory_bytes).reduce(u64::saturating_add)
    }
}

impl v1::Shutdown {
    /// How the run ended; none for a kind of another version.
    #[must_use]
    pub fn kind(&self) -> Option<OutcomeKind> {
        match self.outcome() {
            v1::OutcomeKind::Complete => Some(OutcomeKind::Complete),
            v1::OutcomeKind::Stopped => Some(OutcomeKind::Stopped),
            v1::OutcomeKind::Failed => Some(OutcomeKind::Failed),
            v1::OutcomeKind::Refused => Some(OutcomeKind::Refused),
            v1::OutcomeKind::Unspecified => None,
        }
    }
}
