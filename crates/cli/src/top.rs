//! `lsgan top`: a run on the whole of a terminal.

use lsgan_console::{Failure, interrupts};
use lsgan_journal::wall_ms;
use lsgan_top::{Colours, Source};
use lsgan_wire::v1;

use crate::journal;
use crate::live::{Found, Target};

/// What cannot be seen from the arguments.
const KEYS: &str = "\
Keys: q ends; tab, left and right go to another pane; up and down choose a curve, or scroll; + and - show fewer or more of the steps;
space holds the screen; enter gives a pane the whole of it; ? lists them.

Samples are shown where the terminal has 24-bit colours (COLORTERM=truecolor) or 256 (TERM=…-256color); NO_COLOR=1 turns colours off. \
A run on another machine is read from its page, so its coordinator needs --http; without a terminal `lsgan status` and `lsgan metrics \
--follow` say the same.";

/// The arguments of `lsgan top`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = KEYS)]
pub struct Args {
    #[command(flatten)]
    target: Target,
}

/// Shows a run until the reader has seen enough. Nothing of the run is changed.
///
/// # Errors
/// No terminal, or no such run; a run on another machine that has no page. An empty text: a signal ends it, and its exit code.
pub async fn top(args: Args) -> Result<(), Failure> {
    lsgan_top::check().map_err(Failure::bad_input)?;
    let mut told = interrupts()?;
    let source = tokio::select! {
        found = source(&args.target) => found?,
        Some(asked) = told.recv() => return Err(Failure::stopped(asked.exit_code())),
    };
    lsgan_top::show(source, Colours::of_environment(), wall_ms, told).await
}

/// Where the run is read: from its directory where that is at hand, else from its page.
async fn source(target: &Target) -> Result<Source, Failure> {
    if let Some(dir) = target.dir() {
        // Whether or not it is live, its coordinator need not be reached from here.
        journal::check(dir)?;
        return Ok(Source::directory(dir.to_owned()));
    }
    let mut live = match target.find().await? {
        Found::Live(live) => live,
        Found::Away(away) => return Ok(Source::directory(away.dir)),
    };
    if let Some(dir) = live.dir.take() {
        return Ok(Source::directory(dir));
    }
    let told = |status: tonic::Status| Failure::failed(status.message());
    let status = live.status().await.map_err(told)?;
    let page = live.client.page(v1::PageRequest {}).await.map_err(|status| {
        Failure::failed(format!(
            "the run's directory is not on this machine, and {}. `lsgan status` needs neither.",
            status.message()
        ))
    })?;
    Source::page(&page.into_inner().url, &status.identity).map_err(Failure::failed)
}
