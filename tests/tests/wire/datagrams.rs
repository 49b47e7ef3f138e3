//! Unreliable notifications: in datagrams if they fit, and otherwise on streams.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rpc_runtime::description::MethodKind;
use rpc_runtime::{Client, Context, Limits, Service, rpc};
use serde_json::{Value, json};
use tests::message::{call_line, notification};
use tests::peer::{RawClient, RawConnection};
use tests::relay::{Faults, Relay};
use tests::support::{TestServer, current_thread, soon};
use tokio::sync::{Semaphore, mpsc};

/// The service of the server.
#[rpc]
trait Scale {
    #[rpc(notification, unreliable)]
    async fn weigh(&self, grams: u64, note: &str);
    /// Weighs as `weigh` does, once the test adds a permit.
    #[rpc(notification, unreliable)]
    async fn weigh_slowly(&self, grams: u64, note: &str);
    /// Returns the weights since the last call.
    async fn weighed(&self) -> Vec<u64>;
    async fn add(&self, a: i64, b: i64) -> i64;
    /// Sends an unreliable notification to the caller.
    async fn show(&self, cx: &Context, grams: u64, note: &str) -> bool;
}

/// The service of the client.
#[rpc]
trait Display {
    #[rpc(notification, unreliable)]
    async fn shown(&self, grams: u64, note: &str);
}

struct Kitchen {
    weighed: Mutex<Vec<u64>>,
    go_on: Semaphore,
}

impl Default for Kitchen {
    fn default() -> Self {
        Self {
            weighed: Mutex::default(),
            go_on: Semaphore::new(0),
        }
    }
}

impl Scale for Kitchen {
    async fn weigh(&self, grams: u64, _: &str) {
        self.weighed.lock().unwrap().push(grams);
    }

    async fn weigh_slowly(&self, grams: u64, note: &str) {
        self.go_on.acquire().await.unwrap().forget();
        self.weigh(grams, note).await;
    }

    async fn weighed(&self) -> Vec<u64> {
        std::mem::take(&mut *self.weighed.lock().unwrap())
    }

    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    async fn show(&self, cx: &Context, grams: u64, note: &str) -> bool {
        let display = cx.client::<DisplayClient>();
        display.shown(grams, note).await.is_ok()
    }
}

struct Screen(mpsc::UnboundedSender<u64>);

impl Display for Screen {
    async fn shown(&self, grams: u64, _: &str) {
        let _ = self.0.send(grams);
    }
}

fn open() -> TestServer {
    open_for(Arc::default())
}

fn open_for(kitchen: Arc<Kitchen>) -> TestServer {
    TestServer::start(ScaleServer::from_arc(kitchen), Limits::default())
}

async fn scale() -> (ScaleClient, Client) {
    let client = open().connect().await;
    (ScaleClient::new(client.clone()), client)
}

/// Waits until this number of notifications has arrived.
async fn weighed(scale: &ScaleClient, times: usize) -> Vec<u64> {
    let mut all = Vec::new();
    soon(async {
        while all.len() < times {
            all.extend(scale.weighed().await.unwrap());
        }
    })
    .await;
    all
}

#[tokio::test]
async fn unreliable_notifications_arrive() {
    let (scale, _) = scale().await;
    for grams in 1..=3 {
        soon(scale.weigh(grams, "flour")).await.unwrap();
    }
    assert_eq!(weighed(&scale, 3).await, [1, 2, 3]);
}

#[tokio::test]
async fn unreliable_notifications_past_the_packet_size_arrive_on_streams() {
    let (scale, _) = scale().await;
    for size in [1_500, 5_000, 20_000, 300_000] {
        soon(scale.weigh(size, &"x".repeat(size as usize)))
            .await
            .unwrap();
        assert_eq!(weighed(&scale, 1).await, [size]);
    }
}

#[tokio::test]
async fn description_marks_unreliable_notifications() {
    let methods = ScaleServer::<Kitchen>::DESCRIPTION.methods;
    let told = methods
        .iter()
        .map(|method| (method.kind, method.unreliable));
    let (call, lossy) = ((MethodKind::Call, false), (MethodKind::Notification, true));
    assert!(told.eq([lossy, lossy, call, call, call]));
}

