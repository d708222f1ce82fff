//! Forms one generation's group: the members connect over TCP, agree on NCCL's version and id, and NCCL connects them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::communicator::{Communicator, CommunicatorError, ID_BYTES, Id, Progress, new_id};
use super::core::{Core, EndReason};
use super::device::Device;
use super::flag::AbortFlag;
use super::library::{Library, NcclVersion};
use super::staging::Staging;
use super::watch::Watcher;
use super::{Backoff, NcclGroup};
use crate::tcp::{self, Listener, Membership, TcpGroup};
use crate::{Aborter, Call, CallKind, Group, GroupError, Peer};

/// What groups are formed with, the same for a worker's whole life.
#[derive(Clone)]
pub struct Nccl {
    pub library: Library,
    pub device: Arc<dyn Device>,
    /// Whether a group of one has a communicator too. It needs none, and making one costs time after a failure; but on a
    /// machine with one GPU it is the only way to try NCCL.
    pub also_alone: bool,
    /// How long NCCL may take to connect members that have met; an abort ends that at once.
    pub connect_within: Duration,
    /// How long the device may take to finish aborted calls; see [`super::DRAIN_WITHIN`].
    pub drain_within: Duration,
}

/// How the members of a generation are connected.
pub enum Connected {
    /// Over NCCL.
    Nccl(Box<NcclGroup>),
    /// These two compute on one device, between which NCCL does not sum. All members have only met.
    OneDevice { meeting: Box<TcpGroup>, peers: [Peer; 2] },
}

/// What all members have agreed on.
enum Agreed {
    Id(Id),
    OneDevice([Peer; 2]),
}

impl Connected {
    /// The group over NCCL.
    ///
    /// # Errors
    /// Two members compute on one device.
    pub fn over_nccl(self) -> Result<NcclGroup, GroupError> {
        match self {
            Self::Nccl(group) => Ok(*group),
            Self::OneDevice { meeting, peers } => {
                Err(GroupError::OneDevice { generation: meeting.generation(), peers })
            }
        }
    }
}

/// Forms this generation's group over NCCL, or over TCP where NCCL cannot sum; returns when all members have called it.
///
/// Order, `deadline` and `aborter` are as in [`tcp::connect`]: until then the members have to meet. `waiting` is called now and
/// then while NCCL connects them.
///
/// # Errors
/// The members do not meet, have different versions of NCCL, or are not connected in time.
pub fn connect(
    nccl: &Nccl,
    listener: &mut Listener,
    membership: &Membership,
    deadline: Instant,
    aborter: &Aborter,
    waiting: &dyn Fn(),
) -> Result<Connected, GroupError> {
    let started = Instant::now();
    let (rank, size, generation) = (membership.rank, membership.members.len(), membership.generation);
    let mut meeting = tcp::connect(listener, membership, deadline, aborter)?;
    nccl.device.make_current()?;
    let flag = Arc::new(AbortFlag::new(&nccl.device)?);
    let agreed = if size > 1 || nccl.also_alone {
        meeting.set_stall_timeout(Some(deadline.saturating_duration_since(Instant::now())));
        Some(agree(nccl, membership, &mut meeting).map_err(|error| match error {
            GroupError::Stalled { .. } => {
                GroupError::NcclNotReady { generation, rank, waited: started.elapsed() }
            }
            error => error,
        })?)
    } else {
        None
    };
    let id = match agreed {
        Some(Agreed::OneDevice(peers)) => {
            meeting.set_stall_timeout(None);
            return Ok(Connected::OneDevice { meeting: Box::new(meeting), peers });
        }
        Some(Agreed::Id(id)) => Some(id),
        None => None,
    };
    let links = meeting.into_ring().map(|ring| [ring.left, ring.right]);
    let (reader, wake) = std::io::pipe().map_err(|error| GroupError::system("make a pipe", &error))?;
    let core = Arc::new(Core::new(membership, aborter, flag, links, wake));
    let mut group = NcclGroup {
        watcher: Some(Watcher::start(&core, &nccl.device, reader, nccl.drain_within)?),
        core,
        communicator: None,
        device: Arc::clone(&nccl.device),
        drain_within: nccl.drain_within,
        staging: Staging::default(),
        calls: 0,
        last_call: forming_call(),
        in_progress: false,
        last_mark: None,
        failed: None,
        description: nccl.library.description(),
    };
    if let Some(id) = id {
        let made = make_communicator(nccl, &id, &group.core, started, waiting);
        group.communicator = Some(made.map_err(|reason| group.over(reason))?);
    }
    Ok(Connected::Nccl(Box::new(group)))
}

