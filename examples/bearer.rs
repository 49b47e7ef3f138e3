//! Bearer tokens. A service issues them. On the server, a middleware verifies the token of each call, applies a rule for
//! each method, and passes the principal on to the handlers. On the client, a middleware adds the token, and gets a new one
//! when it has expired.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use rpc_runtime::middleware::{
    ClientMiddleware, ClientNext, ClientRequest, ClientResponse, Layered, Middleware, Next,
    RequestInfo, Response,
};
use rpc_runtime::{
    CallError, Client, ClientBuilder, Context, ErrorObject, Identity, RpcError, Server,
    ServerHandle, Service, Trust, rpc,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex as AsyncMutex;

/// Issues tokens. It needs none itself.
#[rpc(namespace = "login")]
trait Login {
    async fn log_in(&self, user: &str, password: &str) -> Result<Tokens, LoginError>;
    /// Returns a new access token.
    async fn refresh(&self, refresh_token: &str) -> Result<String, LoginError>;
}

#[derive(Serialize, Deserialize)]
struct Tokens {
    /// Sent with each call, and valid for a few minutes.
    access: String,
    /// Sent only to get the next access token.
    refresh: String,
}

#[derive(Debug, thiserror::Error, RpcError)]
enum LoginError {
    #[error("the user or the password is wrong")]
    #[rpc(code = 1)]
    Unknown,
}

/// Needs an access token.
#[rpc]
trait Notes {
    async fn add(&self, cx: &Context, text: &str) -> Result<usize, AccessError>;
    #[rpc(blocking)]
    fn count(&self, cx: &Context) -> Result<usize, AccessError>;
    /// Deletes the notes of all users.
    async fn clear(&self, cx: &Context) -> Result<(), AccessError>;
    fn list(&self, cx: &Context) -> impl Stream<Item = Result<String, AccessError>>;
}

/// The errors of the middleware. The methods declare them, so that callers receive this enum.
#[derive(Debug, PartialEq, thiserror::Error, RpcError)]
enum AccessError {
    #[error("the token is missing, unknown or expired")]
    #[rpc(code = 401)]
    Unauthenticated,
    #[error("the user may not call this method")]
    #[rpc(code = 403)]
    Forbidden,
}

/// The user of a call, as the handlers see it.
#[derive(Debug, Clone, PartialEq)]
struct Principal {
    user: String,
    is_admin: bool,
}

/// How long an access token is valid.
const LIFETIME: Duration = Duration::from_secs(300);

/// The valid tokens. It keeps their hashes only, so that neither a copy of the table nor the time of a look-up reveals one.
#[derive(Clone, Default)]
struct TokenTable {
    issued: Arc<Mutex<HashMap<Vec<u8>, Issued>>>,
}

#[derive(Clone)]
struct Issued {
    principal: Principal,
    is_refresh: bool,
    until: Option<Instant>,
}

impl Issued {
    fn is_valid(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }
}

fn hash(token: &str) -> Vec<u8> {
    digest(&SHA256, token.as_bytes()).as_ref().to_vec()
}

impl TokenTable {
    fn table(&self) -> impl std::ops::DerefMut<Target = HashMap<Vec<u8>, Issued>> {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn issue(&self, principal: &Principal, is_refresh: bool) -> String {
        let mut random = [0; 32];
        SystemRandom::new()
            .fill(&mut random)
            .expect("the system has random numbers");
        let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let issued = Issued {
            principal: principal.clone(),
            is_refresh,
            until: (!is_refresh).then(|| Instant::now() + LIFETIME),
        };
        let mut table = self.table();
        // Otherwise the table grows with each access token. A large table removes them at intervals instead.
        table.retain(|_, issued| issued.is_valid());
        table.insert(hash(&token), issued);
        drop(table);
        token
    }

    fn verify(&self, token: &str, is_refresh: bool) -> Option<Principal> {
        let issued = self.table().get(&hash(token)).cloned()?;
        (issued.is_valid() && issued.is_refresh == is_refresh).then_some(issued.principal)
    }

    /// Ends the time of the access tokens of all users.
    fn expire(&self) {
        let now = Instant::now();
        for issued in self.table().values_mut() {
            if let Some(until) = &mut issued.until {
                *until = now;
            }
        }
    }
}

struct Accounts(TokenTable);

impl Login for Accounts {
    async fn log_in(&self, user: &str, password: &str) -> Result<Tokens, LoginError> {
        // A real service compares a hash of the password that is slow to compute.
        let is_admin = match (user, password) {
            ("ada", "lovelace") => true,
            ("bob", "builder") => false,
            _ => return Err(LoginError::Unknown),
        };
        let principal = Principal {
            user: user.to_owned(),
            is_admin,
        };
        Ok(Tokens {
            access: self.0.issue(&principal, false),
            refresh: self.0.issue(&principal, true),
        })
    }

    async fn refresh(&self, refresh_token: &str) -> Result<String, LoginError> {
        let principal = self.0.verify(refresh_token, true);
        let principal = principal.ok_or(LoginError::Unknown)?;
        Ok(self.0.issue(&principal, false))
    }
}

/// Verifies the token of each call, and inserts its principal.
struct Authenticate(TokenTable);

impl Middleware for Authenticate {
    async fn call<S: Service>(&self, call: RequestInfo<'_>, next: Next<'_, S>) -> Response {
        let context = call.context();
        let token = context.meta("authorization");
        let token = token.and_then(|value| value.strip_prefix("Bearer "));
        let Some(principal) = token.and_then(|token| self.0.verify(token, false)) else {
            return Response::error(ErrorObject::new(401, "log in first"));
        };
        if !may_call(&principal, call.method().name) {
            return Response::error(ErrorObject::new(403, "for administrators"));
        }
        // A value of this call only. Other calls on the connection may be those of another user.
        context.extensions().insert(principal);
        next.run().await
    }
}

/// The rule of each method.
fn may_call(principal: &Principal, method: &str) -> bool {
    match method {
        "add" | "count" | "list" => true,
        "clear" => principal.is_admin,
        // A method that is added later is closed until it has a rule.
        _ => false,
    }
}

/// The notes, with the user of each.
#[derive(Default)]
struct Book(Mutex<Vec<(String, String)>>);

impl Book {
    fn notes(&self) -> impl std::ops::DerefMut<Target = Vec<(String, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the user of a call. `Authenticate` has inserted it.
fn user(cx: &Context) -> Result<String, AccessError> {
    let principal = cx.extensions().get::<Principal>();
    principal.map_or(Err(AccessError::Unauthenticated), |principal| {
        Ok(principal.user.clone())
    })
}

impl Notes for Book {
    async fn add(&self, cx: &Context, text: &str) -> Result<usize, AccessError> {
        let mut notes = self.notes();
        notes.push((user(cx)?, text.to_owned()));
        Ok(notes.len())
    }

    fn count(&self, cx: &Context) -> Result<usize, AccessError> {
        let user = user(cx)?;
        Ok(self.notes().iter().filter(|(of, _)| *of == user).count())
    }

    async fn clear(&self, _: &Context) -> Result<(), AccessError> {
        self.notes().clear();
        Ok(())
    }

    fn list(&self, cx: &Context) -> impl Stream<Item = Result<String, AccessError>> {
        let listed = user(cx).map(|user| {
            let notes = self.notes();
            let own = notes.iter().filter(|(of, _)| *of == user);
            own.map(|(_, text)| Ok(text.clone())).collect::<Vec<_>>()
        });
        stream::iter(listed.unwrap_or_else(|error| vec![Err(error)]))
    }
}

/// Adds the access token to each call of a client. A call that is rejected with 401 is sent again once, with a new token.
///
/// Two kinds of call are not: a notification has no reply that says 401, and the items of a call that sends items are gone.
/// A client that makes such calls gets a new token before the old one expires.
struct Bearer {
    /// A client without this middleware, which would otherwise run for this call, too.
    login: LoginClient,
    refresh: String,
    access: AsyncMutex<String>,
}

impl Bearer {
    fn new(login: LoginClient, tokens: Tokens) -> Self {
        Self {
            login,
            refresh: tokens.refresh,
            access: AsyncMutex::new(tokens.access),
        }
    }

    /// Returns a token other than the one that was rejected. Of all calls that were rejected with the same token, only the
    /// first gets a new one; the others wait for it.
    async fn after(&self, rejected: &str) -> Result<String, CallError<LoginError>> {
        let mut access = self.access.lock().await;
        if *access == rejected {
            *access = self.login.refresh(&self.refresh).await?;
        }
        Ok(access.clone())
    }
}

impl ClientMiddleware for Bearer {
    async fn call(&self, request: &mut ClientRequest, next: ClientNext<'_>) -> ClientResponse {
        let token = self.access.lock().await.clone();
        request.set_meta("authorization", &format!("Bearer {token}"));
        let response = next.run(request).await;
        if response.code() != Some(401) {
            return response;
        }
        match self.after(&token).await {
            Ok(token) => {
                request.set_meta("authorization", &format!("Bearer {token}"));
                next.run(request).await
            }
            Err(error) => {
                println!("no new token: {error}");
                response
            }
        }
    }
}

/// Serves both services on one port.
fn serve(tokens: &TokenTable) -> Result<(String, ClientBuilder, ServerHandle), Box<dyn Error>> {
    let identity = Identity::self_signed(["127.0.0.1"])?;
    let client = Client::builder().trust(Trust::certificate(identity.certificate()));
    let notes = NotesServer::new(Book::default());
    let server = Server::builder(identity)
        .service(LoginServer::new(Accounts(tokens.clone())))
        .service(Layered::new(Authenticate(tokens.clone()), notes))
        .bind("127.0.0.1:0")?;
    let (address, handle) = (server.local_addr()?, server.handle());
    tokio::spawn(server.run());
    Ok((address.to_string(), client, handle))
}

/// Logs in, and returns a client whose calls have the user's token.
async fn log_in(
    client: &ClientBuilder,
    address: &str,
    user: &str,
    password: &str,
) -> Result<NotesClient, Box<dyn Error>> {
    let client = client.clone().connect(address).await?;
    let login = LoginClient::new(client.clone());
    let tokens = login.log_in(user, password).await?;
    // Shares the connection with `login`, whose calls have no token.
    let client = client.with_middleware(Bearer::new(login, tokens));
    Ok(NotesClient::new(client))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let tokens = TokenTable::default();
    let (address, client, handle) = serve(&tokens)?;

    let anonymous = NotesClient::new(client.clone().connect(&*address).await?);
    match anonymous.add("hello").await {
        Err(CallError::Application(error)) => println!("anonymous: {error}"),
        other => println!("anonymous: {other:?}"),
    }

    let ada = log_in(&client, &address, "ada", "lovelace").await?;
    let bob = log_in(&client, &address, "bob", "builder").await?;
    ada.add("a note of Ada").await?;
    bob.add("a note of Bob").await?;
    let listed: Vec<String> = bob.list().try_collect().await?;
    println!("bob: {listed:?}, {} in all", bob.count().await?);
    match bob.clear().await {
        Err(CallError::Application(error)) => println!("bob: {error}"),
        other => println!("bob: {other:?}"),
    }

    // The tokens expire. The middleware of each client gets a new one, once for all of its calls.
    tokens.expire();
    let calls = stream::iter(0..20).map(|n| {
        let ada = ada.clone();
        async move { ada.add(&format!("note {n}")).await }
    });
    let added: Vec<usize> = calls.buffer_unordered(20).try_collect().await?;
    println!("ada: {} notes added with a new token", added.len());
    let listed: Vec<String> = bob.list().try_collect().await?;
    println!("bob: {listed:?} with a new token");
    ada.clear().await?;
    println!("ada: cleared");
    handle.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn example_ends_without_an_error() {
        main().unwrap();
    }

    #[tokio::test]
    async fn two_users_on_one_connection_have_their_own_principals_and_rules() {
        let tokens = TokenTable::default();
        let (address, client, _handle) = serve(&tokens).unwrap();
        let login = LoginClient::new(client.clone().connect(&*address).await.unwrap());
        let ada = login.log_in("ada", "lovelace").await.unwrap().access;
        let bob = login.log_in("bob", "builder").await.unwrap().access;
        let notes = NotesClient::new(client.connect(&*address).await.unwrap());
        let calls = (0..200).map(|n| {
            let (token, of) = [(&ada, "ada"), (&bob, "bob")][n % 2];
            notes
                .add(of)
                .meta("authorization", &format!("Bearer {token}"))
        });
        for added in futures_util::future::join_all(calls).await {
            added.unwrap();
        }
        for (token, of) in [(&ada, "ada"), (&bob, "bob")] {
            let token = format!("Bearer {token}");
            let listed = notes.list().meta("authorization", &token);
            let listed: Vec<String> = listed.try_collect().await.unwrap();
            assert_eq!(listed, vec![of; 100]);
            let count = notes.count().meta("authorization", &token);
            assert_eq!(count.await.unwrap(), 100);
        }
        let clear = |token: &str| notes.clear().meta("authorization", token);
        for (token, error) in [
            (format!("Bearer {bob}"), AccessError::Forbidden),
            (bob, AccessError::Unauthenticated),
            ("Bearer ".into(), AccessError::Unauthenticated),
        ] {
            let cleared = clear(&token).await;
            assert!(matches!(cleared, Err(CallError::Application(e)) if e == error));
        }
        clear(&format!("Bearer {ada}")).await.unwrap();
    }

    #[tokio::test]
    async fn expired_token_is_refreshed_once_for_all_calls() {
        let tokens = TokenTable::default();
        let (address, client, _handle) = serve(&tokens).unwrap();
        let ada = log_in(&client, &address, "ada", "lovelace").await.unwrap();
        let issued = tokens.table().len();
        tokens.expire();
        let calls = (0..50).map(|_| ada.count());
        for count in futures_util::future::join_all(calls).await {
            assert_eq!(count.unwrap(), 0);
        }
        assert_eq!(tokens.table().len(), issued);
        let _: Vec<String> = ada.list().try_collect().await.unwrap();

        // Without a refresh token the caller gets the error of its own call.
        tokens.table().clear();
        let counted = ada.count().await;
        let expected = AccessError::Unauthenticated;
        assert!(matches!(counted, Err(CallError::Application(error)) if error == expected));
    }
}
