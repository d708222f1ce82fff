//! Connects to other workers' addresses to see whether they are reached, and hangs up at once. The one that listens
//! there hears nothing of it until it forms its next generation, and then takes it for noise.

use std::sync::Arc;
use std::time::Duration;

use lsgan_control::Report;
use lsgan_spec::Incarnation;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::outbox::Outbox;

/// A connection that takes longer than this does not come: a lost packet is sent again after one second.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// Connections that are tried at the same time; the coordinator waits for the answer for twice [`CONNECT_WITHIN`].
const AT_A_TIME: usize = 256;

/// Connects to these peers and reports which were not reached.
pub async fn try_peers(round: u64, peers: Vec<(Incarnation, String)>, outbox: Arc<Outbox>) {
    let mut missing = Vec::new();
    for some in peers.chunks(AT_A_TIME) {
        let mut tries: JoinSet<_> = some.iter().cloned().map(try_peer).collect();
        while let Some(tried) = tries.join_next().await {
            missing.extend(tried.ok().flatten());
        }
    }
    outbox.say(Report::Tried { round, missing });
}

async fn try_peer((peer, address): (Incarnation, String)) -> Option<(Incarnation, String)> {
    let why = match timeout(CONNECT_WITHIN, TcpStream::connect(&address)).await {
        Ok(Ok(_connected)) => return None,
        Ok(Err(error)) => error.kind().to_string(),
        Err(_) => "timed out".to_owned(),
    };
    Some((peer, why))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use lsgan_control::member::{Event, Identity, Participant};
    use lsgan_control::{Message, Pass};
    use lsgan_wire::convert;

    use super::*;

    /// An outbox that sends what it is given.
    fn open_outbox() -> Outbox {
        let outbox = Outbox::new(Participant::new(Identity::default()));
        outbox.apply(Event::Connected { spec: String::new() });
        let (incarnation, pass) = (Incarnation(1), Pass::default());
        outbox.apply(Event::Told(Message::Welcome { incarnation, adopted: false, pass }));
        outbox
    }

    #[tokio::test]
    async fn who_is_not_reached_is_named_and_who_is_hears_nothing() {
        let there = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let gone = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("it has one");
        let there_address = there.local_addr().expect("it has one");
        let peers = vec![(Incarnation(1), there_address.to_string()), (Incarnation(2), gone.to_string())];
        let outbox = Arc::new(open_outbox());
        try_peers(7, peers, outbox.clone()).await;
        let said = outbox.take_mail().into_iter().map(|mail| convert::report(mail.kind.expect("it has one")));
        let missing = vec![(Incarnation(2), "connection refused".to_owned())];
        assert_eq!(said.collect::<Vec<_>>(), [Ok(Some(Report::Tried { round: 7, missing }))]);
        let (mut connected, _) = there.accept().expect("it was tried");
        assert_eq!(std::io::Read::read(&mut connected, &mut [0; 8]).expect("it hung up"), 0);
    }
}
