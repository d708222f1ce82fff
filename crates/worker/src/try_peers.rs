//! Connects to other workers' addresses to see whether they are reached, and hangs up at once. The one that listens
//! there hears nothing of it until it forms its next generation, and then takes it for noise.

use std::sync::Arc;
use std::time::Duration;

use lsgan_wire::v1;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::outbox::Outbox;

/// A connection that takes longer than this does not come: a lost packet is sent again after one second.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// Connections that are tried at the same time; the coordinator waits for the answer for twice [`CONNECT_WITHIN`].
const AT_A_TIME: usize = 256;

/// Does what is ordered and says what came of it.
pub async fn try_peers(order: v1::TryPeers, outbox: Arc<Outbox>) {
    let v1::TryPeers { round, peers } = order;
    let mut unreached = Vec::new();
    for some in peers.chunks(AT_A_TIME) {
        let mut tries: JoinSet<_> = some.iter().cloned().map(try_peer).collect();
        while let Some(tried) = tries.join_next().await {
            unreached.extend(tried.ok().flatten());
        }
    }
    outbox.say(v1::TriedPeers { round, unreached });
}

async fn try_peer(peer: v1::PeerAddress) -> Option<v1::Unreached> {
    let why = match timeout(CONNECT_WITHIN, TcpStream::connect(&peer.address)).await {
        Ok(Ok(_connected)) => return None,
        Ok(Err(error)) => error.kind().to_string(),
        Err(_) => "timed out".to_owned(),
    };
    Some(v1::Unreached { incarnation: peer.incarnation, why })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use lsgan_wire::v1::worker_message::Kind;

    use super::*;

    #[tokio::test]
    async fn who_is_not_reached_is_named_and_who_is_hears_nothing() {
        let there = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let gone = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("it has one");
        let peer = |incarnation, address: std::net::SocketAddr| v1::PeerAddress {
            incarnation,
            address: address.to_string(),
        };
        let peers = vec![peer(1, there.local_addr().expect("it has one")), peer(2, gone)];
        let outbox = Arc::new(Outbox::default());
        try_peers(v1::TryPeers { round: 7, peers }, outbox.clone()).await;
        let said = outbox.take();
        let [v1::WorkerMessage { kind: Some(Kind::TriedPeers(tried)) }] = &said[..] else {
            panic!("{said:?}")
        };
        let unreached = vec![v1::Unreached { incarnation: 2, why: "connection refused".to_owned() }];
        assert_eq!(*tried, v1::TriedPeers { round: 7, unreached });
        let (mut connected, _) = there.accept().expect("it was tried");
        assert_eq!(std::io::Read::read(&mut connected, &mut [0; 8]).expect("it hung up"), 0);
    }
}
