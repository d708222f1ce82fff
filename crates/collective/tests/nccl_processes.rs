//! NCCL's ranks in separate processes, one of which is killed or frozen.
//!
//! The parent is a rank, and starts this program again with `--rank` for the others. A child prints its address, reads
//! the addresses of all, and prints `formed` and its error. With `--find` the program prints which NCCL it finds.

mod local;

use std::cell::Cell;
use std::io::{BufRead, BufReader, Lines, Write};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use local::double::{self, Double, join, wait_until};
use local::{PATIENCE, listener};
use lsgan_collective::nccl::device::Device;
use lsgan_collective::nccl::library::LIBRARY_VARIABLE;
use lsgan_collective::nccl::{Library, Nccl, NcclGroup};
use lsgan_collective::{Group, GroupError};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

const SIZE: usize = 3;
/// Ranks 0 and 2 are children.
const PARENT: usize = 1;

/// All other ranks must return an error this soon after a SIGKILL. A second is promised; this is also less than the wait
/// for a frozen rank, because a dead rank must not be treated as frozen.
const NOTICED_WITHIN: Duration = Duration::from_millis(450);

/// How long an abort waits for a frozen rank.
const FROZEN_FOR: RangeInclusive<Duration> = Duration::from_millis(450)..=Duration::from_secs(1);

/// A call that takes longer hangs.
const HANGS_AFTER: Duration = Duration::from_millis(50);

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    if let [_, flag, rank] = &arguments[..]
        && flag == "--rank"
    {
        return child(rank.parse().expect("the parent gives a number"));
    }
    if let [_, flag] = &arguments[..]
        && flag == "--find"
    {
        return find();
    }
    let kills = [("the_rank_that_made_the_id", 0), ("another_rank", 2)].map(|(name, victim)| {
        Trial::test(format!("a_sigkill_of_{name}_is_noticed_within_a_second"), move || kill(victim))
    });
    let frozen =
        Trial::test("a_frozen_rank_does_not_hold_up_an_abort", a_frozen_rank_does_not_hold_up_an_abort);
    let named = Trial::test("the_environment_names_the_library", the_environment_names_the_library);
    libtest_mimic::run(&Arguments::from_args(), kills.into_iter().chain([frozen, named]).collect()).exit();
}

/// Sums until the group fails.
fn sum_until_error(group: &mut NcclGroup) -> GroupError {
    loop {
        let mut values = [1; 1000];
        match group.all_reduce_i64(&mut values) {
            Ok(()) => assert_eq!(values, [SIZE as i64; 1000]),
            Err(error) => return error,
        }
    }
}

fn child(rank: usize) {
    let double = Double::with(&[]);
    let mut listener = listener();
    println!("{}", listener.local_addr());
    let mut members = String::new();
    std::io::stdin().read_line(&mut members).expect("the parent writes the members");
    let members: Vec<SocketAddr> =
        members.split_whitespace().map(|member| member.parse().expect("addresses")).collect();
    let mut group = join(&double.nccl(), &mut listener, rank, &members).expect("all members are there");
    group.barrier().expect("all members are alive");
    println!("formed");
    let error = sum_until_error(&mut group);
    println!("{error:?}");
}

