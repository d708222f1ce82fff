//! What is asked when: everything that is shown, each time that `/api/live` says that the run has changed, or that something else
//! is wanted.

use std::sync::Arc;
use std::time::Duration;

use lsgan_observe::summary::Summary;
use lsgan_pictures::RgbImage;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use crate::rows::{Curves, Event, Look, Scored, Told, Workers, shown};
use crate::source::Source;
use crate::sse::Events;
use crate::state::Wanted;

/// Before a page that is away, or a journal that cannot be read, is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// The newest events that are asked for.
const EVENTS: u32 = 200;

/// Follows the run until nobody takes the news any more.
pub(crate) async fn follow(
    source: Source,
    wanted: watch::Receiver<Wanted>,
    tell: mpsc::Sender<Result<Look, String>>,
) {
    let mut follower = Follower { source, wanted, tell, summary: None, picture: None };
    while let Err(why) = follower.attend().await {
        if follower.tell.send(Err(why)).await.is_err() {
            return;
        }
        sleep(AGAIN_AFTER).await;
    }
}

struct Follower {
    source: Source,
    wanted: watch::Receiver<Wanted>,
    tell: mpsc::Sender<Result<Look, String>>,
    /// The run as it was told last.
    summary: Option<Summary>,
    /// The newest grid, and its step.
    picture: Option<(u64, Arc<RgbImage>)>,
}

impl Follower {
    /// Tells what there is, again and again. Returns when nobody takes it any more.
    ///
    /// # Errors
    /// Something does not answer, or the run is gone.
    async fn attend(&mut self) -> Result<(), String> {
        let mut pieces = self.source.live().await?;
        let mut events = Events::default();
        let mut is_checked = false;
        loop {
            tokio::select! {
                piece = pieces.next() => {
                    if !self.hear(&mut events, &piece?)? {
                        continue;
                    }
                }
                changed = self.wanted.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                }
            }
            let wanted = self.wanted.borrow_and_update().clone();
            let Some(summary) = self.summary.clone().filter(|_| !wanted.is_paused) else { continue };
            if !is_checked {
                self.source.check(&summary.id).await?;
                is_checked = true;
            }
            let look = self.look(summary, &wanted).await?;
            if self.tell.send(Ok(look)).await.is_err() {
                return Ok(());
            }
        }
    }

    /// Takes a piece of what is told; whether the run has changed.
    fn hear(&mut self, events: &mut Events, piece: &[u8]) -> Result<bool, String> {
        let mut has_changed = false;
        for data in events.take(piece)? {
            let told: Told = serde_json::from_str(&data).map_err(|error| format!("/api/live: {error}"))?;
            let id = self.summary.as_ref().map(|summary| summary.id.clone());
            if id.as_ref().is_some_and(|id| told.gone.contains(id)) {
                self.summary = None;
                return Err("the run is gone from its place".to_owned());
            }
            let is_it = |summary: &Summary| id.as_ref().is_none_or(|id| *id == summary.id);
            if let Some(summary) = told.runs.into_iter().find(is_it) {
                self.summary = Some(shown(summary));
                has_changed = true;
            }
        }
        Ok(has_changed)
    }

    async fn look(&mut self, summary: Summary, wanted: &Wanted) -> Result<Look, String> {
        let of = |rest: &str| format!("/api/runs/{}/{rest}", summary.id);
        let curves = if wanted.names.is_empty() {
            Curves::default()
        } else {
            let from = summary.step - (summary.step >> wanted.zoom);
            let names = wanted.names.join(",");
            self.source
                .get(&of(&format!("curves?names={names}&from={from}&pixels={}", wanted.pixels)))
                .await?
        };
        let scored: Scored = self.source.get(&of("scores")).await?;
        let workers: Workers = self.source.get(&of("workers")).await?;
        let events: Vec<Event> = self.source.get(&of(&format!("events?limit={EVENTS}"))).await?;
        if let Some(step) =
            summary.sample_step.filter(|step| self.picture.as_ref().map(|known| known.0) != Some(*step))
        {
            // A grid that is being thinned out or does not decode is no reason to show nothing.
            let png = self.source.bytes(&of(&format!("samples/{step}"))).await.ok();
            if let Some(picture) = png.and_then(|png| lsgan_pictures::read(&png).ok()) {
                self.picture = Some((step, Arc::new(picture)));
            }
        }
        let picture = self.picture.as_ref().map(|(_, picture)| picture.clone());
        let workers = workers.shown(summary.live);
        Ok(Look { summary, curves, series: scored.series, workers, events, picture })
    }
}
