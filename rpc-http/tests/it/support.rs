//! A server, and a client that sends bytes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use rpc_http::HttpServer;
use rpc_runtime::gateway::ServiceSet;
use rpc_runtime::{Context, ErrorObject, rpc};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[rpc]
pub(crate) trait Calculator {
    async fn add(&self, a: i64, b: i64) -> i64;

    async fn fail(&self) -> Result<(), ErrorObject>;

    async fn peer(&self, cx: &Context) -> String;

    async fn metadata(&self, cx: &Context) -> BTreeMap<String, String>;

    /// Never returns.
    async fn wait(&self);

    #[rpc(notification)]
    async fn note(&self, text: String);
}

pub(crate) struct Desk;

impl Calculator for Desk {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    async fn fail(&self) -> Result<(), ErrorObject> {
        Err(ErrorObject::new(7, "no paper"))
    }

    async fn peer(&self, cx: &Context) -> String {
        cx.peer().map_or_else(String::new, |peer| peer.to_string())
    }

    async fn metadata(&self, cx: &Context) -> BTreeMap<String, String> {
        let metadata = cx.metadata();
        metadata
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    async fn wait(&self) {
        std::future::pending().await
    }

    async fn note(&self, _: String) {}
}

/// Starts a server, and returns its address.
pub(crate) async fn serve() -> SocketAddr {
    serve_set(ServiceSet::from(CalculatorServer::new(Desk))).await
}

pub(crate) async fn serve_set(services: ServiceSet) -> SocketAddr {
    let listener = HttpServer::new(services).bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(listener.run());
    address
}

/// A response, split into its status line, its headers and its body.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Sends bytes on a new connection, and returns everything that the server sends until it closes the connection.
pub(crate) async fn exchange(address: SocketAddr, request: &str) -> Reply {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    tokio::time::timeout(Duration::from_secs(10), read)
        .await
        .expect("the server closes the connection")
        .unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

/// Sends a message with POST as `content-type: application/json`.
pub(crate) async fn post(address: SocketAddr, message: &str) -> Reply {
    post_as(address, "content-type: application/json\r\n", message).await
}

pub(crate) async fn post_as(address: SocketAddr, headers: &str, message: &str) -> Reply {
    let request = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{message}",
        message.len()
    );
    exchange(address, &request).await
}
