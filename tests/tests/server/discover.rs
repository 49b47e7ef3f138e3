//! `rpc.discover` for callers that may read the description, and for those that may not.

use rpc_runtime::{BindError, Client, Context, ErrorObject, Server, ServerBuilder, code, rpc};
use serde_json::Value;
use tests::support::{ANY_PORT, TestServer, soon};

#[rpc]
trait Desk {
    async fn add(&self, a: i64, b: i64) -> i64;
}

struct Counter;

impl Desk for Counter {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }
}

const UNAUTHORIZED: i64 = 401;

/// Allows callers with a token. Panics for an odd one.
fn check(cx: &Context) -> Result<(), ErrorObject> {
    match cx.meta("token") {
        Some("secret") => Ok(()),
        Some("odd") => panic!("an odd token"),
        _ => Err(ErrorObject::new(UNAUTHORIZED, "no token")),
    }
}

fn bind(builder: ServerBuilder) -> Result<Server, BindError> {
    let server = builder.service(DeskServer::new(Counter));
    server.authorize_discover(check).bind(ANY_PORT)
}

async fn discover(client: &Client, token: Option<&str>, is_dedicated: bool) -> Result<Value, i64> {
    let mut call = client.call::<Value, _>("rpc.discover", &());
    if let Some(token) = token {
        call = call.meta("token", token);
    }
    if is_dedicated {
        call = call.dedicated_stream();
    }
    soon(call).await.map_err(|error| error.code().unwrap())
}

#[tokio::test]
async fn discover_is_answered_only_for_callers_that_the_check_allows() {
    let client = TestServer::bind(bind).connect().await;
    for is_dedicated in [false, true] {
        let refused = discover(&client, None, is_dedicated).await;
        assert_eq!(refused, Err(UNAUTHORIZED));
        let refused = discover(&client, Some("guessed"), is_dedicated).await;
        assert_eq!(refused, Err(UNAUTHORIZED));
        let document = discover(&client, Some("secret"), is_dedicated)
            .await
            .unwrap();
        assert_eq!(document["methods"][0]["name"], "add");
        // The metadata of one call does not remain for the next.
        let refused = discover(&client, None, is_dedicated).await;
        assert_eq!(refused, Err(UNAUTHORIZED));
    }
    assert_eq!(soon(DeskClient::new(client).add(1, 2)).await.unwrap(), 3);
}

#[tokio::test]
async fn discover_in_a_batch_is_checked_by_itself() {
    let client = TestServer::bind(bind).connect().await;
    let mut batch = client.batch();
    let refused = batch.call(client.call::<Value, _>("rpc.discover", &()));
    let allowed = client
        .call::<Value, _>("rpc.discover", &())
        .meta("token", "secret");
    let allowed = batch.call(allowed);
    let mut replies = soon(batch.send()).await.unwrap();
    let refused = replies.take(refused).unwrap_err();
    assert_eq!(refused.code(), Some(UNAUTHORIZED));
    assert_eq!(replies.take(allowed).unwrap()["methods"][0]["name"], "add");
}

#[tokio::test]
async fn check_of_discover_that_panics_is_answered_as_an_internal_error() {
    let client = TestServer::bind(bind).connect().await;
    let failed = discover(&client, Some("odd"), false).await;
    assert_eq!(failed, Err(code::INTERNAL_ERROR));
    assert!(discover(&client, Some("secret"), false).await.is_ok());
}
