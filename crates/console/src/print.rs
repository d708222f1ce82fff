//! The one way to print: nothing that is printed can fail anything, or hold it up.
//!
//! What a process says beside its work ([`say!`](crate::say), [`announce!`](crate::announce), logs, progress) goes into a
//! queue, and a thread of its own writes it. A reader that is gone, a full disk, a closed descriptor lose text and nothing
//! else; a reader that stands still (a stopped terminal, a log driver that hangs) blocks no thread.
//!
//! What a command was asked for ([`product!`](crate::product)) is written in place, and says whether that worked.
//!
//! A house rule forbids `println!` and its siblings elsewhere: they panic where these lose a line, and write a name's escape
//! sequences to the terminal, where these write [`lsgan_spec::printable_lines`]. What is said beside the work begins no line
//! of its own: the further lines of a text are indented. No user and no password that somebody wrote into a URL is printed with it
//! ([`lsgan_spec::without_users`]), whichever message has the URL; what a command was asked for is printed as it is.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget};
use lsgan_spec::{printable_lines, without_users};
use serde_json::Value;
use tracing_subscriber::fmt::MakeWriter;

use crate::exit::Failure;
use crate::{log_file, logging, recent};

/// Texts on their way. A reader that lets so many pile up does not read.
const TEXTS_MAX: usize = 4096;
/// How long the end of a process waits for what it said before.
const FLUSH_WITHIN: Duration = Duration::from_secs(1);
/// Before a descriptor that takes nothing at the moment is tried again.
const BUSY_PAUSE: Duration = Duration::from_millis(10);
/// How often a bar is drawn in a second, at most.
const DRAWS_PER_S: u8 = 10;

/// Prints a line on standard error, beside the work. Cannot fail.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => { $crate::print::say(::std::format_args!($($text)*)) };
}

/// Prints a line on standard output. Cannot fail: the process goes on without a reader too.
#[macro_export]
macro_rules! announce {
    ($($text:tt)*) => { $crate::print::announce(::std::format_args!($($text)*)) };
}

/// Prints a line on standard output that a command was asked for: `product!("{table}")?`. Gives
/// `Result<(), Failure>`; [`print::product`](crate::print::product) gives the `io::Result`.
#[macro_export]
macro_rules! product {
    ($($text:tt)*) => {
        $crate::print::product(::std::format_args!($($text)*)).map_err($crate::Failure::not_printed)
    };
}

/// A line on standard error; see [`say!`](crate::say). Where logs are JSON it is an object as theirs.
pub fn say(text: fmt::Arguments<'_>) {
    print(Stream::Error, line(&text, "INFO"));
}

/// What ends the process, on standard error.
pub fn error(text: &str) {
    let line = match logging::is_json() {
        true => line(&text, "ERROR"),
        // Not indented: it is the last that is printed, and what a run's file has wrong is a line each.
        false => format!("{}\n", printable_lines(&format!("error: {}", without_users(text)))).into_bytes(),
    };
    print(Stream::Error, line);
}

/// As [`error`], where a panic may have come from drawing the bar.
pub(crate) fn error_past_bar(text: &str) {
    let line = line(&text, "ERROR");
    log_file::printed(&line);
    queue(Stream::Error, line);
}

/// A warning that the log file cannot take, since it is about it.
pub(crate) fn past_file(text: &str) {
    show(Stream::Error, line(&text, "WARN"));
}

/// A line on standard output; see [`announce!`](crate::announce).
pub fn announce(text: fmt::Arguments<'_>) {
    print(Stream::Output, line(&text, "INFO"));
}

/// A line on standard output, which is this object where logs are JSON.
pub fn announce_as(object: &serde_json::Value, text: fmt::Arguments<'_>) {
    let text = if logging::is_json() { object.to_string() } else { text.to_string() };
    print(Stream::Output, format!("{}\n", indented(&text)).into_bytes());
}

fn line(text: &dyn fmt::Display, level: &str) -> Vec<u8> {
    let text = text.to_string();
    let text = without_users(&text);
    let line = match logging::is_json() {
        true => logging::json_line(level, &text),
        false => text.into_owned(),
    };
    format!("{}\n", indented(&line)).into_bytes()
}

/// An event of the log. Where it is coloured, its escape characters are those of the colours: [`logging::fields`] has taken
/// out all others.
fn event(text: &str, is_coloured: bool) -> String {
    const ESCAPE: &str = "\u{1b}";
    let (event, end) = text.strip_suffix('\n').map_or((text, ""), |event| (event, "\n"));
    let pieces = if is_coloured { event.split(ESCAPE).collect() } else { vec![event] };
    let pieces: Vec<_> = pieces.into_iter().map(indented).collect();
    pieces.join(ESCAPE) + end
}

