//! Handlers that pass on the errors of another service.

use std::time::Duration;

use rpc_runtime::{CallError, Client, ErrorObject, RpcError, code, rpc};
use serde_json::json;
use tests::support::soon;

#[derive(Debug, PartialEq, thiserror::Error, RpcError)]
enum StoreError {
    #[error("no {key}")]
    #[rpc(code = 404)]
    Missing { key: String },
}

#[rpc]
trait Store {
    async fn get(&self, key: &str) -> Result<String, StoreError>;
}

struct MemoryStore;

impl Store for MemoryStore {
    async fn get(&self, key: &str) -> Result<String, StoreError> {
        match key {
            "slow" => std::future::pending().await,
            "panic" => panic!("secret"),
            key => Err(StoreError::Missing { key: key.into() }),
        }
    }
}

#[rpc]
trait Gateway {
    async fn show(&self, key: &str) -> Result<String, ErrorObject>;
    /// Calls a method of the store by its name.
    async fn call(&self, method: &str) -> Result<String, ErrorObject>;
}

struct OverStore(Client);

impl Gateway for OverStore {
    async fn show(&self, key: &str) -> Result<String, ErrorObject> {
        let store = StoreClient::new(self.0.clone());
        Ok(store.get(key).timeout(Duration::from_millis(200)).await?)
    }

    async fn call(&self, method: &str) -> Result<String, ErrorObject> {
        Ok(self.0.call(method, &()).await?)
    }
}

fn gateway() -> (Client, GatewayClient) {
    let store = Client::local(StoreServer::new(MemoryStore));
    let gateway = Client::local(GatewayServer::new(OverStore(store.clone())));
    (store, GatewayClient::new(gateway))
}

#[tokio::test]
async fn application_error_of_another_service_is_passed_on_with_its_code_and_data() {
    let (_store, gateway) = gateway();
    let error = soon(gateway.show("pear")).await.unwrap_err();
    assert_eq!(error.code(), Some(404));
    assert_eq!(error.data().as_deref(), Some(r#"{"key":"pear"}"#));
    assert_eq!(error.to_string(), r#"no pear (code 404): {"key":"pear"}"#);
    assert!(matches!(error, CallError::Application(_)), "{error:?}");
}

#[tokio::test]
async fn other_failure_of_a_call_to_another_service_is_never_that_of_the_own_call() {
    let (store, gateway) = gateway();
    let passed_on = |error: CallError<ErrorObject>| {
        assert_eq!(error.code(), Some(code::UPSTREAM_FAILED));
        assert!(!error.is_retryable());
        let CallError::Remote(error) = error else {
            panic!("{error:?}");
        };
        error.data::<String>().unwrap()
    };
    for (method, reason) in [
        ("unknown", "the other service answered with code -32601"),
        ("get", "the other service answered with code -32602"),
    ] {
        let error = soon(gateway.call(method)).await.unwrap_err();
        assert_eq!(passed_on(error), reason);
    }
    for (key, reason) in [
        ("slow", "the call to the other service took too long"),
        ("panic", "the other service answered with code -32603"),
    ] {
        let error = soon(gateway.show(key)).await.unwrap_err();
        assert_eq!(passed_on(error), reason);
    }
    store.close().await;
    let error = soon(gateway.show("pear")).await.unwrap_err();
    let reason = "there is no connection to the other service: the call was not sent";
    assert_eq!(passed_on(error), reason);
}

#[test]
fn failure_that_was_passed_on_twice_keeps_its_first_reason() {
    let first = ErrorObject::from(CallError::<StoreError>::Timeout);
    let second = ErrorObject::from(CallError::<StoreError>::Remote(first.clone()));
    assert_eq!(first, second);
}

#[test]
fn error_says_what_the_server_said_of_it() {
    let error =
        ErrorObject::new(code::INVALID_PARAMS, "Invalid params").with_data(&"a: expected i64");
    let error = CallError::<StoreError>::Remote(error);
    assert_eq!(
        error.to_string(),
        r#"Invalid params (code -32602): "a: expected i64""#
    );
    let long = ErrorObject::new(7, "long").with_data(&json!(["x".repeat(1000), "\u{202e}"]));
    let text = CallError::<StoreError>::Remote(long).to_string();
    assert!(text.len() < 200 && text.ends_with('…'), "{text}");
}

#[test]
fn error_is_retryable_if_the_call_was_not_executed() {
    let remote = |code| CallError::<StoreError>::Remote(ErrorObject::new(code, "")).is_retryable();
    for code in [code::TOO_MANY_CALLS, code::RATE_LIMITED, code::MEMORY_LIMIT] {
        assert!(remote(code), "{code}");
    }
    for code in [
        code::INTERNAL_ERROR,
        code::REPLY_TOO_LARGE,
        code::INVALID_PARAMS,
        404,
    ] {
        assert!(!remote(code), "{code}");
    }
    assert!(!CallError::<StoreError>::Timeout.is_retryable());
}
