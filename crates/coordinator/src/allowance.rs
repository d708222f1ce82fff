//! How much one stream may say. What is beyond it is dropped where it is received and does not reach the shell, so that a
//! flood costs the others nothing. No rate is one that a worker can reach, whatever it trains.

use std::time::{Duration, Instant};

use lsgan_wire::v1::worker_message::Kind;

/// Tokens: at most so many at once, and one more in each interval.
#[derive(Debug)]
pub(crate) struct Bucket {
    most: u64,
    every: Duration,
    left: u64,
    since: Instant,
}

impl Bucket {
    /// A full one.
    pub fn full(most: u64, every: Duration, now: Instant) -> Self {
        Self { most, every, left: most, since: now }
    }

    /// Takes so many tokens, if they are there.
    pub fn takes(&mut self, tokens: u64, now: Instant) -> bool {
        let more = now.saturating_duration_since(self.since).as_nanos() / self.every.as_nanos();
        match u32::try_from(more) {
            Ok(0) => {}
            Ok(more) => {
                self.left = self.left.saturating_add(more.into()).min(self.most);
                self.since += self.every * more;
            }
            Err(_) => (self.left, self.since) = (self.most, now),
        }
        let takes = tokens <= self.left;
        if takes {
            self.left -= tokens;
        }
        takes
    }
}

/// What a message is about, which decides how many of them there can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Topic {
    /// Signs of life. The shortest failure timeout is 200 ms, and a sixth of that lies between two.
    Life,
    /// Steps: rows, hashes, positions, records. Two sums over sockets take longer than 0.1 ms, so that no worker does 10,000
    /// steps in a second; of each it reports a few. A worker that was alone for long sends the 2^16 rows that it keeps at once.
    Steps,
    /// A generation, a snapshot, a picture, a score: ten words each, and a hundredth of a second between two.
    Events,
    /// Sentences for people, which the journal keeps. The most frequent one comes once in 2,000 steps.
    Warnings,
    /// Lines of logs. A worker sends 64 a second at most.
    Lines,
    /// What a step takes a worker, which the journal keeps. A worker says it every few seconds.
    Loads,
    /// Parts of steps, while an operator asks: 20,000 in a profile, each of which has read the clock twice.
    Spans,
}

const TOPICS: [(Topic, u64, Duration); 7] = [
    (Topic::Life, 1 << 10, Duration::from_millis(10)),
    (Topic::Steps, 1 << 17, Duration::from_micros(20)),
    (Topic::Events, 1 << 10, Duration::from_millis(1)),
    (Topic::Warnings, 1 << 6, Duration::from_millis(500)),
    (Topic::Lines, 1 << 10, Duration::from_millis(10)),
    (Topic::Loads, 1 << 4, Duration::from_millis(500)),
    (Topic::Spans, 1 << 16, Duration::from_micros(10)),
];

/// What is left of it.
#[derive(Debug)]
pub(crate) struct Allowance(Vec<(Topic, Bucket)>);

impl Allowance {
    /// That of a new stream.
    pub fn new(now: Instant) -> Self {
        Self(TOPICS.iter().map(|&(topic, most, every)| (topic, Bucket::full(most, every, now))).collect())
    }

    /// Whether the stream may say this now.
    pub fn takes(&mut self, kind: &Kind, now: Instant) -> bool {
        let (topic, tokens) = cost(kind);
        let bucket = self.0.iter_mut().find(|(its, _)| *its == topic);
        bucket.expect("each topic has a bucket").1.takes(tokens, now)
    }
}

