//! Forming a group, in spite of other connections, absent members and aborts.

mod local;

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::{self, net::UnixListener};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use local::raw::{self, RawPeer, answer, await_answer, await_close, hello, prove};
use local::{KEY, PATIENCE, TOKEN, aborter, form_over, join, listener, membership};
use lsgan_collective::tcp::{Listener, RingKey, RunToken, TcpGroup, connect};
use lsgan_collective::{Aborter, Group, GroupError, LossCause, Missing, Peer, Refusal};
use lsgan_spec::Generation;

/// For tests in which a deadline must pass.
const SOON: Duration = Duration::from_millis(100);

type Outcome = Result<TcpGroup, GroupError>;

/// Forms generation `generation` as this rank; gives up after [`PATIENCE`].
fn form(ours: &mut Listener, generation: u64, rank: usize, members: &[SocketAddr], end: &Aborter) -> Outcome {
    connect(ours, &membership(generation, rank, members), Instant::now() + PATIENCE, end)
}

/// Forms generation `generation` as this rank, and aborts it after `meanwhile`.
fn form_while(
    ours: &mut Listener,
    generation: u64,
    rank: usize,
    members: &[SocketAddr],
    meanwhile: impl FnOnce(),
) -> Outcome {
    let end = aborter();
    thread::scope(|scope| {
        let forming = scope.spawn(|| form(ours, generation, rank, members, &end));
        meanwhile();
        end.abort();
        forming.join().expect("forming does not panic")
    })
}

/// Rank 0 tries to form generation `generation` of two until `within` has passed; returns its error.
fn fail_to_form(ours: &mut Listener, generation: u64, other: SocketAddr, within: Duration) -> GroupError {
    let membership = membership(generation, 0, &[ours.local_addr(), other]);
    connect(ours, &membership, Instant::now() + within, &aborter()).expect_err("rank 1 does not join")
}

/// Dials rank 0 with these bytes; then two members form generation `generation` and sum. Returns the dialed connection.
fn two_form_in_spite_of(generation: u64, dialed: &[u8]) -> TcpStream {
    let mut listeners = [listener(), listener()];
    let connection = raw::dial(listeners[0].local_addr(), dialed);
    sums(form_over(&mut listeners, generation));
    connection
}

/// Asserts that the group sums.
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

/// A member in another container, or of another user, has no Unix socket that the others find.
#[test]
fn members_of_this_host_and_others_form_one_ring() {
    for locals in [[true, true, false], [false, true, true], [true, false, false]] {
        let mut listeners = locals.map(|is_local| match is_local {
            true => listener().also_local(),
            false => listener(),
        });
        for generation in 1..4 {
            sums(form_over(&mut listeners, generation));
        }
    }
}

/// Something else answers at the name of the neighbour's Unix socket.
#[test]
fn a_neighbour_that_is_not_found_on_this_host_is_dialed_over_tcp() {
    let mut ours = listener().also_local();
    let mut theirs = listener();
    let name = unix::net::SocketAddr::from_abstract_name(format!("lsgan ring {}", theirs.local_addr()));
    let stranger = UnixListener::bind_addr(&name.expect("a short name")).expect("nobody listens there");
    let members = [ours.local_addr(), theirs.local_addr()];
    let groups = thread::scope(|scope| {
        let hanging_up = scope.spawn(|| drop(stranger.accept().expect("it is dialed first")));
        let forming = [(&mut ours, 0), (&mut theirs, 1)]
            .map(|(listener, rank)| scope.spawn(move || join(listener, &membership(1, rank, &members))));
        hanging_up.join().expect("hanging up does not panic");
        forming.map(|rank| rank.join().expect("forming does not panic").expect("TCP is there as well"))
    });
    sums(groups.into());
}

#[test]
fn groups_of_any_size_form_over_the_same_listeners() {
    let mut listeners: Vec<_> = (0..8).map(|_| listener()).collect();
    for (generation, size) in [8, 1, 2, 3, 8, 5].into_iter().enumerate() {
        sums(form_over(&mut listeners[..size], generation as u64 + 1));
    }
}

#[test]
fn a_connection_of_another_generation_run_membership_or_version_is_refused() {
    let mut other_version = hello(TOKEN, 5, 1, 0, 2);
    other_version[8] = 99;
    for (dialed, refusal) in [
        (hello(TOKEN, 4, 1, 0, 2), answer(1, 5)),
        (hello(RunToken([8; 32]), 5, 1, 0, 2), answer(2, 0)),
        (hello(TOKEN, 5, 0, 0, 2), answer(3, 0)),
        (hello(TOKEN, 5, 1, 1, 2), answer(3, 0)),
        (hello(TOKEN, 5, 1, 0, 3), answer(3, 0)),
        (hello(TOKEN, 5, u32::MAX, 0, 2), answer(3, 0)),
        (other_version, answer(4, 0)),
    ] {
        assert_eq!(await_answer(&mut two_form_in_spite_of(5, &dialed)), refusal);
    }
}