#[tokio::test]
async fn server_sends_unreliable_notifications_to_its_client() {
    let (shown, mut screen) = mpsc::unbounded_channel();
    let server = open();
    let builder = server.client().service(DisplayServer::new(Screen(shown)));
    let client = soon(builder.connect(server.address)).await.unwrap();
    let scale = ScaleClient::new(client.clone());
    for note in ["short", &"x".repeat(3_000)] {
        assert!(soon(scale.show(7, note)).await.unwrap());
        assert_eq!(soon(screen.recv()).await, Some(7));
    }
}

#[tokio::test]
async fn unreliable_notifications_of_a_local_client_arrive() {
    let (shown, mut screen) = mpsc::unbounded_channel();
    let builder = Client::builder().service(DisplayServer::new(Screen(shown)));
    let client = builder.local(ScaleServer::new(Kitchen::default()));
    let scale = ScaleClient::new(client.clone());
    for size in [10, 3_000] {
        let note = "x".repeat(size);
        soon(scale.weigh(size as u64, &note)).await.unwrap();
        assert_eq!(weighed(&scale, 1).await, [size as u64]);
        assert!(soon(scale.show(7, &note)).await.unwrap());
        assert_eq!(soon(screen.recv()).await, Some(7));
    }
    let by_name = client.notify("weigh", &json!([5, ""])).unreliable();
    soon(by_name).await.unwrap();
    assert_eq!(weighed(&scale, 1).await, [5]);
}

