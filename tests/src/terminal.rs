//! A command on a terminal, which `script` makes.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;

use nix::sys::stat::Mode;

use crate::lab::{Lab, shell};
use crate::process::{Process, children_named, children_of};
use crate::screen;
use crate::wait::until;

const COLUMNS: usize = 140;

/// A terminal of 140 columns and 45 lines with 24-bit colours.
pub struct Terminal {
    pub process: Process,
    /// What is typed.
    keys: File,
    /// All that the terminal was sent.
    sent: PathBuf,
}

impl Terminal {
    /// A terminal on which a shell obeys `line`. `label` is for its files.
    pub fn start(lab: &Lab, label: &str, line: &str) -> Self {
        let pipe = lab.path(&format!("{label}-keys"));
        nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).expect("a pipe can be made");
        // Open for both, so that opening waits for no reader.
        let keys = OpenOptions::new().read(true).write(true).open(&pipe).expect("it can be opened");
        let sent = lab.path(&format!("{label}-sent"));
        let mut script = shell("", &format!("<'{}'", pipe.display()));
        script.args(["script", "-qefc", &format!("stty rows 45 cols {COLUMNS}; {line}")]).arg(&sent);
        script
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm-256color")
            .env("COLORTERM", "truecolor")
            .env_remove("NO_COLOR");
        Self { process: lab.start_command(label, script), keys, sent }
    }

    /// All that the terminal was sent so far, with its escapes.
    pub fn sent(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.sent).unwrap_or_default()).into_owned()
    }

    /// The lines that it shows, also those that are scrolled away: once the command has ended.
    pub fn lines(&self) -> Vec<String> {
        let sent = self.sent();
        // What `script` itself says of its begin and its end.
        let (_, sent) = sent.split_once('\n').unwrap_or_default();
        let sent = sent.rsplit_once("\nScript done on").map_or(sent, |(sent, _)| sent);
        screen::lines(sent, COLUMNS)
    }

    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("the pipe has room");
    }

    /// Waits until what was sent shows it.
    #[track_caller]
    pub fn wait_until(&mut self, awaited: &str, shows: impl Fn(&str) -> bool) {
        until(awaited, || {
            let sent = self.sent();
            if shows(&sent) {
                return Ok(());
            }
            if let Err(status) = self.process.running() {
                panic!("it ended with {status} before: {awaited}\n{sent:?}");
            }
            Err(sent)
        });
    }

    /// The id of the process of this program that the shell has started.
    #[track_caller]
    pub fn child(&self, name: &str) -> u32 {
        let shells = children_of(self.process.id());
        let found = shells.iter().flat_map(|shell| children_named(shell.id, name)).next();
        found.unwrap_or_else(|| panic!("no {name} among the children of {shells:?}"))
    }
}
