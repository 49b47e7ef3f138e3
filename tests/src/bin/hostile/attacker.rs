//! The process of the hostile client.

use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use tests::hostile::{Attack, Attacker, address};
use tests::peer::RawClient;
use tests::process::{answer, orders};
use tokio::time::Instant;

use crate::serve::Place;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    Begin(Attack),
    End,
}

/// The activity of a hostile client.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Deeds {
    done: u64,
    /// The number of connections that the server closed.
    closed: u64,
    took: Duration,
}

impl AddAssign for Deeds {
    fn add_assign(&mut self, other: Self) {
        self.done += other.done;
        self.closed += other.closed;
        self.took += other.took;
    }
}

impl fmt::Display for Deeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.done as f64 / self.took.as_secs_f64();
        write!(f, "{rate:.0} | {}", self.closed)
    }
}

/// Attacks between the orders to begin and to end.
pub(crate) async fn obey(place: Place) {
    let client = client(&place);
    answer(&());
    let mut orders = orders();
    while let Some(Order::Begin(attack)) = orders.recv().await {
        let attacker = Attacker::begin(attack, client.clone(), place.address).await;
        answer(&());
        let (start, before) = (Instant::now(), attacker.done());
        orders.recv().await;
        answer(&Deeds {
            done: attacker.done() - before,
            closed: attacker.closed(),
            took: start.elapsed(),
        });
    }
}

fn client(place: &Place) -> RawClient {
    let certificate = CertificateDer::from_pem_slice(place.certificate.as_bytes());
    RawClient::to(place.address, &certificate.expect("a certificate")).from(address(0))
}
