//! How a group comes to be, and what must not get in its way.

mod local;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use local::raw::{self, RawPeer, answer, await_answer, await_close, hello};
use local::{PATIENCE, TOKEN, aborter, form_over, join, listener, membership};
use lsgan_collective::tcp::{Listener, RunToken, TcpGroup, connect};
use lsgan_collective::{Aborter, Group, GroupError, LossCause, Missing, Peer, Refusal};
use lsgan_spec::Generation;

/// Everything is there already when a test wants to see a deadline pass.
const SOON: Duration = Duration::from_millis(100);

/// Two members form generation `generation` and sum; `strangers` have dialed rank 0 before.
fn two_form_in_spite_of(generation: u64, strangers: impl FnOnce(SocketAddr)) {
    let mut listeners = [listener(), listener()];
    strangers(listeners[0].local_addr());
    sums(form_over(&mut listeners, generation));
}

/// The group works.
fn sums(groups: Vec<TcpGroup>) {
    let size = groups.len() as i64;
    let ranks: Vec<_> = groups
        .into_iter()
        .map(|mut group| {
            thread::spawn(move || {
                let mut values = [1, group.rank() as i64];
                group.all_reduce_i64(&mut values).expect("a healthy group sums");
                values
            })
        })
        .collect();
    for rank in ranks {
        assert_eq!(rank.join().expect("a healthy group does not panic"), [size, size * (size - 1) / 2]);
    }
}

#[test]
fn groups_of_any_size_form_over_the_same_listeners() {
    let mut listeners: Vec<_> = (0..8).map(|_| listener()).collect();
    for (generation, size) in [8, 1, 2, 3, 8, 5].into_iter().enumerate() {
        sums(form_over(&mut listeners[..size], generation as u64 + 1));
    }
}

#[test]
fn a_connection_of_an_older_generation_is_refused() {
    let mut old = None;
    two_form_in_spite_of(5, |address| old = Some(raw::dial(address, &hello(TOKEN, 4, 1, 0, 2))));
    assert_eq!(await_answer(&mut old.expect("it was dialed")), answer(1, 5));
}

#[test]
fn a_connection_of_another_run_is_refused() {
    let mut other = None;
    two_form_in_spite_of(5, |address| {
        other = Some(raw::dial(address, &hello(RunToken([8; 32]), 5, 1, 0, 2)));
    });
    assert_eq!(await_answer(&mut other.expect("it was dialed")), answer(2, 0));
}

#[test]
fn a_connection_with_other_ranks_is_refused() {
    for (from, to, size) in [(0, 0, 2), (1, 1, 2), (1, 0, 3), (u32::MAX, 0, 2)] {
        let mut other = None;
        two_form_in_spite_of(5, |address| other = Some(raw::dial(address, &hello(TOKEN, 5, from, to, size))));
        assert_eq!(await_answer(&mut other.expect("it was dialed")), answer(3, 0));
    }
}

#[test]
fn a_connection_of_another_version_is_refused() {
    let mut other = None;
    two_form_in_spite_of(5, |address| {
        let mut bytes = hello(TOKEN, 5, 1, 0, 2);
        bytes[8] = 99;
        other = Some(raw::dial(address, &bytes));
    });
    assert_eq!(await_answer(&mut other.expect("it was dialed")), answer(4, 0));
}

#[test]
fn garbage_is_closed_without_an_answer() {
    let mut noise = None;
    two_form_in_spite_of(1, |address| noise = Some(raw::dial(address, b"GET / HTTP/1.1\r\n\r\n")));
    await_close(&mut noise.expect("it was dialed"));
}

/// One is silent from the start, one after half a hello, one after its magic; a hundred more are silent too.
#[test]
fn silence_blocks_nobody() {
    let mut silent = Vec::new();
    two_form_in_spite_of(1, |address| {
        let whole = hello(TOKEN, 1, 1, 0, 2);
        silent.extend([0, 32, 8].map(|known| raw::dial(address, &whole[..known])));
        silent.extend((0..100).map(|_| raw::dial(address, &[])));
    });
}

