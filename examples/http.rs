//! Serves one service over QUIC, HTTP and WebSocket, beside the pages of a web server, and calls it.
//!
//! `cargo run --example http -- --serve` serves until ctrl-c.

use std::error::Error;
use std::net::SocketAddr;

use axum::extract::Request;
use axum::extract::connect_info::ConnectInfo;
use axum::routing::get;
use axum::{Router, middleware};
use futures_util::Stream;
use rpc_http::{HttpServer, HttpService, PeerAddress};
use rpc_runtime::{Client, Context, Identity, Server, Trust, rpc};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower_http::cors::{Any, CorsLayer};

#[rpc]
trait Weather {
    /// Returns the temperature at a place.
    async fn celsius(&self, cx: &Context, place: &str) -> f64;
    /// Returns the temperatures of the next hours.
    fn forecast(&self, hours: u32) -> impl Stream<Item = f64>;
}

#[derive(Clone)]
struct Station;

impl Weather for Station {
    async fn celsius(&self, cx: &Context, place: &str) -> f64 {
        // The headers `authorization`, `traceparent` and `tracestate` are metadata, and so are those of
        // `HttpService::metadata_headers`.
        println!(
            "{place}: a call from {:?} with the trace {:?}",
            cx.peer(),
            cx.meta("traceparent")
        );
        21.5
    }

    fn forecast(&self, hours: u32) -> impl Stream<Item = f64> {
        futures_util::stream::iter((0..hours).map(|hour| 21.5 - f64::from(hour)))
    }
}

/// Answers at `/rpc` of a web server.
fn router(service: HttpService) -> Router {
    // Pages of other origins may read the answers. `HttpService` decides which of them may call.
    let cors = CorsLayer::new()
        .allow_origin(["https://app.example.org".parse().unwrap()])
        .allow_headers(Any);
    let rpc = Router::new()
        .route_service("/rpc", service)
        .layer(middleware::map_request(with_peer))
        .layer(cors);
    Router::new()
        .route("/", get(|| async { "The weather is at /rpc" }))
        .merge(rpc)
}

/// Tells the service the address of the client, for limits and handlers.
async fn with_peer(ConnectInfo(peer): ConnectInfo<SocketAddr>, mut request: Request) -> Request {
    request.extensions_mut().insert(PeerAddress(peer));
    request
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let identity = Identity::self_signed(["localhost", "127.0.0.1"])?;
    let trust = Trust::certificate(identity.certificate());
    let server = Server::builder(identity)
        .service(WeatherServer::new(Station))
        .bind("127.0.0.1:0")?;
    let (quic, services) = (server.local_addr()?, server.services());
    let https = HttpServer::new(services.clone())
        .tls()
        .bind("127.0.0.1:0")
        .await?;
    let service = HttpService::new(services).allow_origins(["https://app.example.org"]);
    let web = TcpListener::bind("127.0.0.1:0").await?;
    let (https_address, web_address) = (https.local_addr()?, web.local_addr()?);
    println!("QUIC at {quic}");
    println!("HTTPS and wss:// at {https_address}");
    println!("a web server with http://{web_address}/rpc and ws://{web_address}/rpc");

    let pages = router(service).into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(web, pages).await });
    tokio::spawn(https.run());
    let serving = tokio::spawn(server.run());
    if std::env::args().any(|argument| argument == "--serve") {
        return Ok(serving.await?);
    }

    let client = Client::builder().trust(trust).connect(quic).await?;
    let weather = WeatherClient::new(client);
    println!("over QUIC: {}", weather.celsius("Riga").await?);
    println!("over HTTP: {}", post(web_address, "/rpc").await?);
    Ok(())
}

/// Calls as any program with a socket can.
async fn post(address: SocketAddr, path: &str) -> Result<String, Box<dyn Error>> {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"celsius","params":["Riga"]}"#;
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let reply = answer.split("\r\n\r\n").nth(1);
    Ok(reply.ok_or("no body")?.to_owned())
}
