//! Who may call what: one table, and the layer that holds every call to it.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use lsgan_certs::Role::{self, Coordinator, Operator, Viewer, Worker};
use lsgan_certs::role::of_whom;
use lsgan_wire::{Peer, Shown};
use tonic::Status;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tower_layer::Layer;

use crate::tokens::Tokens;

/// What this project's service is called on the wire.
const SERVICE: &str = "/lsgan.v1.Coordinator/";

/// The roles that may make a call. What is not here may not be called where there are certificates.
const CALLS: &[(&str, &[Role])] = &[
    // It has the run's token.
    ("DescribeRun", &[Worker]),
    ("Session", &[Worker]),
    ("ReportTrouble", &[Worker]),
    ("Status", &[Coordinator, Worker, Operator, Viewer]),
    ("Stop", &[Operator]),
    ("Snapshot", &[Operator]),
    ("Pause", &[Operator]),
    ("Resume", &[Operator]),
    ("Scale", &[Operator]),
    ("CreateToken", &[Operator]),
    ("RevokeToken", &[Operator]),
    ("ListTokens", &[Operator]),
    ("Logs", &[Operator, Viewer]),
    ("KeepScore", &[Operator]),
    ("ListScores", &[Operator, Viewer]),
    // It has the key with which the page asks for what an operator may.
    ("Page", &[Operator]),
    ("Profile", &[Operator, Viewer]),
    ("ReadJournal", &[Operator, Viewer]),
];

/// Whether this peer may call what is at `path`, by its certificate, or as a worker by the join token that it shows. Other
/// services than ours, as of health, take everybody.
fn check(peer: Option<&Peer>, path: &str, (tokens, shown): (&Tokens, Option<Shown>)) -> Result<(), Status> {
    let Some(peer) = peer else {
        return Err(Status::internal("nobody knows who calls; this is a bug, please report it"));
    };
    // Without TLS nobody is asked who he is.
    let Some(roles) = &peer.roles else { return Ok(()) };
    let Some(call) = path.strip_prefix(SERVICE) else { return Ok(()) };
    let may = CALLS.iter().find(|(name, _)| *name == call).map_or(&[][..], |(_, may)| may);
    if may.iter().any(|role| roles.contains(role)) {
        return Ok(());
    }
    let theirs = match (roles.is_empty(), shown) {
        (false, _) => of_whom(roles.iter().copied()),
        (true, None) => "none, and shows no join token".to_owned(),
        (true, Some(Shown { token, run })) => {
            tokens.check(&token, run.as_deref()).map_err(Status::permission_denied)?;
            if may.contains(&Worker) {
                return Ok(());
            }
            "none: its join token is a worker's".to_owned()
        }
    };
    Err(Status::permission_denied(match may {
        [] => format!("`{call}` is unknown to this coordinator: it is of another version"),
        may => format!(
            "`{call}` takes {} certificate, and this process has {theirs}. Give another one with --tls; `lsgan certs issue` \
             makes it",
            of_whom(may.iter().copied()).replace(" and ", " or ")
        ),
    }))
}

/// Puts [`Checked`] around a server's services.
#[derive(Clone, Debug)]
pub struct Roles(pub Arc<Tokens>);

impl<S> Layer<S> for Roles {
    type Service = Checked<S>;

    fn layer(&self, inner: S) -> Checked<S> {
        Checked { inner, tokens: self.0.clone() }
    }
}

/// A service whose callers may call what they call.
#[derive(Clone, Debug)]
pub struct Checked<S> {
    inner: S,
    tokens: Arc<Tokens>,
}

impl<S, B, R> Service<Request<B>> for Checked<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    R: Default + Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let shown = Shown::of(request.headers());
        match check(request.extensions().get(), request.uri().path(), (&self.tokens, shown)) {
            Ok(()) => Box::pin(self.inner.call(request)),
            Err(status) => Box::pin(ready(Ok(status.into_http()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn peer(roles: Option<&[Role]>) -> Peer {
        let roles = roles.map(|roles| Arc::new(roles.iter().copied().collect()));
        Peer { address: ([127, 0, 0, 1], 1).into(), roles }
    }

    #[test]
    fn each_role_may_call_what_the_table_says_and_nothing_else() {
        let none = Tokens::default();
        let all = CALLS.iter().map(|(call, _)| *call).chain(["Other"]);
        for call in all {
            let path = format!("{SERVICE}{call}");
            let may = |roles: Option<&[Role]>| check(Some(&peer(roles)), &path, (&none, None)).is_ok();
            assert!(may(None), "{call}");
            assert!(!may(Some(&[])), "{call}");
            let viewers = ["Status", "Logs", "ListScores", "Profile", "ReadJournal"];
            assert_eq!(may(Some(&[Viewer])), viewers.contains(&call), "{call}");
            let is_workers = ["DescribeRun", "Session", "ReportTrouble"].contains(&call);
            assert_eq!(may(Some(&[Worker])), is_workers || call == "Status", "{call}");
            assert_eq!(may(Some(&[Operator])), !is_workers && call != "Other", "{call}");
        }
        assert!(check(Some(&peer(Some(&[]))), "/grpc.health.v1.Health/Check", (&none, None)).is_ok());
    }

    #[test]
    fn who_may_not_call_is_told_who_may() {
        let refused =
            check(Some(&peer(Some(&[Viewer]))), "/lsgan.v1.Coordinator/Stop", (&Tokens::default(), None))
                .expect_err("a viewer");
        assert_eq!(refused.code(), Code::PermissionDenied);
        let words =
            "`Stop` takes an operator's certificate, and this process has a viewer's. Give another one";
        assert!(refused.message().starts_with(words), "{}", refused.message());
    }
}