/// Twice a connection breaks, once before and once after rank 0 has agreed to it; then the member is back.
#[test]
fn a_member_that_dials_again_replaces_its_broken_connection() {
    let (mut ours, mut theirs) = (listener(), listener());
    let members = [ours.local_addr(), theirs.local_addr()];
    drop(raw::dial(members[0], &hello(TOKEN, 1, 1, 0, 2)));
    thread::scope(|scope| {
        let first = scope.spawn(move || join(&mut ours, &membership(1, 0, &members)));
        let mut agreed = raw::dial(members[0], &hello(TOKEN, 1, 1, 0, 2));
        assert_eq!(await_answer(&mut agreed), answer(0, 0));
        drop(agreed);
        let second = join(&mut theirs, &membership(1, 1, &members)).expect("rank 0 hears us again");
        sums(vec![first.join().expect("no panic").expect("rank 1 is back"), second]);
    });
}

/// Rank 0 still forms generation 1, in vain, when rank 1 dials it for generation 2. The refusal of a later, older
/// connection shows that it has heard rank 1 by then.
#[test]
fn a_connection_of_a_newer_generation_waits_for_its_turn() {
    let mut ours = listener();
    let address = ours.local_addr();
    let (_absent, absent) = raw::listener();
    let first = aborter();
    let mut early = raw::dial(address, &hello(TOKEN, 2, 1, 0, 2));
    thread::scope(|scope| {
        let (ours, first_ref) = (&mut ours, &first);
        let forming = scope.spawn(move || {
            let error =
                connect(ours, &membership(1, 0, &[address, absent]), Instant::now() + PATIENCE, first_ref);
            error.expect_err("rank 1 is at generation 2")
        });
        await_answer(&mut raw::dial(address, &hello(TOKEN, 0, 1, 0, 2)));
        first.abort();
        let error = forming.join().expect("forming does not panic");
        assert_eq!(error, GroupError::Aborted { generation: Generation(1) });
    });
    let second = aborter();
    thread::scope(|scope| {
        let (ours, second_ref) = (&mut ours, &second);
        scope.spawn(move || {
            connect(ours, &membership(2, 0, &[address, absent]), Instant::now() + PATIENCE, second_ref)
        });
        assert_eq!(await_answer(&mut early), answer(0, 0));
        second.abort();
    });
}

#[test]
fn a_member_that_never_comes_is_named_at_the_deadline() {
    let mut ours = listener();
    let here = ours.local_addr();
    let (gone, absent) = raw::listener();
    drop(gone);
    let error = connect(&mut ours, &membership(7, 0, &[here, absent]), Instant::now() + SOON, &aborter())
        .expect_err("nobody is there");
    let GroupError::NotFormed { generation, rank, missing, waited } = &error else { panic!("{error}") };
    let peer = Peer { rank: 1, address: absent };
    let cause = LossCause::Failed(std::io::ErrorKind::ConnectionRefused);
    assert_eq!((*generation, *rank), (Generation(7), 0));
    assert_eq!(missing[..], [Missing::Unreachable(peer, cause), Missing::NotCalled(peer)]);
    assert!(*waited >= SOON);
    assert_eq!(error.unreachable(), Some((peer, "connection refused".to_owned())));
    assert_eq!(
        error.to_string().replace(&waited.as_secs_f64().to_string(), "0.1"),
        format!(
            "generation 7 was not complete for rank 0 after 0.1 s: rank 1 at {absent} cannot be reached (connection \
             refused); rank 1 at {absent} has not called. Check that these workers run and that their addresses can \
             be reached from here."
        )
    );
}