/// The same for an event that is an object of JSON: its texts stay texts.
fn object_without_users(event: &str) -> Cow<'_, str> {
    fn hide(value: &mut Value) {
        match value {
            Value::String(text) => *text = without_users(text).into_owned(),
            Value::Array(all) => all.iter_mut().for_each(hide),
            Value::Object(fields) => fields.values_mut().for_each(hide),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    if !(event.contains("://") && event.contains('@')) {
        return Cow::Borrowed(event);
    }
    match serde_json::from_str::<Value>(event) {
        Ok(mut object) => {
            hide(&mut object);
            Cow::Owned(format!("{object}\n"))
        }
        Err(_) => without_users(event),
    }
}

/// What may be printed of a text whose further lines must not look like lines of their own.
fn indented(text: &str) -> Cow<'_, str> {
    let text = printable_lines(text);
    if !text.contains('\n') {
        return text;
    }
    let mut lines = text.split('\n');
    let first = lines.next().unwrap_or_default().to_owned();
    let further = lines.map(|line| {
        if line.is_empty() || line.starts_with("  ") { line.to_owned() } else { format!("  {line}") }
    });
    Cow::Owned([first].into_iter().chain(further).collect::<Vec<_>>().join("\n"))
}

/// A line on standard output that a command was asked for.
///
/// # Errors
/// It cannot be written. [`ErrorKind::BrokenPipe`]: the reader has seen enough (`| head`), which [`Failure::not_printed`]
/// ends without a word.
pub fn product(text: fmt::Arguments<'_>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(printable_lines(&format!("{text}\n")).as_bytes())?;
    out.flush()
}

