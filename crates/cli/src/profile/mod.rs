//! `lsgan profile`: where the time of a few steps goes, on each worker of a live run.
//!
//! The workers record it on their hosts and send it over the coordinator; the run goes on meanwhile.
//!
//! - [`shares`]: spans as times of parts. [`trace`]: spans as a file that Perfetto opens.

pub mod shares;
pub mod trace;

use std::path::PathBuf;
use std::time::Duration;

use comfy_table::{Table, presets};
use lsgan_console::{Failure, product, say};
use lsgan_wire::v1;
use serde_json::{Value, json};
use tonic::Code;

use self::shares::{PARTS, Shares, Spread};
use crate::live;
use crate::picture::check_place;
use crate::sweep::ledger::replace;

/// What is measured.
const MEASURED: &str = "\
Times are those of each worker's training thread, by its host's clock. `D` and `G` are forward and backward passes; `quantise` is \
their gradients turned into the sum's numbers; `exchange` is the sum handed over and waited for, and so also waiting for workers \
that are slower; D on the next step's real samples, which is computed while G's sum travels, counts as D. On a GPU the host only \
queues work and runs ahead of it: `D`, `G` and `apply` are then the time that queueing takes, and `GPU wait` is how long the host \
waited for the GPU. The run's weights do not change, and it costs nothing once it is over.";

/// The arguments of `lsgan profile`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = MEASURED)]
pub struct Args {
    /// How many steps are looked at.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    steps: u32,
    /// Write all spans into this file, as a Chrome trace: https://ui.perfetto.dev opens it.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// How long to wait for these steps; what has come by then is shown.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = humantime::parse_duration)]
    give_up_after: Duration,
    #[command(flatten)]
    live: live::Args,
}

/// Looks at a few steps, and prints where their time went.
///
/// # Errors
/// A run that is not live or does no steps now, another profile at the same time, or no worker that answers.
pub async fn profile(args: Args) -> Result<(), Failure> {
    let Args { steps, trace, give_up_after, live: live::Args { target, json } } = args;
    if let Some(path) = &trace {
        check_place("--trace", path, "trace.json")?;
    }
    let mut live = target.find_live().await?;
    let within_ms = u64::try_from(give_up_after.as_millis()).unwrap_or(u64::MAX);
    let request = v1::ProfileRequest { by: live::operator(), steps, within_ms };
    say!("recording {steps} steps");
    let reply = live.client.profile(request).await.map_err(failed)?.into_inner();
    if let Some(path) = &trace {
        replace(path, &trace::chrome(&reply)?)?;
    }
    let profiled: Vec<Profiled> = reply.workers.iter().map(Profiled::of).collect();
    if profiled.iter().all(|worker| worker.shares.steps.is_empty()) {
        let why = |worker: &Profiled| format!("\n  {}: {}", worker.name, worker.why);
        let why: String = profiled.iter().map(why).collect();
        return Err(Failure::failed(format!(
            "no worker has recorded a whole step:{why}\nA longer --give-up-after or fewer --steps help where steps take long."
        )));
    }
    match json {
        true => product!("{:#}", to_json(&reply.run, &profiled))?,
        false => print(&reply.run, &profiled)?,
    }
    if let Some(path) = trace {
        say!("the trace is in {}; https://ui.perfetto.dev opens it", path.display());
    }
    Ok(())
}

fn failed(status: tonic::Status) -> Failure {
    match status.code() {
        Code::Unimplemented => {
            Failure::failed("the coordinator is of an older version, which knows no profiles.")
        }
        _ => Failure::failed(status.message()),
    }
}

/// A worker's part of a profile.
struct Profiled {
    incarnation: u64,
    name: String,
    shares: Shares,
    /// Why there are fewer steps than were asked for; empty if there are not.
    why: String,
}

impl Profiled {
    fn of(worker: &v1::ProfiledWorker) -> Self {
        Self {
            incarnation: worker.incarnation,
            name: worker.name.clone(),
            shares: Shares::of(&worker.spans),
            why: worker.why.clone(),
        }
    }
}

/// A block of rows for each worker, and where there are several one for all of them.
fn print(run: &str, profiled: &[Profiled]) -> Result<(), Failure> {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(["worker", "part", "ms", "least", "most", "share"]);
    let all = Shares { steps: profiled.iter().flat_map(|worker| worker.shares.steps.clone()).collect() };
    let with_gpu = all.steps.iter().any(|step| step.parts_ns[shares::GPU_WAIT] > 0);
    for worker in profiled.iter().filter(|worker| !worker.shares.steps.is_empty()) {
        add_rows(&mut table, &worker.name, &worker.shares, with_gpu);
    }
    if profiled.len() > 1 {
        add_rows(&mut table, "all", &all, with_gpu);
    }
    product!("{run}: where a step's time goes")?;
    product!("{table}")?;
    let mut short = profiled.iter().filter(|worker| !worker.why.is_empty());
    short.try_for_each(|worker| product!("{}: {}", worker.name, worker.why))
}

fn add_rows(table: &mut Table, name: &str, shares: &Shares, with_gpu: bool) {
    let row = |first: &str, part: &str, spread: Spread| {
        let ms = [spread.mean_ms, spread.min_ms, spread.max_ms].map(|ms| format!("{ms:.3}"));
        let share = format!("{:.1} %", 100.0 * spread.share);
        [first.to_owned(), part.to_owned()].into_iter().chain(ms).chain([share])
    };
    let steps = shares.steps.len();
    table.add_row(row(name, &format!("step ({steps} of them)"), shares.whole()));
    for (part, known) in PARTS.iter().enumerate() {
        if part != shares::GPU_WAIT || with_gpu {
            table.add_row(row("", known.name, shares.part(part)));
        }
    }
}

fn to_json(run: &str, profiled: &[Profiled]) -> Value {
    let spread = |spread: Spread| {
        let Spread { mean_ms, min_ms, max_ms, share } = spread;
        json!({ "mean_ms": mean_ms, "min_ms": min_ms, "max_ms": max_ms, "share": share })
    };
    let worker = |worker: &Profiled| {
        let shares = &worker.shares;
        let part = |(part, known): (usize, &shares::Part)| {
            let mut object = spread(shares.part(part));
            object["part"] = known.key.into();
            object
        };
        json!({
            "incarnation": worker.incarnation, "name": worker.name, "why": worker.why,
            "steps": shares.steps.len(), "first_step": shares.steps.first().map(|step| step.step),
            "step": spread(shares.whole()), "parts": PARTS.iter().enumerate().map(part).collect::<Vec<_>>(),
        })
    };
    json!({ "run": run, "workers": profiled.iter().map(worker).collect::<Vec<_>>() })
}
