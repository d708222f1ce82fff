//! Workers that other hosts offer to a sweep (`lsgan node --sweep`): one call for each, which lasts as long as the worker trains for
//! the run that it was given, and is made again after that.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use futures::Stream;
use futures::stream::poll_fn;
use lsgan_certs::Role;
use lsgan_certs::role::of_whom;
use lsgan_console::{Failure, logging, say, vital};
use lsgan_launch::{ListenArgs, TlsArgs};
use lsgan_spec::printable;
use lsgan_wire::v1::{self, sweep_server};
use lsgan_wire::{Incoming, Limits, Listen, Peer, scheme};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// How often a silent connection is pinged, and how long the answer may take: a host that is lost offers nothing.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// The longest offer: it has a name.
const OFFER_BYTES_MAX: usize = 4 << 10;
/// The longest name of a worker that is shown.
const NAME_BYTES_MAX: usize = 200;
/// Calls of a connection: a host makes one for each of its devices.
const CALLS_MAX: u32 = 1024;
/// Headers of a call.
const HEADERS_BYTES_MAX: u32 = 16 << 10;
/// The most workers that are offered at the same time.
const OFFERS_MAX: usize = 4_096;
/// Offers that wait to be taken in.
const NEW_MAX: usize = 64;
/// At the end of a sweep: how long a worker that has trained until just now may take to be offered again, and told.
const GOODBYE: Duration = Duration::from_secs(10);
/// How long the connections may then take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(2);

/// Where other hosts offer workers.
#[derive(Clone, Debug, clap::Args)]
pub struct Door {
    /// Let other hosts take part, on which `lsgan node --sweep http://HOST:PORT` runs: each of their workers trains for one run after
    /// another. HOST is an address of this host that they reach; the runs' coordinators listen there as well, at ports of their
    /// own. The hosts must see the data and the sweep's folder under the same paths.
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<Listen>,
    /// Who the runs' processes are.
    #[command(flatten)]
    pub tls: TlsArgs,
    #[command(flatten)]
    pub open: ListenArgs,
}

/// A worker that is offered.
struct Slot {
    name: String,
    /// Answers the call. Closed once the host has ended it.
    answer: mpsc::Sender<Result<v1::Assignment, Status>>,
    /// The run that it trains for, or will as soon as that has a coordinator.
    run: Option<String>,
    was_told: bool,
}

/// All workers that are offered.
pub struct Offers {
    /// Where they are offered; the coordinators of runs listen beside that.
    address: SocketAddr,
    is_tls: bool,
    new: mpsc::Receiver<Slot>,
    slots: Vec<Slot>,
    /// Those that were offered before and are not now, and since when.
    away: BTreeMap<String, Instant>,
    known: BTreeSet<String>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Offers {
    /// Listens for offers; none where nobody is to make any.
    ///
    /// # Errors
    /// An address that cannot be listened on, or may not be, or that is all of this host's; certificates that are wrong.
    pub async fn open(door: &Door) -> Result<Option<Self>, Failure> {
        let Some(listen) = &door.listen else { return Ok(None) };
        let identity = door.tls.open(&[Role::Coordinator])?;
        let listener = bind(listen).await.map_err(|error| {
            Failure::failed(format!(
                "cannot listen on {listen}: {error}. Give another address with --listen; port 0 takes a free one."
            ))
        })?;
        let address = listener.local_addr()?;
        if address.ip().is_unspecified() {
            return Err(Failure::bad_input(format!(
                "--listen {listen} is all addresses of this host: name the one at which the other hosts reach it, since the runs' \
                 workers are told it."
            )));
        }
        logging::start(logging::Log::Text, "warn");
        let is_tls = identity.is_some();
        door.open.check(address, is_tls, ("the sweep", "--listen"))?;
        let (offers, new) = mpsc::channel(NEW_MAX);
        let (stop, stopped) = oneshot::channel::<()>();
        let incoming = Incoming::new(listener, identity, Arc::new(AtomicBool::new(false)), Limits::default());
        let service =
            sweep_server::SweepServer::new(Desk { offers }).max_decoding_message_size(OFFER_BYTES_MAX);
        let server = Server::builder()
            .http2_keepalive_interval(Some(KEEP_ALIVE))
            .http2_keepalive_timeout(Some(KEEP_ALIVE))
            .max_concurrent_streams(CALLS_MAX)
            .http2_max_header_list_size(HEADERS_BYTES_MAX)
            .add_service(service)
            .serve_with_incoming_shutdown(incoming, async {
                // The sender may be dropped instead of used; both mean the end.
                let _ = stopped.await;
            });
        let serving = vital::task("server", async move {
            server.await.expect("the server ends when it is told to");
        });
        say!("other hosts take part with: lsgan node --sweep {}{address}", scheme(is_tls));
        let (slots, away, known) = (vec![], BTreeMap::new(), BTreeSet::new());
        Ok(Some(Self { address, is_tls, new, slots, away, known, stop, serving }))
    }

    /// Where the coordinator of a run listens, so that its workers can be elsewhere.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        SocketAddr::new(self.address.ip(), 0)
    }

    /// Waits for a worker that is offered, and takes it in.
    pub async fn next(&mut self) {
        let Some(slot) = self.new.recv().await else { return std::future::pending().await };
        self.away.remove(&slot.name);
        // Whoever offers under new names again and again must not fill the memory with them.
        self.away.retain(|_, since| since.elapsed() < GOODBYE);
        if self.known.len() >= OFFERS_MAX {
            self.known.clear();
        }
        if self.slots.len() >= OFFERS_MAX {
            let why = format!("the sweep has {OFFERS_MAX} workers of other hosts, and takes no more");
            // The host may be gone.
            let _ = slot.answer.try_send(Err(Status::resource_exhausted(why)));
            return;
        }
        if self.known.insert(slot.name.clone()) {
            say!("{} takes part", slot.name);
        }
        self.slots.push(slot);
    }