#[test]
fn garbage_is_closed_without_an_answer() {
    await_close(&mut two_form_in_spite_of(1, b"GET / HTTP/1.1\r\n\r\n"));
}

/// One connection sends nothing, one half a hello, one its magic; a hundred more send nothing.
#[test]
fn silent_connections_do_not_block_the_forming() {
    let mut listeners = [listener(), listener()];
    let whole = hello(TOKEN, 1, 1, 0, 2);
    let dial = |known: usize| raw::dial(listeners[0].local_addr(), &whole[..known]);
    let silent: Vec<_> = [0, 32, 8].into_iter().chain([0; 100]).map(dial).collect();
    sums(form_over(&mut listeners, 1));
    drop(silent);
}

/// Whoever has read a hello of the run can send it again.
#[test]
fn a_dialer_without_the_key_is_refused_and_takes_no_place() {
    let (mut ours, mut theirs) = (listener(), listener());
    let members = [ours.local_addr(), theirs.local_addr()];
    let said = hello(TOKEN, 1, 1, 0, 2);
    let mut parked = raw::dial(members[0], &hello(TOKEN, 2, 1, 0, 2));
    thread::scope(|scope| {
        let listeners = (&mut ours, &mut theirs);
        let first = scope.spawn(move || {
            let first = join(listeners.0, &membership(1, 0, &members)).expect("rank 1 has the key");
            (first, listeners.0)
        });
        let mut forged = raw::dial(members[0], &said);
        prove(&mut forged, &said, RingKey { secret: [8; 32], ..KEY });
        assert_eq!(await_answer(&mut forged), answer(5, 0));
        let mut downgraded = raw::dial(members[0], &said);
        prove(&mut downgraded, &said, RingKey { sealed: true, ..KEY });
        assert_eq!(await_answer(&mut downgraded), answer(5, 0));
        let silent = raw::dial(members[0], &said);
        let second = join(listeners.1, &membership(1, 1, &members)).expect("rank 0 has the key");
        let (first, ours) = first.join().expect("no panic");
        sums(vec![first, second]);
        // The parked one claims to be rank 1 of the next generation, and so does rank 1.
        let first = scope.spawn(move || join(ours, &membership(2, 0, &members)).expect("rank 1 has the key"));
        let second = join(listeners.1, &membership(2, 1, &members)).expect("rank 0 has the key");
        sums(vec![first.join().expect("no panic"), second]);
        drop(silent);
    });
    let mut challenged = [0; 72];
    std::io::Read::read_exact(&mut parked, &mut challenged)
        .expect("it was asked for a proof, and never gave one");
}

#[test]
fn a_listener_without_the_key_is_not_believed() {
    let mut ours = listener();
    let (socket, there) = raw::listener();
    let dialled = thread::spawn(move || {
        let (mut dialer, _) = socket.accept().expect("rank 0 dials");
        dialer.write_all(&[&b"lsganCh\n"[..], &[1; 64]].concat()).expect("a challenge fits");
        // It hangs up instead of proving anything. (Not more than its hello is read.)
        let mut said = Vec::new();
        _ = std::io::Read::read_to_end(&mut dialer, &mut said);
        said.len()
    });
    let error = fail_to_form(&mut ours, 7, there, 10 * SOON);
    let GroupError::NotFormed { missing, .. } = &error else { panic!("{error}") };
    let peer = Peer { rank: 1, address: there };
    assert!(
        [LossCause::Unproved, LossCause::Failed(std::io::ErrorKind::ConnectionRefused)]
            .iter()
            .any(|cause| missing[0] == Missing::Unreachable(peer, *cause)),
        "{missing:?}"
    );
    assert_eq!(dialled.join().expect("no panic"), raw::HELLO_BYTES);
}

/// A connection breaks twice, before and after rank 0 has accepted it; then the member returns.
#[test]
fn a_member_that_dials_again_replaces_its_broken_connection() {
    let (mut ours, mut theirs) = (listener(), listener());
    let members = [ours.local_addr(), theirs.local_addr()];
    drop(raw::dial(members[0], &hello(TOKEN, 1, 1, 0, 2)));
    thread::scope(|scope| {
        let first = scope.spawn(move || join(&mut ours, &membership(1, 0, &members)));
        let mut accepted = raw::dial(members[0], &hello(TOKEN, 1, 1, 0, 2));
        prove(&mut accepted, &hello(TOKEN, 1, 1, 0, 2), KEY);
        assert_eq!(await_answer(&mut accepted), answer(0, 0));
        drop(accepted);
        let second = join(&mut theirs, &membership(1, 1, &members)).expect("rank 0 accepts again");
        sums(vec![first.join().expect("no panic").expect("rank 1 is back"), second]);
    });
}

