//! Worlds with two coordinators: an older one lives on, cut off or slow, while a newer one restores the journal's copy and
//! leads. Puts into the copy are slow, late, out of order, and answered late or never.
//!
//! The copy is a sequence of numbered pieces, of which each is created once, as in the shipped `coordinator::copy`. What a
//! coordinator tells about an entry waits until a piece has it. One that finds another one's piece in the place of its own has
//! been deposed: it says nothing of what it decided, and ends. Pieces become part of a base, and their numbers are free again; those
//! by which coordinators took the lead stay.

use std::collections::VecDeque;

use lsgan_control::{Effect, Entry, Message, Outcome, Recovered, Run, SessionId};
use lsgan_spec::Millis;

use crate::faults::Class;
use crate::network::Happening;
use crate::shell::Shell;
use crate::world::World;

/// Tells the coordinators of a world apart, in the order in which they started.
pub type Coordinator = u64;

/// What no message waits for is in the copy after this time.
const LAG_MS: u64 = 2_000;
/// A piece whose creation is not answered is asked for again, as it was.
const ASKS_AGAIN_MS: u64 = 3_000;
/// A coordinator that has nothing to copy looks after so long whether another one leads.
const LOOK_EVERY_MS: u64 = 5_000;
/// A supervisor starts again a coordinator that lost a race to the lead.
const RESTART_MS: u64 = 500;
/// A base is made after so many pieces of a coordinator: few, so that one that is late finds its number free.
const BASE_EVERY: usize = 2;
/// So many coordinators of before live on at most.
const OLD_MAX: usize = 2;

/// A piece of the copy.
#[derive(Clone, Debug)]
pub struct Piece {
    by: Coordinator,
    /// The journal that it is of, by the coordinator that made it.
    journal: Coordinator,
    /// Its coordinator takes the lead with it.
    takes_over: bool,
    entries: Vec<Entry>,
    /// It has become part of a base: its number is free.
    is_deleted: bool,
}

/// The copy, in a store that creates each number once.
#[derive(Debug, Default)]
pub struct Copied {
    pieces: Vec<Piece>,
    /// The entries of all pieces.
    entries: Vec<Entry>,
}

/// A coordinator's view of the copy.
#[derive(Debug, Default)]
pub struct Fence {
    /// The number of the next piece, counted from 0.
    next: usize,
    /// So many entries of its journal are in pieces.
    copied: usize,
    /// It has taken the lead, as far as it knows.
    leads: bool,
    /// A piece whose creation has not been answered. It must not change: it may be there.
    tried: Option<Piece>,
    /// It will look whether another one leads.
    looks: bool,
    /// What waits until so many entries are copied.
    held: VecDeque<(usize, Held)>,
}

#[derive(Debug)]
enum Held {
    Tell(SessionId, Message),
    Close(SessionId),
    End(Outcome),
}

impl World {
    /// Whether the journal of this world is copied, and coordinators are superseded.
    pub(crate) fn is_copied(&self) -> bool {
        self.setup.classes.contains(&Class::Superseded)
    }

    /// Whether a newer coordinator has started than the one that acts now.
    pub(crate) fn is_superseded(&self) -> bool {
        self.shell.id != self.coordinators
    }

    /// Whether the entry that sets the run's numerics lasts, so that a worker with others may start.
    pub(crate) fn numerics_last(&self) -> bool {
        let journal = if self.is_copied() { &self.copy.entries } else { &self.shell.journal };
        journal.iter().any(|entry| matches!(entry, Entry::Numerics(_)))
    }

    /// Does something as this coordinator, if it is still there.
    pub(crate) fn as_coordinator(&mut self, id: Coordinator, act: impl FnOnce(&mut Self)) {
        if self.shell.id == id {
            return act(self);
        }
        let Some(index) = self.olds.iter().position(|old| old.id == id) else { return };
        std::mem::swap(&mut self.shell, &mut self.olds[index]);
        act(self);
        std::mem::swap(&mut self.shell, &mut self.olds[index]);
        self.olds.retain(Shell::is_up);
    }

