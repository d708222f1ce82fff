//! Faults of a peer of a TCP group, played by a peer made of bytes.

mod local;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use local::raw::{self, RawPeer};
use local::{PATIENCE, join, listener, membership};
use lsgan_collective::tcp::TcpGroup;
use lsgan_collective::{Group, GroupError, LossCause, Peer};
use lsgan_spec::Generation;

/// Rank 0, and rank 1, which is made of bytes, with its address.
fn with_raw_peer(generation: u64) -> (TcpGroup, RawPeer, SocketAddr) {
    let mut ours = listener();
    let here = ours.local_addr();
    let (socket, there) = raw::listener();
    let peer = thread::spawn(move || {
        let mut peer = RawPeer::join(&socket, generation, 1, 2, here);
        peer.close_ring_of_two();
        peer
    });
    let mut group = join(&mut ours, &membership(generation, 0, &[here, there])).expect("rank 1 has joined");
    // An unnoticed loss then fails the test instead of hanging it.
    group.set_stall_timeout(Some(PATIENCE));
    (group, peer.join().expect("rank 0 has joined"), there)
}

/// Rank 1 receives a part of a large sum, sends a part of its own, and ends its connections.
fn lost_in_the_middle(end: impl FnOnce(RawPeer) + Send + 'static) -> (GroupError, SocketAddr) {
    let (mut group, mut peer, there) = with_raw_peer(3);
    let dying = thread::spawn(move || {
        let mut header = [0; 24];
        peer.from_left.read_exact(&mut header).expect("rank 0 calls");
        peer.from_left.read_exact(&mut [0; 10_000]).expect("rank 0 sends");
        peer.to_right.write_all(&header).expect("a header fits");
        peer.to_right.write_all(&[1; 10_003]).expect("rank 0 receives");
        end(peer);
    });
    let error = group.all_reduce_i64(&mut vec![1; 4_000_000]).expect_err("rank 1 is gone");
    dying.join().expect("rank 1 dies as planned");
    assert_eq!(group.barrier(), Err(error.clone()));
    (error, there)
}

#[test]
fn a_peer_that_closes_in_the_middle_is_lost() {
    let (error, there) = lost_in_the_middle(drop);
    let GroupError::PeerLost { peer, generation, .. } = error else { panic!("{error}") };
    assert_eq!((peer, generation), (Peer { rank: 1, address: there }, Generation(3)));
}

#[test]
fn a_peer_that_is_reset_in_the_middle_is_lost() {
    let (error, there) = lost_in_the_middle(RawPeer::reset);
    let GroupError::PeerLost { peer, cause, .. } = error else { panic!("{error}") };
    assert_eq!(peer, Peer { rank: 1, address: there });
    assert!(matches!(cause, LossCause::Failed(_)), "{cause}");
}

#[test]
fn the_message_of_a_lost_peer_has_rank_address_generation_and_what_to_do() {
    let (mut group, peer, there) = with_raw_peer(3);
    drop(peer);
    let error = group.broadcast(1, &mut [0; 10]).expect_err("rank 1 is gone");
    let GroupError::PeerLost { cause, .. } = &error else { panic!("{error}") };
    assert_eq!(
        error.to_string(),
        format!(
            "generation 3 lost rank 1 at {there} in call 1, broadcast of 10 bytes from rank 1: {cause}. It died, or \
             left because it was aborted or lost a neighbour itself. Drop what this call worked on and wait for the \
             next generation."
        )
    );
}

/// Only the connection on which rank 0 sends is closed. Rank 1 sends nothing on the other.
#[test]
fn a_peer_that_no_longer_receives_is_lost() {
    let (mut group, peer, _there) = with_raw_peer(1);
    let RawPeer { from_left, to_right } = peer;
    drop(from_left);
    let error = group.all_reduce_i64(&mut vec![1; 4_000_000]).expect_err("rank 1 does not receive");
    assert!(matches!(error, GroupError::PeerLost { .. }), "{error}");
    drop(to_right);
}

#[test]
fn a_garbled_header_is_an_error() {
    let (mut group, mut peer, there) = with_raw_peer(1);
    peer.to_right.write_all(&[0; 24]).expect("a header fits");
    let error = group.all_reduce_i64(&mut [1]).expect_err("rank 1 sends garbage");
    let GroupError::Garbled { peer: from, .. } = error else { panic!("{error}") };
    assert_eq!(from, Peer { rank: 1, address: there });
}

/// A right neighbour never sends.
#[test]
fn bytes_from_the_right_are_an_error() {
    let (mut group, mut peer, _there) = with_raw_peer(1);
    peer.from_left.write_all(&[7]).expect("a byte fits");
    let error = group.all_reduce_i64(&mut vec![1; 4_000_000]).expect_err("rank 1 sends garbage");
    assert!(matches!(error, GroupError::Garbled { .. }), "{error}");
}

#[test]
fn a_different_call_is_an_error_that_names_both() {
    let (mut group, mut peer, there) = with_raw_peer(4);
    let mut header = [0; 24];
    header[..4].copy_from_slice(&0xa11e_df32_u32.to_le_bytes());
    header[8] = 1;
    header[16] = 12;
    peer.to_right.write_all(&header).expect("a header fits");
    let error = group.all_reduce_i64(&mut [1; 11]).expect_err("rank 1 makes another call");
    assert_eq!(
        error.to_string(),
        format!(
            "generation 4 is at odds: rank 0 makes call 1, all_reduce_i64 of 11 values; rank 1 at {there} makes call \
             1, all_reduce_f32 of 12 values. All ranks must make the same calls in the same order. This is a bug in \
             the program; report it with both lines."
        )
    );
}

/// Rank 1 is alive and silent, as when it is frozen or cut off.
#[test]
fn a_silent_peer_is_an_error_after_the_stall_timeout() {
    let (mut group, _peer, there) = with_raw_peer(1);
    let timeout = Duration::from_millis(60);
    group.set_stall_timeout(Some(timeout));
    let error = group.all_reduce_i64(&mut vec![1; 4_000_000]).expect_err("rank 1 is silent");
    let GroupError::Stalled { peer, after, .. } = error else { panic!("{error}") };
    assert_eq!((peer, after), (Peer { rank: 1, address: there }, timeout));
}

/// Values are split at every byte.
#[test]
fn values_that_come_byte_by_byte_are_summed() {
    // Few values go around the ring once, so that the peer's are those of rank 0 again; many in two chunks of half of them.
    for (count, chunk_bytes) in [(20, 160), (2000, 8000)] {
        let (mut group, mut peer, _there) = with_raw_peer(1);
        let slow = thread::spawn(move || {
            let mut call = vec![0; 24 + chunk_bytes];
            peer.from_left.read_exact(&mut call).expect("rank 0 calls");
            for byte in call {
                peer.to_right.write_all(&[byte]).expect("rank 0 receives");
                thread::yield_now();
            }
            // Rank 0's second chunk, which rank 0 forwards as the whole sum.
            let mut sum = vec![0; 8 * count - chunk_bytes];
            peer.from_left.read_exact(&mut sum).expect("rank 0 sends");
            peer.to_right.write_all(&sum).expect("rank 0 receives");
            peer
        });
        let mut values = vec![5; count];
        group.all_reduce_i64(&mut values).expect("rank 1 takes part");
        assert_eq!(values, vec![10; count]);
        slow.join().expect("rank 1 does as planned");
    }
}
