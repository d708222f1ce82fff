//! The history of a run finds each violation that it checks for.

use lsgan_control::{Entry, Form, GoneReason, Member, Message, Outcome, Pass, RingKey, Start};
use lsgan_sim::history::{History, Part, State};
use lsgan_spec::{Generation, Incarnation, Reduction, Step, VirtualRank};

fn part(state: State, ranks: &[u32]) -> Part {
    Part { state, virtual_ranks: ranks.iter().copied().map(VirtualRank).collect() }
}

fn generation(number: u64, members: Vec<Member>) -> Entry {
    Entry::Generation { generation: Generation(number), members, from: Reduction(0), start: Start::Fresh }
}

fn member(incarnation: u64) -> Member {
    Member {
        incarnation: Incarnation(incarnation),
        address: "w:1".to_owned(),
        first: VirtualRank(0),
        count: 4,
    }
}

fn form(number: u64, members: Vec<Member>) -> Message {
    let leases = members[0].virtual_ranks().map(|v| (v, 8)).collect();
    Message::Form(Form {
        generation: Generation(number),
        rank: 0,
        members,
        from: Reduction(0),
        start: Start::Fresh,
        root: None,
        writer: Some(0),
        last_step: Step(100),
        leases,
        pass: Pass::default(),
        ring: RingKey::default(),
    })
}

#[test]
fn any_grouping_of_the_virtual_ranks_gives_the_state_of_an_undisturbed_run() {
    let history = History::new(4, 3);
    let groupings: [&[&[u32]]; 3] = [&[&[0, 1, 2, 3]], &[&[0, 1], &[2, 3]], &[&[3], &[1, 2], &[0]]];
    let mut state = State::fresh();
    for ranks in groupings.iter().cycle().take(6) {
        let parts: Vec<_> = ranks.iter().map(|r| part(state, r)).collect();
        state = state.apply(history.reduction(Generation(1), &parts).unwrap());
        history.state("a worker", state).unwrap();
    }
    assert_eq!(state.applied, Reduction(6));
}

#[test]
fn a_sum_that_lacks_a_virtual_rank_or_has_one_twice_is_seen() {
    let history = History::new(4, 3);
    let state = State::fresh();
    history.reduction(Generation(1), &[part(state, &[0, 1]), part(state, &[3])]).unwrap_err();
    history.reduction(Generation(1), &[part(state, &[0, 1, 2]), part(state, &[2, 3])]).unwrap_err();
}

#[test]
fn a_sum_over_two_states_is_seen() {
    let history = History::new(4, 3);
    let state = State::fresh();
    let ahead = state.apply(history.reduction(Generation(1), &[part(state, &[0, 1, 2, 3])]).unwrap());
    history.reduction(Generation(1), &[part(state, &[0, 1]), part(ahead, &[2, 3])]).unwrap_err();
}

#[test]
fn other_bits_and_a_step_too_many_are_seen() {
    let history = History::new(4, 1);
    let other = State::fresh().apply(7);
    history.state("a worker", other).unwrap_err();
    let beyond = State { applied: Reduction(3), hash: 0 };
    history.state("a worker", beyond).unwrap_err();
}

#[test]
fn a_generation_number_used_twice_is_seen() {
    let mut history = History::new(4, 1);
    history.journaled(&generation(2, vec![member(1)])).unwrap();
    history.journaled(&generation(2, vec![member(2)])).unwrap_err();
    history.journaled(&generation(1, vec![member(2)])).unwrap_err();
}

#[test]
fn a_form_that_is_not_journaled_and_a_rank_given_twice_are_seen() {
    let mut history = History::new(4, 1);
    history.sent(&form(1, vec![member(1)]), false).unwrap_err();
    history.journaled(&generation(1, vec![member(1)])).unwrap();
    history.sent(&form(1, vec![member(2)]), false).unwrap_err();
    history.sent(&form(1, vec![member(1)]), false).unwrap();
    history.sent(&form(1, vec![member(1)]), false).unwrap_err();
}

#[test]
fn an_incarnation_given_twice_or_welcomed_when_it_was_over_is_seen() {
    let mut history = History::new(4, 1);
    let incarnation = Incarnation(1);
    let admitted = Entry::Admitted { incarnation, name: "w".to_owned(), address: "w:1".to_owned() };
    let adopted = Message::Welcome { incarnation, adopted: true, pass: Pass::default() };
    history.sent(&adopted, false).unwrap_err();
    history.journaled(&admitted).unwrap();
    history.journaled(&admitted).unwrap_err();
    history.sent(&adopted, false).unwrap();
    history
        .journaled(&Entry::Gone { name: String::new(), incarnation, reason: GoneReason::StreamBroke })
        .unwrap();
    history.sent(&adopted, false).unwrap_err();
}

#[test]
fn an_end_that_is_not_journaled_or_has_no_final_weights_is_seen() {
    let mut history = History::new(4, 1);
    let shutdown = Message::Shutdown(Outcome::Complete);
    history.sent(&shutdown, false).unwrap_err();
    history.journaled(&Entry::Ended(Outcome::Complete)).unwrap();
    history.sent(&shutdown, false).unwrap();
    history.complete(1).unwrap_err();
    history.final_written(State::fresh());
    history.complete(1).unwrap_err();
}
