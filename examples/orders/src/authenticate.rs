//! The middleware of the orders: it finds out who calls, applies the rule of the method and the quota of the user.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rpc_runtime::middleware::{Middleware, Next, RequestInfo, Response};
use rpc_runtime::{Context, Service};

use crate::api::OrderError;
use crate::tokens::{Kind, Principal, TokenKey};

/// The time for which a quota counts calls.
const WINDOW: Duration = Duration::from_secs(60);

/// Rejects calls without a valid token, those that their user may not make, and those above the quota. All other handlers
/// find the [`Principal`] in the extensions of their call.
#[derive(Debug)]
pub struct Authenticate {
    key: TokenKey,
    quota: Quota,
}

impl Authenticate {
    /// Creates the middleware. Each user may make `quota` calls a minute.
    pub fn new(key: TokenKey, quota: u64) -> Arc<Self> {
        Arc::new(Self {
            key,
            quota: Quota {
                calls: quota,
                windows: Mutex::default(),
            },
        })
    }

    fn check(&self, call: RequestInfo<'_>) -> Result<Principal, OrderError> {
        let context = call.context();
        let principal = principal(&self.key, context)?;
        if !may_call(&principal, call.method().name) {
            return Err(OrderError::Forbidden);
        }
        let left = self.quota.take(&principal.user)?;
        // A name and a value as short as these are always accepted.
        let _ = context.set_response_meta("calls-left", &left.to_string());
        Ok(principal)
    }
}

/// Returns the user of the token that came with a call.
///
/// # Errors
/// When the token is missing, wrong or expired.
pub fn principal(key: &TokenKey, cx: &Context) -> Result<Principal, OrderError> {
    let token = cx.meta("authorization");
    let token = token.and_then(|value| value.strip_prefix("Bearer "));
    let principal = token.and_then(|token| key.verify(token, Kind::Access));
    principal.ok_or(OrderError::Unauthenticated)
}

/// The rule of each method. A method that is added later is closed until it has a rule.
fn may_call(principal: &Principal, method: &str) -> bool {
    match method {
        "orders.place" | "orders.get" | "orders.list" | "orders.watch" | "orders.import" => true,
        "orders.advance" => principal.is_admin,
        _ => false,
    }
}

impl Middleware for Authenticate {
    async fn call<S: Service>(&self, call: RequestInfo<'_>, next: Next<'_, S>) -> Response {
        match self.check(call) {
            Ok(principal) => {
                // Not in the extensions of the connection, which carries the calls of several users behind a gateway.
                call.context().extensions().insert(principal);
                next.run().await
            }
            Err(error) => refuse(error),
        }
    }
}

/// Returns the response to a call that is refused. Callers receive their typed error, as if the handler had returned it.
fn refuse(error: OrderError) -> Response {
    Response::error(error)
}

/// Returns the user of a call.
///
/// # Errors
/// When the middleware is missing: a service that is served without it by mistake rejects all calls.
pub fn user(cx: &Context) -> Result<Arc<Principal>, OrderError> {
    let principal = cx.extensions().get::<Principal>();
    principal.ok_or(OrderError::Unauthenticated)
}

/// Counts the calls of each user. Each replica counts its own calls.
#[derive(Debug)]
struct Quota {
    calls: u64,
    /// The start of the window and its calls. It has as many entries as there are accounts.
    windows: Mutex<HashMap<String, (Instant, u64)>>,
}

impl Quota {
    /// Counts a call. Returns the number of further calls in this window.
    fn take(&self, user: &str) -> Result<u64, OrderError> {
        let now = Instant::now();
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let (start, calls) = windows.entry(user.to_owned()).or_insert((now, 0));
        if now.duration_since(*start) >= WINDOW {
            (*start, *calls) = (now, 0);
        }
        if *calls >= self.calls {
            let left = WINDOW.saturating_sub(now.duration_since(*start));
            let seconds = left.as_secs() + 1;
            return Err(OrderError::TooMany { seconds });
        }
        *calls += 1;
        Ok(self.calls - *calls)
    }
}
