//! A worker's process and its part in a generation.

use std::collections::BTreeMap;

use lsgan_control::member::{Identity, Participant};
use lsgan_control::{Form, Message, ParkReason, Report, SessionId};
use lsgan_spec::{Generation, Millis, Numerics, VirtualRank};

use crate::fence::Coordinator;
use crate::history::State;
use crate::network::Happening;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Running,
    /// After SIGSTOP.
    Frozen,
    Ended,
}

/// One process.
#[derive(Debug)]
pub struct Process {
    pub name: String,
    /// Its numerics differ.
    pub odd: bool,
    /// It is no worker, and nothing that it says is true.
    pub stranger: bool,
    /// It does not see the run's store.
    pub blind: bool,
    pub life: Life,
    /// What happened to it while it was frozen.
    pub deferred: Vec<Happening>,
    /// Its stream to the coordinator.
    pub session: Option<SessionId>,
    /// Its side of the protocol: the real machine.
    pub member: Participant,
    /// What it has trained.
    pub state: Option<State>,
    pub membership: Option<Membership>,
    /// It does not park when it is told to abort.
    pub stuck: bool,
    /// Its training thread hangs at its next half step.
    pub hangs: bool,
    /// Its steps fail.
    pub sick: bool,
    /// Its host stands still while the others end a sum: what it has made of that is not believed.
    pub starved: bool,
    /// It reports that it is much slower than the others.
    pub slow: bool,
    /// No connection to it can be made.
    pub hidden: bool,
    /// No state gets through its link.
    pub far: bool,
    /// The length of its seconds.
    pub clock_percent: u64,
    /// When its writer has written what it was given.
    pub writes_until: Millis,
    /// The reports about generations that it sent on this stream.
    pub said: Vec<Report>,
    /// The newest coordinator that has welcomed it, or told it to form.
    pub led_by: Coordinator,
}

/// What a process does for the generation that it is in.
#[derive(Debug)]
pub struct Membership {
    /// What it was told.
    pub form: Form,
    pub stage: Stage,
    /// How many positions each of its virtual ranks may read.
    pub leases: BTreeMap<VirtualRank, u64>,
    /// The state at the beginning of this step, if it was a member then.
    pub boundary: Option<State>,
}

/// How far a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Connecting to its peers.
    Connecting,
    /// Taking over the state.
    Taking,
    /// Waiting for a lease.
    Starved,
    /// Computing its part of the next reduction.
    Computing,
    /// In the all-reduce.
    Reducing,
    /// Its training thread hangs.
    Hanging,
    /// Waiting for its device to be idle.
    Draining(ParkReason),
}

impl Process {
    /// A process that has just been started.
    #[must_use]
    pub fn new(number: usize, odd: bool) -> Self {
        let name = format!("w{number}");
        let identity = Identity {
            address: format!("10.{}.{}.{}:4000", number >> 16 & 255, number >> 8 & 255, number & 255),
            numerics: Numerics { model: if odd { "odd" } else { "even" }.to_owned(), ..Numerics::default() },
            name: name.clone(),
            data_fingerprint: String::new(),
        };
        Self {
            name,
            odd,
            stranger: false,
            blind: false,
            life: Life::Running,
            deferred: Vec::new(),
            session: None,
            member: Participant::new(identity),
            state: None,
            membership: None,
            stuck: false,
            hangs: false,
            sick: false,
            starved: false,
            slow: false,
            hidden: false,
            far: false,
            clock_percent: 100,
            writes_until: Millis(0),
            said: Vec::new(),
            led_by: 0,
        }
    }

    /// It is told something. What a coordinator gave it is ended by that one or a newer one: an older one, which has been deposed
    /// and has not found that yet, halts, retires and ends nobody who is with the newer one.
    pub fn told_by(&mut self, coordinator: Coordinator, message: &Message) -> Result<(), String> {
        let ends = match message {
            Message::Welcome { adopted, .. } => !adopted,
            Message::Refused { .. }
            | Message::Form(_)
            | Message::Abort(_)
            | Message::Retired { .. }
            | Message::Shutdown(_) => true,
            Message::Lease { .. } | Message::Wish { .. } | Message::Try { .. } | Message::Task(_) => false,
        };
        if ends && coordinator < self.led_by {
            let (name, leads) = (&self.name, self.led_by);
            return Err(format!(
                "{name} is with coordinator {leads}, and {coordinator} tells it {message:?}"
            ));
        }
        if let Message::Welcome { .. } | Message::Form(_) = message {
            self.led_by = self.led_by.max(coordinator);
        }
        Ok(())
    }

    /// The membership, if it is of `generation` and still computes.
    pub fn active(&mut self, generation: Generation) -> Option<&mut Membership> {
        let membership = self.membership.as_mut().filter(|m| m.form.generation == generation)?;
        (!matches!(membership.stage, Stage::Draining(_))).then_some(membership)
    }

    /// The state of a member that steps.
    #[must_use]
    pub fn held(&self) -> State {
        self.state.expect("a member that steps holds a state")
    }
}