/// The call that errors name when a neighbour is lost while NCCL connects: the last one made together.
fn forming_call() -> Call {
    Call { kind: CallKind::Broadcast { root: 0 }, sequence: 2, length: ID_BYTES as u64 }
}

/// Checks that all ranks have the same version of NCCL; returns rank 0's id, if each has a device of its own.
fn agree(
    Nccl { library, device, .. }: &Nccl,
    membership: &Membership,
    meeting: &mut TcpGroup,
) -> Result<Agreed, GroupError> {
    let (rank, generation, ours) = (membership.rank, membership.generation, library.version());
    let peer = |rank: usize| Peer { rank, address: membership.members[rank] };
    // Of each rank: its version, and the halves of its device's id.
    let mut of_ranks = vec![0; 3 * membership.members.len()];
    let id = device.id();
    of_ranks[3 * rank..][..3].copy_from_slice(&[i64::from(ours.0), (id >> 64) as i64, id as i64]);
    meeting.all_reduce_i64(&mut of_ranks)?;
    let (of_ranks, _) = of_ranks.as_chunks::<3>();
    if let Some(other) = of_ranks.iter().position(|[version, ..]| *version != i64::from(ours.0)) {
        let theirs = NcclVersion(u32::try_from(of_ranks[other][0]).unwrap_or(0));
        return Err(GroupError::NcclVersions { generation, rank, ours, peer: peer(other), theirs });
    }
    for (second, [_, id @ ..]) in of_ranks.iter().enumerate().filter(|(_, [_, id @ ..])| *id != [0, 0]) {
        if let Some(first) = of_ranks[..second].iter().position(|[_, other @ ..]| other == id) {
            return Ok(Agreed::OneDevice([peer(first), peer(second)]));
        }
    }
    let mut id = match rank {
        0 => new_id(library).map_err(|error| match error {
            CommunicatorError::Nccl { doing, code, said } => {
                GroupError::Nccl { generation, rank, doing, code, said }
            }
            CommunicatorError::Gone => GroupError::Aborted { generation },
        })?,
        _ => [0; ID_BYTES],
    };
    meeting.broadcast(0, &mut id)?;
    Ok(Agreed::Id(id))
}

/// Makes the communicator and waits until NCCL has connected it.
fn make_communicator(
    nccl: &Nccl,
    id: &Id,
    core: &Arc<Core>,
    started: Instant,
    waiting: &dyn Fn(),
) -> Result<Arc<Communicator>, EndReason> {
    let mut said = Instant::now();
    let deadline = said + nccl.connect_within;
    let communicator = Communicator::begin(&nccl.library, &nccl.device, id, core.rank, core.size)
        .map_err(|error| core.end_by(error))?;
    let communicator = Arc::new(communicator);
    core.adopt(Arc::clone(&communicator));
    let mut backoff = Backoff::default();
    loop {
        core.ended().map_or(Ok(()), Err)?;
        if communicator.poll().map_err(|error| core.end_by(error))? == Progress::Ready {
            return Ok(communicator);
        }
        if deadline <= Instant::now() {
            let (rank, generation) = (core.rank, core.generation);
            let waited = started.elapsed();
            return Err(EndReason::Failed(GroupError::NcclNotReady { generation, rank, waited }));
        }
        if said.elapsed() > WAITING_EACH {
            waiting();
            said = Instant::now();
        }
        backoff.wait();
    }
}

/// How often it is said that NCCL still connects.
const WAITING_EACH: Duration = Duration::from_secs(1);
