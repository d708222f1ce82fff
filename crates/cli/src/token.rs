//! `lsgan token`: join tokens, by which workers take part without certificates of their own.

use std::time::Duration;

use lsgan_console::{Failure, clock, product, say};
use lsgan_journal::wall_ms;
use lsgan_wire::v1;
use serde_json::{Value, json};

use crate::live::{self, Target};

/// What a token is worth.
const WORTH: &str = "A join token is for runs with --tls. Whoever has one may attach workers to its run until it ends, so keep \
                     it as you keep a key. It knows the coordinator by the hash of its authority's certificate; nothing else \
                     has to be taken to the worker's host. The coordinator keeps a hash of it in its journal.";

/// The arguments of `lsgan token`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = WORTH)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Make a join token and print it, once: `lsgan node --join-token FILE` takes it, or LSGAN_JOIN_TOKEN.
    Create {
        #[command(flatten)]
        live: live::Args,
        /// How long it is valid, as 24h; by default until it is revoked. Workers that are in stay when it ends; a process that
        /// is started later needs another one.
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
        ttl: Option<Duration>,
    },
    /// Show the join tokens of a run, by their IDs.
    List {
        #[command(flatten)]
        live: live::Args,
    },
    /// Let nobody in any more by a join token. Workers that joined with it stay until they have to connect again.
    Revoke {
        /// Its first eight digits, as `lsgan token list` shows them.
        id: String,
        #[command(flatten)]
        live: live::Args,
    },
}

/// Makes, shows or revokes join tokens.
///
/// # Errors
/// A run that is not live or has no TLS, or a token that is not there.
pub async fn token(args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Create { live, ttl } => create(live, ttl).await,
        Command::List { live } => list(live).await,
        Command::Revoke { id, live } => revoke(live, id).await,
    }
}

async fn create(live::Args { target, json }: live::Args, ttl: Option<Duration>) -> Result<(), Failure> {
    let ttl_ms = ttl.map_or(0, |ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
    if ttl.is_some() && ttl_ms == 0 {
        return Err(Failure::bad_input(
            "--ttl is less than a millisecond; leave it out for a token without an end",
        ));
    }
    let request = v1::CreateTokenRequest { by: live::operator(), ttl_ms };
    let reply = target.find_live().await?.client.create_token(request).await.map_err(failed)?.into_inner();
    let info = reply.info.unwrap_or_default();
    if json {
        let mut object = to_json(&info);
        object["token"] = reply.token.into();
        return product!("{object:#}");
    }
    let valid = ttl.map_or("until `lsgan token revoke` ends it".to_owned(), |ttl| {
        format!("for {}", humantime::format_duration(ttl))
    });
    say!(
        "the join token {} is valid {valid}, and is shown only now. Keep it in a file that nobody else reads; on another host: \
         lsgan node --coordinator https://{} --join-token FILE",
        info.id,
        place(&target)
    );
    product!("{}", reply.token)
}

/// `HOST:PORT`, as far as this command knows it.
fn place(target: &Target) -> String {
    let known = target.coordinator.as_deref().and_then(|address| address.split_once("://"));
    known.map_or("HOST:PORT".to_owned(), |(_, place)| place.to_owned())
}

async fn list(live::Args { target, json }: live::Args) -> Result<(), Failure> {
    let request = v1::ListTokensRequest {};
    let reply = target.find_live().await?.client.list_tokens(request).await.map_err(failed)?.into_inner();
    if json {
        return product!("{:#}", Value::from(reply.tokens.iter().map(to_json).collect::<Vec<_>>()));
    }
    if reply.tokens.is_empty() {
        return product!("the run has no join tokens; `lsgan token create` makes one");
    }
    reply.tokens.iter().try_for_each(|token| product!("{}", line(token)))
}

async fn revoke(live::Args { target, json }: live::Args, id: String) -> Result<(), Failure> {
    let request = v1::RevokeTokenRequest { by: live::operator(), id };
    let reply = target.find_live().await?.client.revoke_token(request).await.map_err(failed)?.into_inner();
    let info = reply.info.unwrap_or_default();
    match json {
        true => product!("{:#}", to_json(&info)),
        false => product!(
            "the join token {} lets nobody in any more; workers that joined with it stay until they have to connect again",
            info.id
        ),
    }
}

fn failed(status: tonic::Status) -> Failure {
    Failure::failed(status.message())
}

fn line(token: &v1::TokenInfo) -> String {
    let v1::TokenInfo { id, by, made_ms, expires_ms, revoked_ms, valid } = token;
    let now_ms = wall_ms();
    let state = match (valid, revoked_ms, expires_ms) {
        (true, _, None) => "valid until it is revoked".to_owned(),
        (true, _, Some(end)) => format!("valid until {}", clock(*end, now_ms)),
        (false, Some(end), _) => format!("revoked {}", clock(*end, now_ms)),
        (false, None, end) => format!("expired {}", end.map_or(String::new(), |end| clock(end, now_ms))),
    };
    format!("{id}  {state:<30}  made {} by {by}", clock(*made_ms, now_ms))
}

fn to_json(token: &v1::TokenInfo) -> Value {
    let v1::TokenInfo { id, by, made_ms, expires_ms, revoked_ms, valid } = token;
    json!({
        "id": id, "by": by, "made_ms": made_ms, "expires_ms": expires_ms, "revoked_ms": revoked_ms, "valid": valid,
    })
}
