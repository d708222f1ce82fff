//! Attacks a run that trains for minutes, and compares its weights with those of a run that nobody attacked.
//!
//! `make attack MINUTES=10` does it without TLS and with it.

#![forbid(unsafe_code)]

use std::time::Duration;

use clap::Parser;
use lsgan_tests::attack::{Plan, run};

/// Attacks a run that trains, on all its ports, and compares its weights with those of a run that nobody attacked.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// For how long.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// With TLS between all processes; attackers have a worker's and a viewer's certificates then, and one of another authority.
    #[arg(long)]
    tls: bool,
    /// How many workers train.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=4))]
    workers: u8,
}

fn main() {
    let Args { minutes, tls, workers } = Args::parse();
    let plan =
        Plan { attacked_for: Duration::from_secs_f64(60.0 * minutes), tls, workers: usize::from(workers) };
    println!("{}\n  as of a run that nobody attacked", run(plan));
}