/// Rank 0 still tries to form generation 1 when rank 1 dials it for generation 2. The refusal of a later connection of
/// generation 0 shows that rank 0 has read rank 1's hello.
#[test]
fn a_connection_of_a_newer_generation_waits_for_its_turn() {
    let mut ours = listener();
    let address = ours.local_addr();
    let (_absent, absent) = raw::listener();
    let mut early = raw::dial(address, &hello(TOKEN, 2, 1, 0, 2));
    let outcome = form_while(&mut ours, 1, 0, &[address, absent], || {
        await_answer(&mut raw::dial(address, &hello(TOKEN, 0, 1, 0, 2)));
    });
    let error = outcome.map(drop).expect_err("rank 1 is at generation 2");
    assert_eq!(error, GroupError::Aborted { generation: Generation(1) });
    _ = form_while(&mut ours, 2, 0, &[address, absent], || {
        prove(&mut early, &hello(TOKEN, 2, 1, 0, 2), KEY);
        assert_eq!(await_answer(&mut early), answer(0, 0));
    });
}

#[test]
fn a_member_that_never_comes_is_named_at_the_deadline() {
    let (gone, absent) = raw::listener();
    drop(gone);
    let error = fail_to_form(&mut listener(), 7, absent, SOON);
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
    let idle = listener();
    let peer = Peer { rank: 1, address: idle.local_addr() };
    let error = fail_to_form(&mut listener(), 7, peer.address, SOON);
    let GroupError::NotFormed { missing, .. } = &error else { panic!("{error}") };
    assert_eq!(missing[..], [Missing::NotJoined(peer), Missing::NotCalled(peer)]);
}

/// Rank 0's neighbour accepts, and does not take part in the barrier.
#[test]
fn a_ring_that_does_not_close_is_told() {
    let mut ours = listener();
    let here = ours.local_addr();
    let (socket, there) = raw::listener();
    let peer = thread::spawn(move || RawPeer::join(&socket, 3, 1, 2, here));
    let error = fail_to_form(&mut ours, 3, there, 5 * SOON);
    let neighbour = Peer { rank: 1, address: there };
    let GroupError::NotFormed { missing, .. } = &error else { panic!("{error}") };
    assert_eq!(missing[..], [Missing::Beyond(neighbour, neighbour)]);
    peer.join().expect("the peer has joined");
}

#[test]
fn a_member_that_is_ahead_refuses_the_one_behind() {
    let mut behind = listener();
    let mut ahead = listener();
    let members = [behind.local_addr(), ahead.local_addr()];
    _ = form_while(&mut ahead, 9, 1, &members, || {
        let error = join(&mut behind, &membership(8, 0, &members)).expect_err("rank 1 is at generation 9");
        let GroupError::Refused { rank: 0, generation: Generation(8), peer, refusal } = error else {
            panic!("{error}")
        };
        assert_eq!(peer, Peer { rank: 1, address: members[1] });
        assert_eq!(refusal, Refusal::Superseded { by: Generation(9) });
    });
}

/// A listener that is not a worker is dialed again and again.
#[test]
fn an_address_that_answers_with_garbage_is_dialed_again() {
    let mut ours = listener();
    let (socket, there) = raw::listener();
    let members = [ours.local_addr(), there];
    let outcome = form_while(&mut ours, 1, 0, &members, || {
        for _dial in 0..3 {
            let (mut dialer, _) = socket.accept().expect("rank 0 dials");
            dialer.write_all(b"220 mail.example ESMTP\r\n").expect("a greeting fits");
        }
    });
    assert!(matches!(outcome, Err(GroupError::Aborted { .. })));
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
        let mut late =
            TcpListener::bind(there).map(Listener::on).expect("the port was free").expect("it listens");
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
            let mut aborted_at = None;
            let outcome = form_while(&mut ours, generation, 0, &[address, absent], || {
                // The answer shows that rank 0 is forming the generation.
                await_answer(&mut raw::dial(address, &hello(TOKEN, 0, 1, 0, 2)));
                aborted_at = Some(Instant::now());
            });
            assert!(matches!(outcome, Err(GroupError::Aborted { .. })), "{outcome:?}");
            aborted_at.expect("it was aborted").elapsed()
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
        let outcome = form(&mut ours, 1, 0, &members, &aborter);
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

/// Generations are aborted at random moments, also while some members still form one generation and others the next. A
/// rank that fails aborts the generation for all, as the coordinator does. The last generation must work.
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
                    let group = form(listener, generation, rank, members, aborter);
                    if generation == GENERATIONS {
                        last.lock()
                            .expect("no rank panics")
                            .push(group.expect("the last one is not aborted"));
                        return;
                    }
                    // In each generation another rank gives up, after another number of calls, often before the first.
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
