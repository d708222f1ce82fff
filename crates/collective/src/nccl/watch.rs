//! A group's watcher: a thread that ends it at once when it is aborted or a neighbour is gone, and the only one that
//! aborts its communicator.
//!
//! It sleeps in poll(2) on the aborter and on the side channel, the TCP connections over which the group was formed.
//! Nothing crosses them while the group lives; a neighbour that goes says farewell (`farewell`), one that dies does not.
//!
//! **Still, then abort.** A kernel of NCCL that is aborted does not stop: it runs to its end without waiting for its
//! peers, and hands on to them what it has not received, marked as good. Their kernels then end as if all were well, with
//! garbage, on a rank whose flag may not be set yet. So no rank aborts before all of them are still: each sets its flag,
//! tells its neighbours which ranks it knows to be still, and passes on what they tell. Dead ranks are still; their
//! neighbours see it. Only then, or after [`STILL_WITHIN`], is `ncclCommAbort` called.
//!
//! A thread, and not a hook in the aborter: `ncclCommAbort` may take long, and whoever aborts must not wait for it;
//! and this thread is waited for before the group is gone, so that no abort can come late.

use std::io::{ErrorKind, PipeReader, Read};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};

use super::core::{Core, Ending, Side};
use super::device::Device;
use super::farewell::{Farewell, Ranks, Way};
use crate::tcp::poll_until;
use crate::{GroupError, LossCause};

/// How long a neighbour's failure is held back while this rank is in a call that the neighbour has finished. The call
/// then ends here as well; and the generation is over anyhow.
const FINISH_WITHIN: Duration = Duration::from_millis(250);

/// How often it is looked meanwhile whether that call has ended.
const LOOK_EACH: Duration = Duration::from_millis(1);

/// How long the ranks may take to be still: longer than [`FINISH_WITHIN`], for which some wait first. It runs out only
/// where a rank is frozen, or where several are gone and the ring is in pieces that do not hear each other. A frozen
/// rank's incarnation is over whatever it computes; and the pieces' own members see the same deaths, and hear the same
/// abort from the coordinator, within this time.
const STILL_WITHIN: Duration = Duration::from_millis(500);

/// Waits for the end of its thread when it is dropped. The group must be over by then.
pub(super) struct Watcher {
    stopped: Receiver<()>,
    patience: Duration,
}

impl Watcher {
    /// Starts to watch over `core`, which wakes it by `asleep`. When it is dropped, it waits no longer than `patience`
    /// for an abort that NCCL does not finish; the thread keeps alive what it works on.
    pub(super) fn start(
        core: &Arc<Core>,
        device: &Arc<dyn Device>,
        asleep: PipeReader,
        patience: Duration,
    ) -> Result<Self, GroupError> {
        let (says_stopped, stopped) = channel();
        let (core, device) = (Arc::clone(core), Arc::clone(device));
        let body = move || {
            let _vital = Vital;
            // NCCL makes its own choice where this fails.
            _ = device.make_current();
            let mut watch = Watch::new(&core);
            watch.until_over(&asleep);
            if !core.is_closed() {
                watch.until_still();
                core.abort();
                core.hang_up();
            }
            drop((core, device));
            // Nobody waits any more where patience has run out.
            _ = says_stopped.send(());
        };
        thread::Builder::new()
            .name("nccl-watcher".to_owned())
            .spawn(body)
            .map_err(|error| GroupError::system("start a thread", &error))?;
        Ok(Self { stopped, patience })
    }
}

/// A group without its watcher never ends, and its process would stand still for ever: better that it is gone.
struct Vital;

impl Drop for Vital {
    fn drop(&mut self) {
        if thread::panicking() {
            std::process::abort();
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        _ = self.stopped.recv_timeout(self.patience);
    }
}

struct Watch<'a> {
    core: &'a Core,
    /// What has come of each neighbour's next farewell, by [`Side`]; None once nothing more will come.
    heard: [Option<Vec<u8>>; 2],
    /// The ranks that are known to be still.
    still: Ranks,
}

/// What a neighbour says.
enum Said {
    Nothing,
    Farewell(Farewell),
    End(Ending),
}

impl<'a> Watch<'a> {
    fn new(core: &'a Core) -> Self {
        let heard = Side::BOTH.map(|side| core.link(side).map(|_| Vec::new()));
        Self { core, heard, still: Ranks::none(core.size) }
    }

