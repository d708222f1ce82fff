//! The HTTP server.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{self, HOST};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;

use crate::actions::Actions;
use crate::connections::Bounded;
use crate::readers::{Missed, Turns};
use crate::{Hub, live, routes};

/// Connections that are open at a time: a browser has up to six, a scraper one.
const CONNECTIONS_MAX: usize = 256;
/// How long no byte may pass on one. A stream of events says something every 15 s; an action or a snapshot that is verified may take
/// minutes.
const IDLE_MAX: Duration = Duration::from_secs(600);
/// Requests that are answered at a time; each may read a journal on a thread of its own.
const REQUESTS_MAX: usize = 8;
/// A request that waits so long for its turn is sent away.
const TURN_WITHIN: Duration = Duration::from_secs(30);

/// What a page may do: load its own files, and nothing of anybody else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Shows the runs of `hub` on this listener until `shutdown` completes. Reads journals on threads of their own, so that whoever
/// calls it is never held up. With `actions` readers may ask for something, too.
///
/// # Errors
/// The listener fails.
pub async fn serve(
    listener: TcpListener,
    hub: Arc<Hub>,
    actions: Option<Actions>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let address = listener.local_addr()?;
    let missed = Missed::default();
    let (changes, follower) = live::follow(hub.clone());
    // Not vital: a coordinator whose page fails goes on.
    let follower = tokio::spawn(follower);
    let turns = Turns::new(REQUESTS_MAX, TURN_WITHIN, missed.clone());
    let acts = actions.is_some();
    let router = routes::router(hub, (changes, missed), actions)
        .layer(from_fn_with_state(turns, in_turn))
        .layer(from_fn_with_state((address, acts), guarded))
        .layer(from_fn(harmless));
    // Streams of events never end by themselves: `with_graceful_shutdown` would wait for them.
    let served = tokio::select! {
        served = axum::serve(Bounded::new(listener, CONNECTIONS_MAX, IDLE_MAX), router).into_future() => served,
        () = shutdown => Ok(()),
    };
    follower.abort();
    served
}

/// Answers so many requests at a time. A stream of events has had its turn once it begins.
async fn in_turn(State(turns): State<Turns>, request: Request, next: Next) -> Response {
    match turns.take().await {
        Some(_turn) => next.run(request).await,
        None => (StatusCode::SERVICE_UNAVAILABLE, "too many requests wait; try again\n").into_response(),
    }
}

/// Only reads, or what the page may ask for, and only by a name that means this host where it listens on loopback: another site's name that is made to point
/// here (DNS rebinding) must not read runs.
async fn guarded(
    State((address, acts)): State<(SocketAddr, bool)>,
    request: Request,
    next: Next,
) -> Response {
    let is_taken = match *request.method() {
        Method::GET | Method::HEAD => true,
        Method::POST => acts && request.uri().path().starts_with("/api/runs/"),
        _ => false,
    };
    if !is_taken {
        return (StatusCode::METHOD_NOT_ALLOWED, "this server only shows; GET is all it answers\n")
            .into_response();
    }
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if address.ip().to_canonical().is_loopback() && !is_loopback(host) {
        let text = "this server listens on loopback and answers to localhost, 127.0.0.1 and [::1] alone\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    next.run(request).await
}

/// Whether a `Host` header names loopback.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, _)) => name,
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Nothing that is served here runs or loads what is not of the page.
async fn harmless(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    #[test]
    fn loopback_is_known_by_its_names() {
        for host in ["localhost", "localhost:80", "127.0.0.1:8090", "[::1]:8090", "127.9.9.9"] {
            assert!(super::is_loopback(host), "{host}");
        }
        for host in ["", "evil.example", "localhost.evil.example:80", "10.0.0.1:80", "[fe80::1]:80"] {
            assert!(!super::is_loopback(host), "{host}");
        }
    }
}
