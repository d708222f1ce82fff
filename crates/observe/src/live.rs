//! Server-sent events: what has changed of which run.
//!
//! One task looks at all runs and publishes their summaries as one value, so that a browser that reads nothing holds up nobody: it
//! misses what lies between, and gets the newest when it reads again.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::Hub;
use crate::summary::Summary;

/// Between two looks at all runs. A death is on the page a second later at most.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// All runs' summaries by their ids.
pub(crate) type All = Arc<BTreeMap<String, Arc<Summary>>>;

/// What all watchers read, and the task that looks at the runs while there are any.
pub(crate) fn follow(hub: Arc<Hub>) -> (Arc<watch::Sender<All>>, impl Future<Output = ()> + Send + 'static) {
    let publisher = Arc::new(watch::Sender::new(All::default()));
    let sender = publisher.clone();
    let follower = async move {
        let mut beat = interval(LOOK_EVERY);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            if sender.receiver_count() == 0 {
                // What is known is old by the time when somebody watches again.
                sender.send_replace(All::default());
                continue;
            }
            let hub = hub.clone();
            let Ok(all) = tokio::task::spawn_blocking(move || look(&hub)).await else { continue };
            sender.send_if_modified(|known| {
                let has_changed = **known != all;
                *known = Arc::new(all);
                has_changed
            });
        }
    };
    (publisher, follower)
}

fn look(hub: &Hub) -> BTreeMap<String, Arc<Summary>> {
    hub.runs().iter().map(|run| (run.id.clone(), run.summary())).collect()
}

/// A stream of `runs` events: an array of the summaries that have changed, all of them first, and the ids of runs that are gone.
pub(crate) fn stream(
    publisher: &watch::Sender<All>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>> + Send + use<>> {
    let mut changes = publisher.subscribe();
    // The first event has what is known already.
    changes.mark_changed();
    let events = futures::stream::unfold((changes, All::default()), |(mut changes, told)| async move {
        changes.changed().await.ok()?;
        let now = changes.borrow_and_update().clone();
        let event = event(&told, &now);
        Some((Ok(event), (changes, now)))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
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
