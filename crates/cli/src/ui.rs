//! `lsgan ui`: runs in a browser.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use lsgan_console::{Failure, announce, say};
use lsgan_launch::{ListenArgs, PAGE};
use lsgan_observe::Hub;
use lsgan_wire::{Listen, from_here};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// The arguments of `lsgan ui`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Directories: all runs below them are shown, live and finished, also those that begin later.
    #[arg(value_name = "DIR", default_value = "runs")]
    dirs: Vec<PathBuf>,
    /// Address of the page; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8090")]
    listen: Listen,
    /// Open the page in the browser.
    #[arg(long)]
    open: bool,
    #[command(flatten)]
    insecure: ListenArgs,
}

/// The page of a run that this command trains.
#[derive(Clone, Debug, clap::Args)]
pub struct PageArgs {
    /// Serve the run's page here while it trains, in plain HTTP; port 0 takes a free one. `lsgan ui` shows runs that have ended
    /// as well.
    #[arg(long, value_name = "HOST:PORT")]
    http: Option<Listen>,
    /// Open the run's page in the browser; without --http at a free port of this host.
    #[arg(long = "open")]
    open_page: bool,
    /// Let readers of the page stop, pause and scale the run and have it write snapshots, each after a question. Where other hosts
    /// reach the page, or with --tls, they need its key, which `lsgan page` tells operators.
    #[arg(long)]
    http_actions: bool,
}

/// How long the coordinator gets to say where the page is, which follows its first line at once.
const TOLD_WITHIN: Duration = Duration::from_secs(5);

impl PageArgs {
    /// Arguments of the coordinator, which serves it.
    pub(crate) fn to_arguments(&self) -> Vec<String> {
        let free = || "127.0.0.1:0".to_owned();
        let listen = self.http.as_ref().map(Listen::to_string).or_else(|| self.open_page.then(free));
        let Some(listen) = listen else { return Vec::new() };
        let actions = self.http_actions.then(|| "--http-actions".to_owned());
        [HTTP.to_owned(), listen].into_iter().chain(actions).collect()
    }

    /// Whether what is asked for fits together.
    ///
    /// # Errors
    /// Actions without a page; exit code 2.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.http_actions && self.http.is_none() && !self.open_page {
            let text = "--http-actions lets readers of the run's page act, and there is no page. Add --http HOST:PORT, or --open.";
            return Err(Failure::bad_input(text));
        }
        Ok(())
    }

    /// Reads where the page is from what the coordinator prints; says so, and opens it where that is asked for. `arguments` are
    /// the coordinator's: started again it must be found where it was.
    pub(crate) async fn follow(&self, lines: &mut mpsc::Receiver<String>, arguments: &mut [String]) {
        let Some(at) = arguments.iter().position(|argument| argument == HTTP) else { return };
        let Ok(Some(line)) = timeout(TOLD_WITHIN, lines.recv()).await else { return };
        let Some(url) = line.strip_prefix(PAGE) else { return };
        say!("{PAGE}{url}");
        if let Some(listen) = arguments.get_mut(at + 1) {
            *listen = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        }
        if self.open_page {
            open(url);
        }
    }
}

/// The coordinator's argument that the page's address follows.
const HTTP: &str = "--http";

/// Serves the page until it is interrupted. The runs' journals are read, never written.
///
/// # Errors
/// A directory that is none, or an address that cannot be listened on.
pub async fn ui(args: Args) -> Result<(), Failure> {
    if let Some(dir) = args.dirs.iter().find(|dir| !dir.is_dir()) {
        return Err(Failure::bad_input(format!(
            "{} is no directory. Name the directory of a run, or one that has runs below it: lsgan ui runs",
            dir.display()
        )));
    }
    let listen = args.listen.clone();
    let bound = tokio::task::spawn_blocking(move || listen.bind()).await.map_err(std::io::Error::other)?;
    let socket = bound.map_err(|error| {
        Failure::failed(format!(
            "cannot listen on {}: {error}. Give another address with --listen; port 0 takes a free one.",
            args.listen
        ))
    })?;
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from_std(socket)?;
    let address = listener.local_addr()?;
    args.insecure.check_plain(address, "--listen")?;
    let url = format!("http://{}/", from_here(address));
    announce!("{PAGE}{url}");
    if args.open {
        open(&url);
    }
    let hub = Arc::new(Hub::new(args.dirs));
    // It shows: only a run's own coordinator takes actions.
    lsgan_observe::serve(listener, hub, None, std::future::pending()).await?;
    Ok(())
}

/// Opens the page in the user's browser; where there is none, says so.
pub(crate) fn open(url: &str) {
    let quiet = Stdio::null;
    let started = Command::new("xdg-open").arg(url).stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn();
    if started.is_err() {
        say!("no browser can be opened from here (xdg-open is not installed); open {url}");
    }
}
