//! Attacks from several addresses, and with messages that are cheap to send.

use std::fmt::Write;
use std::time::Duration;

use crate::message::{cancel, line, notification};
use futures_util::future::try_join_all;
use quinn::Connection;
use tokio::net::UdpSocket;
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::hostile::holding::half_sent;
use crate::hostile::{Closed, Ended, Hostile, address, call};

/// The number of addresses that flood.
pub(super) const ADDRESSES: usize = 8;

/// The connections of each address that calls handlers that never return.
pub(super) const FLOODING_CONNECTIONS: usize = 8;

/// The connections of each address that sends incomplete messages.
pub(super) const HALF_SENDING_CONNECTIONS: usize = 2;

/// The stalled handshakes of each address.
const STALLED: usize = 64;

/// Returns a message of about a megabyte, with members of these names.
fn members(name: impl Fn(usize) -> String) -> String {
    let mut text = String::from("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"add\"");
    for number in 0.. {
        if text.len() > 1_000_000 {
            break;
        }
        write!(text, ",\"{}\":0", name(number)).expect("a string that grows");
    }
    text + "}\n"
}

impl Hostile {
    /// Connects from each address, `each` times.
    async fn connect_from_all(&self, each: usize) -> Result<Vec<Connection>, Closed> {
        let mut connections = Vec::new();
        for number in 0..ADDRESSES {
            let client = self.client.clone().from(address(number));
            let endpoint = client.endpoint();
            for _ in 0..each {
                connections.push(client.connecting(&endpoint).await?);
            }
        }
        Ok(connections)
    }

    pub(super) async fn flooding_addresses(&self) -> Ended {
        let connections = self.connect_from_all(FLOODING_CONNECTIONS).await?;
        let calls = call("hang", "[]").repeat(128);
        let keep = connections
            .iter()
            .map(|connection| self.keep(connection, 1, &calls));
        Ok(try_join_all(keep).await?[0])
    }

    pub(super) async fn flooding_memory(&self) -> Ended {
        let connections = self.connect_from_all(HALF_SENDING_CONNECTIONS).await?;
        let text = half_sent();
        let keep = connections
            .iter()
            .map(|connection| self.keep(connection, 60, &text));
        Ok(try_join_all(keep).await?[0])
    }

    pub(super) async fn stalled_handshakes(&self) -> Ended {
        let stall = (0..ADDRESSES).map(|number| self.stall_handshakes(number));
        Ok(try_join_all(stall).await?[0])
    }

    /// Begins handshakes from one address, and again when the server has dropped them.
    async fn stall_handshakes(&self, number: usize) -> Ended {
        let near = UdpSocket::bind("127.0.0.1:0").await?;
        let far = UdpSocket::bind((address(number), 0)).await?;
        far.connect(self.server).await?;
        let near_address = near.local_addr()?;
        let endpoint = self.client.clone().from([127, 0, 0, 1]).endpoint();
        near.connect(endpoint.local_addr()?).await?;
        let begin = async || -> Ended {
            loop {
                let begin = |_| self.client.connecting_to(near_address, &endpoint);
                let begun: Vec<_> = (0..STALLED).map(begin).collect();
                self.begun.notify_one();
                self.has_done(begun.len() as u64);
                sleep(Duration::from_millis(2500)).await;
            }
        };
        let (ended, _) = tokio::try_join!(begin(), stall(&near, &far))?;
        Ok(ended)
    }

    pub(super) async fn missed_cancellations(&self) -> Ended {
        self.exchange(&line(cancel(9)).repeat(1000), 1000).await
    }

    pub(super) async fn cancellation_batches(&self) -> Ended {
        let batch = line(vec![cancel(9); 100]);
        self.exchange(&batch.repeat(10), 1000).await
    }

    pub(super) async fn blank_lines(&self) -> Ended {
        self.exchange(&"\n".repeat(1 << 20), 1 << 20).await
    }

    pub(super) async fn tiny_messages(&self) -> Ended {
        self.exchange(&"1\n".repeat(1000), 1000).await
    }

    pub(super) async fn duplicate_members(&self) -> Ended {
        self.exchange(&members(|_| "id".to_owned()), 1).await
    }

    pub(super) async fn unknown_members(&self) -> Ended {
        self.exchange(&members(|number| format!("m{number}")), 1)
            .await
    }

    pub(super) async fn datagrams(&self) -> Ended {
        let connection = self.connect().await?;
        self.begun.notify_one();
        let message = line(notification("add", [1, 2])).into_bytes();
        loop {
            connection.send_datagram(message.clone().into())?;
            self.has_done(1);
            yield_now().await;
        }
    }
}

/// Forwards all datagrams of the clients, and forwards to them only the packets that ask them to validate their address.
async fn stall(near: &UdpSocket, far: &UdpSocket) -> Ended {
    let (mut sent, mut received) = ([0; 1500], [0; 1500]);
    loop {
        tokio::select! {
            Ok(length) = near.recv(&mut sent) => {
                let _ = far.send(&sent[..length]).await;
            }
            Ok(length) = far.recv(&mut received) => if received[0] & 0xf0 == 0xf0 {
                let _ = near.send(&received[..length]).await;
            }
        }
    }
}
