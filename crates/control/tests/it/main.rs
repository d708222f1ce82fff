//! The machines of coordinator and worker, each on a bench.

mod anything;
mod bench;
mod faulty;
mod generations;
mod keeping;
mod leaving;
mod newcomers;
mod odd_ones;
mod participant;
mod reach;
mod restarts;
mod silences;
mod stalls;
mod strangers;
