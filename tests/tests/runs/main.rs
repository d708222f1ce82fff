//! Whole runs of real processes.
//!
//! One program has all of these files: it is linked once, trains the undisturbed run to which most compare once, and keeps all
//! cores busy until its last tests. Cargo runs one program of tests after another. Those whose tests a machine may lack
//! something for are programs of their own, and so are an attack and what is measured of a start.

mod alerts;
mod bad_input;
mod bits;
mod buckets;
mod chaos;
mod compare;
mod data;
mod dataset;
mod devices;
mod faults;
mod log_file;
mod node;
mod observe;
mod operate;
mod pods;
mod products;
mod profile;
mod run_dir;
mod samples;
mod scores;
mod scoring;
mod secrets;
mod spans;
mod sweep;
mod terminal;
mod tls;
mod tools;
