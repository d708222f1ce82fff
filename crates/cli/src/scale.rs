//! `lsgan scale`: another number of workers for a run of `lsgan up`.

use lsgan_console::{Failure, product};
use lsgan_wire::v1;
use serde_json::json;

use crate::live;

/// The arguments of `lsgan scale`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// How many workers the run is to have; more than `batch.virtual_ranks` stand by.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    workers: u32,
    #[command(flatten)]
    live: live::Args,
}

/// Asks for so many workers. They join and leave at step boundaries; no bit of the weights changes.
///
/// # Errors
/// A coordinator that cannot be reached, or one whose workers `lsgan up` did not start.
pub async fn scale(args: Args) -> Result<(), Failure> {
    let mut client = args.live.target.find_live().await?.client;
    let reply = client.scale(v1::ScaleRequest { workers: args.workers }).await;
    reply.map_err(|status| Failure::failed(status.message()))?;
    if args.live.json {
        product!("{:#}", json!({ "workers_wanted": args.workers }))
    } else {
        product!("the run will have {} workers; `lsgan status` shows them come and go", args.workers)
    }
}
