//! Describes a service: makes an OpenRPC document from its trait, and asks a server for the description of its services.

use std::time::Duration;

use rpc_runtime::description::OpenRpc;
use rpc_runtime::{Client, Identity, RpcError, Server, Trust, rpc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Keeps the library's books.
#[rpc(openrpc, namespace = "books")]
trait Library {
    /// Lends a book.
    ///
    /// The book has to be returned in time.
    #[rpc(example(params = {"title": "Emma"}, result = {"title": "Emma", "days": 14}))]
    async fn lend(&self, title: &str, #[rpc(default = 14)] days: u8) -> Result<Loan, NotLent>;
    /// Returns the borrower of a book.
    #[rpc(idempotent)]
    async fn borrower(&self, title: &str) -> Option<String>;
    /// Burns everything.
    async fn burn(&self);
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Loan {
    title: String,
    /// The number of days for which it may be kept.
    days: u8,
}

#[derive(Debug, thiserror::Error, RpcError)]
enum NotLent {
    #[error("{borrower} has it")]
    #[rpc(code = 1001)]
    Out { borrower: String },
    #[error("there is no such book")]
    #[rpc(code = 1002)]
    Unknown,
}

struct Shelf;

impl Library for Shelf {
    async fn lend(&self, title: &str, days: u8) -> Result<Loan, NotLent> {
        match title {
            "Emma" => Ok(Loan {
                title: title.to_owned(),
                days,
            }),
            "Persuasion" => Err(NotLent::Out {
                borrower: "Ada".to_owned(),
            }),
            _ => Err(NotLent::Unknown),
        }
    }

    async fn borrower(&self, title: &str) -> Option<String> {
        (title == "Persuasion").then(|| "Ada".to_owned())
    }

    async fn burn(&self) {}
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The trait is enough: a build can write this to a file, for a documentation page or a client generator.
    let document = OpenRpc::of::<LibraryClient>().title("The library");
    println!("{}", document.to_json());

    let identity = Identity::self_signed(["127.0.0.1"])?;
    let trust = Trust::certificate(identity.certificate());
    let server = Server::builder(identity)
        .service(LibraryServer::new(Shelf))
        // Leaves a method out of the description.
        .openrpc(|document| document.retain(|method| method.name != "books.burn"))
        .bind("127.0.0.1:0")?;
    let (address, handle) = (server.local_addr()?, server.handle());
    tokio::spawn(server.run());

    let client = Client::builder().trust(trust).connect(address).await?;
    let found: Value = client.call("rpc.discover", &()).await?;
    for method in found["methods"].as_array().into_iter().flatten() {
        println!("{}: {}", method["name"], method["summary"]);
    }
    handle.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
