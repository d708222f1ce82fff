//! The attached workers: they attach, are heard, and are lost.

use lsgan_spec::{Incarnation, Millis, Numerics, Reduction};
use serde::{Deserialize, Serialize};

use super::effect::{Effect, Entry, GoneReason};
use super::event::SessionId;
use super::machine::{Phase, Run};
use super::reach::Reach;
use super::timers::Timer;
use crate::pass::Rights;
use crate::protocol::{Hello, Message, Resume};

/// A worker that is attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// Its stream.
    pub session: SessionId,
    pub name: String,
    /// Where its peers reach it.
    pub address: String,
    /// What decides the bits that it computes, and what it can sum with.
    pub numerics: Numerics,
    /// Reductions applied in the state that it holds, as far as it has said.
    pub holds: Option<Reduction>,
    /// What its pass says.
    pub rights: Rights,
    /// When it attached.
    pub since: Millis,
    /// When it was last heard.
    pub heard: Millis,
    /// It asked to leave.
    pub leaving: bool,
    /// It was told to form (or attached while stepping) and has not parked since.
    pub computing: bool,
    /// What it lately needed by itself for one virtual rank in a step, in µs.
    pub pace_us: Option<u64>,
    /// Comparisons in a row that found it slow.
    pub slow_in_a_row: u32,
    /// Generations in a row that did not form because their state did not reach it.
    pub unreached_in_a_row: u32,
    /// Why it says that the generation's last step failed.
    pub(crate) failed: Option<String>,
    /// Generations in a row that it ended so, and the others did not.
    pub(crate) failed_in_a_row: u32,
    /// Why it stands by while there are enough other workers.
    pub aside: Option<Aside>,
    /// Whether it can keep snapshots.
    pub keeps: Keeps,
    /// Snapshots in a row that it could not write.
    pub failed_writes: u32,
    pub(crate) reach: Reach,
}

/// Whether a worker can keep snapshots, as it proved when it attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Keeps {
    /// It has not proved it yet.
    Unknown,
    /// It sees the coordinator's store.
    Yes,
    /// It does not, for this reason.
    No(String),
}

/// Why a worker stands by although there is a place for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Aside {
    /// It is much slower than the others, and the run's file wants such workers out.
    Slow,
    /// It and another worker cannot reach each other.
    CutOff,
    /// The run's state did not reach it, time after time.
    LeftBehind,
    /// The others cannot train with it.
    Faulty,
}

impl Worker {
    /// It is so much slower than the others that it was named.
    #[must_use]
    pub fn straggles(&self) -> bool {
        self.aside == Some(Aside::Slow) || self.slow_in_a_row >= super::stragglers::IN_A_ROW
    }
}

impl Run {
    pub(crate) fn joined(
        &mut self,
        now: Millis,
        session: SessionId,
        hello: Hello,
        effects: &mut Vec<Effect>,
    ) {
        if let Phase::Ended(outcome) = &self.phase {
            let message = Message::Shutdown(outcome.clone());
            effects.extend([Effect::Send { session, message }, Effect::Close { session }]);
            return;
        }
        if let Some(why) = self.refusal(&hello.numerics) {
            let message = Message::Refused { why };
            effects.extend([Effect::Send { session, message }, Effect::Close { session }]);
            return;
        }
        let (hello, rights) = self.believed(hello);
        let worker = Worker {
            session,
            name: hello.name,
            address: hello.address,
            numerics: hello.numerics,
            holds: hello.holds,
            rights,
            since: now,
            heard: now,
            leaving: false,
            computing: hello.resume.as_ref().is_some_and(|r| r.stepping),
            pace_us: None,
            slow_in_a_row: 0,
            unreached_in_a_row: 0,
            failed: None,
            failed_in_a_row: 0,
            aside: None,
            keeps: Keeps::Unknown,
            failed_writes: 0,
            reach: Reach::default(),
        };
        match hello.resume {
            Some(resume) if self.is_adopted(&resume) => self.adopt_member(now, resume, worker, effects),
            resume => {
                let former = resume.map(|resume| resume.incarnation);
                if let Some(former) = former {
                    self.end_former_incarnation(former, effects);
                }
                self.admit(now, worker, effects);
                self.recall_unreached(former, self.incarnation, effects);
            }
        }
    }

    /// A Hello shows a pass of this run.
    #[must_use]
    pub fn believes(&self, hello: &Hello) -> bool {
        hello.pass.as_ref().is_some_and(|pass| self.config.pass_key.is_genuine(pass))
    }

    /// What is believed of a Hello: without a pass of this run, a worker is a new one that holds nothing; with one it is who
    /// the pass says, and what it holds may be of the generations that the pass speaks of.
    fn believed(&self, hello: Hello) -> (Hello, Rights) {
        let genuine = hello.pass.as_ref().filter(|_| self.believes(&hello));
        let rights = genuine.map(|pass| pass.rights).unwrap_or_default();
        let resume = hello.resume.filter(|resume| {
            genuine.is_some()
                && resume.incarnation == rights.incarnation
                && resume.generation <= self.generation
        });
        // It cannot step in a generation that it was not told to form.
        let formed = |resume: &Resume| rights.trained() && resume.generation == rights.generation;
        let resume = resume.map(|resume| Resume {
            stepping: resume.stepping && formed(&resume),
            writes: resume.writes && formed(&resume),
            ..resume
        });
        let holds = hello.holds.filter(|held| rights.trained() && *held <= rights.until.first_reduction());
        (Hello { holds, resume, ..hello }, rights)
    }

