//! Tests a service without a socket, a port or a certificate, but with the same codec as over the network.
//!
//! `cargo run --example testing` runs what `cargo test` would.

use rpc_runtime::{CallError, Client, code, rpc};

#[rpc]
trait Words {
    async fn longest<'a>(&self, text: &'a str) -> Option<&'a str>;
}

struct Plain;

impl Words for Plain {
    async fn longest<'a>(&self, text: &'a str) -> Option<&'a str> {
        text.split_whitespace().max_by_key(|word| word.len())
    }
}

fn words() -> (WordsClient, Client) {
    let client = Client::local(WordsServer::new(Plain));
    (WordsClient::new(client.clone()), client)
}

async fn finds_the_longest_word() {
    let (words, _) = words();
    assert_eq!(
        words.longest("to be or not").await.unwrap().as_deref(),
        Some("not")
    );
    assert_eq!(words.longest("").await.unwrap(), None);
}

/// Sends a request that a client in another language could send.
async fn rejects_an_argument_that_is_no_text() {
    let (_, client) = words();
    let refused = client.call::<String, _>("longest", &[7]).await;
    assert!(matches!(refused, Err(CallError::Remote(e)) if e.code() == code::INVALID_PARAMS));
}

async fn takes_arguments_by_name() {
    let (_, client) = words();
    let by_name = serde_json::json!({ "text": "one \"two\"" });
    assert_eq!(
        client.call::<String, _>("longest", &by_name).await.unwrap(),
        "\"two\""
    );
}

#[tokio::main]
async fn main() {
    finds_the_longest_word().await;
    rejects_an_argument_that_is_no_text().await;
    takes_arguments_by_name().await;
    println!("all is well");
}