/// A message of many rows costs what they cost.
fn cost(kind: &Kind) -> (Topic, u64) {
    let with = |rows: usize| (Topic::Steps, 1 + rows as u64);
    match kind {
        Kind::Heartbeat(_) => (Topic::Life, 1),
        Kind::Metrics(metrics) => with(metrics.rows.len()),
        Kind::CorruptRecords(corrupt) => with(corrupt.records.len()),
        Kind::TriedPeers(tried) => with(tried.unreached.len()),
        Kind::Progress(_) | Kind::Consumed(_) | Kind::StateHash(_) => (Topic::Steps, 1),
        Kind::Hello(_) | Kind::Ready(_) | Kind::Parked(_) | Kind::CutOff(_) | Kind::WantsLeave(_) => {
            (Topic::Events, 1)
        }
        Kind::StoreProof(_) | Kind::SnapshotWritten(_) | Kind::SnapshotFailed(_) | Kind::Sample(_) => {
            (Topic::Events, 1)
        }
        Kind::TaskDone(_) | Kind::TaskFailed(_) | Kind::Scored(_) => (Topic::Events, 1),
        Kind::Warning(_) => (Topic::Warnings, 1),
        Kind::LogLines(log) => (Topic::Lines, 1 + log.lines.len() as u64),
        Kind::Load(_) => (Topic::Loads, 1),
        Kind::Spans(sent) => (Topic::Spans, 1 + sent.spans.len() as u64),
    }
}

#[cfg(test)]
mod tests {
    use lsgan_wire::v1;

    use super::*;

    #[test]
    fn a_bucket_gives_its_rate_and_no_more_than_it_holds() {
        let begin = Instant::now();
        let mut bucket = Bucket::full(10, Duration::from_millis(2), begin);
        let mut taken = |ms| (0..100).filter(|_| bucket.takes(1, begin + Duration::from_millis(ms))).count();
        assert_eq!((taken(0), taken(1), taken(2), taken(7)), (10, 0, 1, 2));
        // The odd millisecond is not lost.
        assert_eq!((taken(8), taken(1_000_000_000)), (1, 10));
        assert!(!bucket.takes(11, begin + Duration::from_secs(2_000_000)));
    }

    /// A row for each step of 0.1 ms, all that was kept for a coordinator that was away, heartbeats 30 times a second, and the
    /// largest profile once a second.
    #[test]
    fn no_honest_worker_says_too_much() {
        let begin = Instant::now();
        let mut allowance = Allowance::new(begin);
        let rows = |count| Kind::Metrics(v1::Metrics { rows: vec![v1::StepMetrics::default(); count] });
        let log = |count| Kind::LogLines(v1::LogLines { lines: vec![String::new(); count], lost: 0 });
        let spans =
            || Kind::Spans(v1::Spans { spans: vec![v1::Span::default(); 1000], ..v1::Spans::default() });
        assert!((0..128).all(|_| allowance.takes(&rows(512), begin)));
        for ms in 1..10_000 {
            let now = begin + Duration::from_millis(ms);
            let beat = ms.is_multiple_of(33).then(|| Kind::Heartbeat(v1::Heartbeat::default()));
            let lines = ms.is_multiple_of(1000).then(|| log(64));
            let spans = (0..20).filter(|_| ms.is_multiple_of(1000)).map(|_| spans());
            let hashes = (0..10).map(|_| Kind::StateHash(v1::StateHash::default()));
            let said = [rows(10), rows(10)].into_iter().chain(beat).chain(lines);
            let mut said = said.chain(spans).chain(hashes);
            assert!(said.all(|kind| allowance.takes(&kind, now)), "after {ms} ms");
        }
    }

    #[test]
    fn a_flood_of_one_topic_leaves_the_others_theirs() {
        let now = Instant::now();
        let mut allowance = Allowance::new(now);
        let warning = Kind::Warning(v1::Warning::default());
        assert_eq!((0..1_000).filter(|_| allowance.takes(&warning, now)).count(), 64);
        let too_many = vec![v1::StepMetrics::default(); 1 << 17];
        assert!(!allowance.takes(&Kind::Metrics(v1::Metrics { rows: too_many }), now));
        assert!(allowance.takes(&Kind::Heartbeat(v1::Heartbeat::default()), now));
        assert!(allowance.takes(&Kind::Parked(v1::Parked::default()), now));
    }
}
