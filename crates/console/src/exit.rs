//! Exit codes, and how an error is printed: one sentence of what is wrong, one of what to do.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

pub use lsgan_spec::chain;
use lsgan_spec::{printable, without_users};

use crate::interrupts::interrupts;
use crate::print;

/// What a process takes to fail that is replaced as soon as it ends: with less, one that fails at its start would be replaced
/// every second.
const SLOWLY: Duration = Duration::from_secs(30);

/// An error on its way to the user.
#[derive(Debug)]
pub struct Failure {
    /// The process's exit code.
    pub code: u8,
    /// What is wrong and what to do. May have several lines; empty where nothing is to be printed.
    pub text: String,
}

impl Failure {
    /// The user's input is wrong: exit code 2, and nothing was started.
    pub const BAD_INPUT: u8 = 2;
    /// The run or the machine failed: exit code 1.
    pub const FAILED: u8 = 1;
    /// The reader of the output is gone: the same code as a death by SIGPIPE.
    pub const READER_GONE: u8 = 141;

    /// The work was stopped before its end, which was told already.
    #[must_use]
    pub fn stopped(code: u8) -> Self {
        Self { code, text: String::new() }
    }

    /// The input is wrong.
    pub fn bad_input(text: impl fmt::Display) -> Self {
        Self { code: Self::BAD_INPUT, text: text.to_string() }
    }

    /// The input is wrong, as this error and its causes say.
    pub fn bad_input_of(error: impl Error) -> Self {
        Self::bad_input(printable(&chain(&error)))
    }

    /// Something failed.
    pub fn failed(text: impl fmt::Display) -> Self {
        Self { code: Self::FAILED, text: text.to_string() }
    }
}

/// Something failed: exit code 1, and the error with its causes, in one line whatever names are in it.
impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::failed(printable(&chain(&error)))
    }
}

/// The arguments of this process. Where they are wrong, it ends as clap's own programs do; the words that clap repeats are printed
/// without a user or a password that is in one of them.
#[must_use]
pub fn arguments<A: clap::Parser>() -> A {
    A::try_parse().unwrap_or_else(|error| {
        let text = error.render().to_string();
        match without_users(&text) {
            Cow::Owned(hidden) if error.use_stderr() => {
                print::error(hidden.trim_start_matches("error: ").trim_end());
                print::end_now(error.exit_code())
            }
            _ => error.exit(),
        }
    })
}

/// Where `in_pod`, prints a failure that another attempt will probably meet as well, and hands it on 30 s later, or as soon as a
/// signal asks for the end.
///
/// # Errors
/// That of `result`.
pub fn slowly_if(in_pod: bool, result: Result<(), Failure>) -> Result<(), Failure> {
    match result {
        Err(Failure { code: code @ (Failure::FAILED | Failure::BAD_INPUT), text }) if in_pod => {
            let wait = async {
                let mut told = interrupts()?;
                print::error(text.trim_end());
                // The time is up, or a signal came: both mean the end.
                let _ = tokio::time::timeout(SLOWLY, told.recv()).await;
                Ok::<_, io::Error>(())
            };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let waited = runtime.and_then(|runtime| runtime.block_on(wait));
            // Where the system does not even hand signals over, it fails at once.
            Err(if waited.is_ok() { Failure::stopped(code) } else { Failure { code, text } })
        }
        result => result,
    }
}

/// Ends `main`: prints a failure on standard error, and waits until what was printed is written.
#[must_use]
pub fn finish(result: Result<(), Failure>) -> ExitCode {
    let code = match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.text.is_empty() {
                print::error(failure.text.trim_end());
            }
            ExitCode::from(failure.code)
        }
    };
    print::flush();
    code
}
