//! Server-sent events: what has changed of which run.
//!
//! One task looks at all runs and publishes their summaries as one value, so that a browser that reads nothing holds up nobody: it
//! misses what lies between, which is counted, and gets the newest when it reads again.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::Hub;
use crate::readers::Missed;
use crate::summary::Summary;

/// Between two looks at all runs. A death is on the page a second later at most.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// All runs' summaries by their ids.
type All = Arc<BTreeMap<String, Arc<Summary>>>;

/// What all watchers read.
#[derive(Debug, Default)]
pub(crate) struct Newest {
    /// Counts the changes.
    change: u64,
    all: All,
}

/// What all watchers read, and the task that looks at the runs while there are any.
pub(crate) fn follow(
    hub: Arc<Hub>,
) -> (Arc<watch::Sender<Newest>>, impl Future<Output = ()> + Send + 'static) {
    let publisher = Arc::new(watch::Sender::new(Newest::default()));
    let sender = publisher.clone();
    let follower = async move {
        let mut beat = interval(LOOK_EVERY);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            if sender.receiver_count() == 0 {
                // What is known is old by the time when somebody watches again.
                sender.send_modify(|newest| newest.all = All::default());
                continue;
            }
            let hub = hub.clone();
            let Ok(all) = tokio::task::spawn_blocking(move || look(&hub)).await else { continue };
            sender.send_if_modified(|newest| newest.take(all));
        }
    };
    (publisher, follower)
}

fn look(hub: &Hub) -> BTreeMap<String, Arc<Summary>> {
    hub.runs().iter().map(|run| (run.id.clone(), run.summary())).collect()
}

impl Newest {
    /// What is known now; whether it is something new.
    fn take(&mut self, all: BTreeMap<String, Arc<Summary>>) -> bool {
        let has_changed = *self.all != all;
        self.all = Arc::new(all);
        self.change += u64::from(has_changed);
        has_changed
    }
}

/// What a reader was told last.
#[derive(Default)]
struct Told {
    /// None before the first event.
    change: Option<u64>,
    all: All,
}

/// A stream of `runs` events: an array of the summaries that have changed, all of them first, and the ids of runs that are gone.
pub(crate) fn stream(
    publisher: &watch::Sender<Newest>,
    missed: Missed,
) -> Sse<impl Stream<Item = Result<Event, Infallible>> + Send + use<>> {
    Sse::new(events(publisher, missed)).keep_alive(KeepAlive::default())
}

fn events(
    publisher: &watch::Sender<Newest>,
    missed: Missed,
) -> impl Stream<Item = Result<Event, Infallible>> + Send + use<> {
    let mut changes = publisher.subscribe();
    // The first event has what is known already.
    changes.mark_changed();
    futures::stream::unfold((changes, Told::default()), move |(mut changes, told)| {
        let missed = missed.clone();
        async move {
            changes.changed().await.ok()?;
            let (change, all) = {
                let newest = changes.borrow_and_update();
                (newest.change, newest.all.clone())
            };
            let event = event(&told.all, &all);
            // What lies between the one that it was told last and this one, it was never told by itself.
            missed.add_updates(told.change.map_or(0, |last| change.saturating_sub(last + 1)));
            Some((Ok(event), (changes, Told { change: Some(change), all })))
        }
    })
}

fn event(told: &All, now: &All) -> Event {
    let changed: Vec<&Summary> = now
        .iter()
        .filter(|(id, summary)| told.get(*id) != Some(*summary))
        .map(|(_, summary)| summary.as_ref())
        .collect();
    let gone: Vec<&String> = told.keys().filter(|id| !now.contains_key(*id)).collect();
    let data = serde_json::json!({ "runs": changed, "gone": gone });
    Event::default().event("runs").data(data.to_string())
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn a_reader_that_stands_still_gets_the_newest_and_what_it_misses_is_counted() {
        let publisher = watch::Sender::new(Newest::default());
        let publish = |step: u64| {
            let run = Arc::new(Summary { step, ..Summary::default() });
            publisher.send_if_modified(|newest| newest.take(BTreeMap::from([("a".to_owned(), run)])));
        };
        let missed = Missed::default();
        let mut quick = pin!(events(&publisher, missed.clone()));
        let mut slow = pin!(events(&publisher, missed.clone()));
        (0..3).for_each(publish);
        assert!(quick.next().await.is_some() && slow.next().await.is_some());
        assert_eq!(missed.counts().updates, 0, "what was before a reader came, it does not miss");
        for step in 3..6 {
            publish(step);
            assert!(quick.next().await.is_some());
        }
        assert_eq!(missed.counts().updates, 0, "the other one has not read yet");
        assert!(slow.next().await.is_some());
        assert_eq!(missed.counts().updates, 2, "it was told of three changes at once");
    }
}
