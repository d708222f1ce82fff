//! Every message means the same on both sides: converted to the wire's form and back it is what it was.

use std::fmt::Debug;

use lsgan_control::report::{CorruptRecord, FinalFile, PublishedSnapshot, StoreProof};
use lsgan_control::{
    Form, Hello, Member, Message, Outcome, OutcomeKind, ParkReason, Pass, Report, Resume, Rights, RingKey,
    Start, Task, Wish,
};
use lsgan_fuzz::Fuzz;
use lsgan_spec::{DeviceKind, Generation, Incarnation, Numerics, Reduction, Step, VirtualRank};
use lsgan_wire::{convert, v1};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use prost::Message as _;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-zü:. ]{1,12}"]
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..9, any::<u64>()]
}

fn generation() -> impl Strategy<Value = Generation> {
    number().prop_map(Generation)
}

fn incarnation() -> impl Strategy<Value = Incarnation> {
    number().prop_map(Incarnation)
}

fn reduction() -> impl Strategy<Value = Reduction> {
    number().prop_map(Reduction)
}

fn step() -> impl Strategy<Value = Step> {
    number().prop_map(Step)
}

fn virtual_rank() -> impl Strategy<Value = VirtualRank> {
    any::<u32>().prop_map(VirtualRank)
}

prop_compose! {
    fn resume()(
        incarnation in incarnation(), generation in generation(), stepping: bool, writes: bool, spec in text(),
    ) -> Resume {
        Resume { incarnation, generation, stepping, writes, spec }
    }
}

prop_compose! {
    fn pass()(
        incarnation in incarnation(), generation in generation(), until in step(), led: bool, seal: [u8; 32],
    ) -> Pass {
        Pass { rights: Rights { incarnation, generation, until, led }, seal }
    }
}

prop_compose! {
    fn numerics()(
        libtorch in text(), device in prop_oneof![Just(DeviceKind::Cpu), Just(DeviceKind::Cuda)], model in text(),
        instructions in text(), probe in number(),
    ) -> Numerics {
        Numerics { libtorch, device, model, instructions, probe }
    }
}

prop_compose! {
    fn hello()(
        name in text(), address in text(), numerics in numerics(), holds in option::of(reduction()),
        resume in option::of(resume()), data_fingerprint in text(), pass in option::of(pass().prop_map(Box::new)),
    ) -> Hello {
        Hello { name, address, numerics, holds, resume, data_fingerprint, pass }
    }
}

fn reason() -> impl Strategy<Value = ParkReason> {
    prop_oneof![
        Just(ParkReason::Boundary),
        Just(ParkReason::Aborted),
        text().prop_map(ParkReason::Broken),
        text().prop_map(ParkReason::Failed),
    ]
}

prop_compose! {
    fn snapshot()(
        step in step(), url in text(), len_bytes in number(), blake3 in text(), blocked_us in 0_u64..1 << 40,
    ) -> PublishedSnapshot {
        PublishedSnapshot { step, url, len_bytes, blake3, blocked_us }
    }
}

prop_compose! {
    fn record()(record in number(), key in text(), reason in text(), step in step()) -> CorruptRecord {
        CorruptRecord { record, key, reason, step }
    }
}

fn file() -> impl Strategy<Value = FinalFile> {
    (text(), text(), text()).prop_map(|(name, url, blake3)| FinalFile { name, url, blake3 })
}