    /// Forgets the workers whose hosts have ended their calls, as they do when a run is over, or are gone.
    pub fn forget_gone(&mut self) {
        let gone = self.slots.extract_if(.., |slot| slot.answer.is_closed());
        self.away.extend(gone.map(|slot| (slot.name, Instant::now())));
    }

    /// How many workers this run has been given.
    #[must_use]
    pub fn count(&self, run: &str) -> u32 {
        let its = self.slots.iter().filter(|slot| slot.run.as_deref() == Some(run));
        u32::try_from(its.count()).unwrap_or(u32::MAX)
    }

    /// Whether a worker has no run.
    #[must_use]
    pub fn has_free(&self) -> bool {
        self.slots.iter().any(|slot| slot.run.is_none())
    }

    /// Gives the worker that has waited longest to this run.
    pub fn give(&mut self, run: &str) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.run.is_none()) {
            slot.run = Some(run.to_owned());
        }
    }

    /// Takes back the workers that have not been told yet of a run for which that holds.
    pub fn take_back(&mut self, is_over: impl Fn(&str) -> bool) {
        for slot in self.slots.iter_mut().filter(|slot| !slot.was_told) {
            slot.run.take_if(|run| is_over(run));
        }
    }

    /// Whether a worker has a run and has not been told so.
    #[must_use]
    pub fn has_untold(&self) -> bool {
        self.slots.iter().any(|slot| slot.run.is_some() && !slot.was_told)
    }

    /// Tells workers where the coordinators of their runs are: `authority` is `HOST:PORT`, none before it listens.
    pub fn tell(&mut self, authority: impl Fn(&str) -> Option<String>) {
        for slot in self.slots.iter_mut().filter(|slot| !slot.was_told) {
            let Some(run) = &slot.run else { continue };
            let Some(authority) = authority(run) else { continue };
            let coordinator = format!("{}{authority}", scheme(self.is_tls));
            // The host may be gone.
            let _ = slot.answer.try_send(Ok(v1::Assignment { run: run.clone(), coordinator }));
            slot.was_told = true;
        }
    }

    /// A run is over: its workers are offered again when they have ended.
    pub fn run_is_over(&mut self, run: &str) {
        let its = self.slots.extract_if(.., |slot| slot.run.as_deref() == Some(run));
        self.away.extend(its.map(|slot| (slot.name, Instant::now())));
    }

    /// The sweep is over: tells all workers why, also those that are on their way back, and ends.
    pub async fn end(mut self, why: &str) {
        let end = |slot: Slot| drop(slot.answer.try_send(Err(Status::out_of_range(why))));
        self.forget_gone();
        self.slots.drain(..).for_each(end);
        self.away.retain(|_, since| since.elapsed() < GOODBYE);
        let last = self.away.values().max().map(|since| GOODBYE.saturating_sub(since.elapsed()));
        let rest = async {
            while !self.away.is_empty() {
                let Some(slot) = self.new.recv().await else { break };
                self.away.remove(&slot.name);
                end(slot);
            }
        };
        // Those that are gone for good do not come back.
        let _ = timeout(last.unwrap_or_default(), rest).await;
        // It may have ended by itself.
        let _ = self.stop.send(());
        let _ = timeout(ENDS_WITHIN, self.serving).await;
    }
}

/// Listens, on a thread where a name may be looked up.
async fn bind(listen: &Listen) -> std::io::Result<TcpListener> {
    let listen = listen.clone();
    let bound = tokio::task::spawn_blocking(move || listen.bind()).await;
    let socket = bound.map_err(std::io::Error::other)??;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

/// Answers the calls.
struct Desk {
    offers: mpsc::Sender<Slot>,
}

#[tonic::async_trait]
impl sweep_server::Sweep for Desk {
    type OfferStream = Pin<Box<dyn Stream<Item = Result<v1::Assignment, Status>> + Send>>;

    async fn offer(&self, request: Request<v1::OfferRequest>) -> Result<Response<Self::OfferStream>, Status> {
        may_offer(request.extensions().get())?;
        let name = shown(&request.into_inner().name);
        // A run and its end.
        let (answer, mut answers) = mpsc::channel(2);
        let slot = Slot { name, answer, run: None, was_told: false };
        self.offers.send(slot).await.map_err(|_| Status::unavailable("the sweep is ending"))?;
        Ok(Response::new(Box::pin(poll_fn(move |cx| answers.poll_recv(cx)))))
    }
}

/// What is shown of a worker's name, whoever has sent it.
fn shown(name: &str) -> String {
    printable(&name[..name.floor_char_boundary(NAME_BYTES_MAX)]).into_owned()
}

/// Where there are certificates, workers alone are offered.
fn may_offer(peer: Option<&Peer>) -> Result<(), Status> {
    let Some(Peer { roles, .. }) = peer else {
        return Err(Status::internal("nobody knows who calls; this is a bug, please report it"));
    };
    match roles {
        Some(roles) if !roles.contains(&Role::Worker) => Err(Status::permission_denied(format!(
            "a sweep takes a worker's certificate, and this process has {}. Give another one with --tls; `lsgan certs issue` \
             makes it",
            of_whom(roles.iter().copied())
        ))),
        _ => Ok(()),
    }
}