/// A child process, killed when it is dropped.
struct Rank {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Rank {
    fn start(rank: usize) -> (Self, SocketAddr) {
        let mut process = Command::new(std::env::current_exe().expect("a test knows its file"))
            .args(["--rank", &rank.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a test can start itself");
        let lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let mut rank = Self { process, lines };
        let address = rank.line().parse().expect("a child first writes its address");
        (rank, address)
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("the child still writes").expect("it writes text")
    }
}

impl Drop for Rank {
    fn drop(&mut self) {
        // It may have ended already.
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// Three ranks that sum: the first and the last are children, this process is the one between.
fn three(nccl: &Nccl) -> Result<([Rank; 2], NcclGroup), Failed> {
    let mut ours = listener();
    let ((first, first_address), (last, last_address)) = (Rank::start(0), Rank::start(2));
    let members = [first_address, ours.local_addr(), last_address];
    let mut children = [first, last];
    for child in &mut children {
        let line = members.map(|member| member.to_string()).join(" ");
        writeln!(child.process.stdin.as_mut().expect("it is piped"), "{line}")?;
    }
    let mut group = join(nccl, &mut ours, PARENT, &members)?;
    group.barrier()?;
    for child in &mut children {
        assert_eq!(child.line(), "formed");
    }
    Ok((children, group))
}

fn kill(victim: usize) -> Result<(), Failed> {
    let double = Double::with(&[]);
    let ([first, last], group) = three(&double.nccl())?;
    let ended = run_on(group);
    let (mut killed, mut survivor) = if victim == 0 { (first, last) } else { (last, first) };
    let at = Instant::now();
    killed.process.kill()?;
    let error = ended.recv_timeout(PATIENCE)?;
    let noticed = at.elapsed();
    assert!(matches!(error, GroupError::PeerLost { .. }), "{error}");
    let theirs = survivor.line();
    assert!(theirs.starts_with("PeerLost"), "{theirs}");
    let all_noticed = at.elapsed();
    assert!(all_noticed < NOTICED_WITHIN, "noticed here after {noticed:?}, by all after {all_noticed:?}");
    println!("rank {victim} killed: noticed here after {noticed:?}, by all after {all_noticed:?}");
    Ok(())
}

/// A frozen rank never says that its flag is set. The others wait for that only a bounded time.
fn a_frozen_rank_does_not_hold_up_an_abort() -> Result<(), Failed> {
    let double = Double::with(&[]);
    let device = Arc::new(double.device());
    let ([_first, last], group) = three(&double.nccl_on(Arc::clone(&device) as Arc<dyn Device>))?;
    let frozen = Pid::from_raw(i32::try_from(last.process.id())?);
    signal::kill(frozen, Signal::SIGSTOP)?;
    let aborter = group.aborter();
    let ended = run_on(group);
    let last_queued = Cell::new((device.queued(), Instant::now()));
    wait_until("a call hangs", || {
        let (queued, since) = last_queued.get();
        if device.queued() != queued {
            last_queued.set((device.queued(), Instant::now()));
        }
        since.elapsed() > HANGS_AFTER
    });
    let at = Instant::now();
    aborter.abort();
    let error = ended.recv_timeout(PATIENCE)?;
    assert!(matches!(error, GroupError::Aborted { .. }), "{error}");
    assert!(FROZEN_FOR.contains(&at.elapsed()), "{:?}", at.elapsed());
    Ok(())
}

/// Sums on a thread, and returns the error that ends it.
fn run_on(mut group: NcclGroup) -> Receiver<GroupError> {
    let (sender, ended) = channel();
    thread::spawn(move || {
        // The receiver is gone after the test has failed.
        _ = sender.send(sum_until_error(&mut group));
    });
    ended
}

/// Prints which NCCL a worker finds with this environment, where there is none beside its libtorch.
fn find() {
    match Library::find(Some(Path::new("/nowhere/beside/libnccl.so.2"))) {
        Ok(library) => println!("{}", library.description()),
        Err(error) => println!("{error}"),
    }
}

fn the_environment_names_the_library() -> Result<(), Failed> {
    let found = |named: &Path| {
        let output = Command::new(std::env::current_exe()?)
            .arg("--find")
            .env_clear()
            .envs([("NCCL_SOCKET_IFNAME", "eth1"), ("NCCL_DEBUG", "WARN"), ("PATH", "/bin")])
            .env(LIBRARY_VARIABLE, named)
            .output()?;
        std::io::Result::Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let file = double::file();
    assert_eq!(
        found(&file)?,
        format!("NCCL 2.27.3 from {}, NCCL_DEBUG=WARN NCCL_SOCKET_IFNAME=eth1", file.display())
    );
    // No other library replaces the one that a user names.
    let told = found(Path::new("/nowhere/libnccl.so.2"))?;
    assert!(told.starts_with("NCCL cannot be used: /nowhere/libnccl.so.2: "), "{told}");
    assert!(!told.contains("beside"), "{told}");
    Ok(())
}
