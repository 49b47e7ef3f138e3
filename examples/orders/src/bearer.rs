//! The middleware of clients: it adds the token, and gets a new one when the token has expired. Callers do not notice, except
//! those of `import`: its items are gone when its token is rejected, so that it is not sent again.

use rpc_runtime::CallError;
use rpc_runtime::middleware::{ClientMiddleware, ClientNext, ClientRequest, ClientResponse};
use tokio::sync::Mutex;

use crate::api::{LoginClient, LoginError, OrderError, Tokens};

/// Adds the access token to each call. A call that was rejected for its token is sent once more with a new one.
#[derive(Debug)]
pub struct Bearer {
    /// A client without this middleware, since login needs no token.
    login: LoginClient,
    refresh: String,
    access: Mutex<String>,
}

impl Bearer {
    /// Creates the middleware of a user.
    pub fn new(login: LoginClient, tokens: Tokens) -> Self {
        Self {
            login,
            refresh: tokens.refresh,
            access: Mutex::new(tokens.access),
        }
    }

    /// Returns a token other than the rejected one. Of many calls that were rejected at once, the first gets a new token and
    /// the others wait for it.
    async fn instead_of(&self, rejected: &str) -> Result<String, CallError<LoginError>> {
        let mut access = self.access.lock().await;
        if *access == rejected {
            *access = self.login.refresh(&self.refresh).await?;
        }
        Ok(access.clone())
    }
}

/// The code of [`OrderError::Unauthenticated`].
fn unauthenticated() -> i64 {
    rpc_runtime::RpcError::code(&OrderError::Unauthenticated)
}

impl ClientMiddleware for Bearer {
    async fn call(&self, request: &mut ClientRequest, next: ClientNext<'_>) -> ClientResponse {
        let token = self.access.lock().await.clone();
        request.set_meta("authorization", &format!("Bearer {token}"));
        let response = next.run(request).await;
        if response.code() != Some(unauthenticated()) {
            return response;
        }
        match self.instead_of(&token).await {
            Ok(token) => {
                request.set_meta("authorization", &format!("Bearer {token}"));
                next.run(request).await
            }
            Err(error) => {
                tracing::warn!(%error, "no new token");
                response
            }
        }
    }
}
