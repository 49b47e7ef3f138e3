//! A server and a client in one process, over real QUIC on loopback.

use std::time::Duration;

use rpc_runtime::{CallError, Client, Context, Identity, RpcError, Server, Trust, rpc};

#[rpc]
trait Calculator {
    /// Adds two numbers.
    async fn add(&self, a: i64, b: i64) -> i64;
    /// Divides, unless that makes no sense.
    async fn divide(&self, a: f64, b: f64) -> Result<f64, DivideError>;
    /// Counts words, or occurrences of `needle`. Both are borrowed from the received bytes.
    async fn count(&self, text: &str, needle: Option<&str>) -> usize;
    /// Writes a line on the server. Nobody waits for it.
    #[rpc(notification)]
    async fn log(&self, cx: &Context, line: &str);
}

#[derive(Debug, thiserror::Error, RpcError)]
enum DivideError {
    #[error("division by zero")]
    #[rpc(code = 1001)]
    ByZero,
    #[error("{value} is not finite")]
    #[rpc(code = 1002)]
    NotFinite { value: String },
}

struct Desk;

impl Calculator for Desk {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    async fn divide(&self, a: f64, b: f64) -> Result<f64, DivideError> {
        match a / b {
            _ if b == 0.0 => Err(DivideError::ByZero),
            quotient if quotient.is_finite() => Ok(quotient),
            quotient => Err(DivideError::NotFinite {
                value: quotient.to_string(),
            }),
        }
    }

    async fn count(&self, text: &str, needle: Option<&str>) -> usize {
        needle.map_or_else(
            || text.split_whitespace().count(),
            |needle| text.matches(needle).count(),
        )
    }

    async fn log(&self, cx: &Context, line: &str) {
        println!("server heard {line:?} from {:?}", cx.peer());
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let identity = Identity::self_signed(["localhost", "127.0.0.1"])?;
    let server = Server::builder(identity.clone())
        .service(CalculatorServer::new(Desk))
        .bind("127.0.0.1:0")?;
    let address = server.local_addr()?;
    let handle = server.handle();
    tokio::spawn(server.run());

    let client = Client::builder()
        .trust(Trust::certificate(identity.certificate()))
        .connect(address)
        .await?;
    let calculator = CalculatorClient::new(client.clone());

    println!("1 + 2 = {}", calculator.add(1, 2).await?);
    println!(
        "words: {}",
        calculator.count("to be\nor \"not\" to be", None).await?
    );
    match calculator.divide(1.0, 0.0).await {
        Err(CallError::Application(DivideError::ByZero)) => println!("1 / 0: a typed error"),
        other => println!("1 / 0: {other:?}"),
    }
    calculator.log("a notification").await?;

    let mut sums = tokio::task::JoinSet::new();
    for n in 0..100 {
        sums.spawn(calculator.add(n, n));
    }
    let total: i64 = sums.join_all().await.into_iter().sum::<Result<i64, _>>()?;
    println!("100 concurrent calls sum up to {total}");

    client.close().await;
    handle.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
