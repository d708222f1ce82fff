//! Reads the records that workers say do not decode: one counts once it does not decode here either, so that no worker alone
//! ends a run by naming records (`data.max_corrupt`).
//!
//! Each record is read once, a few at a time, on a thread beside the shell, and the data set is opened for it when the first one
//! is named. What people read of a record is what was found here. Where the coordinator cannot read its own data any more, a
//! worker's word counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use lsgan_console::vital;
use lsgan_control::SessionId;
use lsgan_control::report::CorruptRecord;
use lsgan_data::{RecordError, Source};
use lsgan_launch::data_fingerprint;
use lsgan_spec::{RunSpec, chain};
use lsgan_wire::v1;

use crate::causes::Lasts;
use crate::notices::{Telling, shown};
use crate::service::Input;
use crate::shell::Shell;

/// Records that are read before the shell hears of them.
const AT_ONCE: usize = 16;
/// The longest name of a record, and the longest reason.
const TEXT_LEN_BYTES_MAX: usize = 4 << 10;

/// A record that a worker says does not decode. Its words are not kept: whoever names all records takes 24 bytes for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Named {
    record: u64,
    step: u64,
    session: SessionId,
}

/// What is found of it here.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Finding {
    Corrupt {
        key: String,
        reason: String,
    },
    Decodes,
    /// This process cannot read it, for this reason.
    Unreadable(String),
}

/// Records that were read, for the shell.
#[derive(Debug)]
pub struct ReadAgain(Vec<(Named, Finding)>);

type Opened = Arc<Mutex<Option<Box<dyn Source>>>>;

/// See the module.
#[derive(Default)]
pub(crate) struct Confirming {
    waiting: BTreeMap<u64, Named>,
    reading: bool,
    /// Records that decode here.
    decodes: BTreeSet<u64>,
    /// Streams that have named such, which was told.
    told: BTreeSet<SessionId>,
    source: Opened,
}

impl Confirming {
    /// A worker names a record, which is to be read unless it is known to decode.
    fn name(&mut self, named: Named) {
        if !self.decodes.contains(&named.record) {
            self.waiting.entry(named.record).or_insert(named);
        }
    }

    /// What is to be read now, if nothing is being read.
    fn next(&mut self) -> Option<Vec<Named>> {
        if self.reading || self.waiting.is_empty() {
            return None;
        }
        self.reading = true;
        let waiting = std::iter::from_fn(|| self.waiting.pop_first());
        Some(waiting.take(AT_ONCE).map(|(_, named)| named).collect())
    }

    /// Takes what was found. Returns the records that count, and the streams that are to be told of: each has named a record
    /// that decodes, for the first time.
    fn found(&mut self, ReadAgain(read): ReadAgain) -> (Vec<v1::CorruptRecord>, Vec<Named>) {
        self.reading = false;
        let (mut counts, mut wrong) = (Vec::new(), Vec::new());
        for (named, finding) in read {
            // Somebody may have named it meanwhile.
            self.waiting.remove(&named.record);
            match finding {
                Finding::Corrupt { key, reason } => counts.push(named.with(&key, &reason)),
                Finding::Unreadable(why) => {
                    let reason = format!("a worker says so, and the coordinator cannot read it: {why}");
                    counts.push(named.with(&format!("number {}", named.record), &reason));
                }
                Finding::Decodes => {
                    self.decodes.insert(named.record);
                    if self.told.insert(named.session) {
                        wrong.push(named);
                    }
                }
            }
        }
        (counts, wrong)
    }

    /// Whether something is being read.
    pub fn is_busy(&self) -> bool {
        self.reading
    }
}

impl Named {
    fn with(self, key: &str, reason: &str) -> v1::CorruptRecord {
        let [key, reason] = [key, reason].map(|text| shown(text, TEXT_LEN_BYTES_MAX));
        v1::CorruptRecord { record: self.record, key, reason, step: self.step }
    }
}

/// Reads a record as a worker does.
fn look(source: &dyn Source, record: u64, sample: &mut [f32]) -> Finding {
    match source.read(record, sample) {
        Ok(()) => Finding::Decodes,
        Err(RecordError::Undecodable { key, reason, .. }) => Finding::Corrupt { key, reason },
        Err(error) => Finding::Unreadable(error.to_string()),
    }
}

/// The run's data set, if it still is that one.
fn open(spec: &RunSpec, fingerprint: &str) -> Result<Box<dyn Source>, String> {
    let source = lsgan_data::open(&spec.data, spec.seed).map_err(|error| chain(&error))?;
    let found = data_fingerprint(&*source, &spec.model).map_err(|failure| failure.text)?;
    if found == fingerprint { Ok(source) } else { Err("the data set has changed".to_owned()) }
}

fn read_all(opened: &Opened, (spec, fingerprint): (&RunSpec, &str), named: Vec<Named>) -> ReadAgain {
    let mut held = opened.lock().unwrap_or_else(PoisonError::into_inner);
    if held.is_none() {
        match open(spec, fingerprint) {
            Ok(source) => *held = Some(source),
            Err(why) => {
                let unread = |one| (one, Finding::Unreadable(why.clone()));
                return ReadAgain(named.into_iter().map(unread).collect());
            }
        }
    }
    let source = held.as_deref().expect("it is opened above");
    let mut sample = vec![0.0_f32; source.sample_len()];
    ReadAgain(named.into_iter().map(|one| (one, look(source, one.record, &mut sample))).collect())
}

