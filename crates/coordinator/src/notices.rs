//! Sentences for people: what happened, for the log, the journal and `lsgan status`.

use std::collections::VecDeque;

use lsgan_control::{Entry, Outcome, Run, Start, Way};
use lsgan_wire::v1;

use crate::journal::wall_ms;

/// How many are kept for tools that ask; the journal has them all.
const KEPT: usize = 200;

/// The newest notices.
#[derive(Debug, Default)]
pub struct Notices {
    number: u64,
    kept: VecDeque<v1::Notice>,
}

impl Notices {
    /// None yet; the next one follows the `number` that the journal has, so that who watched a coordinator that died
    /// sees what is new with the next one.
    pub fn after(number: u64) -> Self {
        Self { number, ..Self::default() }
    }

    /// Adds one, and returns it.
    pub fn add(&mut self, warning: bool, text: String) -> &v1::Notice {
        self.number += 1;
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(v1::Notice { number: self.number, wall_ms: wall_ms(), text, warning });
        self.kept.back().expect("one was just added")
    }

    /// All that are kept, oldest first.
    pub fn all(&self) -> Vec<v1::Notice> {
        self.kept.iter().cloned().collect()
    }
}

/// What a person is told about a journal entry of `run`: `(whether to look at it, the sentence)`.
pub fn sentence(entry: &Entry, run: &Run) -> Option<(bool, String)> {
    let label = |incarnation, name: &str| match name {
        "" => format!("worker {incarnation}"),
        name => format!("worker {incarnation} ({name})"),
    };
    let known = |incarnation| label(incarnation, run.workers().get(incarnation).map_or("", |w| &w.name));
    Some(match entry {
        Entry::Admitted { incarnation, name, address } => {
            (false, format!("worker {incarnation} ({name}, peers at {address}) joined"))
        }
        Entry::Gone { incarnation, name, why } => {
            (!why.starts_with("left"), format!("{} is gone: {why}", label(incarnation, name)))
        }
        Entry::OtherNumerics { incarnation, numerics } => (
            true,
            format!(
                "{} has other numerics than the run ({numerics}) and is admitted, as cluster.numerics says: the run \
                 no longer promises equal bits",
                known(incarnation)
            ),
        ),
        Entry::Straggles { incarnation, pace_us, median_us, evicted } => {
            let ms = |us: &u64| *us as f64 / 1000.0;
            let then = if *evicted { "; it stands by while there are enough others" } else { "" };
            let text = format!(
                "{} is a straggler: it needs {:.1} ms for a virtual rank in a step, the median of the others is \
                 {:.1} ms{then}",
                known(incarnation),
                ms(pace_us),
                ms(median_us)
            );
            (true, text)
        }
        Entry::CutOff { incarnation, peer, way, why } => {
            let at = |incarnation| {
                let address = run.workers().get(incarnation).map_or("its address", |worker| &worker.address);
                format!("{} at {address}", known(incarnation))
            };
            (true, cut_off(&at(incarnation), &at(peer), *way, why))
        }
        Entry::NoProgress { attempts, from, wait_ms, why } => (
            true,
            format!(
                "no progress since step {}: {attempts} generations in a row have ended before they did anything. What \
                 ended the last one: {why} The next try is in {:.1} s, or when a worker joins or goes.",
                from.step(),
                *wait_ms as f64 / 1000.0
            ),
        ),
        Entry::Numerics(numerics) => (false, format!("the run's numerics are {numerics}")),
        Entry::Generation { generation, members, from, start } => {
            let workers = match members.len() {
                1 => "1 worker".to_owned(),
                n => format!("{n} workers"),
            };
            let origin = match start {
                Start::Fresh => "with fresh weights".to_owned(),
                Start::Snapshot(step) => format!("from the snapshot of step {step}"),
                Start::Held => format!("from the state held at step {}", from.step()),
            };
            (false, format!("generation {generation} of {workers} starts {origin}"))
        }
        Entry::Halting { generation, why } => (false, format!("generation {generation} ends: {why}")),
        Entry::StopRequested => (false, "stopping at the next step boundary, with a snapshot".to_owned()),
        Entry::DataUnfit(_) => {
            (true, "the data set is too bad to train on: stopping at the next step boundary".to_owned())
        }
        Entry::Ended(Outcome::Complete) => (false, "all steps are done".to_owned()),
        Entry::Ended(Outcome::Stopped { step }) => (false, format!("stopped after step {step}")),
        Entry::CannotKeep { incarnation, why } => {
            (true, format!("{} computes, but cannot write snapshots: {why}", known(incarnation)))
        }
        Entry::NoKeeper { step } => (
            true,
            format!(
                "step {step} is to be written, and no attached worker sees the run's store: the run waits for one that does. \
                 Start one, or mend the store on one of these hosts"
            ),
        ),
        Entry::Ended(Outcome::Refused { why }) => (true, format!("the run does not start: {why}")),
        Entry::Ended(Outcome::Failed { why }) => (true, format!("the run failed: {why}")),
        // What follows from a difference is the run's failure, which says it.
        Entry::Stepping(_) | Entry::Consumed { .. } | Entry::Differs(_) => return None,
    })
}

/// Why a worker stands aside, and what to do. Both come with their addresses.
fn cut_off(one: &str, peer: &str, way: Way, why: &str) -> String {
    let what = match way {
        Way::ToIt => format!("{peer} cannot connect to {one} ({why}), though the coordinator hears both"),
        Way::FromIt => format!("{one} cannot connect to {peer} ({why}), though the coordinator hears both"),
        Way::Both => {
            format!("{one} and {peer} cannot reach each other ({why}), though the coordinator hears both")
        }
    };
    let remedy = match way {
        Way::ToIt => {
            "Start it with --advertise IP, an address of its host that the other hosts reach, and with --peer-listen \
             IP:PORT on a port that the firewall lets in."
        }
        Way::FromIt => {
            "Either the second one's address is wrong (--advertise IP, --peer-listen IP:PORT, its firewall), or the \
             first one's host lets no connections out."
        }
        Way::Both => "Look at the network between their hosts.",
    };
    let goes = if way == Way::ToIt { "The second one" } else { "The first one" };
    format!("{what}. {goes} stands aside while there are enough others. {remedy}")
}
