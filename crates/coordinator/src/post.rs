//! JSON posted to the servers of others, over HTTP or HTTPS. Nothing of the run waits for it.

use std::time::Duration;

use lsgan_spec::chain;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{ClientBuilder, RequestBuilder};
use serde_json::Value;

/// A client whose requests take so long at most. It follows no redirect: the token or the secret that a request has is for the
/// server alone that was named.
pub(crate) fn client(answered_within: Duration) -> ClientBuilder {
    // An error means that there is one, which will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().redirect(Policy::none()).timeout(answered_within)
}

/// Sends a request with this value. Its error does not have the URL, in which a secret may be.
pub(crate) async fn post(request: RequestBuilder, value: &Value) -> Result<(), String> {
    let request = request.header(CONTENT_TYPE, "application/json").body(value.to_string());
    let answer = request.send().await.map_err(|error| chain(&error.without_url()))?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        status => Err(format!("it answers {status}")),
    }
}