fn report() -> impl Strategy<Value = Report> {
    prop_oneof![
        hello().prop_map(Report::Hello),
        (option::of(reduction()), option::of(number()))
            .prop_map(|(applied, pace_us)| Report::Heartbeat { applied, pace_us }),
        generation().prop_map(|generation| Report::Progress { generation }),
        (generation(), reduction()).prop_map(|(generation, applied)| Report::Ready { generation, applied }),
        (generation(), option::of(reduction()), reason())
            .prop_map(|(generation, applied, reason)| Report::Parked { generation, applied, reason }),
        (generation(), incarnation(), text()).prop_map(|(generation, peer, why)| Report::CutOff {
            generation,
            peer,
            why
        }),
        (number(), vec((incarnation(), text()), 0..4))
            .prop_map(|(round, missing)| Report::Tried { round, missing }),
        (virtual_rank(), number())
            .prop_map(|(virtual_rank, ordinals)| Report::Consumed { virtual_rank, ordinals }),
        Just(Report::WantsLeave),
        (step(), any::<[u8; 32]>()).prop_map(|(step, hash)| Report::StateHash { step, hash }),
        (text(), text(), text()).prop_map(|(secret, answer, why_not)| {
            Report::StoreProof(StoreProof { secret, answer, why_not })
        }),
        snapshot().prop_map(Report::SnapshotWritten),
        (step(), text()).prop_map(|(step, why)| Report::SnapshotFailed { step, why }),
        vec(file(), 0..4).prop_map(|files| Report::TaskDone { files }),
        text().prop_map(|why| Report::TaskFailed { why }),
        vec(record(), 0..4).prop_map(Report::CorruptRecords),
        text().prop_map(|text| Report::Warning { text }),
        (step(), any::<Vec<u8>>()).prop_map(|(step, png)| Report::Sample { step, png }),
    ]
}

fn start() -> impl Strategy<Value = Start> {
    prop_oneof![Just(Start::Fresh), step().prop_map(Start::Snapshot), Just(Start::Held)]
}

prop_compose! {
    fn member()(
        incarnation in incarnation(), address in text(), first in virtual_rank(), count: u32,
    ) -> Member {
        Member { incarnation, address, first, count }
    }
}

prop_compose! {
    fn form()(members in vec(member(), 1..4))(
        generation in generation(), rank in 0..members.len() as u32, members in Just(members), from in reduction(),
        start in start(), root in option::of(any::<u32>()), writer in option::of(any::<u32>()), last_step in step(),
        leases in vec((virtual_rank(), number()), 0..4), pass in pass(),
        ring in (any::<[u8; 32]>(), any::<bool>()).prop_map(|(secret, sealed)| RingKey { secret, sealed }),
    ) -> Form {
        Form { generation, rank, members, from, start, root, writer, last_step, leases, pass, ring }
    }
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Complete),
        step().prop_map(|step| Outcome::Stopped { step }),
        text().prop_map(|why| Outcome::Failed { why }),
        text().prop_map(|why| Outcome::Refused { why }),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let wish = prop_oneof![Just(Wish::Reform), Just(Wish::Finish), Just(Wish::Snapshot)];
    prop_oneof![
        (incarnation(), any::<bool>(), pass()).prop_map(|(incarnation, adopted, pass)| Message::Welcome {
            incarnation,
            adopted,
            pass
        }),
        text().prop_map(|why| Message::Refused { why }),
        form().prop_map(Message::Form),
        generation().prop_map(Message::Abort),
        (virtual_rank(), number()).prop_map(|(virtual_rank, until)| Message::Lease { virtual_rank, until }),
        (generation(), wish).prop_map(|(generation, wish)| Message::Wish { generation, wish }),
        (number(), vec((incarnation(), text()), 0..4))
            .prop_map(|(round, peers)| Message::Try { round, peers }),
        prop_oneof![Just(Task::Snapshot), Just(Task::Final)].prop_map(Message::Task),
        text().prop_map(|why| Message::Retired { why }),
        outcome().prop_map(Message::Shutdown),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn what_a_worker_says_is_what_its_coordinator_hears(said in report()) {
        let kind = v1::WorkerMessage::from(said.clone()).kind.expect("it has a kind");
        prop_assert_eq!(convert::report(kind), Ok(Some(said)));
    }

    #[test]
    fn what_a_coordinator_says_is_what_its_worker_hears(said in message()) {
        let kind = v1::CoordinatorMessage::from(said.clone()).kind.expect("it has a kind");
        prop_assert_eq!(convert::message(kind), Ok(Some(said)));
    }
}