    /// Returns when the group is over.
    fn until_over(&mut self, asleep: &PipeReader) {
        let core = self.core;
        let mut failing: Option<(Instant, Side)> = None;
        while !core.is_over() {
            let look = failing.map(|_| Instant::now() + LOOK_EACH);
            let own = [asleep.as_fd(), core.aborter.woken()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            if let Err(error) = self.sleep(own.into(), look) {
                return core.end(Ending::Failed(error));
            }
            if core.aborter.is_aborted() {
                return core.end(Ending::Aborted);
            }
            for side in Side::BOTH {
                match self.listen(side) {
                    Said::Nothing => {}
                    Said::Farewell(farewell) => {
                        core.neighbour_left(side, farewell.finished_calls);
                        if farewell.way == Way::Failing {
                            failing.get_or_insert((Instant::now() + FINISH_WITHIN, side));
                        }
                    }
                    Said::End(ending) => core.end(ending),
                }
            }
            if let Some((until, side)) = failing
                && (core.is_idle() || until <= Instant::now())
            {
                core.lose(side);
            }
        }
    }

    /// Returns when all ranks are still, or have had their time.
    fn until_still(&mut self) {
        let deadline = Instant::now() + STILL_WITHIN;
        self.still.insert(self.core.rank);
        let mut told = None;
        loop {
            while Side::BOTH.into_iter().any(|side| !matches!(self.listen(side), Said::Nothing)) {}
            // Said before the abort, so that the neighbours need not wait for what this rank knows.
            if told.as_ref() != Some(&self.still) {
                self.core.say(Way::Failing, &self.still);
                told = Some(self.still.clone());
            }
            if self.still.are_all() || deadline <= Instant::now() {
                return;
            }
            if self.sleep(Vec::new(), Some(deadline)).is_err() {
                return;
            }
        }
    }

    /// Sleeps until one of these or a neighbour has something, or until `deadline`.
    fn sleep<'f>(&'f self, mut fds: Vec<PollFd<'f>>, deadline: Option<Instant>) -> Result<(), GroupError> {
        let open = Side::BOTH.into_iter().filter(|side| self.heard[*side as usize].is_some());
        let links = open.filter_map(|side| self.core.link(side));
        fds.extend(links.map(|link| PollFd::new(link.socket.as_fd(), PollFlags::POLLIN)));
        poll_until(&mut fds, deadline).map(|_| ())
    }

    /// Reads the next that has come from this side, and learns who is still.
    fn listen(&mut self, side: Side) -> Said {
        let heard = &mut self.heard[side as usize];
        let (Some(bytes), Some(link)) = (heard.as_mut(), self.core.link(side)) else { return Said::Nothing };
        let ending = match read(&link.socket, bytes, Farewell::len_bytes(self.core.size)) {
            Ok(false) => return Said::Nothing,
            Ok(true) if bytes.len() < Farewell::len_bytes(self.core.size) => Ending::Garbled(link.peer),
            Ok(true) => {
                let farewell = Farewell::decode(bytes, self.core.size);
                bytes.clear();
                self.still.insert(link.peer.rank);
                self.still.insert_all(&farewell.still);
                if farewell.way == Way::Leaving {
                    *heard = None;
                }
                return Said::Farewell(farewell);
            }
            Err(cause) => Ending::Lost(link.peer, cause),
        };
        // Dead, or a rank that failed and has said so before.
        self.still.insert(link.peer.rank);
        *heard = None;
        Said::End(ending)
    }
}

/// Reads until `bytes` are `len_bytes`, or can never become a farewell. False if it would have to wait.
fn read(mut socket: &TcpStream, bytes: &mut Vec<u8>, len_bytes: usize) -> Result<bool, LossCause> {
    while bytes.len() < len_bytes {
        let known = bytes.len();
        bytes.resize(len_bytes, 0);
        let outcome = socket.read(&mut bytes[known..]);
        bytes.truncate(known + *outcome.as_ref().unwrap_or(&0));
        match outcome {
            Ok(0) => return Err(LossCause::Closed),
            Ok(_) if !Farewell::may_begin_with(bytes) => return Ok(true),
            Ok(_) => {}
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => return Ok(false),
                ErrorKind::Interrupted => {}
                kind => return Err(LossCause::Failed(kind)),
            },
        }
    }
    Ok(true)
}