#[test]
fn a_member_that_listens_but_does_not_join_is_named() {
    let mut ours = listener();
    let here = ours.local_addr();
    let idle = listener();
    let error =
        connect(&mut ours, &membership(7, 0, &[here, idle.local_addr()]), Instant::now() + SOON, &aborter());
    let peer = Peer { rank: 1, address: idle.local_addr() };
    assert!(
        matches!(&error, Err(GroupError::NotFormed { missing, .. })
            if missing[..] == [Missing::NotJoined(peer), Missing::NotCalled(peer)]),
        "{error:?}"
    );
}

/// Rank 0's neighbours are there, rank 2 keeps silent at the barrier.
#[test]
fn a_ring_that_does_not_close_is_told() {
    let mut ours = listener();
    let here = ours.local_addr();
    let (socket, there) = raw::listener();
    let peer = thread::spawn(move || RawPeer::join(&socket, 3, 1, 2, here));
    let error = connect(&mut ours, &membership(3, 0, &[here, there]), Instant::now() + 5 * SOON, &aborter());
    let neighbour = Peer { rank: 1, address: there };
    assert!(
        matches!(&error, Err(GroupError::NotFormed { missing, .. })
            if missing[..] == [Missing::Beyond(neighbour, neighbour)]),
        "{error:?}"
    );
    peer.join().expect("the peer has joined");
}

#[test]
fn a_member_that_is_ahead_refuses_the_one_behind() {
    let mut behind = listener();
    let mut ahead = listener();
    let members = [behind.local_addr(), ahead.local_addr()];
    let end = aborter();
    thread::scope(|scope| {
        let end_ref = &end;
        scope.spawn(move || {
            connect(&mut ahead, &membership(9, 1, &members), Instant::now() + PATIENCE, end_ref)
        });
        let error = join(&mut behind, &membership(8, 0, &members)).expect_err("rank 1 is at generation 9");
        end.abort();
        let GroupError::Refused { rank: 0, generation: Generation(8), peer, refusal } = error else {
            panic!("{error}")
        };
        assert_eq!(peer, Peer { rank: 1, address: members[1] });
        assert_eq!(refusal, Refusal::Superseded { by: Generation(9) });
    });
}

/// Something that listens but is no worker is dialed again and again, until the deadline.
#[test]
fn an_address_that_answers_with_garbage_is_dialed_again() {
    let mut ours = listener();
    let (socket, there) = raw::listener();
    let members = [ours.local_addr(), there];
    let end = aborter();
    thread::scope(|scope| {
        let end_ref = &end;
        let forming = scope.spawn(move || {
            connect(&mut ours, &membership(1, 0, &members), Instant::now() + PATIENCE, end_ref)
        });
        for _dial in 0..3 {
            let (mut dialer, _) = socket.accept().expect("rank 0 dials");
            dialer.write_all(b"220 mail.example ESMTP\r\n").expect("a greeting fits");
        }
        end.abort();
        assert!(matches!(forming.join().expect("no panic"), Err(GroupError::Aborted { .. })));
    });
}

#[test]
fn a_member_that_listens_late_is_found() {
    let mut ours = listener();
    let here = ours.local_addr();
    let (reserved, there) = raw::listener();
    drop(reserved);
    thread::scope(|scope| {
        let members = [here, there];
        let first = scope.spawn(move || join(&mut ours, &membership(1, 0, &members)));
        let mut late = Listener::bind(there).expect("the port was free a moment ago");
        let second = join(&mut late, &membership(1, 1, &members)).expect("rank 0 dials again");
        sums(vec![first.join().expect("no panic").expect("rank 1 has come"), second]);
    });
}

