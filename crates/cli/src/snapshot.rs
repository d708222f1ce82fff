//! `lsgan snapshot`: a snapshot on demand.

use lsgan_console::{Failure, product};
use lsgan_wire::v1;
use serde_json::json;

use crate::live::{self, Args};

/// Has a snapshot of the next step boundary written, and prints where it is.
///
/// # Errors
/// A run that is not live, or a snapshot that could not be written.
pub async fn snapshot(args: Args) -> Result<(), Failure> {
    let mut live = args.target.find_live().await?;
    let reply = live.client.snapshot(v1::SnapshotRequest { by: live::operator() }).await;
    let written = reply.map_err(|status| Failure::failed(status.message()))?.into_inner();
    let v1::SnapshotReply { step, url } = written;
    match args.json {
        true => product!("{:#}", json!({ "step": step, "url": url })),
        false => product!("{url}"),
    }
}