#[test]
fn every_phase_role_and_outcome_has_its_own_word() {
    fn words<T: TryFrom<i32> + ToString>() -> Vec<String> {
        (0..).map_while(|number| T::try_from(number).ok()).map(|value| value.to_string()).collect()
    }
    let phases =
        "unknown starting gathering adopting forming stepping halting closing paused ended".split(' ');
    assert_eq!(words::<v1::Phase>(), phases.collect::<Vec<_>>());
    let roles =
        ["unknown", "standby", "member", "parked", "leaving", "evicted", "cut off", "left behind", "faulty"];
    assert_eq!(words::<v1::Role>(), roles);
    let step = Step(3);
    let outcomes = [
        Outcome::Complete,
        Outcome::Stopped { step },
        Outcome::Failed { why: String::new() },
        Outcome::Refused { why: String::new() },
    ];
    let kinds = outcomes.map(|outcome| v1::Shutdown::from(&outcome).kind());
    assert_eq!(kinds, OutcomeKind::ALL.map(Some));
    assert_eq!(OutcomeKind::ALL.map(OutcomeKind::word), ["complete", "stopped", "failed", "refused"]);
}

#[test]
fn what_another_version_says_is_an_error_and_no_guess() {
    use v1::coordinator_message::Kind as Told;
    use v1::worker_message::Kind as Said;
    let form = v1::Form {
        rank: 1,
        members: vec![v1::Member::default()],
        start: 1,
        ring_key: vec![1; 32],
        ..v1::Form::default()
    };
    let told = [
        Told::Wish(v1::Wish { kind: 9, ..v1::Wish::default() }),
        Told::Task(v1::Task { kind: 9 }),
        Told::Shutdown(v1::Shutdown { outcome: 9, ..v1::Shutdown::default() }),
        Told::Form(v1::Form { start: 9, rank: 0, ..form.clone() }),
        Told::Form(v1::Form { ring_key: vec![1; 31], rank: 0, ..form.clone() }),
        Told::Form(form),
    ];
    for message in told {
        convert::message(message.clone()).expect_err(&format!("{message:?}"));
    }
    let said = [
        Said::Hello(v1::Hello::default()),
        Said::Parked(v1::Parked { reason: 9, ..v1::Parked::default() }),
        Said::StateHash(v1::StateHash { hash: vec![0; 31], ..v1::StateHash::default() }),
    ];
    for message in said {
        convert::report(message.clone()).expect_err(&format!("{message:?}"));
    }
}

/// Valid messages, to be mutated.
fn examples<T>(strategy: impl Strategy<Value = T>, encode: impl Fn(T) -> Vec<u8>) -> Vec<Vec<u8>> {
    let mut runner = TestRunner::deterministic();
    let mut one = || strategy.new_tree(&mut runner).expect("nothing is filtered out").current();
    (0..300).map(|_| encode(one())).collect()
}

/// What bytes become: something of `control`, which is the same again after it was sent, or a sentence.
fn outcome_of<M, T>(bytes: &[u8], convert: fn(M) -> Result<Option<T>, String>) -> String
where
    M: prost::Message + Default + From<T>,
    T: Clone + Debug + PartialEq,
{
    let message = match M::decode(bytes) {
        Ok(message) => message,
        Err(error) => return error.to_string(),
    };
    match convert(message) {
        Ok(Some(said)) => {
            assert_eq!(convert(M::from(said.clone())), Ok(Some(said.clone())));
            format!("{said:?}")
        }
        Ok(None) => "nothing".to_owned(),
        Err(reason) => reason,
    }
}

/// Bytes that anybody may send become a message or a sentence.
#[test]
fn fuzz_worker_messages() {
    let examples = examples(report(), |report| v1::WorkerMessage::from(report).encode_to_vec());
    let convert = |message: v1::WorkerMessage| message.kind.map_or(Ok(None), convert::report);
    Fuzz::new("worker_messages", examples).run(|bytes| outcome_of(bytes, convert));
}

#[test]
fn fuzz_coordinator_messages() {
    let examples = examples(message(), |message| v1::CoordinatorMessage::from(message).encode_to_vec());
    let convert = |message: v1::CoordinatorMessage| message.kind.map_or(Ok(None), convert::message);
    Fuzz::new("coordinator_messages", examples).run(|bytes| outcome_of(bytes, convert));
}
