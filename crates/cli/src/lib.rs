//! The user's tool, `lsgan`: a file for each command.
//!
//! - [`up`]: a whole local cluster in one command.
//! - [`node`]: one worker for each device of this host, supervised.
//! - [`sample`]: pictures from a snapshot. [`nearest`]: beside the training pictures that are most like them.
//! - [`timelapse`]: the pictures of a run as an animation.
//! - [`scale`]: another number of workers for a run of `up`.
//! - [`status`]: the state of a run. [`stop`]: its end, with a snapshot.
//! - `starting`: the start of `up`'s coordinator. `run_file`: the run that it is of.
//! - [`ui`]: runs in a browser. [`top`]: one on a terminal. [`page`]: where a live run's page is. [`journal`]: scalars and events as lines for other programs.
//! - [`snapshot`]: a snapshot on demand. [`pause`]: pause and resume.
//! - [`logs`]: what workers and the coordinator have printed. [`profile`]: where the time of a few steps goes.
//! - [`compare`]: what is different between runs, and what came of it.
//! - [`live`]: which run a command is about, and how its coordinator is reached.
//! - [`checkpoints`]: what snapshots there are, and whether they are whole.
//! - [`dataset`]: a data set inspected, packed or exported.
//! - `generator`: which one a command is about, and how it is opened.
//! - [`export`]: a generator as a file that other programs run.
//! - [`import`]: weights of another program as the first snapshot of a run.
//! - [`eval`]: snapshots scored.
//! - [`sweep`]: a run for each combination of values and seeds.
//! - [`figure`]: the paper's claims, drawn.
//! - `trained`: the figures that are made of runs.
//! - `scorer`: the process that scores beside a run of `up`.
//! - [`schema`]: what a run's file can have.
//! - [`place`]: where a run's snapshots are.
//! - [`picture`]: the picture or animation that a command is asked to write.
//! - [`certs`]: certificates for those without an authority of their own. [`token`]: the lesser way, for workers.
//! - `words`: arguments whose values are those of a field.
//! - [`children`]: processes that are started again when they die, and do not outlive this one.

pub mod certs;
pub mod checkpoints;
pub mod children;
pub mod compare;
pub mod dataset;
pub mod eval;
pub mod export;
pub mod figure;
mod generator;
mod gpus;
pub mod import;
pub mod journal;
pub mod live;
pub mod logs;
pub mod nearest;
pub mod node;
pub mod page;
pub mod pause;
pub mod picture;
pub mod place;
pub mod profile;
mod run_file;
pub mod sample;
pub mod scale;
pub mod schema;
mod scorer;
pub mod snapshot;
mod starting;
pub mod status;
pub mod stop;
pub mod sweep;
pub mod timelapse;
pub mod token;
pub mod top;
mod trained;
pub mod ui;
pub mod up;
mod words;
