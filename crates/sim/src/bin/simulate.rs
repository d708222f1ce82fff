//! `simulate`: simulates the worlds of many seeds, or replays one.

#![forbid(unsafe_code)]

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use lsgan_sim::{Coverage, Fixed, Setup, Trace, World, simulate};

/// Drives the protocol's machines through simulated worlds with faults.
#[derive(Debug, Parser)]
#[command(name = "simulate", version)]
struct Arguments {
    /// How many seeds to simulate.
    #[arg(long, default_value_t = 10_000, conflicts_with = "seed")]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Simulate this seed only.
    #[arg(long)]
    seed: Option<u64>,
    /// Print everything that happens; only with --seed.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Steps of the run, instead of the seed's.
    #[arg(long)]
    steps: Option<u64>,
    /// Workers at the start, instead of the seed's. With 1,000 and more the world is a large one: a tenth of them are
    /// members, half a step takes up to a second, and most invariants are checked rarely.
    #[arg(long)]
    workers: Option<u32>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let fixed = Fixed { steps: arguments.steps, workers: arguments.workers };
    match arguments.seed {
        Some(seed) => one(seed, fixed, arguments.trace),
        None => many(arguments.from, arguments.seeds, fixed),
    }
}

fn one(seed: u64, fixed: Fixed, trace: bool) -> ExitCode {
    let setup = Setup::draw(seed, fixed);
    println!("seed {seed}\n{setup}");
    let begun = Instant::now();
    let result = if trace { World::new(setup, Trace::Print).run() } else { simulate(seed, fixed) };
    match result {
        Ok(coverage) => {
            print_counts(&coverage);
            let (simulated_s, took_s) =
                (coverage.simulated_ms as f64 / 1000.0, begun.elapsed().as_secs_f64());
            eprintln!(
                "{simulated_s:.1} simulated seconds in {took_s:.2} s, {:.0} a second",
                simulated_s / took_s
            );
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn many(from: u64, seeds: u64, fixed: Fixed) -> ExitCode {
    let begun = Instant::now();
    let mut shown = begun;
    let mut total = Coverage::default();
    for (count, seed) in (from..from.saturating_add(seeds)).enumerate() {
        match simulate(seed, fixed) {
            Ok(coverage) => total.add(&coverage),
            Err(failure) => {
                eprintln!("\n{failure}");
                return ExitCode::FAILURE;
            }
        }
        if shown.elapsed() >= Duration::from_millis(500) {
            shown = Instant::now();
            let done = count as u64 + 1;
            let rate = done as f64 / begun.elapsed().as_secs_f64();
            eprint!("\r{done} of {seeds} seeds, {rate:.0} seeds/s ");
            // A progress line that cannot be written is no reason to stop.
            let _ = std::io::stderr().flush();
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    eprintln!("\r{seeds} seeds in {seconds:.1} s, {:.0} seeds/s", seeds as f64 / seconds);
    print_counts(&total);
    ExitCode::SUCCESS
}

fn print_counts(coverage: &Coverage) {
    for (name, count) in coverage.counts() {
        println!("{name:>20} {count}");
    }
}
