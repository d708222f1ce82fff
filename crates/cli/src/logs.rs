//! `lsgan logs`: what workers and the coordinator have printed, also of workers on other hosts.

use std::fs::File;
use std::io::{BufRead as _, BufReader, ErrorKind};
use std::time::Duration;

use lsgan_console::{Failure, log_file, product};
use lsgan_launch::LOG;
use lsgan_wire::v1;
use serde_json::json;
use tokio::time::sleep;

use crate::live::{self, Away, Found, Live, found_again};

/// Between two looks; workers send their lines once a second.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Where there is more.
const MORE: &str = "The coordinator has the newest 16,384 lines of all processes in memory, and after a restart those that were \
                    printed since. It keeps its own in the run's directory (coordinator.log, and the older ones in \
                    coordinator.log.1 and .2), which are printed of a run that is not live. All lines of a process are where its \
                    standard error goes: of `lsgan up` and `lsgan node` in the folder logs.";

/// What the coordinator's own lines are called.
const COORDINATOR: &str = "coordinator";

/// The arguments of `lsgan logs`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = MORE)]
pub struct Args {
    /// The name of a worker, as `lsgan status` shows it, or `coordinator`; all of them by default.
    #[arg(value_name = "WORKER")]
    worker: Option<String>,
    /// Go on as the run does, until its coordinator has ended.
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    live: live::Args,
}

/// Prints lines of logs, the oldest first.
///
/// # Errors
/// A worker that there are no lines of, or a run that is not live and has no log.
pub async fn logs(args: Args) -> Result<(), Failure> {
    let Args { worker, follow, live: live::Args { target, json } } = args;
    let mut asked = v1::LogsRequest { process: worker.unwrap_or_default(), from: 0 };
    let mut live = match target.find().await? {
        Found::Live(live) => live,
        Found::Away(away) => return of_the_past(&away, &asked.process, json),
    };
    let again = live.again(&target);
    let mut reply = ask(&mut live, &asked).await.map_err(|status| Failure::failed(status.message()))?;
    if !follow && !asked.process.is_empty() && !reply.processes.contains(&asked.process) {
        return Err(Failure::failed(none_of(&asked.process, &reply.processes)));
    }
    loop {
        asked.from = reply.next;
        for line in &reply.lines {
            print(line, json)?;
        }
        if reply.lines.is_empty() {
            if !follow {
                return Ok(());
            }
            sleep(LOOK_EVERY).await;
        }
        reply = match ask(&mut live, &asked).await {
            Ok(reply) => reply,
            Err(status) if !follow => return Err(Failure::failed(status.message())),
            Err(status) => {
                let ask = async |live: &mut Live| ask(live, &asked).await.ok();
                match found_again(&again, status.message(), ask).await? {
                    Some((found, reply)) => {
                        live = found;
                        reply
                    }
                    None => return Ok(()),
                }
            }
        };
    }
}

/// Prints what the coordinator of a run that is not live has left in the run's directory.
fn of_the_past(away: &Away, process: &str, json: bool) -> Result<(), Failure> {
    if !process.is_empty() && process != COORDINATOR {
        let place = away.dir.display();
        return Err(Failure::failed(format!(
            "{away}\nlines of its workers are where they ran: of `lsgan up` in {place}/logs. `lsgan logs coordinator --run \
             {place}` prints the coordinator's."
        )));
    }
    let mut is_there = false;
    for path in log_file::all(&away.dir.join(LOG)) {
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(Failure::failed(format!("{}: {error}", path.display()))),
        };
        is_there = true;
        for line in BufReader::new(file).split(b'\n') {
            let text = String::from_utf8_lossy(&line?).into_owned();
            print(&v1::LogLine { process: COORDINATOR.to_owned(), text }, json)?;
        }
    }
    if is_there { Ok(()) } else { Err(Failure::failed(format!("{away}\nit has left no {LOG}"))) }
}

/// One piece. Pieces without lines of the process that is asked for are passed over.
async fn ask(live: &mut Live, asked: &v1::LogsRequest) -> Result<v1::LogsReply, tonic::Status> {
    let mut asked = asked.clone();
    loop {
        let reply = live.client.logs(asked.clone()).await?.into_inner();
        if !reply.lines.is_empty() || reply.next == asked.from {
            return Ok(reply);
        }
        asked.from = reply.next;
    }
}

fn print(line: &v1::LogLine, json: bool) -> Result<(), Failure> {
    let v1::LogLine { process, text } = line;
    match json {
        true => product!("{}", json!({ "process": process, "line": text })),
        false => product!("{process}  {text}"),
    }
}

fn none_of(process: &str, known: &[String]) -> String {
    format!(
        "there are no lines of `{process}`. There are some of: {}. `lsgan status` shows the workers.",
        known.join(", ")
    )
}