    /// A coordinator that a worker reaches now: any that is up, since each believes that it leads.
    pub(crate) fn some_coordinator(&mut self) -> Option<Coordinator> {
        let ups = std::iter::once(&self.shell).chain(&self.olds).filter(|shell| shell.is_up());
        let ups: Vec<_> = ups.map(|shell| shell.id).collect();
        match ups[..] {
            [] => None,
            [one] => Some(one),
            _ => Some(ups[self.rng.between(0, ups.len() as u64 - 1) as usize]),
        }
    }

    /// The coordinator is taken for dead: another one starts after `after_ms`. It hears and says little for `silent_ms`, and
    /// some of its workers leave it.
    pub(crate) fn supersede(&mut self, after_ms: u64, silent_ms: u64) {
        if !self.shell.is_up() || self.olds.len() == OLD_MAX {
            return;
        }
        let until = self.now.plus(silent_ms).min(self.setup.calm_from);
        self.shell.slow_until = until;
        self.shell.dies_ms = None;
        let old = std::mem::take(&mut self.shell);
        for (session, process) in self.network.open_of(old.id) {
            match self.rng.between(0, 2) {
                0 => {
                    self.hang_up(session);
                    self.push_within(2 * self.setup.net_ms_max, Happening::StreamLost(process, session));
                }
                1 => {
                    let (up, down) = (self.rng.one_in(2), self.rng.one_in(2));
                    let link = self.network.link(session);
                    link.up_cut_until = if up { until } else { link.up_cut_until };
                    link.down_cut_until = if down { until } else { link.down_cut_until };
                }
                _ => {}
            }
        }
        self.olds.push(old);
        self.queue.push(self.now.plus(after_ms), Happening::CoordinatorStarts);
    }

    /// A coordinator starts: it reads the copy, and creates the next piece before it leads.
    pub(crate) fn start_candidate(&mut self) {
        if self.shell.fence.is_some() {
            return;
        }
        self.coordinators += 1;
        let id = self.coordinators;
        let is_own = |last: &Piece| last.journal == self.shell.journal_of;
        if !self.copy.pieces.last().is_none_or(is_own) || self.shell.journal_of == 0 {
            self.shell.journal = self.copy.entries.clone();
            self.shell.journal_of = id;
        }
        let (next, copied) = (self.copy.pieces.len(), self.copy.entries.len());
        self.note(|_| format!("coordinator {id} starts after piece {next}"));
        self.shell.id = id;
        self.shell.fence = Some(Fence { next, copied, ..Fence::default() });
        self.put_piece();
    }

    /// The process ends; what is on its disk stays, unless the host is lost with it.
    pub(crate) fn drop_fence(&mut self, loses_host: bool) {
        self.shell.fence = None;
        if loses_host {
            self.shell.journal.clear();
            self.shell.journal_of = 0;
        }
    }

    /// Performs effects: what is told waits for the entries before it.
    pub(crate) fn hold(&mut self, effects: Vec<Effect>, cut: Option<usize>) {
        for effect in effects.into_iter().take(cut.unwrap_or(usize::MAX)) {
            let held = match effect {
                Effect::Journal(entry) => {
                    self.note(|w| format!("  {} journals {entry:?}", w.shell.id));
                    let outcome = match &entry {
                        Entry::Ended(outcome) => Some(Held::End(outcome.clone())),
                        _ => None,
                    };
                    self.shell.journal.push(entry);
                    let Some(end) = outcome else { continue };
                    end
                }
                Effect::Send { session, message } => Held::Tell(session, message),
                Effect::Close { session } => Held::Close(session),
            };
            let needed = self.shell.journal.len();
            self.fence().held.push_back((needed, held));
        }
        self.release();
        if cut.is_some() {
            let down_ms = self.shell.dies_ms.unwrap_or_default();
            return self.crash_coordinator(down_ms);
        }
        if self.shell.is_up() {
            self.copy_soon();
        }
    }

    fn fence(&mut self) -> &mut Fence {
        self.shell.fence.as_mut().expect("a coordinator of a copied world has one")
    }

    /// Does what need not wait any longer.
    fn release(&mut self) {
        while self.shell.is_up() {
            let fence = self.fence();
            let copied = fence.copied;
            let Some((needed, held)) = fence.held.pop_front_if(|(needed, _)| *needed <= copied) else {
                return;
            };
            match held {
                Held::Tell(session, message) => {
                    self.check(|w| w.copy.has(&w.shell, needed, &message));
                    self.tell(session, message);
                }
                Held::Close(session) => self.close(session),
                Held::End(outcome) => self.ended(outcome),
            }
        }
    }

