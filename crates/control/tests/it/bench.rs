//! A bench for the coordinator's machine: it plays the workers, and keeps the effects.

use std::collections::VecDeque;

use lsgan_control::{
    Config, Effect, Entry, Event, Form, Hello, Message, ParkReason, Pass, PassKey, Recovered, Report, Resume,
    Rights, RingKeys, Run, SessionId, Wish, invariants,
};
use lsgan_spec::{Generation, Incarnation, Millis, Numerics, Reduction, Step, VirtualRank};

/// Four virtual ranks, ten steps.
pub fn config() -> Config {
    Config {
        steps: 10,
        virtual_ranks: 4,
        min_workers: 1,
        max_workers: 4,
        expected_workers: 2,
        gather_ms: 200,
        failure_timeout_ms: 1_500,
        failure_timeout_ms_max: 1_500,
        forming_timeout_ms: 3_000,
        lease_ordinals: 8,
        any_numerics: false,
        straggler_percent: 200,
        pace_every_ms: 1_000,
        evict_stragglers: false,
        spec: String::new(),
        stall_ms: 60_000,
        records: 1_000,
        pass_key: PassKey::default(),
        ring_keys: RingKeys::default(),
    }
}

fn hello(session: u64) -> Hello {
    Hello {
        name: format!("w{session}"),
        address: format!("10.0.0.{session}:4000"),
        numerics: numerics("x86"),
        holds: None,
        resume: None,
        data_fingerprint: String::new(),
        pass: None,
    }
}

/// The pass of a worker that was told to form this generation, or that was never told if it is 0.
pub fn pass(incarnation: u64, generation: u64) -> Pass {
    PassKey::default().seal(Rights {
        incarnation: Incarnation(incarnation),
        generation: Generation(generation),
        until: Step(100),
        led: incarnation == 1,
    })
}

/// The numerics of a CPU of this model.
pub fn numerics(model: &str) -> Numerics {
    Numerics { model: model.to_owned(), ..Numerics::default() }
}

/// The same of a worker that was a member before, with the pass that it has then.
fn came_back(hello: Hello, holds: Option<u64>, resume: Option<Resume>) -> Hello {
    let pass = match &resume {
        Some(resume) => Some(pass(resume.incarnation.0, resume.generation.0)),
        None => holds.map(|_| pass(1, 1)),
    };
    Hello { holds: holds.map(Reduction), resume, pass: pass.map(Box::new), ..hello }
}

/// A machine, its time, and its effects.
pub struct Bench {
    pub run: Run,
    pub now: Millis,
    /// The effects of the last event.
    pub effects: Vec<Effect>,
    pub journal: Vec<Entry>,
    /// Connections that fail when they are tried, from one session to another.
    pub broken: Vec<(u64, u64)>,
    /// No worker answers when connections are to be tried.
    pub silent: bool,
}

#[allow(dead_code, reason = "each test file uses its part")]
impl Bench {
    pub fn new(config: Config, recovered: Recovered) -> Self {
        let now = Millis(0);
        let run = Run::new(config, recovered, now);
        Self { run, now, effects: Vec::new(), journal: Vec::new(), broken: Vec::new(), silent: false }
    }

    /// Sessions 1 and 2 have joined a new run.
    pub fn with_two() -> Self {
        let mut bench = Self::new(config(), Recovered::default());
        bench.join(1, None, None);
        bench.join(2, None, None);
        bench
    }

