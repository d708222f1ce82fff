//! A plan, and histories of entries such as the control machine writes: numbers of lives and generations are given once.
#![allow(dead_code, reason = "each test file uses its part")]

use lsgan_control::hashes::Difference;
use lsgan_control::{Direction, Entry, GoneReason, Member, Outcome, Start};
use lsgan_plan::{Geometry, Plan};
use lsgan_spec::{DeviceKind, Generation, Incarnation, Numerics, Reduction, Step, VirtualRank};
use proptest::prelude::*;

/// Virtual ranks of [`plan`].
pub const VIRTUAL_RANKS: u32 = 4;

/// A plan over 1,000 records.
pub fn plan() -> Plan {
    Plan::new(1, Geometry::new(1_000, 8, VIRTUAL_RANKS, 4).expect("it is one"))
}

/// An entry without its numbers, which depend on those before it.
#[derive(Clone, Debug)]
pub enum Word {
    Admit(String),
    Gone(u8, GoneReason),
    Form { members: u8, skipped: u8, start: u8 },
    Stepping,
    Halting,
    Consumed { rank: u32, more: u64 },
    Plain(Entry),
}

pub fn word() -> impl Strategy<Value = Word> {
    let text = || "[a-z \"'\u{1F600}\n]{0,12}";
    prop_oneof![
        3 => text().prop_map(Word::Admit),
        1 => (any::<u8>(), gone_reason()).prop_map(|(who, reason)| Word::Gone(who, reason)),
        3 => (0_u8..5, 0_u8..3, 0_u8..3).prop_map(|(members, skipped, start)| Word::Form { members, skipped, start }),
        1 => Just(Word::Stepping),
        1 => Just(Word::Halting),
        5 => (0..VIRTUAL_RANKS, 0_u64..5).prop_map(|(rank, more)| Word::Consumed { rank, more }),
        4 => plain().prop_map(Word::Plain),
    ]
}

pub fn gone_reason() -> impl Strategy<Value = GoneReason> {
    prop_oneof![
        Just(GoneReason::Left),
        Just(GoneReason::StreamBroke),
        Just(GoneReason::AttachedAgain),
        any::<u64>().prop_map(|timeout_ms| GoneReason::Silent { timeout_ms }),
        Just(GoneReason::NotBack),
        Just(GoneReason::NotParked),
    ]
}

/// Entries that stand for themselves.
fn plain() -> impl Strategy<Value = Entry> {
    let (incarnation, generation, step) = (Incarnation(3), Generation(2), Step(7));
    let by = || "anna@box".to_owned();
    let why = || "no route".to_owned();
    prop_oneof![
        Just(Entry::Numerics(Numerics::default())),
        Just(Entry::OtherNumerics {
            incarnation,
            numerics: Numerics { device: DeviceKind::Cuda, ..Numerics::default() }
        }),
        Just(Entry::LeftBehind { incarnation, attempts: 2, why: "not formed".to_owned() }),
        Just(Entry::Faulty { incarnation, why: why() }),
        Just(Entry::Straggles { incarnation, pace_us: 9, median_us: 3, evicted: true }),
        Just(Entry::CannotKeep { incarnation, why: why() }),
        Just(Entry::NoKeeper { step }),
        Just(Entry::Stands { generation, stood_ms: 5, limit_ms: 9, behind: vec![incarnation] }),
        Just(Entry::CutOff { incarnation, peer: Incarnation(1), direction: Direction::Both, why: why() }),
        Just(Entry::ReachedAgain { incarnation }),
        Just(Entry::NoProgress { attempts: 2, from: Reduction(4), wait_ms: 100, why: why() }),
        Just(Entry::Differs(Difference { odd: vec![incarnation], step, equal: Step(5) })),
        Just(Entry::StopRequested),
        Just(Entry::Paused { by: by() }),
        Just(Entry::Resumed { by: by() }),
        Just(Entry::DataUnfit(why())),
        Just(Entry::Ended(Outcome::Complete)),
        Just(Entry::Ended(Outcome::Stopped { step })),
        Just(Entry::Ended(Outcome::Failed { why: why() })),
        Just(Entry::Ended(Outcome::Refused { why: why() })),
    ]
}

/// Gives entries their numbers.
#[derive(Default)]
pub struct Numbers {
    incarnations: u64,
    generation: u64,
    consumed: [u64; VIRTUAL_RANKS as usize],
}

impl Numbers {
    pub fn entry(&mut self, word: &Word) -> Entry {
        let generation = Generation(self.generation);
        match word {
            Word::Admit(name) => {
                self.incarnations += 1;
                let address = format!("10.0.0.{}:4000", self.incarnations);
                Entry::Admitted { incarnation: Incarnation(self.incarnations), name: name.clone(), address }
            }
            Word::Gone(who, reason) => {
                let incarnation = Incarnation(u64::from(*who) % (self.incarnations + 1));
                Entry::Gone { incarnation, name: String::new(), reason: *reason }
            }
            Word::Form { members, skipped, start } => {
                self.generation += 1 + u64::from(*skipped);
                let start = match start {
                    0 => Start::Fresh,
                    1 => Start::Snapshot(Step(3)),
                    _ => Start::Held,
                };
                let members = (1..=u64::from(*members).min(self.incarnations)).map(|n| Member {
                    incarnation: Incarnation(n),
                    address: format!("10.0.0.{n}:4000"),
                    first: VirtualRank(n as u32 - 1),
                    count: 1,
                });
                let generation = Generation(self.generation);
                Entry::Generation { generation, members: members.collect(), from: Reduction(6), start }
            }
            Word::Stepping => Entry::Stepping(generation),
            Word::Halting => Entry::Halting { generation, why: "a peer is gone".to_owned() },
            Word::Consumed { rank, more } => {
                let done = &mut self.consumed[*rank as usize];
                let from = *done;
                *done += more;
                let (virtual_rank, until, incarnation) = (VirtualRank(*rank), *done, Incarnation(1));
                Entry::Consumed { virtual_rank, from, until, incarnation, generation }
            }
            Word::Plain(entry) => entry.clone(),
        }
    }
}