    /// Puts the next piece, at once if a message waits for it.
    fn copy_soon(&mut self) {
        let (id, entries) = (self.shell.id, self.shell.journal.len());
        let fence = self.fence();
        if fence.tried.is_some() {
            return;
        }
        if entries == fence.copied {
            if !std::mem::replace(&mut fence.looks, true) {
                self.queue.push(self.now.plus(LOOK_EVERY_MS), Happening::LooksWhoLeads(id));
            }
            return;
        }
        if fence.held.is_empty() {
            return self.push_within(LAG_MS, Happening::PieceDue(id));
        }
        self.put_piece();
    }

    /// A coordinator that has nothing to copy looks whether the next number is taken.
    pub(crate) fn looks_who_leads(&mut self) {
        if !self.shell.is_up() {
            return;
        }
        let (entries, fence) = (self.shell.journal.len(), self.fence());
        fence.looks = false;
        if fence.tried.is_some() || entries > fence.copied {
            return;
        }
        let next = fence.next;
        match self.copy.pieces.get(next).map(|piece| piece.by) {
            Some(by) => self.deposed(by),
            None => self.copy_soon(),
        }
    }

    /// Time to copy what no message waits for.
    pub(crate) fn piece_due(&mut self) {
        if self.shell.is_up()
            && self.fence().tried.is_none()
            && self.shell.journal.len() > self.fence().copied
        {
            self.put_piece();
        }
    }

    /// Asks the store to create the next piece.
    fn put_piece(&mut self) {
        let (by, journal) = (self.shell.id, self.shell.journal_of);
        let fence = self.shell.fence.as_ref().expect("a coordinator of a copied world has one");
        let entries = self.shell.journal[fence.copied..].to_vec();
        let piece = Piece { by, journal, takes_over: !fence.leads, entries, is_deleted: false };
        self.fence().tried = Some(piece);
        self.ask();
    }

    /// Sends the piece that is tried, and asks again later.
    fn ask(&mut self) {
        let (id, until) = (self.shell.id, self.shell.slow_until);
        let fence = self.fence();
        let number = fence.next;
        let piece = fence.tried.clone().expect("there is one to ask for");
        let at = self.later_at_store(until);
        self.queue.push(at, Happening::PieceArrives { number, piece: Box::new(piece) });
        self.queue.push(self.now.plus(ASKS_AGAIN_MS), Happening::PieceAskedAgain(id, number));
    }

    /// When something reaches the store, or comes back from it.
    fn later_at_store(&mut self, slow_until: Millis) -> Millis {
        let soon = self.later(self.setup.net_ms_max);
        if self.calm {
            return soon;
        }
        match (slow_until > self.now, self.rng.one_in(8)) {
            (true, _) => Millis(self.rng.between(soon.0, soon.0.max(slow_until.0) + LAG_MS)),
            (false, true) => soon.plus(self.rng.between(0, 2 * ASKS_AGAIN_MS)),
            (false, false) => soon,
        }
    }

    pub(crate) fn asked_again(&mut self, number: usize) {
        let Some(fence) = &self.shell.fence else { return };
        if fence.next == number && fence.tried.is_some() {
            self.ask();
        }
    }

    /// A request to create a piece reaches the store, whoever sent it and whether it still lives.
    pub(crate) fn piece_arrives(&mut self, number: usize, piece: Piece) {
        let by = piece.by;
        let there = self.copy.pieces.get(number).filter(|there| !there.is_deleted).cloned();
        if let (None, Some(free)) = (&there, self.copy.pieces.get_mut(number)) {
            // What it has is of no use to anybody: all start from the base, which is beyond it.
            *free = piece;
        } else if there.is_none() {
            if number > self.copy.pieces.len() {
                return self.violated(format!("piece {number} is created before the one before it"));
            }
            for entry in &piece.entries {
                self.check(|w| w.history.journaled(entry));
            }
            self.note(|_| {
                format!("piece {number} is created by coordinator {by}, {} entries", piece.entries.len())
            });
            self.copy.entries.extend_from_slice(&piece.entries);
            self.copy.pieces.push(piece);
        }
        // Answers are lost as well. Then it is asked for again.
        if self.calm || !self.rng.one_in(6) {
            let at = self.later_at_store(Millis(0));
            let theirs = there.filter(|there| there.by != by).map(Box::new);
            self.queue.push(at, Happening::PieceAnswered { by, number, theirs });
        }
    }

