//! The process of the hostile client.

use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use tests::hostile::{Attack, Attacker, address};
use tests::peer::RawClient;
use tests::process::{answer, requests};
use tokio::time::Instant;

use crate::serve::ServerAddress;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Begin(Attack),
    End,
}

/// The activity of a hostile client.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct AttackCounts {
    done: u64,
    /// The number of connections that the server closed.
    closed: u64,
    took: Duration,
}

impl AddAssign for AttackCounts {
    fn add_assign(&mut self, other: Self) {
        self.done += other.done;
        self.closed += other.closed;
        self.took += other.took;
    }
}

impl fmt::Display for AttackCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.done as f64 / self.took.as_secs_f64();
        write!(f, "{rate:.0} | {}", self.closed)
    }
}

/// Attacks between the requests to begin and to end.
pub(crate) async fn run(server: ServerAddress) {
    let client = client(&server);
    answer(&());
    let mut requests = requests();
    while let Some(Request::Begin(attack)) = requests.recv().await {
        let attacker = Attacker::begin(attack, client.clone(), server.address).await;
        answer(&());
        let (start, before) = (Instant::now(), attacker.done());
        requests.recv().await;
        answer(&AttackCounts {
            done: attacker.done() - before,
            closed: attacker.closed(),
            took: start.elapsed(),
        });
    }
}

fn client(server: &ServerAddress) -> RawClient {
    let certificate = CertificateDer::from_pem_slice(server.certificate.as_bytes());
    RawClient::to(server.address, &certificate.expect("a certificate")).from(address(0))
}
