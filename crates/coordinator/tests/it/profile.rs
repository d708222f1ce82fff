//! Profiles as workers answer them that say what they like: a real coordinator takes what was asked for, and nothing else.

use std::time::Duration;

use lsgan_wire::v1::{self, coordinator_message::Kind};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::common::{Coordinator, LIMIT, Stream, warnings};

type Reply = Result<v1::ProfileReply, Status>;

/// Asks for a profile of two steps.
fn ask(coordinator: &Coordinator, within: Duration) -> JoinHandle<Reply> {
    let mut client = coordinator.client.clone();
    let within_ms = u64::try_from(within.as_millis()).expect("it is short");
    let asked = v1::ProfileRequest { by: "anna".to_owned(), steps: 2, within_ms };
    tokio::spawn(async move { client.profile(asked).await.map(tonic::Response::into_inner) })
}

async fn answered(asked: JoinHandle<Reply>) -> Reply {
    timeout(LIMIT, asked).await.expect("it is answered in time").expect("the task does not panic")
}

/// What the worker on this stream is asked for.
async fn wish(member: &mut Stream) -> v1::RecordSpans {
    loop {
        if let Kind::RecordSpans(wish) = member.next().await.expect("its stream is open") {
            return wish;
        }
    }
}

fn span(begin_ns: u64) -> v1::Span {
    v1::Span { kind: v1::SpanKind::Apply.into(), step: 3, begin_ns, len_ns: 1 }
}

fn spans(profile: u64, spans: Vec<v1::Span>, end: Option<v1::Recorded>) -> v1::Spans {
    v1::Spans { profile, spans, end }
}

fn end() -> v1::Recorded {
    v1::Recorded { wall_us: 1, steps: 2, why: String::new() }
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_are_taken_of_the_worker_that_was_asked_while_they_are_asked_for() {
    let mut coordinator = Coordinator::start().await;
    let mut member = coordinator.with_member().await;
    let mut standby = coordinator.open().await;
    standby.say(coordinator.hello("standby")).await;
    assert!(matches!(standby.next().await, Some(Kind::Welcome(_))));
    // Nobody has asked for anything yet.
    member.say(spans(1, vec![span(0)], Some(end()))).await;
    let strange = "the profile that spans are of is 1; accepted is one that was asked for";
    let told = |status: &v1::RunStatus| warnings(status).iter().any(|(text, _)| text.contains(strange));
    coordinator.until("it is told of", told).await;

    let asked = ask(&coordinator, LIMIT);
    let wish = wish(&mut member).await;
    assert_eq!((wish.steps, wish.spans_max), (2, 20_000));
    standby.say(spans(wish.profile, vec![span(5)], Some(end()))).await;
    member.say(spans(wish.profile + 1, vec![span(6)], None)).await;
    member.say(spans(wish.profile, vec![span(1)], None)).await;
    member.say(spans(wish.profile, vec![span(2)], Some(end()))).await;
    let reply = answered(asked).await.expect("it is whole");
    let [worker] = &reply.workers[..] else { panic!("only the member was asked: {reply:?}") };
    assert_eq!((reply.run.as_str(), worker.name.as_str(), worker.why.as_str()), ("small", "member", ""));
    assert_eq!((&worker.spans, &worker.end), (&vec![span(1), span(2)], &Some(end())));

    // It is over, and honest workers may be late.
    member.say(spans(wish.profile, vec![span(3)], None)).await;
    assert_eq!(coordinator.status().await.generation, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_says_too_much_or_what_cannot_be_spoils_its_own_part_alone() {
    let mut coordinator = Coordinator::start().await;
    let mut member = coordinator.with_member().await;
    for wrong in [vec![span(0); 20_001], vec![span(u64::MAX)]] {
        let asked = ask(&coordinator, LIMIT);
        let wish = wish(&mut member).await;
        for piece in wrong.chunks(1000) {
            member.say(spans(wish.profile, piece.to_vec(), None)).await;
        }
        let reply = answered(asked).await.expect("it is answered");
        assert_eq!(reply.workers[0].why, "what it sent cannot be true");
        assert!(reply.workers[0].end.is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_answer_or_goes_is_named_and_one_profile_runs_at_a_time() {
    let mut coordinator = Coordinator::start().await;
    let mut member = coordinator.with_member().await;
    let asked = ask(&coordinator, Duration::from_millis(300));
    wish(&mut member).await;
    let reply = answered(asked).await.expect("it is answered");
    assert_eq!(reply.workers[0].why, "it has not sent all of it within 0.3 s");

    let first = ask(&coordinator, LIMIT);
    let wanted = wish(&mut member).await;
    let refused = answered(ask(&coordinator, LIMIT)).await.expect_err("one runs");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().starts_with("anna profiles the run already, 2 steps"), "{refused:?}");
    member.say(spans(wanted.profile, vec![span(1)], None)).await;
    member.hang_up().await;
    let reply = answered(first).await.expect("it is answered");
    assert_eq!(reply.workers[0].spans, [span(1)]);
    assert!(reply.workers[0].why.starts_with("it ended, or its connection broke"), "{reply:?}");
    let refused = answered(ask(&coordinator, LIMIT)).await.expect_err("nobody steps");
    assert!(refused.message().contains("the run does no steps now"), "{refused:?}");
}

/// An operator who goes leaves nothing behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_profile_whose_operator_has_gone_holds_up_no_other() {
    let mut coordinator = Coordinator::start().await;
    let mut member = coordinator.with_member().await;
    let first = ask(&coordinator, LIMIT);
    let before = wish(&mut member).await;
    first.abort();
    let again = loop {
        let asked = ask(&coordinator, LIMIT);
        tokio::select! {
            wanted = wish(&mut member) => {
                assert!(wanted.profile > before.profile);
                member.say(spans(wanted.profile, vec![], Some(end()))).await;
                break asked;
            }
            // Refused: the coordinator has not heard yet that the first one has gone.
            () = until_ended(&asked) => {}
        }
    };
    assert!(answered(again).await.is_ok());
}

async fn until_ended(asked: &JoinHandle<Reply>) {
    let mut beat = tokio::time::interval(Duration::from_millis(5));
    while !asked.is_finished() {
        beat.tick().await;
    }
}
