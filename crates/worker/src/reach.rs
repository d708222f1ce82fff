//! Reaching the coordinator, however often that must be tried.

use std::time::{Duration, Instant};

use lsgan_console::{Failure, News, RunEnd};
use lsgan_wire::{Address, Client, FINISHED, STARTING, dial, v1};
use tonic::Code;

use crate::Args;

/// The first pause after a coordinator could not be reached; doubles each time.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
/// The longest: a coordinator that is started again is found within this time.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Between two messages about a coordinator that cannot be reached.
const UNREACHABLE_SAID_EVERY: Duration = Duration::from_secs(5);
/// Between two looks whether a coordinator that is starting has started.
const STARTING_PAUSE: Duration = Duration::from_millis(500);
/// A coordinator with an older journal is asked again for so long: one that was deposed answers until it finds that, which takes up
/// to five seconds where its store is well, and the one that leads may have the same name.
const OLDER_FOR: Duration = Duration::from_secs(15);

/// What is said meanwhile.
const OLDER: &str = "one answers there whose journal lacks what this worker was told of";

/// A coordinator and the run that it describes.
pub type Reached = (Client, v1::RunDescription);

/// Reaches the coordinator and asks which run it has. With `known`, only the same run will do, with a journal that has
/// all that this worker was told of.
///
/// # Errors
/// The coordinator is away for longer than `--give-up-after`, or has another run, or keeps an older journal. With exit code 0: the
/// run is finished.
pub async fn reach(args: &Args, known: Option<&v1::RunDescription>) -> Result<Reached, Failure> {
    let address = args.address()?;
    let address = known.iter().fold(address, |address, known| address.of_run(&known.token));
    let (mut since, mut pause, mut told) = (Instant::now(), BACKOFF_FIRST, None::<Instant>);
    let (mut waits, mut older_since) = (false, None::<Instant>);
    loop {
        let error = match try_reach(&address).await {
            Ok((client, found)) => match older(known, &found)? {
                None => return Ok((client, found)),
                Some(why) if older_since.is_some_and(|since| since.elapsed() >= OLDER_FOR) => {
                    return Err(Failure::failed(why));
                }
                Some(_) => {
                    if older_since.is_none() {
                        (older_since, told) = (Some(Instant::now()), None);
                    }
                    Unreached::away(OLDER.to_owned())
                }
            },
            Err(error) => error,
        };
        if error.is_refused {
            return Err(Failure::bad_input(error.why));
        }
        if error.is_finished {
            tracing::info!("{FINISHED}");
            tell(args, News::RunEnded { how: RunEnd::Complete });
            return Err(Failure::stopped(0));
        }
        if error.is_starting {
            // Reading the data set may take long.
            if !std::mem::replace(&mut waits, true) {
                let why = format!("waits for the coordinator at {}: {STARTING}", args.coordinator);
                tracing::info!("{why}");
                tell(args, News::Unreachable { why });
            }
            since = Instant::now();
            tokio::time::sleep(STARTING_PAUSE).await;
            continue;
        }
        let give_up = args.give_up_after;
        if !give_up.is_zero() && since.elapsed() + pause > give_up {
            tell(args, News::GaveUp);
            return Err(Failure::failed(format!(
                "the coordinator at {} cannot be reached for {}: {}. --give-up-after sets how long to try.",
                args.coordinator,
                humantime::format_duration(give_up),
                error.why
            )));
        }
        // At once: an address may be wrong.
        if told.is_none_or(|told| told.elapsed() >= UNREACHABLE_SAID_EVERY) {
            told = Some(Instant::now());
            let (address, why) = (&args.coordinator, error.why);
            let why = format!("the coordinator at {address} cannot be reached, trying again: {why}");
            tracing::warn!("{why}");
            tell(args, News::Unreachable { why });
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(BACKOFF_MAX);
    }
}

/// Tells the process that supervises this one, if one does.
pub fn tell(args: &Args, news: News) {
    if args.supervised {
        news.tell();
    }
}

struct Unreached {
    why: String,
    /// The coordinator is there, and its run has not begun.
    is_starting: bool,
    /// Its certificate is not one that may take part.
    is_refused: bool,
    /// The coordinator is there, and its run is finished.
    is_finished: bool,
}

impl Unreached {
    fn away(why: String) -> Self {
        Self { why, is_starting: false, is_refused: false, is_finished: false }
    }
}

async fn try_reach(address: &Address) -> Result<Reached, Unreached> {
    let mut client = dial(address).await.map_err(Unreached::away)?;
    let reply = client.describe_run(v1::DescribeRunRequest {}).await.map_err(|status| Unreached {
        why: status.message().to_owned(),
        is_starting: status.code() == Code::FailedPrecondition,
        is_refused: status.code() == Code::PermissionDenied,
        is_finished: status.code() == Code::OutOfRange,
    })?;
    Ok((client, reply.into_inner()))
}

/// Why this coordinator is not taken for the one that the worker knows: its journal lacks what the worker was told of.
///
/// # Errors
/// It has another run.
fn older(known: Option<&v1::RunDescription>, found: &v1::RunDescription) -> Result<Option<String>, Failure> {
    let Some(known) = known else { return Ok(None) };
    if known.token != found.token {
        return Err(Failure::failed(format!(
            "the coordinator came back with another run (`{}`, it was `{}`) or another journal. Start the coordinator \
             with the right run directory, or this worker anew.",
            found.run, known.run
        )));
    }
    let is_older = found.generation < known.generation
        || found.incarnation < known.incarnation
        || found.metrics_until < known.metrics_until;
    Ok(is_older.then(|| {
        format!(
            "the coordinator came back with an older copy of its journal: it has generation {}, incarnation {} \
             and the metrics below step {}, and this worker was told of generation {}, incarnation {} and step \
             {}. Start the coordinator with the newest journal; this worker ends, so that the two do not mix.",
            found.generation,
            found.incarnation,
            found.metrics_until,
            known.generation,
            known.incarnation,
            known.metrics_until
        )
    }))
}
