//! `lsgan status`: how a run is.

use std::time::Duration;

use comfy_table::{Table, presets};
use lsgan_console::{Failure, exit::chain};
use lsgan_wire::v1::coordinator_client::CoordinatorClient;
use lsgan_wire::v1::{self};
use lsgan_wire::{MESSAGE_LEN_BYTES_MAX, endpoint};
use serde_json::{Value, json};
use tonic::transport::Channel;

/// A client of a coordinator.
pub type Client = CoordinatorClient<Channel>;

/// What can be said on the command line of `lsgan status`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The coordinator's address.
    #[arg(
        long,
        value_name = "http://HOST:PORT",
        default_value = "http://127.0.0.1:7070",
        env = "LSGAN_COORDINATOR"
    )]
    coordinator: String,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Prints the status once.
///
/// # Errors
/// A coordinator that cannot be reached.
pub async fn status(args: Args) -> Result<(), Failure> {
    let mut client = connect(&args.coordinator).await?;
    let reply = client.status(v1::StatusRequest {}).await;
    let status = reply.map_err(|status| Failure::failed(status.message()))?.into_inner();
    if args.json {
        println!("{:#}", to_json(&status));
    } else {
        print(&status);
    }
    Ok(())
}

/// Connects to a coordinator.
///
/// # Errors
/// An address that makes no sense, or nobody there.
pub async fn connect(address: &str) -> Result<Client, Failure> {
    let endpoint = endpoint(address).map_err(Failure::bad_input)?;
    let channel = endpoint.connect_timeout(Duration::from_secs(5)).tcp_nodelay(true).connect().await;
    let channel = channel.map_err(|error| {
        Failure::failed(format!(
            "no coordinator answers at {address}: {}. Check that it runs; `lsgan up` and `coordinator` print where \
             they listen.",
            chain(&error)
        ))
    })?;
    Ok(CoordinatorClient::new(channel).max_decoding_message_size(MESSAGE_LEN_BYTES_MAX))
}