impl Shell {
    /// A worker says that records do not decode.
    pub(crate) fn corrupt_records(&mut self, session: SessionId, reported: Vec<CorruptRecord>) {
        for CorruptRecord { record, step, .. } in reported {
            if !self.data.is_known(record) {
                self.confirming.name(Named { record, step: step.0, session });
            }
        }
        self.read_named()
    }

    /// Has the next records read, unless some are.
    fn read_named(&mut self) {
        let Some(named) = self.confirming.next() else { return };
        let (opened, inputs) = (self.confirming.source.clone(), self.inputs.clone());
        let (spec, fingerprint) = (self.spec.clone(), self.data.fingerprint().to_owned());
        let again = named.clone();
        // A thread of its own: a file system that hangs holds up neither the shell nor the end of the process.
        let started = vital::thread("records thread", move || {
            let read = read_all(&opened, (&spec, &fingerprint), named);
            // The shell may have ended.
            let _ = inputs.blocking_send(Input::ReadAgain(read));
        });
        if let Err(error) = started {
            tracing::warn!(%error, "records cannot be read until the system has room for a thread");
            self.confirming.reading = false;
            again.into_iter().for_each(|one| self.confirming.name(one));
        }
    }

    /// Records were read: those that do not decode count.
    pub(crate) fn records_read(&mut self, read: ReadAgain) {
        let (counts, wrong) = self.confirming.found(read);
        for Named { record, session, .. } in wrong {
            let worker = self.name_of(session);
            let text = format!(
                "{worker} says that record {record} does not decode. It decodes here, and does not count: the copy of the data \
                 that this worker reads is damaged, or what it says is wrong. More of the same stream are not told"
            );
            self.tell(Telling { warning: true, worker, lasts: Lasts::AWhile, text });
        }
        self.count_corrupt(&counts);
        self.read_named()
    }
}

#[cfg(test)]
mod tests {
    use lsgan_data::{Fingerprint, SampleShape};

    use super::*;

    const LIAR: SessionId = SessionId(1);
    const HONEST: SessionId = SessionId(2);
    /// Does not decode; is lost. All others decode.
    const BAD: u64 = 5;
    const LOST: u64 = 6;

    struct Records;

    impl Source for Records {
        fn kind(&self) -> &'static str {
            "test"
        }

        fn len(&self) -> u64 {
            100
        }

        fn sample_shape(&self) -> SampleShape {
            SampleShape::Point2
        }

        fn read(&self, record: u64, _: &mut [f32]) -> Result<(), RecordError> {
            let (kind, key, reason) = (self.kind(), format!("key-{record}"), "it ends early".to_owned());
            match record {
                BAD => Err(RecordError::Undecodable { kind, key, reason }),
                LOST => Err(RecordError::Lost { kind, key, reason }),
                _ => Ok(()),
            }
        }

        fn fingerprint(&self) -> Fingerprint {
            blake3::hash(b"test")
        }
    }

    fn name_all(confirming: &mut Confirming, records: impl IntoIterator<Item = u64>, session: SessionId) {
        records.into_iter().for_each(|record| confirming.name(Named { record, step: 7, session }));
    }

    /// Reads all that waits. Returns the numbers of the records that count, and who is told of.
    fn read(confirming: &mut Confirming) -> (Vec<u64>, Vec<SessionId>) {
        let (mut counted, mut told) = (Vec::new(), Vec::new());
        while let Some(named) = confirming.next() {
            assert!(named.len() <= AT_ONCE && confirming.is_busy() && confirming.next().is_none());
            let read = named.into_iter().map(|one| (one, look(&Records, one.record, &mut [0.0; 2])));
            let (counts, wrong) = confirming.found(ReadAgain(read.collect()));
            counted.extend(counts.iter().map(|record| record.record));
            told.extend(wrong.iter().map(|named| named.session));
        }
        (counted, told)
    }

    #[test]
    fn only_what_does_not_decode_here_counts_and_a_liar_is_told_of_once() {
        let mut confirming = Confirming::default();
        name_all(&mut confirming, (0..100).filter(|record| *record != LOST), LIAR);
        name_all(&mut confirming, [BAD], HONEST);
        assert_eq!(read(&mut confirming), (vec![BAD], vec![LIAR]));
        name_all(&mut confirming, 7..100, LIAR);
        assert!(confirming.next().is_none(), "each was read");
    }

    #[test]
    fn the_word_of_a_worker_counts_where_the_data_cannot_be_read_here() {
        let mut confirming = Confirming::default();
        name_all(&mut confirming, [LOST], HONEST);
        assert_eq!(read(&mut confirming), (vec![LOST], vec![]));
    }

    #[test]
    fn what_is_named_again_while_it_is_read_is_not_read_again() {
        let mut confirming = Confirming::default();
        name_all(&mut confirming, [BAD], LIAR);
        let named = confirming.next().expect("it waits");
        name_all(&mut confirming, [BAD], HONEST);
        let finding = look(&Records, BAD, &mut [0.0; 2]);
        let (counts, wrong) = confirming.found(ReadAgain(vec![(named[0], finding)]));
        let record = v1::CorruptRecord {
            record: BAD,
            key: "key-5".to_owned(),
            reason: "it ends early".to_owned(),
            step: 7,
        };
        assert_eq!((counts, wrong), (vec![record], vec![]));
        assert!(confirming.next().is_none() && !confirming.is_busy());
    }
}
