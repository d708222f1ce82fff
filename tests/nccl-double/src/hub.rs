//! Connects the ranks of one communicator: a thread of the process that made the id.
//!
//! Each rank has one connection to it. In a call every rank sends a header and its values, and receives the result, summed
//! in the order of the ranks, so that all get the same bits. After a rank is gone or makes another call, no call finishes:
//! the other ranks hang until they are aborted, as in NCCL.

use std::io::{Read, Write, sink};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

/// Type (u32, `ncclDataType_t`), root (u32, or [`ALL_REDUCE`]), count (u64); little-endian.
pub(crate) const HEADER_BYTES: usize = 16;
/// In place of a root.
pub(crate) const ALL_REDUCE: u32 = u32::MAX;
/// In place of a root, from an aborted rank.
pub(crate) const POISON: u32 = u32::MAX - 1;
/// Every byte of garbage.
pub(crate) const GARBAGE: u8 = 0x5a;
/// Nonce (u64), rank (u32), size (u32).
pub(crate) const HELLO_BYTES: usize = 16;

/// The supported types.
pub(crate) const UINT8: u32 = 1;
pub(crate) const INT32: u32 = 2;
pub(crate) const INT64: u32 = 4;
pub(crate) const FLOAT32: u32 = 7;

/// None for other types.
pub(crate) fn value_bytes(of: u32) -> Option<usize> {
    match of {
        UINT8 => Some(1),
        INT64 => Some(8),
        INT32 | FLOAT32 => Some(4),
        _ => None,
    }
}

/// Starts a hub and returns its port. It ends when all ranks have left.
pub(crate) fn start(nonce: u64) -> std::io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        if let Some(mut ranks) = gather(&listener, nonce) {
            while let Some(result) = call(&mut ranks) {
                for rank in &mut ranks {
                    // A rank that is gone fails the next call.
                    _ = rank.write_all(&result);
                }
            }
            // Now they hang. Their bytes are read, so that only an abort can end their calls.
            for rank in &mut ranks {
                _ = std::io::copy(rank, &mut sink());
            }
        }
    });
    Ok(port)
}

/// Accepts all ranks, tells each that all are here, and returns their connections by rank.
fn gather(listener: &TcpListener, nonce: u64) -> Option<Vec<TcpStream>> {
    let mut ranks: Vec<Option<TcpStream>> = Vec::new();
    while ranks.is_empty() || ranks.iter().any(Option::is_none) {
        let (mut socket, _) = listener.accept().ok()?;
        let mut hello = [0; HELLO_BYTES];
        if socket.read_exact(&mut hello).is_err() || hello[..8] != nonce.to_le_bytes() {
            continue;
        }
        socket.set_nodelay(true).ok()?;
        let (rank, size) = (u32_at(&hello, 8) as usize, u32_at(&hello, 12) as usize);
        ranks.resize_with(size.max(ranks.len()), || None);
        *ranks.get_mut(rank)? = Some(socket);
    }
    let mut ranks: Vec<_> = ranks.into_iter().flatten().collect();
    ranks.iter_mut().for_each(|rank| _ = rank.write_all(&[1]));
    Some(ranks)
}

/// The result of the next call. None if no call will finish.
fn call(ranks: &mut [TcpStream]) -> Option<Vec<u8>> {
    let mut agreed = None;
    let mut poisoned = false;
    let mut result = Vec::new();
    for (rank, socket) in ranks.iter_mut().enumerate() {
        let mut header = [0; HEADER_BYTES];
        socket.read_exact(&mut header).ok()?;
        let (of, root) = (u32_at(&header, 0), u32_at(&header, 4));
        if root == POISON {
            poisoned = true;
            continue;
        }
        if *agreed.get_or_insert(header) != header {
            return None;
        }
        let count = u64::from_le_bytes(header[8..].try_into().expect("8 bytes"));
        if root != ALL_REDUCE && root as usize != rank {
            continue;
        }
        let mut values = vec![0; usize::try_from(count).ok()? * value_bytes(of)?];
        socket.read_exact(&mut values).ok()?;
        match result.is_empty() {
            true => result = values,
            false => add(of, &mut result, &values),
        }
    }
    if poisoned {
        result.fill(GARBAGE);
    }
    Some(result)
}

fn add(of: u32, sums: &mut [u8], values: &[u8]) {
    match of {
        INT32 => {
            for (sum, value) in sums.as_chunks_mut().0.iter_mut().zip(values.as_chunks().0) {
                *sum = i32::from_le_bytes(*sum).wrapping_add(i32::from_le_bytes(*value)).to_le_bytes();
            }
        }
        INT64 => {
            for (sum, value) in sums.as_chunks_mut().0.iter_mut().zip(values.as_chunks().0) {
                *sum = i64::from_le_bytes(*sum).wrapping_add(i64::from_le_bytes(*value)).to_le_bytes();
            }
        }
        _ => {
            for (sum, value) in sums.as_chunks_mut().0.iter_mut().zip(values.as_chunks().0) {
                *sum = (f32::from_le_bytes(*sum) + f32::from_le_bytes(*value)).to_le_bytes();
            }
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}
