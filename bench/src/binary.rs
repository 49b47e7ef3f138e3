//! Measures calls that carry the same number of bytes as text, as Base64 and as an array of numbers.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rpc_runtime::{Base64, Client, Identity, Server, Trust, rpc};

const ROUNDS: usize = 31;
const SIZES: [usize; 3] = [3_000, 48_000, 600_000];

/// An array of more bytes does not fit into a request.
const MAX_ARRAY: usize = 100_000;

/// A call with Base64 may take so many times as long as one with text, over QUIC.
const AIM: f64 = 2.0;

#[rpc]
trait Store {
    async fn text(&self, text: String) -> usize;
    async fn base64(&self, bytes: Base64<Vec<u8>>) -> usize;
    async fn array(&self, bytes: Vec<u8>) -> usize;
}

struct Sink;

impl Store for Sink {
    async fn text(&self, text: String) -> usize {
        black_box(text).len()
    }

    async fn base64(&self, bytes: Base64<Vec<u8>>) -> usize {
        black_box(bytes).0.len()
    }

    async fn array(&self, bytes: Vec<u8>) -> usize {
        black_box(bytes).len()
    }
}

/// Prints the microseconds of a call, the least of the rounds, in each of which the forms are sent in turn. Fails if Base64
/// misses the aim.
pub(crate) fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(measure())
}

async fn measure() -> Result<()> {
    let identity = Identity::self_signed(["localhost", "127.0.0.1"])?;
    let trust = Trust::certificate(identity.certificate());
    let server = Server::builder(identity)
        .service(StoreServer::new(Sink))
        .bind("127.0.0.1:0")?;
    let address = server.local_addr()?;
    tokio::spawn(server.run());
    let quic = Client::builder().trust(trust).connect(address).await?;
    println!("| transport | bytes | text | Base64 | array | Base64 : text |");
    println!("|---|--:|--:|--:|--:|--:|");
    let memory = Client::local(StoreServer::new(Sink));
    for (name, client) in [("memory", memory), ("QUIC", quic)] {
        let store = StoreClient::new(client);
        for size in SIZES {
            let [text, base64, array] = row(&store, size).await?;
            let ratio = base64 / text;
            let array = match size > MAX_ARRAY {
                true => "–".to_owned(),
                false => format!("{array:.1}"),
            };
            println!("| {name} | {size} | {text:.1} | {base64:.1} | {array} | {ratio:.2} |");
            ensure!(name == "memory" || ratio <= AIM, "Base64 misses its aim");
        }
    }
    Ok(())
}

/// Returns the microseconds of a call with each of the forms.
async fn row(store: &StoreClient, size: usize) -> Result<[f64; 3]> {
    let letters = (b'a'..=b'z').cycle().take(size);
    let text = String::from_utf8(letters.collect())?;
    let bytes: Vec<u8> = (0..size).map(|at| (at * 7919) as u8).collect();
    let calls = 1_000_000 / (size + 3_000) + 1;
    let mut least = [Duration::MAX; 3];
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..calls {
            ensure!(store.text(black_box(text.clone())).await? == size);
        }
        least[0] = least[0].min(start.elapsed());
        let start = Instant::now();
        for _ in 0..calls {
            ensure!(store.base64(Base64(black_box(bytes.clone()))).await? == size);
        }
        least[1] = least[1].min(start.elapsed());
        let start = Instant::now();
        for _ in 0..calls * usize::from(size <= MAX_ARRAY) {
            ensure!(store.array(black_box(bytes.clone())).await? == size);
        }
        least[2] = least[2].min(start.elapsed());
    }
    Ok(least.map(|time| time.as_secs_f64() * 1e6 / calls as f64))
}