fn print(status: &v1::RunStatus) {
    println!("{}: step {} of {}, {}", status.run, status.step, status.steps, status.phase);
    println!("generation {}, {:.1} images/s", status.generation, status.images_per_s);
    if let Some(m) = &status.metrics {
        println!(
            "at step {}: loss D {:.4}, G {:.4}; D(x) {:+.3}, D(G(z)) {:+.3}; {:.1} ms a step ({:.1} reducing, {:.1} \
             waiting for data)",
            m.step, m.loss_d, m.loss_g, m.d_real, m.d_fake, m.step_ms, m.reduce_ms, m.data_wait_ms
        );
    }
    match status.snapshot_step {
        Some(step) => println!("newest snapshot at step {step}, in {}", status.run_dir),
        None => println!("no snapshot yet; run directory {}", status.run_dir),
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(["worker", "name", "peers at", "role", "virtual ranks", "step", "ms a rank", "heard"]);
    for worker in &status.workers {
        table.add_row([
            worker.incarnation.to_string(),
            worker.name.clone(),
            worker.address.clone(),
            match (worker.writes, worker.cannot_keep.is_empty()) {
                (true, _) => format!("{}, writes", worker.role),
                (false, false) => format!("{}, cannot write", worker.role),
                (false, true) => worker.role.clone(),
            },
            ranges(&worker.virtual_ranks),
            worker.applied.map_or("-".to_owned(), |applied| (applied / 2).to_string()),
            worker.pace_us.map_or("-".to_owned(), |us| {
                format!("{:.1}{}", us as f64 / 1000.0, if worker.straggles { " (straggler)" } else { "" })
            }),
            format!("{} ms ago", worker.heard_ms_ago),
        ]);
    }
    println!("{table}");
    for worker in status.workers.iter().filter(|w| !w.cannot_keep.is_empty()) {
        println!("{} cannot write snapshots: {}", worker.name, worker.cannot_keep);
    }
    if status.corrupt_count > 0 {
        println!(
            "{} corrupt records, of which {} are accepted (data.max_corrupt):",
            status.corrupt_count, status.corrupt_count_max
        );
        let shown = status.corrupt_records.len() as u64;
        if shown < status.corrupt_count {
            println!(
                "  the newest {shown}; all of them: sqlite3 {}/journal.sqlite 'select * from corrupt_records'",
                status.run_dir
            );
        }
        for record in &status.corrupt_records {
            println!("  `{}`: {}", record.key, record.reason);
        }
    }
    for notice in status.notices.iter().filter(|notice| notice.warning) {
        println!("warning: {}", notice.text);
    }
}

/// Ranks in short: `0-3, 7`.
fn ranges(ranks: &[u32]) -> String {
    let mut spans: Vec<(u32, u32)> = Vec::new();
    for &rank in ranks {
        match spans.last_mut() {
            Some((_, last)) if *last + 1 == rank => *last = rank,
            _ => spans.push((rank, rank)),
        }
    }
    let words = spans.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") });
    words.collect::<Vec<_>>().join(", ")
}

/// The status as JSON, with the wire's names.
#[must_use]
pub fn to_json(status: &v1::RunStatus) -> Value {
    let metrics = status.metrics.as_ref().map(|m| {
        json!({
            "step": m.step, "wall_ms": m.wall_ms, "step_ms": m.step_ms, "data_wait_ms": m.data_wait_ms,
            "reduce_ms": m.reduce_ms, "loss_d": m.loss_d, "loss_g": m.loss_g, "d_real": m.d_real,
            "d_fake": m.d_fake, "grad_norm_d": m.grad_norm_d, "grad_norm_g": m.grad_norm_g,
        })
    });
    let worker = |w: &v1::WorkerStatus| {
        json!({
            "incarnation": w.incarnation, "name": w.name, "address": w.address, "role": w.role,
            "virtual_ranks": w.virtual_ranks, "applied": w.applied, "heard_ms_ago": w.heard_ms_ago,
            "pace_us": w.pace_us, "straggles": w.straggles, "writes": w.writes, "cannot_keep": w.cannot_keep,
        })
    };
    let notice = |n: &v1::Notice| json!({ "number": n.number, "wall_ms": n.wall_ms, "text": n.text, "warning": n.warning });
    let file = |f: &v1::FinalFile| json!({ "name": f.name, "url": f.url, "blake3": f.blake3 });
    let corrupt = |r: &v1::CorruptRecord| json!({ "record": r.record, "key": r.key, "reason": r.reason, "step": r.step });
    let outcome = status.outcome.as_ref().map(|o| {
        let word = match o.outcome() {
            v1::OutcomeKind::Complete => "complete",
            v1::OutcomeKind::Stopped => "stopped",
            v1::OutcomeKind::Failed => "failed",
            v1::OutcomeKind::Refused => "refused",
            v1::OutcomeKind::Unspecified => "unknown",
        };
        json!({ "outcome": word, "why": o.why })
    });
    json!({
        "run": status.run, "identity": status.identity, "run_dir": status.run_dir, "phase": status.phase,
        "generation": status.generation, "step": status.step, "steps": status.steps,
        "global_batch": status.global_batch, "metrics": metrics, "images_per_s": status.images_per_s,
        "workers": status.workers.iter().map(worker).collect::<Vec<_>>(),
        "snapshot_step": status.snapshot_step, "outcome": outcome,
        "final_files": status.final_files.iter().map(file).collect::<Vec<_>>(),
        "workers_wanted": status.workers_wanted,
        "corrupt_count": status.corrupt_count, "corrupt_count_max": status.corrupt_count_max,
        "corrupt_records": status.corrupt_records.iter().map(corrupt).collect::<Vec<_>>(),
        "notices": status.notices.iter().map(notice).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn neighbouring_ranks_are_shown_as_ranges() {
        assert_eq!(super::ranges(&[0, 1, 2, 5, 7, 8]), "0-2, 5, 7-8");
        assert_eq!(super::ranges(&[]), "");
    }
}