#[tokio::test]
async fn raw_client_receives_unreliable_notifications_in_datagrams() {
    let server = TestServer::start(ScaleServer::new(Kitchen::default()), Limits::default());
    let connection = RawClient::connect(&server).await;
    let show = br#"{"jsonrpc":"2.0","id":1,"method":"show","params":[7,"flour"]}"#;
    let replies = connection.exchange(show).await;
    assert_eq!(replies[0]["result"], true);
    let datagram = soon(connection.read_datagram()).await.unwrap();
    let shown: Value = serde_json::from_slice(&datagram).unwrap();
    let expected = json!({ "jsonrpc": "2.0", "method": "shown", "params": [7, "flour"] });
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn raw_client_without_datagrams_receives_unreliable_notifications_on_a_stream() {
    let server = TestServer::start(ScaleServer::new(Kitchen::default()), Limits::default());
    let mut transport = quinn::TransportConfig::default();
    transport.datagram_receive_buffer_size(None);
    let connection = RawClient::new(&server).transport(transport).dial().await;
    let show = br#"{"jsonrpc":"2.0","id":1,"method":"show","params":[7,"flour"]}"#;
    assert_eq!(connection.exchange(show).await[0]["result"], true);
    let (_stream, shown) = connection.accept_call().await;
    assert_eq!(shown["params"], json!([7, "flour"]));
}

/// Waits until this number of notifications of a raw client has arrived.
async fn raw_notifications(connection: &RawConnection, times: usize) -> Vec<u64> {
    let mut all = Vec::new();
    soon(async {
        while all.len() < times {
            let ask = br#"{"jsonrpc":"2.0","id":1,"method":"weighed"}"#;
            let replies = connection.exchange(ask).await;
            all.extend(
                replies[0]["result"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter_map(Value::as_u64),
            );
        }
    })
    .await;
    all
}

#[tokio::test]
async fn datagram_without_a_message_is_ignored() {
    let server = TestServer::start(ScaleServer::new(Kitchen::default()), Limits::default());
    let connection = RawClient::connect(&server).await;
    let weigh =
        |grams: u64| format!(r#"{{"jsonrpc":"2.0","method":"weigh","params":[{grams},""]}}"#);
    let (half, rest) = {
        let whole = weigh(99);
        let (half, rest) = whole.split_at(20);
        (half.to_owned(), rest.to_owned())
    };
    let datagrams = [
        weigh(1),
        String::new(),
        "\n\n".into(),
        "}{".into(),
        // A truncated message is not continued in the next datagram.
        half,
        rest,
        // Two messages in one datagram, the last with and without its line feed.
        weigh(2) + "\n" + &weigh(3),
        weigh(4) + "\r\n" + &weigh(5) + "\n",
        // A batch.
        format!("[{},{}]", weigh(6), weigh(7)),
        // Calls, which cannot be answered.
        r#"{"jsonrpc":"2.0","id":1,"method":"weigh","params":[98,""]}"#.into(),
        r#"{"jsonrpc":"2.0","method":"nothing"}"#.into(),
        "\u{fffd}\0".into(),
        weigh(8),
    ];
    for datagram in datagrams {
        connection.send_datagram(datagram.into()).unwrap();
    }
    connection.send_datagram(vec![0xff; 900].into()).unwrap();
    connection.send_datagram(weigh(9).into()).unwrap();
    let mut weighed = raw_notifications(&connection, 9).await;
    weighed.sort_unstable();
    assert_eq!(weighed, (1..=9).collect::<Vec<_>>());
    assert!(soon(server.handle.shutdown(Duration::from_secs(5))).await);
}

#[tokio::test]
async fn server_under_a_flood_of_datagrams_answers_calls() {
    let server = open();
    let connection = RawClient::connect(&server).await;
    let datagram = notification("weigh", json!([1, "x"])).to_string();
    for sent in 0..200_000 {
        let _ = connection.send_datagram(datagram.clone().into());
        if sent % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let replies = connection.exchange(call_line(2, "add", "[1,2]")).await;
    assert_eq!(replies[0]["result"], 3);
}

/// Counts the memory of both ends, which share a thread.
#[test]
fn burst_of_datagrams_takes_bounded_memory_and_no_permits() {
    const BURST: u64 = 10_000;
    const SIZE: usize = 1_000;
    let runtime = current_thread();
    let kitchen = Arc::new(Kitchen::default());
    let client = runtime.block_on(async {
        let server = open_for(Arc::clone(&kitchen));
        server.connect().await
    });
    let scale = ScaleClient::new(client.clone());
    let note = "x".repeat(SIZE);
    let measured = allocation_counter::measure(|| {
        runtime.block_on(async {
            for grams in 0..BURST {
                scale.weigh_slowly(grams, &note).await.unwrap();
                if grams % 50 == 0 {
                    // A ping needs no permit, all of which are in use.
                    let ping = client.call::<(), _>("rpc.ping", &());
                    soon(ping).await.unwrap();
                }
            }
        });
    });
    kitchen.go_on.add_permits(BURST as usize);
    let arrived = runtime.block_on(async {
        let mut arrived = weighed(&scale, 1).await;
        assert_eq!(soon(scale.add(1, 2)).await.unwrap(), 3);
        arrived.extend(scale.weighed().await.unwrap());
        arrived
    });
    let unique: BTreeSet<_> = arrived.iter().collect();
    assert_eq!(unique.len(), arrived.len(), "none arrives twice");
    assert!(arrived.len() < BURST as usize, "some were dropped");
    let peak = measured.bytes_max;
    assert!(peak < BURST * SIZE as u64 / 2, "{peak} bytes at once");
}

#[tokio::test]
async fn datagrams_are_lost_with_their_packets_and_calls_are_not() {
    const SENT: usize = 400;
    let server = open();
    let relay = Relay::start(server.address, 7).unwrap();
    let client = soon(server.client().connect(relay.address()))
        .await
        .unwrap();
    let scale = ScaleClient::new(client.clone());
    relay.set_faults(Faults {
        loss: 0.3,
        ..Faults::default()
    });
    // Two of them do not fit into one packet.
    let note = "x".repeat(900);
    let mut arrived = Vec::new();
    for grams in 0..SENT {
        soon(scale.weigh(grams as u64, &note)).await.unwrap();
        if grams % 8 == 7 {
            // The datagrams are sent before this call.
            assert_eq!(soon(scale.add(1, 2)).await.unwrap(), 3);
        }
    }
    relay.set_faults(Faults::default());
    for _ in 0..2 {
        arrived.extend(soon(scale.weighed()).await.unwrap());
    }
    let unique: BTreeSet<_> = arrived.iter().collect();
    assert_eq!(unique.len(), arrived.len(), "none arrives twice");
    let share = arrived.len() as f64 / SENT as f64;
    assert!((0.55..0.85).contains(&share), "{share} of them arrived");
    assert!(relay.counts().lost > 0);
    drop(client);
}

#[tokio::test]
async fn drain_after_datagrams_ends() {
    let server = open();
    let client = server.connect().await;
    let scale = ScaleClient::new(client.clone());
    soon(scale.weigh(1, "")).await.unwrap();
    assert_eq!(weighed(&scale, 1).await, [1]);
    assert!(soon(server.handle.shutdown(Duration::from_secs(5))).await);
}
