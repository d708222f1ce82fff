//! Runs rounds of random faults on real processes, and prints the seed of each.
//!
//! `make chaos ROUNDS=50` takes fresh seeds; `make chaos ROUNDS=1 SEED=n` repeats one.

#![forbid(unsafe_code)]

use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use lsgan_tests::chaos::{Schedule, run};

/// Kills, freezes and cuts real runs at random, and compares their weights with an undisturbed run's.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// How many rounds.
    #[arg(long, default_value_t = 50)]
    rounds: u64,
    /// The first round's seed; the others follow it. A fresh one by default.
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let fresh = || RandomState::new().hash_one(0) % 1_000_000_000;
    let first = args.seed.unwrap_or_else(fresh);
    let mut failed = Vec::new();
    for round in 0..args.rounds {
        let schedule = Schedule::of(first.wrapping_add(round));
        let (seed, begin) = (schedule.seed, Instant::now());
        let done = catch_unwind(AssertUnwindSafe(|| run(&schedule)));
        let took_s = begin.elapsed().as_secs_f64();
        match done {
            Ok(0) => println!("seed {seed}  ok  {took_s:4.1} s  {schedule}"),
            Ok(late) => {
                println!("seed {seed}  ok  {took_s:4.1} s  {schedule} (the last {late} came too late)")
            }
            Err(_) => {
                println!("seed {seed}  FAILED after {took_s:.1} s  {schedule}");
                println!("    again: make chaos ROUNDS=1 SEED={seed}");
                failed.push(seed);
            }
        }
    }
    println!("{} rounds, {} failed {failed:?}", args.rounds, failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