    /// Applies an event; every invariant must hold. Workers that are told to try connections answer at once.
    pub fn apply(&mut self, event: Event) -> &[Effect] {
        self.effects.clear();
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let before = self.run.clone();
            let mut effects = Vec::new();
            self.run.apply(self.now, event, &mut effects);
            invariants::check(&before, &self.run).expect("every invariant holds");
            for effect in &effects {
                match effect {
                    Effect::Journal(entry) => self.journal.push(entry.clone()),
                    Effect::Send { session, message: Message::Try { round, peers } } if !self.silent => {
                        events.push_back(self.try_peers(*session, *round, peers));
                    }
                    Effect::Send { .. } | Effect::Close { .. } => {}
                }
            }
            self.effects.append(&mut effects);
        }
        &self.effects
    }

    /// A worker says something: it passes the gate first, and the store has what it says of that. Returns whether it was
    /// let in.
    pub fn say(&mut self, session: u64, report: Report) -> bool {
        let session = SessionId(session);
        self.effects.clear();
        if self.run.admits(session, &report).is_err() {
            return false;
        }
        let event = match report {
            Report::StoreProof(proof) => {
                let why_not = (!proof.why_not.is_empty()).then_some(proof.why_not);
                Some(Event::StoreProved { session, why_not })
            }
            Report::SnapshotWritten(written) => Some(Event::SnapshotWritten { session, step: written.step }),
            Report::TaskDone { .. } => Some(Event::TaskDone { session }),
            report => report.into_event(session),
        };
        if let Some(event) = event {
            self.apply(event);
        }
        true
    }

    fn try_peers(&self, session: SessionId, round: u64, peers: &[(Incarnation, String)]) -> Event {
        let fails = |peer: &Incarnation| {
            let to = self.run.workers().get(peer).map(|worker| worker.session.0);
            to.is_none_or(|to| self.broken.contains(&(session.0, to)))
        };
        let missing = peers.iter().filter(|(peer, _)| fails(peer));
        let missing = missing.map(|(peer, _)| (*peer, "timed out".to_owned())).collect();
        Event::Tried { session, round, missing }
    }

    /// Wakes the machine at its deadlines until one of them has an effect. At others it only checks for silent workers.
    pub fn wake(&mut self) -> &[Effect] {
        let phase = self.run.phase().clone();
        loop {
            self.now = self.run.next_deadline().expect("the machine waits for something");
            self.apply(Event::Tick);
            if !self.effects.is_empty() || *self.run.phase() != phase {
                return &self.effects;
            }
        }
    }

    /// A coordinator that starts with the journal of this one.
    pub fn restarted(&self) -> Self {
        let recovered = Recovered::replay(&self.journal, self.run.snapshot());
        let mut bench = Self::new(config(), recovered);
        bench.journal.clone_from(&self.journal);
        bench
    }

    pub fn join(&mut self, session: u64, holds: Option<u64>, resume: Option<Resume>) -> &[Effect] {
        let hello = came_back(hello(session), holds, resume);
        self.say_hello(session, hello)
    }

    /// A worker joins that shares its host with others.
    pub fn join_on(&mut self, session: u64, host: &str) {
        self.join_at(session, &format!("{host}:{}", 4000 + session));
    }

    /// A worker joins whose peers reach it there.
    pub fn join_at(&mut self, session: u64, address: &str) {
        self.say_hello(session, Hello { address: address.to_owned(), ..hello(session) });
    }

    pub fn join_with_numerics(&mut self, session: u64, numerics: Numerics) -> &[Effect] {
        self.say_hello(session, Hello { numerics, ..hello(session) })
    }

    /// A worker joins, and proves that it sees the store. The effects are those of both.
    fn say_hello(&mut self, session: u64, hello: Hello) -> &[Effect] {
        let mut effects = self.apply(Event::Joined { session: SessionId(session), hello }).to_vec();
        effects.extend_from_slice(self.store_proved(session, true));
        self.effects = effects;
        &self.effects
    }

    /// A worker joins that has not proved yet that it sees the store.
    pub fn join_unproved(&mut self, session: u64) -> &[Effect] {
        self.apply(Event::Joined { session: SessionId(session), hello: hello(session) })
    }

    /// The same, of a worker that lost its coordinator.
    pub fn join_unproved_again(&mut self, session: u64, holds: Option<u64>, resume: Option<Resume>) {
        let hello = came_back(hello(session), holds, resume);
        self.apply(Event::Joined { session: SessionId(session), hello });
    }

    /// A heartbeat of a worker that holds no state.
    pub fn heard_nothing_new(&mut self, session: u64) -> &[Effect] {
        self.apply(Event::Heard { session: SessionId(session), applied: None, pace_us: None })
    }

    pub fn store_proved(&mut self, session: u64, sees: bool) -> &[Effect] {
        let why_not = (!sees).then(|| "it sees another disk".to_owned());
        self.apply(Event::StoreProved { session: SessionId(session), why_not })
    }

    pub fn heard(&mut self, session: u64, applied: u64) -> &[Effect] {
        self.heard_at_pace(session, applied, None)
    }

    pub fn heard_at_pace(&mut self, session: u64, applied: u64, pace_us: Option<u64>) -> &[Effect] {
        let (session, applied) = (SessionId(session), Some(Reduction(applied)));
        self.apply(Event::Heard { session, applied, pace_us })
    }

    pub fn state_hash(&mut self, session: u64, step: u64, byte: u8) -> &[Effect] {
        self.apply(Event::StateHash { session: SessionId(session), step: Step(step), hash: [byte; 32] })
    }

    pub fn cut_off(&mut self, session: u64, generation: u64, peer: u64) -> &[Effect] {
        let (session, generation) = (SessionId(session), Generation(generation));
        let why = "connection refused".to_owned();
        self.apply(Event::CutOff { session, generation, peer: Incarnation(peer), why })
    }

    pub fn progress(&mut self, session: u64, generation: u64) -> &[Effect] {
        let (session, generation) = (SessionId(session), Generation(generation));
        self.apply(Event::Progress { session, generation })
    }

    pub fn ready(&mut self, session: u64, generation: u64, applied: u64) -> &[Effect] {
        let (session, generation) = (SessionId(session), Generation(generation));
        self.apply(Event::Ready { session, generation, applied: Reduction(applied) })
    }

    pub fn parked(
        &mut self,
        session: u64,
        generation: u64,
        applied: Option<u64>,
        reason: ParkReason,
    ) -> &[Effect] {
        let applied = applied.map(Reduction);
        self.apply(Event::Parked {
            session: SessionId(session),
            generation: Generation(generation),
            applied,
            reason,
        })
    }

    /// These sessions park alike, one after the other.
    pub fn all_parked(
        &mut self,
        sessions: impl IntoIterator<Item = u64>,
        generation: u64,
        applied: Option<u64>,
        reason: ParkReason,
    ) {
        for session in sessions {
            self.parked(session, generation, applied, reason.clone());
        }
    }

    /// These sessions are ready, one after the other.
    pub fn all_ready(&mut self, sessions: impl IntoIterator<Item = u64>, generation: u64, applied: u64) {
        for session in sessions {
            self.ready(session, generation, applied);
        }
    }

    pub fn task_done(&mut self, session: u64) -> &[Effect] {
        self.apply(Event::TaskDone { session: SessionId(session) })
    }

    pub fn leave(&mut self, session: u64) -> &[Effect] {
        self.apply(Event::WantsLeave { session: SessionId(session) })
    }

    pub fn close(&mut self, session: u64) -> &[Effect] {
        self.apply(Event::Closed { session: SessionId(session) })
    }

    pub fn consumed(&mut self, session: u64, virtual_rank: u32, ordinals: u64) -> &[Effect] {
        let virtual_rank = VirtualRank(virtual_rank);
        self.apply(Event::Consumed { session: SessionId(session), virtual_rank, ordinals })
    }

    pub fn saved(&mut self, step: u64) -> &[Effect] {
        self.apply(Event::SnapshotWritten { session: SessionId(1), step: Step(step) })
    }

    /// Sessions 1 to `count` join and step in generation 1.
    pub fn stepping(config: Config, count: u64) -> Self {
        let mut bench = Self::new(Config { expected_workers: count as u32, ..config }, Recovered::default());
        for session in 1..=count {
            bench.join(session, None, None);
        }
        bench.all_ready(1..=count, 1, 0);
        assert_eq!(*bench.run.phase(), lsgan_control::Phase::Stepping);
        bench
    }

    /// What the last event sent to a session.
    pub fn to(&self, session: u64) -> Vec<Message> {
        let sent = |effect: &Effect| match effect {
            Effect::Send { session: to, message } if to.0 == session => Some(message.clone()),
            Effect::Send { .. } | Effect::Journal(_) | Effect::Close { .. } => None,
        };
        self.effects.iter().filter_map(sent).collect()
    }

    /// As whom the last event welcomed a session, and whether it was adopted.
    pub fn welcomed(&self, session: u64) -> Option<(Incarnation, bool)> {
        self.to(session).into_iter().find_map(|message| match message {
            Message::Welcome { incarnation, adopted, .. } => Some((incarnation, adopted)),
            _ => None,
        })
    }

    /// The one Form that the last event sent to a session.
    pub fn form(&self, session: u64) -> Form {
        let (messages, is_form) = (self.to(session), |m: &&Message| matches!(m, Message::Form(_)));
        let forms: Vec<_> = messages.iter().filter(is_form).collect();
        let [Message::Form(form)] = forms[..] else { panic!("session {session} got {messages:?}") };
        form.clone()
    }

    /// The incarnations of the newest generation's members.
    pub fn members(&self) -> Vec<u64> {
        self.run.members().iter().map(|m| m.incarnation.0).collect()
    }

    /// Whether the last event asked any worker to park for a new generation.
    pub fn wishes_reform(&self) -> bool {
        let reform = |message: &Message| matches!(message, Message::Wish { wish: Wish::Reform, .. });
        self.effects.iter().any(|e| matches!(e, Effect::Send { message, .. } if reform(message)))
    }

    /// The journal entries for which `select` has a value.
    pub fn journaled<T>(&self, select: impl Fn(&Entry) -> Option<T>) -> Vec<T> {
        self.journal.iter().filter_map(select).collect()
    }

    pub fn was_wished(&self, session: u64, wish: Wish) -> bool {
        let generation = self.run.generation();
        self.to(session).contains(&Message::Wish { generation, wish })
    }
}

/// The resume of a worker that lost its coordinator.
#[allow(dead_code, reason = "each test file uses its part")]
pub fn resume(incarnation: u64, generation: u64, stepping: bool) -> Option<Resume> {
    let (incarnation, generation) = (Incarnation(incarnation), Generation(generation));
    Some(Resume { incarnation, generation, stepping, writes: incarnation.0 == 1, spec: String::new() })
}
