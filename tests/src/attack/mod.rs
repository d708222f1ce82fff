//! Attacks on a run that trains: strangers, and processes with certificates that may not do what they try, on every port.
//!
//! Not here: what the run does meanwhile, and what is compared at its end ([`run`]).
//! Start at [`Attack`]. An attacker is an async function that goes on until [`Shared::is_over`]; a new one is a row in
//! [`Attack::start`].
//!
//! - `messages`: what a worker can say, with anything in it. `calls`: gRPC calls. `http2`: frames by hand, which no library sends.
//! - `sockets`: connections to the coordinator. `ports`: to its page and its health service. `ring`: to the workers' ring, with what
//!   `ear` has recorded of it.

mod calls;
mod ear;
mod http2;
mod messages;
mod ports;
mod ring;
mod run;
mod sockets;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lsgan_certs::{Credential, Identity};
use lsgan_fuzz::Random;
use lsgan_wire::{Address, Client, dial};
use tokio::runtime::Runtime;

pub use run::{Plan, Report, run};

/// Longer than a coordinator takes to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// Between two tries of an attacker that would take a processor for itself: it is on another host in earnest.
const PACE: Duration = Duration::from_millis(5);
/// How many of each attacker that only holds what it has opened.
const HOLDERS: usize = 48;
/// Where attackers are: another host than the run's, as far as an address says.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 66, 0, 1);

/// What is attacked.
pub struct Target {
    /// As `http://127.0.0.1:7070`.
    pub coordinator: String,
    /// Where its page is.
    pub page: SocketAddr,
    /// Where its health service is.
    pub health: SocketAddr,
    pub run_dir: PathBuf,
    /// What attackers have of a run with TLS.
    pub certificates: Option<Certificates>,
}

/// Certificates of attackers.
pub struct Certificates {
    /// Stolen, or of a worker that became hostile.
    pub worker: Arc<Identity>,
    pub viewer: Arc<Identity>,
    /// Knows the run's authority, and is of another.
    pub stranger: Arc<Identity>,
}

/// What all attackers share.
pub struct Shared {
    target: Target,
    over: AtomicBool,
    tally: Mutex<Tally>,
    heard: ear::Recordings,
}

/// What attackers did, and what they should not have been able to.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub done: BTreeMap<&'static str, u64>,
    pub achieved: Vec<String>,
}

/// All attackers at work. They end when it is dropped.
pub struct Attack {
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

impl Attack {
    /// Begins to attack.
    pub fn start(target: Target) -> Self {
        let (has_tls, tally) = (target.certificates.is_some(), Mutex::default());
        let heard = ear::Recordings::default();
        let shared = Arc::new(Shared { target, over: AtomicBool::new(false), tally, heard });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let attack = Self { shared, runtime: Some(runtime.expect("a runtime can be made")) };
        attack.spawn(3, calls::say_everything);
        attack.spawn(1, calls::flood);
        attack.spawn(1, calls::say_too_much_at_once);
        if has_tls {
            attack.spawn(1, calls::overstep_as_viewer);
            attack.spawn(1, calls::dial_with_a_wrong_certificate);
        }
        attack.spawn(HOLDERS, sockets::begin_and_wait);
        attack.spawn(2, sockets::say_garbage);
        attack.spawn(1, sockets::open_and_close);
        attack.spawn(4, sockets::never_read);
        attack.spawn(1, sockets::reset_calls);
        attack.spawn(HOLDERS, ports::say_half);
        attack.spawn(1, ports::say_huge_headers);
        attack.spawn(2, ports::ask_for_anything);
        attack.spawn(4, ports::never_read_the_page);
        attack.spawn(2, ports::watch_without_end);
        attack.spawn(1, ring::follow_the_members);
        attack.spawn(HOLDERS, ring::pretend_to_be_a_neighbour);
        attack.spawn(1, ring::fill_the_queue);
        attack.spawn(2, ring::replay);
        ear::listen(attack.shared.clone());
        attack
    }

    fn spawn<F, A>(&self, count: usize, attacker: A)
    where
        A: Fn(Arc<Shared>, Random) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = self.runtime.as_ref().expect("it has one until it is dropped");
        for number in 0..count {
            // From the same numbers every time; what they meet is another each time.
            runtime.spawn(attacker(self.shared.clone(), Random::new(number as u64 + 1)));
        }
    }

    /// What was done so far.
    pub fn tally(&self) -> Tally {
        self.shared.tally().clone()
    }

    /// Whether the attackers hear what travels on this host, as only root does.
    pub fn hears(&self) -> bool {
        self.shared.heard.is_on()
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(ANSWERS_WITHIN);
        }
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().expect("nothing panics while it counts")
    }

    /// An attacker did this once more.
    fn count(&self, what: &'static str) {
        *self.tally().done.entry(what).or_default() += 1;
    }

    /// An attacker achieved something.
    fn achieved(&self, what: impl Into<String>) {
        self.tally().achieved.push(what.into());
    }

    /// `IP:PORT` of the coordinator.
    fn coordinator(&self) -> SocketAddr {
        let address = self.target.coordinator.rsplit('/').next().and_then(|address| address.parse().ok());
        address.expect("a lab's coordinator is at an IP address")
    }

    /// A client with the certificate that `of` chooses, where there are certificates.
    async fn dial(&self, of: fn(&Certificates) -> &Arc<Identity>) -> Result<Client, String> {
        let identity = self.target.certificates.as_ref().map(|all| of(all).clone());
        let address: Address = self.target.coordinator.parse()?;
        dial(&address.by(identity.map(Credential::Certificate))?).await
    }
}

/// Lets others run, and the time pass that one try takes.
async fn pause() {
    tokio::time::sleep(PACE).await;
}
