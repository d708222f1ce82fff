//! One live coordinator for a run directory; an old run is moved, never deleted.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use lsgan_snapshots::{Error, Holder, RunLock, move_aside};
use tempfile::TempDir;

fn temp() -> TempDir {
    TempDir::new().expect("a temporary directory can be made")
}

#[test]
fn a_held_run_directory_is_refused_with_its_holder() {
    let dir = temp();
    let run = dir.path().join("runs/quickstart");
    let mut lock = RunLock::acquire(&run).expect("nobody has it");
    let Err(Error::InUse { holder, .. }) = RunLock::acquire(&run) else { panic!("it was given twice") };
    assert_eq!((holder.pid, holder.address), (Some(std::process::id()), None));
    lock.describe("127.0.0.1:7000").expect("it can be written");
    let error = RunLock::acquire(&run).expect_err("it is held");
    let Error::InUse { path, holder } = &error else { panic!("{error}") };
    assert_eq!(holder.address.as_deref(), Some("127.0.0.1:7000"));
    assert_eq!(path, &run.canonicalize().expect("it is there").join("coordinator.lock"));
    let text = error.to_string();
    assert!(text.contains("listening on 127.0.0.1:7000. Stop that coordinator, or choose another"), "{text}");
    drop(lock);
    RunLock::acquire(&run).expect("it was let go");
}

/// The directory that the process holds that `a_killed_holder_lets_go_at_once` starts.
const HELD: &str = "LSGAN_TEST_HELD";

/// Holds the directory until the parent kills this process, or closes the pipe because it died itself.
fn hold(dir: &Path) {
    let _lock = RunLock::acquire(dir).expect("it is free");
    println!("\nheld");
    std::io::stdout().flush().expect("the parent reads");
    let _ = std::io::stdin().lines().next();
}

/// This test starts itself again as the process that it kills.
#[test]
fn a_killed_holder_lets_go_at_once() {
    if let Some(dir) = std::env::var_os(HELD) {
        return hold(dir.as_ref());
    }
    let dir = temp();
    let mut holder = Command::new(std::env::current_exe().expect("this test runs"))
        .args(["--exact", "run_lock::a_killed_holder_lets_go_at_once", "--nocapture"])
        .env(HELD, dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it can be started again");
    let mut lines = BufReader::new(holder.stdout.take().expect("it is piped")).lines();
    assert!(lines.any(|line| line.is_ok_and(|line| line == "held")), "the holder came up");
    let Err(Error::InUse { holder: named, .. }) = RunLock::acquire(dir.path()) else { panic!("it is held") };
    assert_eq!(named.pid, Some(holder.id()));
    holder.kill().expect("it is ours");
    holder.wait().expect("it is ours");
    let lock = RunLock::acquire(dir.path()).expect("the system let go of it");
    let text = fs::read_to_string(lock.dir().join("coordinator.lock")).expect("it can be read");
    assert!(text.starts_with(&format!("pid {}\n", std::process::id())), "{text}");
}

#[test]
fn a_lock_file_with_any_text_is_no_obstacle() {
    let dir = temp();
    fs::write(dir.path().join("coordinator.lock"), [0xff; 10_000]).expect("it can be written");
    let lock = RunLock::acquire(dir.path()).expect("nobody has it");
    let error = RunLock::acquire(dir.path()).expect_err("it is held");
    assert!(matches!(error, Error::InUse { .. }), "{error}");
    drop(lock);
}

#[test]
fn an_old_run_is_moved_to_the_next_free_name_and_nothing_is_lost() {
    let dir = temp();
    let run = dir.path().join("quickstart");
    let taken = dir.path().join("quickstart.old-1");
    fs::create_dir(&taken).expect("it can be made");
    let mut lock = RunLock::acquire(&run).expect("nobody has it");
    for number in [2, 3] {
        fs::write(run.join("journal.sqlite"), number.to_string()).expect("it can be written");
        let (moved, again) = lock.archive().expect("it can be moved");
        let moved = moved.expect("there was a run");
        assert_eq!(moved.file_name().and_then(|n| n.to_str()), Some(&*format!("quickstart.old-{number}")));
        assert_eq!(
            fs::read_to_string(moved.join("journal.sqlite")).expect("it is there"),
            number.to_string()
        );
        assert!(!run.join("journal.sqlite").exists());
        assert!(matches!(RunLock::acquire(&run), Err(Error::InUse { .. })), "the new directory is held");
        lock = again;
    }
    assert_eq!(fs::read_dir(&taken).expect("it is there").count(), 0, "what had the name is as it was");
    let (moved, _lock) = lock.archive().expect("there is nothing to do");
    assert_eq!(moved, None, "a directory with nothing but the lock stays");
}

#[test]
fn a_missing_or_empty_directory_is_not_moved() {
    let dir = temp();
    assert_eq!(move_aside(&dir.path().join("missing")).expect("there is nothing to do"), None);
    assert_eq!(move_aside(dir.path()).expect("there is nothing to do"), None);
    let error = move_aside("/".as_ref()).expect_err("it has no parent");
    assert!(matches!(error, Error::Disk { .. }), "{error}");
}

#[test]
fn a_run_directory_behind_a_link_is_moved_where_it_is() {
    let dir = temp();
    let (real, link) = (dir.path().join("disk/run"), dir.path().join("run"));
    fs::create_dir_all(&real).expect("it can be made");
    std::os::unix::fs::symlink(&real, &link).expect("it can be linked");
    fs::write(link.join("journal.sqlite"), b"old").expect("it can be written");
    let moved = move_aside(&link).expect("it can be moved").expect("there was a run");
    assert!(moved.ends_with("disk/run.old-1"), "{}", moved.display());
    assert!(fs::read_dir(&link).expect("the link still leads somewhere").next().is_none());
}

#[test]
fn tools_see_who_holds_a_run_and_how_it_is_reached_without_being_in_the_way() {
    let dir = temp();
    assert_eq!(Holder::of(dir.path()).expect("it can be looked at"), None);
    let mut lock = RunLock::acquire(dir.path()).expect("nobody has it");
    lock.describe("127.0.0.1:7000").expect("it can be written");
    let holder = Holder::of(dir.path()).expect("it can be looked at").expect("it is held");
    assert_eq!(holder.reached_at(holder.host.as_deref()).as_deref(), Some("127.0.0.1:7000"));
    let from_elsewhere = format!("{}:7000", holder.host.as_deref().expect("this host has a name"));
    assert_eq!(holder.reached_at(Some("another.host")), Some(from_elsewhere));
    drop(lock);
    assert_eq!(Holder::of(dir.path()).expect("it can be looked at"), None, "its text is stale");
    // A tool that looks all the time keeps no coordinator from starting.
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                Holder::of(dir.path()).expect("it can be looked at");
            }
        });
        for _ in 0..20 {
            RunLock::acquire(dir.path()).expect("only a tool looks at it");
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
