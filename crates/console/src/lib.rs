//! What a person sees on a terminal, the same in all three binaries.
//!
//! - [`print`]: the one way to print, which cannot fail or hold up anything.
//! - [`vital`]: a thread or task that panics ends its process.
//! - [`logging`]: structured logs on standard error, as text or JSON.
//! - [`progress`]: a run's bar on a terminal, a line every few seconds elsewhere.
//! - [`time_left`]: how long a run still takes.
//! - [`counter`]: the same for work that is counted. [`clock`](mod@clock): times of day. [`numbers`]: scores and bytes.
//! - [`news`]: what a worker tells the process that supervises it.
//! - [`interrupts`]: signals that ask for the end, counted.
//! - [`recent`]: the newest lines, for whoever asks from elsewhere. [`log_file`]: all of them, in a file beside the run.
//! - [`exit`]: exit codes, and how an error is printed.

pub mod clock;
pub mod counter;
pub mod exit;
pub mod interrupts;
pub mod log_file;
pub mod logging;
pub mod news;
pub mod numbers;
pub mod print;
pub mod progress;
pub mod recent;
pub mod time_left;
pub mod vital;

pub use clock::clock;
pub use counter::Counter;
pub use exit::{Failure, arguments, finish, slowly_if};
pub use interrupts::{Interrupt, interrupts};
pub use logging::Log;
pub use news::{News, RunEnd};
pub use numbers::{digits, mebibytes};
pub use progress::{Notices, Progress};
pub use time_left::TimeLeft;
