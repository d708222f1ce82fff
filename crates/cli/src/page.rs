//! `lsgan page`: where a live run's page is, with the key by which it takes actions.

use lsgan_console::{Failure, product};
use lsgan_wire::v1;
use serde_json::json;

use crate::live;
use crate::ui::open;

/// The arguments of `lsgan page`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Open the page in the browser.
    #[arg(long)]
    open: bool,
    #[command(flatten)]
    live: live::Args,
}

/// Asks the coordinator where its page is; with TLS it tells operators alone.
///
/// # Errors
/// A run that is not live or has no page, or a certificate that is no operator's.
pub async fn page(args: Args) -> Result<(), Failure> {
    let mut client = args.live.target.find_live().await?.client;
    let reply = client.page(v1::PageRequest {}).await;
    let v1::PageReply { url, key } = reply.map_err(|status| Failure::failed(status.message()))?.into_inner();
    // Behind the `#`, which browsers do not send; the page keeps it for its tab and takes it out of the address.
    let whole = if key.is_empty() { url } else { format!("{url}#key={key}") };
    if args.open {
        open(&whole);
    }
    match args.live.json {
        true => product!("{:#}", json!({ "page": whole })),
        false => product!("{whole}"),
    }
}