/// Waits until what was printed so far is written, but not for a reader that stands still.
pub fn flush() {
    let until = Instant::now() + FLUSH_WITHIN;
    let (tell, told) = sync_channel(1);
    let asked = printer().and_then(|printer| printer.queue.try_send(Item::Flush(tell)).ok());
    for told in asked.map(|()| told).into_iter().chain(log_file::flush()) {
        // Too late is as good as never: the process ends.
        let _ = told.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

/// Ends the process at once, without its destructors: libtorch's would pull down what other threads are using.
pub fn end_now(code: i32) -> ! {
    flush();
    // SAFETY: _exit ends the process and touches no memory of it.
    unsafe { libc::_exit(code) }
}

/// Standard error as a writer that cannot fail, a whole text at a time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Diagnostics;

impl Write for Diagnostics {
    /// An event of the log, with its line's end.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let text = if logging::is_json() { object_without_users(&text) } else { without_users(&text) };
        print(Stream::Error, event(&text, logging::is_coloured()).into_bytes());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Diagnostics {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

/// A bar on standard error that lines do not stick to: they are printed above it, from wherever. None where standard error
/// is no terminal that can draw one.
pub(crate) fn bar() -> Option<ProgressBar> {
    let term = Term::read_write_pair(io::stdin(), Drawing);
    let target = ProgressDrawTarget::term(term, DRAWS_PER_S);
    if target.is_hidden() {
        return None;
    }
    let bar = ProgressBar::with_draw_target(Some(0), target);
    *shown() = Some(bar.clone());
    Some(bar)
}

/// Takes a bar away.
pub(crate) fn end_bar(bar: &ProgressBar) {
    shown().take();
    bar.finish_and_clear();
}

/// The bar that is on the terminal.
fn shown() -> MutexGuard<'static, Option<ProgressBar>> {
    static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a bar draws through.
#[derive(Debug)]
struct Drawing;

impl Write for Drawing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        queue(Stream::Error, bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsRawFd for Drawing {
    fn as_raw_fd(&self) -> RawFd {
        io::stderr().as_raw_fd()
    }
}

/// Where a text goes.
#[derive(Clone, Copy, Debug)]
enum Stream {
    Output,
    Error,
}

enum Item {
    Text(Stream, Vec<u8>),
    Flush(SyncSender<()>),
}

struct Printer {
    queue: SyncSender<Item>,
    /// Texts that did not fit into the queue.
    lost: AtomicU64,
}

fn print(stream: Stream, bytes: Vec<u8>) {
    if let Stream::Error = stream {
        log_file::printed(&bytes);
    }
    show(stream, bytes)
}

fn show(stream: Stream, bytes: Vec<u8>) {
    if let Stream::Error = stream {
        recent::printed(&bytes);
    }
    match &*shown() {
        Some(bar) => bar.suspend(|| queue(stream, bytes)),
        None => queue(stream, bytes),
    }
}

fn queue(stream: Stream, bytes: Vec<u8>) {
    let Some(printer) = printer() else { return };
    if printer.queue.try_send(Item::Text(stream, bytes)).is_err() {
        printer.lost.fetch_add(1, Ordering::Relaxed);
    }
}

/// None if the system has no room for its thread: then nothing is printed.
fn printer() -> Option<&'static Printer> {
    static PRINTER: OnceLock<Option<Printer>> = OnceLock::new();
    let start = || {
        let (queue, items) = sync_channel(TEXTS_MAX);
        std::thread::Builder::new().name("printer".to_owned()).spawn(move || write_each(&items)).ok()?;
        Some(Printer { queue, lost: AtomicU64::new(0) })
    };
    PRINTER.get_or_init(start).as_ref()
}

/// What the printer's thread does, as long as the process lives.
fn write_each(items: &Receiver<Item>) {
    // Without std's own buffer, which would keep what could not be written and fail with it again.
    let own = |fd: io::Result<std::os::fd::OwnedFd>| fd.ok().map(File::from);
    let mut out = own(io::stdout().as_fd().try_clone_to_owned());
    let mut err = own(io::stderr().as_fd().try_clone_to_owned());
    for item in items {
        match item {
            Item::Text(Stream::Output, bytes) => write(out.as_mut(), &bytes),
            Item::Text(Stream::Error, bytes) => write(err.as_mut(), &bytes),
            // The caller may have stopped waiting.
            Item::Flush(tell) => drop(tell.try_send(())),
        }
        let lost = printer().map_or(0, |printer| printer.lost.swap(0, Ordering::Relaxed));
        if lost > 0 {
            let text = format_args!("{lost} lines are lost here: nobody read them for too long");
            write(err.as_mut(), &line(&text, "WARN"));
        }
    }
}

/// Writes what can be written.
fn write(file: Option<&mut File>, mut bytes: &[u8]) {
    let Some(file) = file else { return };
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return,
            Ok(len) => bytes = &bytes[len..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Another process that shares the descriptor has made it non-blocking.
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(BUSY_PAUSE),
            Err(_) => return,
        }
    }
}

impl Failure {
    /// What a command was asked for cannot be printed. A reader that has seen enough is told nothing, and the exit code is
    /// that of a program which SIGPIPE ends.
    #[must_use]
    pub fn not_printed(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Self { code: Self::READER_GONE, text: String::new() },
            _ => Self::failed(format!("standard output cannot be written: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file may have this name.
    const NAME: &str = "a\u{1b}[2J\u{9b}1m\rb\n2026-01-01T00:00:00Z ERROR the run failed.png";
    const SHOWN: &str = "a\\u001b[2J\\u009b1m\\rb\n  2026-01-01T00:00:00Z ERROR the run failed.png";

    #[test]
    fn a_name_is_shown_and_begins_no_line() {
        assert_eq!(indented(NAME), SHOWN);
        assert_eq!(line(&NAME, "INFO"), format!("{SHOWN}\n").into_bytes());
        assert_eq!(indented("what is\n  listed\n\nand more"), "what is\n  listed\n\n  and more");
        let failure = Failure::from(io::Error::other(NAME));
        assert!(failure.text.starts_with("a\\u001b[2J") && !failure.text.contains('\n'), "{}", failure.text);
    }

    #[test]
    fn no_password_in_a_url_is_printed_in_any_form() {
        let text = "cannot read s3://AKIA:hun/ter2@bucket/a";
        let shown = "cannot read s3://…@bucket/a";
        assert_eq!(line(&text, "INFO"), format!("{shown}\n").into_bytes());
        let event = format!("{}\n", serde_json::json!({ "fields": { "message": text, "n": [1, text] } }));
        let hidden = format!("{}\n", serde_json::json!({ "fields": { "message": shown, "n": [1, shown] } }));
        assert_eq!(object_without_users(&event), hidden);
        assert_eq!(object_without_users(&hidden), hidden);
    }

    /// Through the subscriber, as a message, as a field by `Display` and by `Debug`, with its colours and without.
    #[test]
    fn an_event_of_the_log_is_one_line_and_has_no_escapes_but_its_own() {
        #[derive(Clone)]
        struct Kept(std::sync::Arc<Mutex<String>>, bool);
        impl Write for Kept {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                *self.0.lock().unwrap() += &event(&String::from_utf8_lossy(bytes), self.1);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for is_coloured in [false, true] {
            let kept = Kept(std::sync::Arc::default(), is_coloured);
            let writer = kept.clone();
            let subscriber = tracing_subscriber::fmt()
                .with_ansi(is_coloured)
                .fmt_fields(logging::fields())
                .without_time()
                .with_writer(move || writer.clone())
                .finish();
            tracing::subscriber::with_default(subscriber, || {
                tracing::warn!(display = %NAME, debug = ?NAME, text = NAME, "message {NAME}");
            });
            let text = kept.0.lock().unwrap().clone();
            let colours_off =
                text.replace("\u{1b}[0m", "").replace("\u{1b}[33m", "").replace("\u{1b}[3m", "");
            let colours_off = colours_off.replace("\u{1b}[2m", "");
            assert!(!colours_off.contains(['\u{1b}', '\u{9b}', '\r']), "{text:?}");
            assert_eq!(text.contains('\u{1b}'), is_coloured);
            let begun = text.lines().filter(|line| !line.starts_with("  ")).count();
            assert!(text.contains("the run failed.png") && begun == 1, "{text:?}");
        }
    }
}
