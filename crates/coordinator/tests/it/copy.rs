//! The copy of the journal: another host goes on with all that anybody was told, and of two coordinators one leads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lsgan_coordinator::copy::compact::{replace, save};
use lsgan_coordinator::copy::lead::Candidate;
use lsgan_coordinator::copy::{self, Copy};
use lsgan_coordinator::queue::{News, Queue};
use lsgan_journal::{Known, StepRow, Writer};
use lsgan_snapshots::{Log, Store};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(30);

/// A store that several hosts reach, and their run directories.
struct Hosts {
    dir: TempDir,
}

impl Hosts {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("there is room for a directory") }
    }

    fn store(&self) -> Store {
        let path = self.dir.path().join("store");
        Store::open_for_journal(path.to_str().expect("it is UTF-8")).expect("a directory is made")
    }

    fn log(&self) -> Log {
        Log::of(self.store())
    }

    fn run_dir(&self, host: &str) -> PathBuf {
        let dir = self.dir.path().join(host);
        std::fs::create_dir_all(&dir).expect("there is room for a directory");
        dir
    }

    fn journal(&self, host: &str) -> PathBuf {
        self.run_dir(host).join(lsgan_journal::FILE)
    }

    async fn candidate(&self, host: &str) -> Candidate {
        Candidate::find(self.store(), &self.run_dir(host), false).await.expect("the store answers")
    }

    /// Starts a coordinator as the shipped one does.
    async fn lead(&self, host: &str) -> (Writer, Copy) {
        let mut candidate = self.candidate(host).await;
        let mut journal = Writer::open(&self.journal(host)).expect("it opens");
        while let Some(changes) = candidate.take_over(&mut journal).await.expect("the store answers") {
            journal.apply(&changes).expect("it is written");
            journal = Writer::open(&self.journal(host)).expect("it opens");
        }
        (journal, candidate.leads())
    }

    async fn queue(&self, host: &str) -> Queue {
        let (journal, copy) = self.lead(host).await;
        Queue::start(journal, Some(copy)).expect("a thread starts")
    }

    fn known(&self, host: &str) -> Known {
        Writer::open(&self.journal(host)).expect("it opens").known().expect("it is read")
    }
}

