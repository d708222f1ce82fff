//! Metrics against the numbers of other programs, and what holds of any numbers.

mod common;
mod kde;
mod programs;
mod properties;
