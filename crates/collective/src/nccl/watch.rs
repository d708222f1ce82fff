//! A group's watcher: a thread that ends it at once when it is aborted or a neighbour is gone.
//!
//! It sleeps in poll(2) on the aborter and on the side channel, the TCP connections over which the group was formed.
//! Nothing crosses them while the group lives; a neighbour that goes says farewell (`farewell`), one that dies does not.
//!
//! A thread, and not a hook in the aborter: `ncclCommAbort` may take long, and whoever aborts must not wait for it;
//! and this thread is joined before the group is gone, so that no abort can come late.

use std::io::{ErrorKind, PipeReader, PipeWriter, Read, pipe};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};

use super::core::{Core, Ending, Side};
use super::device::Device;
use super::farewell::{FAREWELL_BYTES, Farewell};
use crate::tcp::poll_until;
use crate::{GroupError, LossCause};

/// How long a neighbour's failure is held back while this rank is in a call that the neighbour has finished. The call
/// then ends here as well, unless the failure cut off what was still on its way; and the generation is over anyhow.
const FINISH_WITHIN: Duration = Duration::from_millis(500);

/// Stops its watcher when it is dropped.
pub(super) struct Watcher {
    /// Dropped, it wakes the thread.
    stop: Option<PipeWriter>,
    stopped: Receiver<()>,
    patience: Duration,
}

impl Watcher {
    /// Starts to watch over `core`. When it is dropped, it waits no longer than `patience` for an abort that NCCL
    /// does not finish; the thread keeps alive what it works on.
    pub(super) fn start(
        core: &Arc<Core>,
        device: &Arc<dyn Device>,
        patience: Duration,
    ) -> Result<Self, GroupError> {
        let (asleep, stop) = pipe().map_err(|error| GroupError::system("make a pipe", &error))?;
        let (says_stopped, stopped) = channel();
        let (core, device) = (Arc::clone(core), Arc::clone(device));
        let body = move || {
            // NCCL makes its own choice where this fails.
            _ = device.make_current();
            watch(&core, &asleep);
            drop((core, device));
            // Nobody waits any more where patience has run out.
            _ = says_stopped.send(());
        };
        thread::Builder::new()
            .name("nccl-watcher".to_owned())
            .spawn(body)
            .map_err(|error| GroupError::system("start a thread", &error))?;
        Ok(Self { stop: Some(stop), stopped, patience })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop = None;
        _ = self.stopped.recv_timeout(self.patience);
    }
}

fn watch(core: &Core, stop: &PipeReader) {
    let mut heard = Side::BOTH.map(|side| core.link(side).map(|_| Heard::default()));
    let mut failing: Option<(Instant, Side)> = None;
    loop {
        let mut fds = vec![
            PollFd::new(stop.as_fd(), PollFlags::POLLIN),
            PollFd::new(core.aborter.woken(), PollFlags::POLLIN),
        ];
        let open = Side::BOTH.into_iter().filter(|side| heard[*side as usize].is_some());
        let links = open.filter_map(|side| core.link(side));
        fds.extend(links.map(|link| PollFd::new(link.socket.as_fd(), PollFlags::POLLIN)));
        let polled = poll_until(&mut fds, failing.map(|(until, _)| until));
        // An abort that comes together with the end is carried out all the same.
        if core.aborter.is_aborted() {
            return core.end(Ending::Aborted);
        }
        match (polled, failing) {
            (Err(error), _) => return core.end(Ending::Failed(error)),
            (Ok(false), Some((_, side))) => return core.lose(side),
            (Ok(_), _) => {}
        }
        if fds[0].revents().is_none_or(|events| !events.is_empty()) {
            return;
        }
        for side in Side::BOTH {
            match listen(core, side, &mut heard[side as usize]) {
                Said::Nothing => {}
                Said::Farewell(farewell, calls) => {
                    heard[side as usize] = None;
                    core.neighbour_left(side, calls);
                    if farewell == Farewell::Failing {
                        failing.get_or_insert((Instant::now() + FINISH_WITHIN, side));
                    }
                }
                Said::End(ending) => return core.end(ending),
            }
        }
    }
}

/// The part of a farewell that has come.
#[derive(Default)]
struct Heard {
    bytes: [u8; FAREWELL_BYTES],
    filled_bytes: usize,
}

enum Said {
    Nothing,
    Farewell(Farewell, u64),
    End(Ending),
}

/// Reads what has come from this side.
fn listen(core: &Core, side: Side, heard: &mut Option<Heard>) -> Said {
    let (Some(heard), Some(link)) = (heard, core.link(side)) else { return Said::Nothing };
    loop {
        match (&link.socket).read(&mut heard.bytes[heard.filled_bytes..]) {
            Ok(0) => return Said::End(Ending::Lost(link.peer, LossCause::Closed)),
            Ok(count_bytes) => heard.filled_bytes += count_bytes,
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => return Said::Nothing,
                ErrorKind::Interrupted => {}
                kind => return Said::End(Ending::Lost(link.peer, LossCause::Failed(kind))),
            },
        }
        if !Farewell::may_begin_with(&heard.bytes[..heard.filled_bytes]) {
            return Said::End(Ending::Garbled(link.peer));
        }
        if heard.filled_bytes == FAREWELL_BYTES {
            let (farewell, calls) = Farewell::decode(&heard.bytes);
            return Said::Farewell(farewell, calls);
        }
    }
}
