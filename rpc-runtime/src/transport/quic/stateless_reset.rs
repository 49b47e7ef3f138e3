//! Stateless resets, by which the clients of a server that was restarted learn of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::ConnectionIdGenerator;
use quinn::crypto::{CryptoError, HmacKey};

use crate::sync::{Mutex, lock};
use crate::tls::DerivedSecret;
use crate::tls::library::hmac;
use crate::tls::library::rand::{SecureRandom, SystemRandom};

/// The minimum time between two stateless resets: a server sends at most 5,000 a second. Each is smaller than the packet
/// that it answers, so that a server amplifies nothing. All clients of a server that was restarted wait for one, so a long
/// interval delays the last of them.
const RESET_INTERVAL: Duration = Duration::from_micros(200);

/// The key of stateless resets, which changes with the server's identity.
pub(super) struct ResetKey {
    /// Identifies the server among those that share its identity.
    replica: Vec<u8>,
    key: Mutex<hmac::Key>,
}

impl ResetKey {
    pub(super) fn new(secret: &DerivedSecret, name: Option<&str>, address: SocketAddr) -> Self {
        let replica = replica_id(name, address);
        Self {
            key: Mutex::new(secret.reset_key(&replica)),
            replica,
        }
    }

    /// Replaces the key, for a new identity of the server.
    pub(super) fn replace(&self, secret: &DerivedSecret) {
        *lock(&self.key) = secret.reset_key(&self.replica);
    }

    /// Returns the configuration of an endpoint whose resets are signed with this key.
    pub(super) fn endpoint_config(self: &Arc<Self>) -> quinn::EndpointConfig {
        let mut config = quinn::EndpointConfig::new(Arc::clone(self) as _);
        config
            .cid_generator(|| Box::new(RandomIds(SystemRandom::new())))
            .min_reset_interval(RESET_INTERVAL);
        config
    }
}

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        let tag = hmac::sign(&lock(&self.key), data);
        signature_out.copy_from_slice(tag.as_ref());
    }

    fn signature_len(&self) -> usize {
        lock(&self.key).algorithm().digest_algorithm().output_len()
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let verified = hmac::verify(&lock(&self.key), data, signature);
        verified.map_err(|_| CryptoError)
    }
}

/// Returns the bytes that identify a server among those that share its identity: its name or the host's, and its address.
/// A server that is restarted has the same, and no two that run at the same time should have.
fn replica_id(name: Option<&str>, address: SocketAddr) -> Vec<u8> {
    let host = || {
        // There is no portable way to ask for it. Windows sets the variable.
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        host.or_else(|| std::env::var("COMPUTERNAME").ok())
    };
    match name {
        Some(name) => format!("name {name}"),
        None => format!("{address} {}", host().unwrap_or_default().trim()),
    }
    .into_bytes()
}

/// Generates connection IDs that are independent of the process, so that a restarted server answers packets for its
/// predecessor's connections with a reset.
struct RandomIds(SystemRandom);

impl RandomIds {
    const LENGTH: usize = 8;
}

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> quinn::ConnectionId {
        let mut id = [0; Self::LENGTH];
        self.0
            .fill(&mut id)
            .expect("the handshake found randomness");
        quinn::ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        Self::LENGTH
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}
