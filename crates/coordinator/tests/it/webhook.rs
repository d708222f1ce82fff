//! Alerts posted to a server of the user's, over real HTTP.

use std::pin::pin;
use std::time::{Duration, Instant};

use lsgan_console::Failure;
use lsgan_coordinator::webhook::{Outbox, Webhook};
use lsgan_outside::{DEADLINE, Posted, Server};
use lsgan_spec::Webhook as Named;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::timeout;

const FREE: &str = "127.0.0.1:0";
const PATH: &str = "/hook";
/// A first pause after which six tries still take less than the deadline.
const PAUSE: Duration = Duration::from_millis(20);

fn of(url: &str) -> Result<Option<Webhook>, Failure> {
    Webhook::of(&Named::from(url.to_owned()), None)
}

/// A webhook that waits for an answer as the shipped one does, with short pauses between its tries.
fn webhook(url: &str) -> Webhook {
    quick(of(url).expect("it is a URL").expect("it is one"), DEADLINE, PAUSE)
}

fn quick(webhook: Webhook, answered_within: Duration, first_pause: Duration) -> Webhook {
    webhook.waiting(answered_within, first_pause).expect("what it trusts was found before")
}

/// Posts these alerts and no others. How many of them are dropped.
async fn deliver(webhook: &Webhook, alerts: impl IntoIterator<Item = Value>) -> u64 {
    let outbox = Outbox::default();
    alerts.into_iter().for_each(|alert| outbox.put(alert));
    outbox.close();
    timeout(DEADLINE, webhook.deliver(&outbox)).await.expect("it ends");
    outbox.dropped()
}

fn numbered(numbers: std::ops::Range<u64>) -> impl Iterator<Item = Value> {
    numbers.map(|number| json!({ "number": number }))
}

fn numbers(posted: &[Posted]) -> Vec<u64> {
    posted.iter().map(|posted| posted.body["number"].as_u64().expect("it has a number")).collect()
}

#[tokio::test]
async fn alerts_come_as_json_once_each_and_in_their_order() {
    let server = Server::start("http", FREE, &[]).await;
    deliver(&webhook(&server.url(PATH)), numbered(0..3)).await;
    let posted = server.rest().await;
    assert_eq!(numbers(&posted), [0, 1, 2]);
    let (what, authorization) = (format!("POST {PATH}"), String::new());
    let body = json!({ "number": 0, "dropped": 0 });
    assert_eq!(posted[0], Posted { what, authorization, body });
}

/// At first nobody listens on the port at all.
#[tokio::test]
async fn a_server_that_is_down_is_asked_again_until_it_is_up() {
    let listener = TcpListener::bind(FREE).await.expect("there is a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    drop(listener);
    let first_pause = 5 * PAUSE;
    let webhook = quick(webhook(&format!("http://{address}{PATH}")), DEADLINE, first_pause);
    let outbox = Outbox::default();
    numbered(7..8).for_each(|alert| outbox.put(alert));
    outbox.close();
    let begin = Instant::now();
    let mut delivered = pin!(webhook.deliver(&outbox));
    timeout(PAUSE, &mut delivered).await.expect_err("nobody listens");
    let server = Server::start("http", &address, &[503]).await;
    timeout(DEADLINE, delivered).await.expect("it is taken");
    assert_eq!(numbers(&server.rest().await), [7, 7], "what was answered with 503 comes once more");
    assert!(begin.elapsed() >= 3 * first_pause, "the second pause is twice as long as the first one");
}

#[tokio::test]
async fn an_alert_is_given_up_after_six_tries_and_the_next_one_is_posted() {
    let server = Server::start("http", FREE, &[500, 404, 302, 500, 429, 500]).await;
    let dropped = deliver(&webhook(&server.url(PATH)), numbered(0..2)).await;
    assert_eq!(numbers(&server.rest().await), [0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(dropped, 1);
}

#[tokio::test]
async fn of_more_alerts_than_can_wait_the_oldest_are_dropped_and_counted() {
    let server = Server::start("http", FREE, &[]).await;
    let dropped = deliver(&webhook(&server.url(PATH)), numbered(0..70)).await;
    assert_eq!(dropped, 6, "as a scraper is told");
    let posted = server.rest().await;
    assert_eq!(numbers(&posted), (6..70).collect::<Vec<_>>());
    assert!(posted.iter().all(|posted| posted.body["dropped"] == 6), "{posted:?}");
}

#[tokio::test]
async fn a_server_that_never_answers_is_not_waited_for_without_end() {
    let silent = TcpListener::bind(FREE).await.expect("there is a free port");
    let url = format!("http://{}{PATH}", silent.local_addr().expect("it is bound"));
    let dropped = deliver(&quick(webhook(&url), PAUSE, PAUSE), numbered(0..1)).await;
    assert_eq!(dropped, 1);
}

#[tokio::test]
async fn user_and_query_are_sent_and_shown_nowhere() {
    let mut server = Server::start("http", FREE, &[500]).await;
    let url = format!("http://user:hun%2Fter2@{}/T0/hunter2?token=hunter2", server.address);
    let webhook = webhook(&url);
    assert_eq!(webhook.shown(), format!("http://{}/…", server.address));
    assert_eq!(format!("{webhook:?}"), format!("Webhook({})", webhook.shown()));
    deliver(&webhook, numbered(0..1)).await;
    let posted = server.next().await;
    assert_eq!(posted.what, "POST /T0/hunter2?token=hunter2");
    assert_eq!(posted.authorization, "Basic dXNlcjpodW4vdGVyMg==", "user:hun/ter2");
}

/// The authority of this server is none of this machine's. A machine without any says so at the start.
#[tokio::test]
async fn a_server_over_https_must_show_that_it_is_the_one() {
    let server = Server::start("https", FREE, &[]).await;
    match of(&server.url(PATH)) {
        Ok(webhook) => {
            let webhook = quick(webhook.expect("it is one"), DEADLINE, PAUSE);
            assert_eq!(deliver(&webhook, numbered(0..1)).await, 1);
        }
        Err(failure) => assert!(failure.text.contains("SSL_CERT_FILE"), "{}", failure.text),
    }
    assert_eq!(server.rest().await, []);
}

#[test]
fn what_is_no_url_is_refused_and_what_was_cut_posts_nothing() {
    let variable = |text: &str| Webhook::of(&Named::from("auto".to_owned()), Some(text.to_owned()));
    for text in ["hooks.example/a?token=hunter2", "ftp://user:hunter2@box", "https://user:hunter2@"] {
        let failure = variable(text).expect_err(text);
        assert_eq!(failure.code, Failure::BAD_INPUT);
        let why = failure.text;
        assert!(why.contains("LSGAN_WEBHOOK") && !why.contains("hunter2"), "{why}");
    }
    // As a mounted secret has it.
    assert!(variable(" http://box/hook\n").is_ok_and(|webhook| webhook.is_some()));
    assert!(variable("").is_ok_and(|webhook| webhook.is_none()));
    for named in ["auto", "off", "https://hooks.example/…"] {
        assert!(of(named).is_ok_and(|webhook| webhook.is_none()), "{named}");
    }
}
