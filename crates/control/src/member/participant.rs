//! [`Participant`]: a worker's state, and the handling of each event.

use std::collections::VecDeque;

use lsgan_spec::{Generation, Half, Incarnation, Numerics, Reduction};

use crate::member::{Effect, Ending, Event, Mail, Wishes};
use crate::{Form, Hello, Message, Pass, Report, Resume, Wish};

/// What a worker says of itself on every stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// A label for people.
    pub name: String,
    /// Where its peers reach it, `ip:port`.
    pub address: String,
    /// What decides the bits that it computes.
    pub numerics: Numerics,
    /// Hash of the data set, as it opened it itself.
    pub data_fingerprint: String,
}

/// Who gave a task to the training thread, and gets its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    /// The coordinator, on the present stream.
    Coordinator,
    /// The coordinator, on a stream that is over. It has given the task to another worker, or gives it again.
    EarlierStream,
    /// This machine, while the coordinator was away.
    Itself,
}

/// A worker's side of a run, over all its streams and incarnations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Participant {
    identity: Identity,
    /// Hash of the run's file as the coordinator has it now.
    spec: String,
    connection: Connection,
    incarnation: Option<Incarnation>,
    was_admitted: bool,
    /// What it shows on every stream. It outlives its incarnation, as the state does.
    pass: Option<Pass>,
    leaving: bool,
    /// The newest generation that it was told to form.
    membership: Option<Membership>,
    /// Reductions applied in the state that the training thread holds.
    applied: Option<Reduction>,
    pace_us: Option<u64>,
    /// The tasks that the training thread has not answered, in order.
    tasks: VecDeque<Asker>,
    mail: Mail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connection {
    /// It is being made.
    Pending,
    /// There is a stream.
    Open,
    /// The incarnation is over; the training thread has to park before there is a new one.
    Retiring,
    /// The coordinator is lost.
    Lost,
    /// The worker ends.
    Ended,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Membership {
    generation: Generation,
    /// The training thread has not parked.
    stepping: bool,
    writes: bool,
    /// Hash of the run's file under which it was formed.
    spec: String,
    /// What the coordinator told it to wish for.
    wishes: Wishes,
}

impl Participant {
    /// A worker that has just started. Its shell connects it.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            spec: String::new(),
            connection: Connection::Pending,
            incarnation: None,
            was_admitted: false,
            pass: None,
            leaving: false,
            membership: None,
            applied: None,
            pace_us: None,
            tasks: VecDeque::new(),
            mail: Mail::default(),
        }
    }

    /// Takes in an event and adds what must be done about it, in order. Nothing follows once the worker ends.
    pub fn apply(&mut self, event: Event, effects: &mut Vec<Effect>) {
        if self.connection == Connection::Ended {
            return;
        }
        match event {
            Event::Connected { spec } => self.connected(spec, effects),
            Event::Disconnected => {
                if self.connection == Connection::Open {
                    self.reconnect(effects);
                }
            }
            Event::CoordinatorLost => {
                self.leaving = true;
                self.connection = Connection::Lost;
                self.keep_alone(effects);
            }
            Event::Told(message) => {
                if self.connection == Connection::Open {
                    self.told(message, effects);
                }
            }
            Event::HeartbeatDue => {
                if self.connection == Connection::Open {
                    let (applied, pace_us) = (self.applied, self.pace_us);
                    effects.push(Effect::Send(Report::Heartbeat { applied, pace_us }));
                }
            }
            Event::Terminate => {
                self.leaving = true;
                match self.connection {
                    Connection::Open => effects.push(Effect::Send(Report::WantsLeave)),
                    Connection::Pending | Connection::Lost => self.keep_alone(effects),
                    Connection::Retiring | Connection::Ended => {}
                }
            }
            Event::ParkOverdue => {
                if self.connection == Connection::Retiring {
                    self.end(Ending::Hangs, effects);
                }
            }
            Event::Said(report) => self.said(report, effects),
            Event::Applied(applied) => self.applied = Some(applied),
            Event::Pace(pace_us) => self.pace_us = pace_us,
            Event::SnapshotHeard(generation) => {
                if let Some(membership) = self.stepping_in(generation) {
                    membership.wishes.snapshot = false;
                }
            }
        }
    }

    /// What the training thread puts into the header of this generation's reductions.
    #[must_use]
    pub fn wishes(&self, generation: Generation) -> Wishes {
        match &self.membership {
            Some(membership) if membership.generation == generation => {
                Wishes { leave: self.leaving, ..membership.wishes }
            }
            _ => Wishes::default(),
        }
    }

    /// All that is to be sent now, in order. Nothing before the coordinator has admitted the worker once.
    pub fn take_mail(&mut self) -> Vec<Report> {
        if self.sends_mail() { self.mail.take() } else { Vec::new() }
    }

    /// Whether mail waits that should be sent at once.
    #[must_use]
    pub fn has_urgent_mail(&self) -> bool {
        self.sends_mail() && self.mail.is_urgent()
    }

    /// Whether what the training thread says goes to the coordinator now.
    #[must_use]
    pub fn sends_mail(&self) -> bool {
        self.connection == Connection::Open && self.incarnation.is_some()
    }

    /// It was asked to end.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// The incarnation that it has.
    #[must_use]
    pub fn incarnation(&self) -> Option<Incarnation> {
        self.incarnation
    }

    /// The newest generation that it was told to form; 0 before the first.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.membership.as_ref().map_or(Generation(0), |m| m.generation)
    }

    fn connected(&mut self, spec: String, effects: &mut Vec<Effect>) {
        self.connection = Connection::Open;
        self.spec = spec;
        self.mail.begin();
        for asker in self.tasks.iter_mut().filter(|asker| **asker == Asker::Coordinator) {
            *asker = Asker::EarlierStream;
        }
        effects.push(Effect::Send(Report::Hello(self.hello())));
        if self.leaving {
            effects.push(Effect::Send(Report::WantsLeave));
        }
    }

    fn hello(&self) -> Hello {
        let Identity { name, address, numerics, data_fingerprint } = self.identity.clone();
        let resume = self.incarnation.map(|incarnation| Resume {
            incarnation,
            generation: self.generation(),
            stepping: self.steps(),
            writes: self.membership.as_ref().is_some_and(|m| m.writes),
            spec: self.membership.as_ref().map(|m| m.spec.clone()).unwrap_or_default(),
        });
        let pass = self.pass.clone().map(Box::new);
        Hello { name, address, numerics, holds: self.applied, resume, data_fingerprint, pass }
    }

    fn told(&mut self, message: Message, effects: &mut Vec<Effect>) {
        match message {
            Message::Welcome { incarnation, adopted, pass } => {
                if !adopted {
                    self.abort(effects);
                }
                self.incarnation = Some(incarnation);
                self.pass = Some(pass);
                let again = std::mem::replace(&mut self.was_admitted, true);
                effects.push(Effect::Admitted { incarnation, adopted, again });
            }
            Message::Refused { why } => self.end(Ending::Refused { why }, effects),
            Message::Form(form) => self.form(form, effects),
            Message::Abort(generation) => {
                if self.stepping_in(generation).is_some() {
                    effects.push(Effect::Abort);
                }
            }
            Message::Lease { virtual_rank, until } => {
                if self.steps() {
                    effects.push(Effect::Grant { virtual_rank, until });
                }
            }
            Message::Wish { generation, wish } => {
                if let Some(membership) = self.stepping_in(generation) {
                    match wish {
                        Wish::Reform => membership.wishes.reform = true,
                        Wish::Finish => membership.wishes.finish = true,
                        Wish::Snapshot => membership.wishes.snapshot = true,
                    }
                }
            }
            Message::Try { round, peers } => effects.push(Effect::Try { round, peers }),
            Message::Task(task) => {
                self.tasks.push_back(Asker::Coordinator);
                effects.push(Effect::Task(task));
            }
            Message::Retired { .. } if self.leaving => self.end(Ending::Left, effects),
            Message::Retired { why } => self.retired(why, effects),
            Message::Shutdown(outcome) => self.end(Ending::RunEnded(outcome), effects),
        }
    }

    /// Takes up a generation. One that still runs is aborted: its order came from a life of the coordinator that is over.
    fn form(&mut self, form: Form, effects: &mut Vec<Effect>) {
        self.abort(effects);
        self.membership = Some(Membership {
            generation: form.generation,
            stepping: true,
            writes: form.writer == Some(form.rank),
            spec: self.spec.clone(),
            wishes: Wishes::default(),
        });
        self.pass = Some(form.pass.clone());
        self.pace_us = None;
        self.mail.tell_consumed();
        effects.push(Effect::Form(form));
    }

    /// This incarnation is over. The next one comes when the training thread has parked: it says then what it holds.
    fn retired(&mut self, why: String, effects: &mut Vec<Effect>) {
        self.connection = Connection::Retiring;
        self.abort(effects);
        effects.extend([Effect::HangUp, Effect::AwaitParking { why }]);
        self.come_back_when_parked(effects);
    }

    fn come_back_when_parked(&mut self, effects: &mut Vec<Effect>) {
        if !self.steps() {
            self.incarnation = None;
            self.reconnect(effects);
        }
    }

    fn reconnect(&mut self, effects: &mut Vec<Effect>) {
        self.connection = Connection::Pending;
        effects.push(Effect::Connect);
        self.keep_alone(effects);
    }

    fn said(&mut self, report: Report, effects: &mut Vec<Effect>) {
        match report {
            Report::Ready { applied, .. } => {
                self.applied = Some(applied);
                self.mail.add(report);
            }
            Report::Parked { generation, applied, .. } => {
                self.applied = applied;
                self.mail.add(report);
                if let Some(membership) = self.stepping_in(generation) {
                    membership.stepping = false;
                    self.pace_us = None;
                    self.parked(effects);
                }
            }
            Report::Consumed { virtual_rank, ordinals } => self.mail.consumed(virtual_rank, ordinals),
            Report::CorruptRecords(records) => self.mail.corrupt(records),
            Report::TaskDone { .. } | Report::TaskFailed { .. } => match self.tasks.pop_front() {
                Some(Asker::Coordinator) => self.mail.add(report),
                Some(Asker::Itself) => self.leave_alone(effects),
                Some(Asker::EarlierStream) | None => {}
            },
            Report::Progress { .. }
            | Report::CutOff { .. }
            | Report::Tried { .. }
            | Report::StateHash { .. }
            | Report::StoreProof(_)
            | Report::SnapshotWritten(_)
            | Report::SnapshotFailed { .. }
            | Report::Warning { .. }
            | Report::Sample { .. } => self.mail.add(report),
            // The machine's own words.
            Report::Hello(_) | Report::Heartbeat { .. } | Report::WantsLeave => {}
        }
    }

    fn parked(&mut self, effects: &mut Vec<Effect>) {
        match self.connection {
            Connection::Retiring => self.come_back_when_parked(effects),
            Connection::Pending | Connection::Lost => self.keep_alone(effects),
            Connection::Open | Connection::Ended => {}
        }
    }

    /// Keeps what a leaving worker holds while the coordinator is away: at the boundary that it wished for it writes a
    /// snapshot. Other members may hold the same state and write it too: equal states give equal bytes.
    fn keep_alone(&mut self, effects: &mut Vec<Effect>) {
        if !self.leaving || self.steps() || self.tasks.contains(&Asker::Itself) {
            return;
        }
        match self.applied {
            None => self.leave_alone(effects),
            Some(held) if held.half() == Half::Discriminator => {
                self.tasks.push_back(Asker::Itself);
                effects.push(Effect::KeepAlone { step: held.step() });
            }
            Some(held) => {
                effects.push(Effect::CannotKeep { step: held.step() });
                self.leave_alone(effects);
            }
        }
    }

    /// Ends a leaving worker whose coordinator is away. One that has come back meanwhile lets it go itself.
    fn leave_alone(&mut self, effects: &mut Vec<Effect>) {
        match self.connection {
            Connection::Pending => self.end(Ending::Left, effects),
            Connection::Lost => self.end(Ending::CoordinatorLost, effects),
            Connection::Open | Connection::Retiring | Connection::Ended => {}
        }
    }

    fn end(&mut self, ending: Ending, effects: &mut Vec<Effect>) {
        self.connection = Connection::Ended;
        effects.push(Effect::End(ending));
    }

    fn abort(&self, effects: &mut Vec<Effect>) {
        if self.steps() {
            effects.push(Effect::Abort);
        }
    }

    /// The training thread is in a generation, or about to take it up.
    fn steps(&self) -> bool {
        self.membership.as_ref().is_some_and(|m| m.stepping)
    }

    fn stepping_in(&mut self, generation: Generation) -> Option<&mut Membership> {
        self.membership.as_mut().filter(|m| m.stepping && m.generation == generation)
    }
}