    /// A member of the generation that may be alive comes back to a coordinator that was started again.
    fn is_adopted(&self, resume: &Resume) -> bool {
        self.phase == Phase::Adopting
            && self.is_member(resume.incarnation)
            && resume.generation == self.generation
            && !self.workers.contains_key(&resume.incarnation)
    }

    fn adopt_member(&mut self, now: Millis, resume: Resume, mut worker: Worker, effects: &mut Vec<Effect>) {
        let incarnation = resume.incarnation;
        let rank = self.members.iter().position(|m| m.incarnation == incarnation).expect("it is a member");
        // Its peers know it by the address that it had when the generation was formed.
        worker.address.clone_from(&self.members[rank].address);
        let pass = self.config.pass_key.seal(worker.rights);
        if resume.writes {
            self.writer = Some(incarnation);
        }
        self.other_spec |= resume.spec != self.config.spec;
        let session = worker.session;
        self.attach(now, incarnation, worker);
        effects
            .push(Effect::Send { session, message: Message::Welcome { incarnation, adopted: true, pass } });
        self.send_leases(rank, session, effects);
    }

    /// The process attaches again before its old stream was seen to break, or after its incarnation was over.
    fn end_former_incarnation(&mut self, incarnation: Incarnation, effects: &mut Vec<Effect>) {
        if let Some(old) = self.workers.get(&incarnation) {
            effects.push(Effect::Close { session: old.session });
        }
        self.lose(incarnation, GoneReason::AttachedAgain, effects);
        if self.is_member(incarnation) && self.phase == Phase::Adopting {
            self.halt("a member came back that was never told to form it", effects);
        }
    }

    /// Gives the worker a new incarnation.
    fn admit(&mut self, now: Millis, mut worker: Worker, effects: &mut Vec<Effect>) {
        self.incarnation = self.incarnation.next();
        let (incarnation, session) = (self.incarnation, worker.session);
        worker.rights.incarnation = incarnation;
        let pass = self.config.pass_key.seal(worker.rights);
        let odd = self.numerics.as_ref().is_some_and(|run| *run != worker.numerics);
        let (name, address) = (worker.name.clone(), worker.address.clone());
        effects.push(Effect::Journal(Entry::Admitted { incarnation, name, address }));
        if odd {
            let numerics = worker.numerics.clone();
            effects.push(Effect::Journal(Entry::OtherNumerics { incarnation, numerics }));
        }
        effects
            .push(Effect::Send { session, message: Message::Welcome { incarnation, adopted: false, pass } });
        self.attach(now, incarnation, worker);
    }

    /// The worker is not silent. The delay is this coordinator's own, so that silences are not tolerated for longer.
    pub(crate) fn alive_at(&mut self, now: Millis, session: SessionId) {
        if let Some((_, worker)) = self.by_session(session) {
            worker.heard = now;
        }
    }

    /// Takes in a heartbeat; returns whether anything can follow from it.
    pub(crate) fn heard(
        &mut self,
        now: Millis,
        session: SessionId,
        applied: Option<Reduction>,
        pace_us: Option<u64>,
    ) -> bool {
        let Some((_, worker)) = self.by_session(session) else { return false };
        let silent_ms = now.0.saturating_sub(worker.heard.0);
        worker.heard = now;
        worker.pace_us = pace_us;
        // A state grows only in a generation.
        let applied = if worker.computing { applied } else { applied.min(worker.holds) };
        let news = worker.holds != applied && !worker.computing;
        worker.holds = applied;
        self.silences.ended(now, silent_ms);
        news
    }

    /// The worker's incarnation is over.
    pub(crate) fn lose(&mut self, incarnation: Incarnation, reason: GoneReason, effects: &mut Vec<Effect>) {
        self.remember_unreached(incarnation, &reason);
        let Some(worker) = self.detach(incarnation) else { return };
        let needed = match self.phase {
            // It will come back under another incarnation, so the generation cannot be adopted.
            Phase::Adopting => true,
            // A member that has parked and left takes nothing with it that the others wait for.
            Phase::Forming { .. } | Phase::Stepping | Phase::Halting { .. } => worker.computing,
            Phase::Gathering | Phase::Closing { .. } | Phase::Ended(_) => false,
        };
        // Halting is journaled first: a coordinator that finds only half of this must not wait for a worker that is gone.
        if self.is_member(incarnation) && needed {
            self.halt(&format!("worker {incarnation} ({}) is gone: {reason}", worker.name), effects);
        }
        effects.push(Effect::Journal(Entry::Gone { incarnation, name: worker.name, reason }));
    }

    pub(crate) fn by_session(&mut self, session: SessionId) -> Option<(Incarnation, &mut Worker)> {
        let incarnation = *self.sessions.get(&session)?;
        Some((incarnation, self.workers.get_mut(&incarnation).expect("a stream is that of a worker")))
    }

    pub(crate) fn attach(&mut self, now: Millis, incarnation: Incarnation, worker: Worker) {
        self.silences.began(now);
        let due = now.plus(self.silences.timeout_ms(now, &self.config) + 1);
        let due = self.timers.at(Timer::Silence).map_or(due, |set| set.min(due));
        self.timers.set(Timer::Silence, due);
        self.sessions.insert(worker.session, incarnation);
        self.workers.insert(incarnation, worker);
    }

    pub(crate) fn detach(&mut self, incarnation: Incarnation) -> Option<Worker> {
        let worker = self.workers.remove(&incarnation)?;
        self.sessions.remove(&worker.session);
        Some(worker)
    }
}
