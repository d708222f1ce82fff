//! The contract between processes, with threads in place of the processes.

mod local;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;

use local::double::{self, Double};
use local::{PATIENCE, listener, membership};
use lsgan_collective::contract::processes;
use lsgan_collective::tcp::Listener;
use lsgan_collective::{Group, GroupError};

type Join =
    dyn Fn(&mut Listener, u64, usize, &[SocketAddr]) -> Result<Box<dyn Group>, GroupError> + Send + Sync;

fn over_tcp() -> Arc<Join> {
    Arc::new(|listener, generation, rank, members| {
        Ok(Box::new(local::join(listener, &membership(generation, rank, members))?))
    })
}

fn over_the_nccl_double() -> Arc<Join> {
    let double = Double::with(&[]);
    Arc::new(move |listener, generation, rank, members| {
        Ok(Box::new(double::join_generation(&double.nccl(), listener, generation, rank, members)?))
    })
}

/// Runs `rank` on a thread for each of `size` ranks; returns their results in the order in which they end.
fn on_threads<R: Send + 'static>(
    join: &Arc<Join>,
    size: usize,
    rank: impl Fn(usize, &mut dyn FnMut() -> Box<dyn Group>) -> R + Send + Sync + Copy + 'static,
) -> Vec<R> {
    let listeners: Vec<_> = (0..size).map(|_| listener()).collect();
    let members: Vec<_> = listeners.iter().map(Listener::local_addr).collect();
    let (sender, results) = channel();
    for (index, mut listener) in listeners.into_iter().enumerate() {
        let (join, members, sender) = (Arc::clone(join), members.clone(), sender.clone());
        thread::spawn(move || {
            let mut generation = 0;
            let mut form = || {
                generation += 1;
                join(&mut listener, generation, index, &members).expect("all members come")
            };
            // The receiver is gone after the test has failed.
            _ = sender.send(rank(index, &mut form));
        });
    }
    (0..size).map(|_| results.recv_timeout(PATIENCE).expect("no rank hangs or panics")).collect()
}

fn every_case_is_run(join: &Arc<Join>) {
    for size in 1..=3 {
        let wanted = processes::CASES.iter().filter(|case| case.ranks_min <= size).count();
        let done = on_threads(join, size, move |_, form| {
            let mut done = 0;
            processes::contract(size, form, |_, _| done += 1);
            done
        });
        assert_eq!(done, vec![wanted; size]);
    }
}

fn a_death_is_noticed_by_all(join: &Arc<Join>) {
    let errors = on_threads(join, 3, |rank, form| {
        let mut group = form();
        if rank == 1 {
            group.barrier().expect("all are alive");
            return None;
        }
        Some(processes::sum_until_a_death(group, || ()))
    });
    assert_eq!(errors.iter().flatten().count(), 2, "{errors:?}");
}

#[test]
fn tcp_keeps_it() {
    every_case_is_run(&over_tcp());
    a_death_is_noticed_by_all(&over_tcp());
}

#[test]
fn nccl_over_its_double_keeps_it() {
    every_case_is_run(&over_the_nccl_double());
    a_death_is_noticed_by_all(&over_the_nccl_double());
}
