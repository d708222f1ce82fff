//! The tool's binary.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use lsgan_cli::{
    certs, checkpoints, compare, dataset, eval, export, figure, import, journal, live, logs, nearest, node,
    page, pause, profile, sample, scale, schema, snapshot, status, stop, sweep, timelapse, token, top, ui,
    up,
};
use lsgan_console::{Failure, arguments, interrupts, print, slowly_if, vital};

/// Trains least squares GANs on one machine or many, with weights that nothing but the run's file decides.
#[derive(Parser)]
#[command(name = "lsgan", version = env!("LSGAN_VERSION"))]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train on this machine: a coordinator and some workers in one command.
    Up(up::Args),
    /// Train a run for each combination of values and seeds, on a shared pool of workers of this machine.
    Sweep(sweep::Args),
    /// Run one worker for each device of this host, for a coordinator elsewhere.
    Node(node::Args),
    /// Make pictures from a run's newest snapshot.
    Sample(sample::Args),
    /// Show samples beside the training pictures that are most like them: whether a run has learned pictures by heart.
    Nearest(nearest::Args),
    /// Make an animation of the pictures that a run has made while it trained.
    Timelapse(timelapse::Args),
    /// Write a run's generator as a file that PyTorch, libtorch or an ONNX runtime runs.
    Export(export::Args),
    /// Begin a run with weights of another program.
    Import(import::Args),
    /// Score a run's snapshots: how near their samples are to real ones.
    Eval(eval::Args),
    /// Show how a run is, or how it ended.
    Status(live::Args),
    /// Show runs in a browser: samples, curves, workers, events; live and finished ones.
    Ui(ui::Args),
    /// Show a run on the whole of the terminal, live or finished: curves, workers, events, samples.
    Top(top::Args),
    /// Print where a live run's page is, with the key by which it takes actions.
    Page(page::Args),
    /// Print the scalars of all steps, as CSV or JSON Lines.
    Metrics(journal::MetricsArgs),
    /// Print what happened in a run, the oldest first.
    Events(journal::EventsArgs),
    /// Print what workers and the coordinator have logged, also of workers on other hosts.
    Logs(logs::Args),
    /// Show where the time of a few steps goes, on each worker of a live run; as a trace for Perfetto, too.
    Profile(profile::Args),
    /// Show what is different between runs, their files, scores and speed; and draw their curves.
    Compare(compare::Args),
    /// Write scalars, samples, scores and the run's file for TensorBoard, and what reads its files.
    Tensorboard(journal::TensorboardArgs),
    /// Write a snapshot at the next step boundary.
    Snapshot(live::Args),
    /// Hold a run at the next step boundary, with a snapshot; its workers keep their state.
    Pause(live::Args),
    /// Go on with a run that is paused.
    Resume(live::Args),
    /// End a run at the next step boundary, with a snapshot.
    Stop(stop::Args),
    /// Give a run of `lsgan up` another number of workers.
    Scale(scale::Args),
    /// List or verify snapshots.
    Checkpoints(checkpoints::Args),
    /// Make certificates, with which processes speak TLS.
    Certs(certs::Args),
    /// Make, show or revoke join tokens, by which workers take part without certificates of their own.
    Token(token::Args),
    /// Inspect, pack or export a data set.
    Dataset(dataset::Args),
    /// Draw the paper's claims: SVG, PNG and CSV, with their numbers.
    Figure(figure::Args),
    /// Print the JSON schema of a run's file, by which editors complete and check it, or the reference of all fields.
    Schema(schema::Args),
}

fn main() -> ExitCode {
    let args: Args = arguments();
    let in_pod = matches!(&args.command, Command::Node(node) if node.in_pod);
    vital::run(|| slowly_if(in_pod, lsgan(args)))
}

fn lsgan(args: Args) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    // On the main thread: children ask to die with the thread that started them.
    let command = async {
        match args.command {
            Command::Up(args) => up::up(args).await,
            Command::Node(args) => node::node(args).await,
            Command::Sweep(args) => sweep::sweep(args).await,
            Command::Figure(args) => figure::figure(args).await,
            Command::Top(args) => top::top(args).await,
            other => tool(other).await,
        }
    };
    runtime?.block_on(vital::guard("command", command))
}

/// Runs a command that a signal ends at once. As the first process of a container it would get no signal that it does not
/// ask for.
async fn tool(command: Command) -> Result<(), Failure> {
    let mut interrupts = interrupts()?;
    vital::task("signal task", async move {
        if let Some(asked) = interrupts.recv().await {
            print::end_now(asked.exit_code().into());
        }
    });
    match command {
        Command::Sample(args) => sample::sample(args).await,
        Command::Nearest(args) => nearest::run(args).await,
        Command::Timelapse(args) => timelapse::timelapse(&args),
        Command::Export(args) => export::run(args).await,
        Command::Import(args) => import::run(args).await,
        Command::Eval(args) => eval::eval(args).await,
        Command::Status(args) => status::status(args).await,
        Command::Ui(args) => ui::ui(args).await,
        Command::Page(args) => page::page(args).await,
        Command::Metrics(args) => journal::metrics(args).await,
        Command::Events(args) => journal::events(args).await,
        Command::Logs(args) => logs::logs(args).await,
        Command::Profile(args) => profile::profile(args).await,
        Command::Compare(args) => compare::compare(&args),
        Command::Tensorboard(args) => journal::tensorboard(args).await,
        Command::Snapshot(args) => snapshot::snapshot(args).await,
        Command::Pause(args) => pause::pause(args).await,
        Command::Resume(args) => pause::resume(args).await,
        Command::Stop(args) => stop::stop(args).await,
        Command::Scale(args) => scale::scale(args).await,
        Command::Checkpoints(args) => checkpoints::checkpoints(args).await,
        Command::Certs(args) => certs::certs(args),
        Command::Token(args) => token::token(args).await,
        Command::Dataset(args) => dataset::dataset(args),
        Command::Schema(args) => schema::schema(&args),
        Command::Up(_) | Command::Node(_) | Command::Sweep(_) | Command::Figure(_) | Command::Top(_) => {
            unreachable!("they have their own way with signals")
        }
    }
}
