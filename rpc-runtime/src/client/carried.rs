//! A client whose streams the program carries itself, over a transport that this crate does not have.

use std::fmt;
use std::sync::Arc;

use crate::client::builder::ClientBuilder;
use crate::client::dial::ConnectError;
use crate::client::handle::Client;
use crate::service::router::Router;
use crate::tls::{HandshakeResult, client_config};
use crate::transport::gateway::{GatewayRecv, GatewaySend};
use crate::transport::{ConnectionError, close, memory};

#[allow(private_bounds)] // the type of the list of services is private
impl<R> ClientBuilder<R> {
    /// Creates a client whose streams the caller carries. For `rpc-cli` alone.
    ///
    /// # Panics
    /// Panics outside a tokio runtime, and if two of the client's services have a method of the same name.
    #[doc(hidden)]
    pub fn carried(self) -> (Client, CarriedConnection)
    where
        R: Router,
    {
        let (here, there) = memory::pair();
        (self.in_memory(here), CarriedConnection(there))
    }

    /// Returns the TLS settings of the client for one connection over TCP. For `rpc-cli` alone.
    ///
    /// # Errors
    /// Returns an error if the trust settings cannot be used.
    #[doc(hidden)]
    pub async fn carried_tls(&self, protocols: &[&[u8]]) -> Result<CarriedTls, ConnectError> {
        let dial = self.dial_settings();
        let verifier = dial.trust.verifier().await?;
        let (mut config, result) = client_config(&verifier, dial.identity.clone())?;
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(CarriedTls {
            config: Arc::new(config),
            result,
        })
    }
}

/// The far end of the connection of a client. Dropping it ends the connection.
#[doc(hidden)]
pub struct CarriedConnection(memory::Connection);

impl CarriedConnection {
    /// Accepts a stream that the client opens. A stream that carries only notifications and cancellations has no half of the
    /// server.
    ///
    /// # Errors
    /// Returns the reason once the connection has ended.
    ///
    /// # Cancel safety
    /// This method is cancel safe.
    pub async fn accept_stream(
        &self,
    ) -> Result<(Option<GatewaySend>, GatewayRecv), ConnectionError> {
        tokio::select! {
            biased;
            accepted = self.0.accept_bi() => {
                let (send, recv) = accepted?;
                Ok((Some(GatewaySend::new(send)), GatewayRecv::new(recv)))
            }
            accepted = self.0.accept_uni() => Ok((None, GatewayRecv::new(accepted?))),
        }
    }

    /// Ends the connection. Calls fail with the reason.
    pub fn close(&self, reason: &str) {
        self.0.close(close::DONE, reason);
    }
}

impl Drop for CarriedConnection {
    fn drop(&mut self) {
        self.close("");
    }
}

impl fmt::Debug for CarriedConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CarriedConnection").finish_non_exhaustive()
    }
}

/// The settings of TLS for one connection over TCP.
#[doc(hidden)]
#[derive(Debug)]
pub struct CarriedTls {
    config: Arc<rustls::ClientConfig>,
    result: HandshakeResult,
}

impl CarriedTls {
    /// Returns the configuration of rustls 0.23.
    pub fn rustls_config(&self) -> Arc<rustls::ClientConfig> {
        Arc::clone(&self.config)
    }

    /// Returns the reason why the handshake has failed, if it is the certificate of the server.
    pub fn untrusted(&self) -> Option<ConnectError> {
        self.result.take().map(ConnectError::Untrusted)
    }
}