#[test]
fn an_abort_ends_the_forming_at_once() {
    let mut ours = listener();
    let (_absent, absent) = raw::listener();
    let address = ours.local_addr();
    let mut latencies: Vec<_> = (1..10)
        .map(|generation| {
            let aborter = aborter();
            thread::scope(|scope| {
                let (ours, aborter_ref) = (&mut ours, &aborter);
                let forming = scope.spawn(move || {
                    let members = [address, absent];
                    let outcome = connect(
                        ours,
                        &membership(generation, 0, &members),
                        Instant::now() + PATIENCE,
                        aborter_ref,
                    );
                    assert!(matches!(outcome, Err(GroupError::Aborted { .. })), "{outcome:?}");
                    Instant::now()
                });
                // Its answer shows that the forming is under way.
                await_answer(&mut raw::dial(address, &hello(TOKEN, 0, 1, 0, 2)));
                let aborted_at = Instant::now();
                aborter.abort();
                forming.join().expect("no panic").saturating_duration_since(aborted_at)
            })
        })
        .collect();
    latencies.sort();
    assert!(latencies[latencies.len() / 2] < Duration::from_millis(50), "{latencies:?}");
}

#[test]
fn a_group_that_was_aborted_before_does_not_form() {
    let aborter = aborter();
    aborter.abort();
    for members in [1, 2] {
        let mut ours = listener();
        let members = vec![ours.local_addr(); members];
        let outcome = connect(&mut ours, &membership(1, 0, &members), Instant::now() + PATIENCE, &aborter);
        assert!(matches!(outcome, Err(GroupError::Aborted { .. })), "{outcome:?}");
    }
}

#[test]
fn a_rank_outside_its_group_is_refused() {
    let mut ours = listener();
    for (rank, members) in [(0, vec![]), (2, vec![ours.local_addr(); 2])] {
        let outcome = join(&mut ours, &membership(1, rank, &members));
        assert!(matches!(outcome, Err(GroupError::NoSuchRank { .. })), "{outcome:?}");
    }
}

#[test]
fn a_port_in_use_is_told_with_its_address() {
    let taken = listener().local_addr();
    let held = Listener::bind(taken).expect("the port was free a moment ago");
    let error = Listener::bind(held.local_addr()).expect_err("the port is taken");
    assert_eq!(
        error.to_string(),
        format!(
            "cannot listen on {taken} for other workers: address in use. Choose a free port (0 picks one) of this \
             host."
        )
    );
}

/// Members whose generations are aborted at random moments, also while some still form the last one and others the
/// next; whoever fails tells everybody, as the coordinator would. The last generation must work.
#[test]
fn generations_follow_each_other_under_aborts_at_random_moments() {
    const GENERATIONS: u64 = 60;
    const SIZE: usize = 4;
    let mut listeners: Vec<_> = (0..SIZE).map(|_| listener()).collect();
    let members: Vec<_> = listeners.iter().map(Listener::local_addr).collect();
    // One aborter for each generation, shared by all its members.
    let aborters: Vec<Aborter> = (0..=GENERATIONS).map(|_| aborter()).collect();
    let last = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for (rank, listener) in listeners.iter_mut().enumerate() {
            let (members, aborters, last) = (&members, &aborters, &last);
            scope.spawn(move || {
                for generation in 1..=GENERATIONS {
                    let aborter = &aborters[generation as usize];
                    let membership = membership(generation, rank, members);
                    let group = connect(listener, &membership, Instant::now() + PATIENCE, aborter);
                    if generation == GENERATIONS {
                        last.lock().expect("no rank panics").push(group.expect("nobody aborts the last one"));
                        return;
                    }
                    // A different rank gives up after a different number of calls each time, often before the first.
                    let calls =
                        if generation % SIZE as u64 == rank as u64 { generation % 5 } else { u64::MAX };
                    let sums = group.map(|mut group| {
                        group.set_stall_timeout(Some(PATIENCE));
                        (0..calls)
                            .try_for_each(|_| group.all_reduce_i64(&mut vec![1; 10 * generation as usize]))
                    });
                    if let Ok(Err(error)) = &sums {
                        let ended = matches!(error, GroupError::Aborted { .. } | GroupError::PeerLost { .. });
                        assert!(ended, "{error}");
                    }
                    aborter.abort();
                }
            });
        }
    });
    let mut groups = last.into_inner().expect("no rank panics");
    groups.sort_by_key(Group::rank);
    sums(groups);
}