/// Waits until write `number` is done.
async fn done(queue: &mut Queue, number: u64) {
    let waiting = async {
        while !queue.is_done(number) {
            let news = queue.news().await;
            assert!(matches!(news, News::Written), "{news:?}");
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.expect("it is done in time");
}

fn fact(queue: &mut Queue, value: &str) -> u64 {
    let value = value.to_owned();
    queue.write(move |journal| journal.set_fact("word", &value))
}

/// Writes a fact, and waits until the copy has it.
async fn say(queue: &mut Queue, value: &str) {
    let number = fact(queue, value);
    queue.hurry(number);
    done(queue, number).await;
}

fn row(step: u64) -> StepRow {
    StepRow {
        step,
        wall_ms: lsgan_journal::wall_ms(),
        scalars: BTreeMap::from([("loss_d".to_owned(), 0.25)]),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_host_has_all_that_was_done() {
    let hosts = Hosts::new();
    let mut queue = hosts.queue("one").await;
    say(&mut queue, "said").await;
    let late = queue.write_report(|journal| journal.add_steps(&[row(7)]));
    assert!(!queue.is_done(late), "nobody waits for it");
    done(&mut queue, late).await;
    // The host is lost: nothing is drained.
    drop(queue);

    let candidate = hosts.candidate("two").await;
    assert!(candidate.sentences[0].contains("brought back from"), "{:?}", candidate.sentences);
    let known = hosts.known("two");
    assert_eq!((known.fact("word"), known.metrics_until()), (Some("said"), 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_of_the_same_host_keeps_its_own_journal() {
    let hosts = Hosts::new();
    let (mut journal, copy) = hosts.lead("one").await;
    journal.set_fact("word", "never copied").expect("it is written");
    drop((journal, copy));
    assert!(hosts.candidate("one").await.sentences.is_empty());
    assert_eq!(hosts.known("one").fact("word"), Some("never copied"));
    // What the copy lacked comes with the piece by which it takes the lead.
    drop(hosts.lead("one").await);
    drop(hosts.candidate("two").await);
    assert_eq!(hosts.known("two").fact("word"), Some("never copied"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_coordinators_the_later_one_leads_and_the_other_tells_nothing_more() {
    let hosts = Hosts::new();
    let mut old = hosts.queue("one").await;
    say(&mut old, "first").await;
    let mut new = hosts.queue("two").await;
    let refused = fact(&mut old, "second");
    old.hurry(refused);
    let news = tokio::time::timeout(LIMIT, old.news()).await.expect("there are news in time");
    assert!(matches!(&news, News::Deposed(why) if why.contains("Start only one coordinator")), "{news:?}");
    assert!(!old.is_done(refused));
    say(&mut new, "third").await;
    assert!(new.drain().await);

    // The first host's journal is no longer the newest, and is kept.
    let candidate = hosts.candidate("one").await;
    assert!(candidate.sentences[0].contains("journal.old-1.sqlite"), "{:?}", candidate.sentences);
    assert_eq!(hosts.known("one").fact("word"), Some("third"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_copied_while_another_host_takes_over_is_not_lost() {
    let hosts = Hosts::new();
    let mut old = hosts.queue("one").await;
    let mut candidate = hosts.candidate("two").await;
    say(&mut old, "at the last moment").await;
    let mut journal = Writer::open(&hosts.journal("two")).expect("it opens");
    let missed = candidate.take_over(&mut journal).await.expect("the store answers");
    journal.apply(&missed.expect("there is a piece that it has not read")).expect("it is written");
    let mut journal = Writer::open(&hosts.journal("two")).expect("it opens");
    assert!(candidate.take_over(&mut journal).await.expect("the store answers").is_none());
    assert_eq!(hosts.known("two").fact("word"), Some("at the last moment"));
    let refused = fact(&mut old, "too late");
    old.hurry(refused);
    let news = tokio::time::timeout(LIMIT, old.news()).await.expect("there are news in time");
    assert!(matches!(news, News::Deposed(_)), "{news:?}");
}

/// It waits for workers, say, of which some are attached to it and the others to the one that leads.
#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_has_nothing_to_write_finds_that_another_one_leads() {
    let hosts = Hosts::new();
    let mut old = hosts.queue("one").await;
    drop(hosts.lead("two").await);
    let news = tokio::time::timeout(LIMIT, old.news()).await.expect("there are news in time");
    assert!(matches!(news, News::Deposed(_)), "{news:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_start_at_once_one_is_refused() {
    let hosts = Hosts::new();
    drop(hosts.lead("one").await);
    let (mut two, mut three) = (hosts.candidate("two").await, hosts.candidate("three").await);
    let open = |host| Writer::open(&hosts.journal(host)).expect("it opens");
    assert!(two.take_over(&mut open("two")).await.expect("the store answers").is_none());
    let refused = three.take_over(&mut open("three")).await.expect_err("the other one leads");
    assert!(refused.text.contains("taken over this run"), "{}", refused.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_stands_for_its_pieces_and_fences_stay() {
    let hosts = Hosts::new();
    let mut queue = hosts.queue("one").await;
    for step in 0..5 {
        let number = queue.write_report(move |journal| journal.add_steps(&[row(step)]));
        queue.hurry(number);
        done(&mut queue, number).await;
    }
    assert_eq!(hosts.log().list().await.expect("it answers").pieces, [1, 2, 3, 4, 5, 6]);
    let saved = save(&hosts.journal("one")).expect("it is read");
    replace(&hosts.log(), saved, 6, 1).await.expect("the store answers");
    let listing = hosts.log().list().await.expect("it answers");
    assert_eq!((listing.pieces, listing.bases), (vec![1, 6], vec![6]));
    say(&mut queue, "after it").await;
    drop(queue);
    drop(hosts.lead("two").await);
    let known = hosts.known("two");
    assert_eq!((known.fact("word"), known.metrics_until()), (Some("after it"), 5));
}

/// It stood still, say, between its look at the copy and its piece, for as long as it takes to make a base.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_late_does_not_lead_by_a_number_that_is_free_again() {
    let hosts = Hosts::new();
    let mut queue = hosts.queue("one").await;
    let mut late = hosts.candidate("two").await;
    for word in ["a", "b", "c"] {
        say(&mut queue, word).await;
    }
    let saved = save(&hosts.journal("one")).expect("it is read");
    replace(&hosts.log(), saved, 4, 1).await.expect("the store answers");
    assert_eq!(hosts.log().piece(2).await.expect("it answers"), None, "its number is free");
    let mut journal = Writer::open(&hosts.journal("two")).expect("it opens");
    let refused = late.take_over(&mut journal).await.expect_err("the first one leads");
    assert!(refused.text.contains("taken over this run"), "{}", refused.text);
    say(&mut queue, "goes on").await;
    drop(queue);
    drop(hosts.lead("three").await);
    assert_eq!(hosts.known("three").fact("word"), Some("goes on"));
}

/// A store that lists late, or pieces that become a base while they are read.
#[tokio::test(flavor = "multi_thread")]
async fn a_gap_that_closes_is_waited_for() {
    let hosts = Hosts::new();
    let mut queue = hosts.queue("one").await;
    for word in ["a", "b"] {
        say(&mut queue, word).await;
    }
    drop(queue);
    let number = 2;
    let piece = hosts.dir.path().join(format!("store/journal/pieces/{number:020}"));
    let elsewhere = hosts.dir.path().join("later");
    std::fs::rename(&piece, &elsewhere).expect("it is there");
    // As soon as the gap was met: what is half restored is there then.
    let half = hosts.journal("two").with_extension("restored");
    let comes = tokio::task::spawn_blocking(move || {
        let begin = std::time::Instant::now();
        while !half.exists() {
            assert!(begin.elapsed() < LIMIT, "the copy is read in time");
            std::thread::yield_now();
        }
        std::fs::rename(elsewhere, piece).expect("there is room");
    });
    drop(hosts.candidate("two").await);
    comes.await.expect("it came");
    assert_eq!(hosts.known("two").fact("word"), Some("b"));
}

/// The tests above make bases themselves.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_makes_a_base_of_many_pieces() {
    let hosts = Hosts::new();
    let (mut journal, mut copy) = hosts.lead("one").await;
    let begin = std::time::Instant::now();
    let mut words = 0;
    while hosts.log().list().await.expect("it answers").bases.is_empty() {
        assert!(begin.elapsed() < LIMIT, "no base after {words} pieces");
        words += 1;
        journal.set_fact("word", &format!("{words} {}", "x".repeat(1000))).expect("it is written");
        copy.gather(&mut journal).expect("it is read");
        tokio::task::block_in_place(|| copy.put(&journal)).expect("it leads");
    }
    assert!(words >= 256, "{words} pieces");
    drop((journal, copy));
    drop(hosts.lead("two").await);
    assert!(hosts.known("two").fact("word").is_some_and(|word| word.starts_with(&format!("{words} "))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_piece_that_is_missing_or_damaged_is_named() {
    let hosts = Hosts::new();
    let mut queue = hosts.queue("one").await;
    for word in ["a", "b"] {
        say(&mut queue, word).await;
    }
    drop(queue);
    let find = || Candidate::find(hosts.store(), Path::new("/nowhere"), false);
    let piece = |number: u64| hosts.dir.path().join(format!("store/journal/pieces/{number:020}"));
    let bytes = std::fs::read(piece(3)).expect("it is there");
    std::fs::write(piece(3), &bytes[..bytes.len() - 1]).expect("there is room");
    let refused = find().await.expect_err("it is damaged");
    assert!(refused.text.contains("piece 3") && refused.text.contains("--fresh"), "{}", refused.text);
    std::fs::write(piece(3), &bytes).expect("there is room");
    std::fs::remove_file(piece(2)).expect("it is there");
    let refused = Candidate::find(hosts.store(), &hosts.run_dir("two"), false).await.expect_err("a gap");
    assert!(refused.text.contains("piece 2") && refused.text.contains("missing"), "{}", refused.text);
    assert!(!hosts.journal("two").exists(), "half a journal is none");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_run_begins_anew_in_the_same_sequence() {
    let hosts = Hosts::new();
    let mut old = hosts.queue("one").await;
    let mut candidate =
        Candidate::find(hosts.store(), &hosts.run_dir("two"), true).await.expect("the store answers");
    let mut journal = Writer::open(&hosts.journal("two")).expect("it is made");
    journal.set_fact("run", "the new one").expect("it is written");
    assert!(candidate.take_over(&mut journal).await.expect("the store answers").is_none());
    let refused = fact(&mut old, "of the old one");
    old.hurry(refused);
    let news = tokio::time::timeout(LIMIT, old.news()).await.expect("there are news in time");
    assert!(matches!(news, News::Deposed(_)), "{news:?}");
    drop((journal, candidate));
    drop(hosts.candidate("three").await);
    let known = hosts.known("three");
    assert_eq!((known.fact("run"), known.fact("word")), (Some("the new one"), None));
}

#[test]
fn a_run_is_copied_beside_its_snapshots_where_those_are_in_a_bucket() {
    let quickstart = include_str!("../../../../configs/quickstart.yaml");
    let spec = |replicate: &str| {
        let mut spec = lsgan_runfile::parse(quickstart, "quickstart.yaml", &[]).expect("it is a run");
        spec.journal.replicate = replicate.to_owned();
        spec
    };
    let is_copied = |replicate, snapshots: &str| {
        copy::store(&spec(replicate), snapshots).expect("it names a place").is_some()
    };
    let place = tempfile::tempdir().expect("there is room for a directory");
    let place = place.path().to_str().expect("it is UTF-8");
    assert!(!is_copied("auto", place) && !is_copied("off", place) && is_copied(place, "runs/x"));
    assert!(Path::new(place).join("quickstart").is_dir(), "each run has a folder of its own");
}
