//! Programs that are no workers: each opens a stream, says Hello with claims that it cannot prove or says none, and then
//! anything in any order. They draw from a stream of their own.

use lsgan_control::report::{CorruptRecord, FinalFile, PublishedSnapshot};
use lsgan_control::{Hello, ParkReason, Pass, Report, Resume, Rights};
use lsgan_spec::{Generation, Incarnation, Numerics, Reduction, Step, VirtualRank};

use crate::network::Happening;
use crate::process::{Life, Process};
use crate::world::World;

/// The longest time between its first word and its last.
const SPEAKS_MS: u64 = 3_000;

impl World {
    /// One of them reaches the coordinator, if there is one.
    pub(crate) fn stranger_comes(&mut self) {
        if !self.shell.is_up() {
            return;
        }
        let number = self.processes.len() + 1;
        // Nothing that it is told changes what it does.
        self.processes.push(Process { stranger: true, life: Life::Ended, ..Process::new(number, false) });
        let session = self.network.open(number - 1, self.shell.id);
        let mut said = Vec::new();
        if self.strangers.one_in(2) {
            said.push(Report::Hello(self.forged_hello(number)));
            self.coverage.strangers += 1;
        }
        for _ in 0..self.strangers.between(1, 20) {
            said.push(self.anything());
        }
        let mut at = self.now;
        for report in said {
            at = at.plus(self.strangers.delay_ms(SPEAKS_MS / 20));
            self.queue.push(at, Happening::AtCoordinator(session, report));
        }
        if self.strangers.one_in(2) {
            self.queue.push(at, Happening::StreamClosed(session));
        }
    }

    fn forged_hello(&mut self, number: usize) -> Hello {
        let (incarnation, generation) = (Incarnation(self.strangers.between(1, 9)), self.a_generation());
        let until = Step(self.setup.config.steps);
        let rights = Rights { incarnation, generation, until, led: true };
        let resume = Resume {
            incarnation,
            generation,
            stepping: self.strangers.one_in(2),
            writes: true,
            spec: String::new(),
        };
        Hello {
            name: format!("stranger {number}"),
            address: format!("10.9.0.{}:4000", number & 255),
            numerics: Numerics { model: "even".to_owned(), ..Numerics::default() },
            holds: Some(Reduction(self.a_number())),
            resume: self.strangers.one_in(2).then_some(resume),
            data_fingerprint: String::new(),
            pass: self.strangers.one_in(2).then(|| Box::new(Pass { rights, seal: [7; 32] })),
        }
    }

    /// The newest generation, mostly.
    fn a_generation(&mut self) -> Generation {
        let newest = self.shell.run.as_ref().map_or(0, |run| run.generation().0);
        Generation(newest.saturating_sub(self.strangers.between(0, 1)))
    }

    /// A number that the run could have, or one that nothing has.
    fn a_number(&mut self) -> u64 {
        match self.strangers.one_in(4) {
            true => u64::MAX - self.strangers.between(0, 1),
            false => self.strangers.between(0, 2 * self.setup.config.steps),
        }
    }

    /// No proof that it sees the store, which it does not see: it is no candidate then.
    fn anything(&mut self) -> Report {
        let (generation, number) = (self.a_generation(), self.a_number());
        let (applied, step, why) = (Reduction(number), Step(number), "because".to_owned());
        let peer = Incarnation(self.strangers.between(1, 9));
        match self.strangers.between(0, 17) {
            0 => Report::Heartbeat { applied: Some(applied), pace_us: Some(number) },
            1 => Report::Progress { generation },
            2 => Report::Ready { generation, applied },
            3 => Report::Parked { generation, applied: Some(applied), reason: ParkReason::Boundary },
            4 => Report::Parked { generation, applied: Some(applied), reason: ParkReason::Failed(why) },
            5 => Report::CutOff { generation, peer, why },
            6 => Report::Tried { round: self.strangers.between(0, 5), missing: vec![(peer, why)] },
            7 => Report::Consumed {
                virtual_rank: VirtualRank(self.strangers.between(0, 9) as u32),
                ordinals: number,
            },
            8 => Report::StateHash { step, hash: [3; 32] },
            9 => Report::SnapshotWritten(PublishedSnapshot { step, ..PublishedSnapshot::default() }),
            10 => Report::SnapshotFailed { step, why },
            11 => {
                let file =
                    |name: &str| FinalFile { name: name.to_owned(), url: why.clone(), blake3: why.clone() };
                Report::TaskDone { files: vec![file("generator")] }
            }
            12 => Report::TaskFailed { why },
            13 => Report::CorruptRecords(vec![CorruptRecord {
                record: number,
                key: why.clone(),
                reason: why,
                step,
            }]),
            14 => Report::Warning { text: why },
            15 => Report::Sample { step, png: Vec::new() },
            16 => Report::WantsLeave,
            _ => {
                let number = self.processes.len();
                Report::Hello(self.forged_hello(number))
            }
        }
    }
}