    /// The store has answered: the piece is there, or another one's is in its place.
    pub(crate) fn piece_answered(&mut self, number: usize, theirs: Option<Piece>) {
        let Some(fence) = self.shell.fence.as_mut().filter(|fence| fence.next == number) else { return };
        let Some(piece) = fence.tried.take() else { return };
        match theirs {
            None => {
                fence.next += 1;
                fence.copied += piece.entries.len();
                if fence.leads {
                    self.make_base();
                    self.release();
                    if self.shell.is_up() {
                        self.copy_soon();
                    }
                } else if self.copy.pieces.len() > self.fence().next {
                    // Its number was free again, or another one has taken over already.
                    self.starts_again();
                } else {
                    self.lead();
                }
            }
            Some(theirs) if fence.leads => self.deposed(theirs.by),
            // The coordinator of before was not done yet: what it wrote belongs to the journal.
            Some(theirs) if !theirs.takes_over => {
                fence.next += 1;
                fence.copied += theirs.entries.len();
                if theirs.journal != self.shell.journal_of {
                    self.shell.journal.extend(theirs.entries);
                }
                self.put_piece();
            }
            // Another one starts at the same moment.
            Some(_) => self.starts_again(),
        }
    }

    /// It does not lead, and its supervisor starts it once more.
    fn starts_again(&mut self) {
        self.shell.fence = None;
        self.queue.push(self.now.plus(RESTART_MS), Happening::CoordinatorStarts);
    }

    /// The pieces before the newest that this coordinator knows become part of a base, but those by which others took the lead.
    fn make_base(&mut self) {
        let newest = self.fence().next - 1;
        if newest.is_multiple_of(BASE_EVERY) {
            self.copy.pieces[..newest].iter_mut().for_each(|piece| piece.is_deleted = !piece.takes_over);
        }
    }

    fn lead(&mut self) {
        self.fence().leads = true;
        self.note(|w| format!("coordinator {} leads", w.shell.id));
        let ended = self.shell.journal.iter().rev().find_map(|entry| match entry {
            Entry::Ended(outcome) => Some(outcome.clone()),
            _ => None,
        });
        let recovered = self.recovered();
        self.shell.journal.push(recovered.base());
        self.shell.run = Some(Run::new(self.setup.config.clone(), recovered, self.now));
        if let Some(outcome) = ended {
            return self.ended(outcome);
        }
        self.leads_now();
        self.copy_soon();
    }

    /// What the journal says.
    pub(crate) fn recovered(&mut self) -> Recovered {
        let snapshot = self.store.last_key_value().map(|(step, _)| *step);
        let base = self.shell.journal.iter().rposition(|entry| matches!(entry, Entry::Base(_)));
        let recovered = Recovered::replay(&self.shell.journal[base.unwrap_or(0)..], snapshot);
        self.note(|_| format!("the coordinator starts with {recovered:?}"));
        recovered
    }

    /// It finds that another one leads, and ends.
    fn deposed(&mut self, by: Coordinator) {
        self.note(|w| format!("coordinator {} finds that {by} leads, and ends", w.shell.id));
        self.coverage.deposed += 1;
        self.coverage.fenced += self.fence().held.len() as u64;
        let id = self.shell.id;
        self.shell.run = None;
        self.shell.fence = None;
        for (session, process) in self.network.cut_all(id) {
            self.push_within(2 * self.setup.net_ms_max, Happening::StreamLost(process, session));
        }
    }
}

impl Copied {
    /// A coordinator tells nothing that rests on an entry which the copy does not have, or has otherwise.
    fn has(&self, teller: &Shell, needed: usize, message: &Message) -> Result<(), String> {
        let Some(last) = needed.checked_sub(1) else { return Ok(()) };
        if self.entries.get(last) == teller.journal.get(last) {
            return Ok(());
        }
        Err(format!("coordinator {} tells {message:?}, and the copy has not what that rests on", teller.id))
    }
}
