//! Each kind of call, over each transport.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, stream};
use rpc_runtime::{CallError, Client, TransportKind};
use tests::support::{DEADLINE, eventually, soon};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::service::{Desk, HomeServer, House, KindsClient, KindsServer};
use crate::support::Doors;

/// A client over one transport, and what its service sees.
struct Bench {
    client: Client,
    kinds: KindsClient,
    desk: Desk,
    house: House,
}

impl Bench {
    fn new(client: Client, desk: &Desk, house: &House) -> Self {
        Self {
            kinds: KindsClient::new(client.clone()),
            client,
            desk: desk.clone(),
            house: house.clone(),
        }
    }

    /// Waits until so many handlers run.
    async fn runs(&self, count: usize) {
        reaches(&self.desk.running, count).await;
    }
}

async fn reaches(running: &watch::Sender<usize>, count: usize) {
    let mut running = running.subscribe();
    soon(running.wait_for(|running| *running == count))
        .await
        .unwrap();
}

type Step<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

macro_rules! kinds {
    ($($name:ident),* $(,)?) => {
        /// The kinds of calls.
        const KINDS: &[(&str, fn(&Bench) -> Step<'_>)] =
            &[$((stringify!($name), |bench| $name(bench).boxed_local())),*];
    };
}

kinds![
    calls_side_by_side,
    call_on_a_dedicated_stream,
    large_call,
    error_of_the_handler,
    metadata_of_a_response,
    blocking_call,
    batch,
    notification,
    large_notification,
    unreliable_notification,
    items_down,
    items_up,
    items_both_ways,
    items_that_are_not_taken_stop_the_handler,
    dropped_items_end_the_handler,
    deadline,
    deadline_on_a_dedicated_stream,
    dropped_call_ends_the_handler,
    dropped_call_on_a_dedicated_stream_ends_the_handler,
    one_connection_for_all_streams,
    call_of_the_server,
    call_of_the_server_that_is_cancelled,
    items_for_the_server,
];

async fn calls_side_by_side(bench: &Bench) {
    let calls = (0..200).map(|n| bench.kinds.add(n, 1));
    let sums = soon(futures_util::future::join_all(calls)).await;
    let sums: Vec<_> = sums.into_iter().map(Result::unwrap).collect();
    assert_eq!(sums, (1..=200).collect::<Vec<_>>());
}

async fn call_on_a_dedicated_stream(bench: &Bench) {
    assert_eq!(
        soon(bench.kinds.add(1, 2).dedicated_stream())
            .await
            .unwrap(),
        3
    );
}

async fn large_call(bench: &Bench) {
    let text = "é".repeat(400_000);
    assert_eq!(soon(bench.kinds.echo(text.clone())).await.unwrap(), text);
}

async fn error_of_the_handler(bench: &Bench) {
    match soon(bench.kinds.fail()).await {
        Err(CallError::Application(error)) => assert_eq!(error.message(), "no paper"),
        other => panic!("{other:?}"),
    }
}

async fn metadata_of_a_response(bench: &Bench) {
    let (number, metadata) = soon(bench.kinds.number(7).with_response_metadata()).await;
    assert_eq!((number.unwrap(), metadata.get("number")), (7, Some("7")));
}

async fn blocking_call(bench: &Bench) {
    assert_eq!(soon(bench.kinds.block(7)).await.unwrap(), 7);
}

async fn batch(bench: &Bench) {
    let mut batch = bench.client.batch();
    let (sum, text) = (
        batch.call(bench.kinds.add(1, 2)),
        batch.call(bench.kinds.echo("é".into())),
    );
    let mut replies = soon(batch.send()).await.unwrap();
    assert_eq!(replies.take(sum).unwrap(), 3);
    assert_eq!(replies.take(text).unwrap(), "é");
}

async fn is_noted(bench: &Bench, text: &str) {
    let mut notes = bench.desk.notes.subscribe();
    let noted = notes.wait_for(|notes| notes.iter().any(|note| note == text));
    soon(noted).await.unwrap();
    bench.desk.notes.send_modify(Vec::clear);
}

async fn notification(bench: &Bench) {
    soon(bench.kinds.note("small".into())).await.unwrap();
    is_noted(bench, "small").await;
}

async fn large_notification(bench: &Bench) {
    let text = "x".repeat(400_000);
    soon(bench.kinds.note(text.clone())).await.unwrap();
    is_noted(bench, &text).await;
}

async fn unreliable_notification(bench: &Bench) {
    // It is lost only if the machine is busy.
    while bench.desk.notes.borrow().is_empty() {
        soon(bench.kinds.note("unreliable".into()).unreliable())
            .await
            .unwrap();
        tokio::task::yield_now().await;
    }
    bench.desk.notes.send_modify(Vec::clear);
}

async fn items_down(bench: &Bench) {
    let items = bench.kinds.count(3_000);
    let items: Vec<_> = soon(items.map(Result::unwrap).collect::<Vec<_>>()).await;
    assert_eq!(items, (1..=3_000).collect::<Vec<_>>());
}

async fn items_up(bench: &Bench) {
    let sum = soon(bench.kinds.sum(stream::iter(1..=3_000)))
        .await
        .unwrap();
    assert_eq!(sum, 4_501_500);
}

async fn items_both_ways(bench: &Bench) {
    // Each item is sent after the double of the one before it has arrived.
    let (next, numbers) = tokio::sync::mpsc::unbounded_channel();
    let numbers = stream::unfold(numbers, async |mut numbers| {
        Some((numbers.recv().await?, numbers))
    });
    next.send(1).unwrap();
    let mut doubles = bench.kinds.double(numbers);
    let mut next = Some(next);
    let mut received = Vec::new();
    while let Some(double) = soon(doubles.next()).await {
        let double = double.unwrap();
        received.push(double);
        match double {
            ..1_000 => next.as_ref().unwrap().send(double).unwrap(),
            _ => next = None,
        }
    }
    assert_eq!(received, (1..=10).map(|n| 1 << n).collect::<Vec<_>>());
}

async fn items_that_are_not_taken_stop_the_handler(bench: &Bench) {
    bench.desk.produced.store(0, Ordering::Relaxed);
    let mut items = bench.kinds.flood(1 << 10);
    assert_eq!(soon(items.next()).await.unwrap().unwrap().len(), 1 << 10);
    let produced = || bench.desk.produced.load(Ordering::Relaxed);
    // Other calls are answered meanwhile.
    let turn = async || {
        soon(bench.kinds.add(1, 1)).await.unwrap();
    };
    tests::support::until_stable(produced, turn).await;
    let produced = produced();
    assert!(produced < 16 << 10, "{produced} items of 1 KiB");
    drop(items);
    bench.runs(0).await;
}

async fn dropped_items_end_the_handler(bench: &Bench) {
    let mut items = bench.kinds.flood(10);
    soon(items.next()).await.unwrap().unwrap();
    bench.runs(1).await;
    drop(items);
    bench.runs(0).await;
}

async fn deadline(bench: &Bench) {
    let late = soon(bench.kinds.hang().timeout(DEADLINE)).await;
    assert!(matches!(late, Err(CallError::Timeout)), "{late:?}");
    bench.runs(0).await;
}

async fn deadline_on_a_dedicated_stream(bench: &Bench) {
    let late = soon(bench.kinds.hang().dedicated_stream().timeout(DEADLINE)).await;
    assert!(matches!(late, Err(CallError::Timeout)), "{late:?}");
    bench.runs(0).await;
}

async fn dropped_call_ends_the_handler(bench: &Bench) {
    let call = tokio::spawn(bench.kinds.hang().into_future());
    bench.runs(1).await;
    call.abort();
    bench.runs(0).await;
}

async fn dropped_call_on_a_dedicated_stream_ends_the_handler(bench: &Bench) {
    let call = tokio::spawn(bench.kinds.hang().dedicated_stream());
    bench.runs(1).await;
    call.abort();
    bench.runs(0).await;
}

async fn one_connection_for_all_streams(bench: &Bench) {
    assert_eq!(soon(bench.kinds.visit()).await.unwrap(), 1);
    assert_eq!(
        soon(bench.kinds.visit().dedicated_stream()).await.unwrap(),
        2
    );
    assert_eq!(soon(bench.kinds.visit()).await.unwrap(), 3);
}

async fn call_of_the_server(bench: &Bench) {
    let asked = (1..20).map(|n| bench.kinds.ask(n));
    let squares = soon(futures_util::future::join_all(asked)).await;
    for (n, square) in (1..20).zip(squares) {
        assert_eq!(square.unwrap(), Some(n * n));
    }
}

async fn call_of_the_server_that_is_cancelled(bench: &Bench) {
    assert!(soon(bench.kinds.ask_in_vain()).await.unwrap());
    reaches(&bench.house.lingering, 0).await;
}

async fn items_for_the_server(bench: &Bench) {
    let items = soon(bench.kinds.ask_for_items(100)).await.unwrap();
    assert_eq!(items, (1..=100).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn every_kind_of_call_works_over_every_transport() {
    let desk = Desk::default();
    let doors = Doors::open(KindsServer::new(desk.clone())).await;
    let transports = [
        ("memory", TransportKind::Memory, None),
        ("QUIC", TransportKind::Quic, Some(doors.quic.to_string())),
        ("HTTP/2", TransportKind::Http2, Some(doors.plain_url())),
        ("HTTP/2 over TLS", TransportKind::Http2, Some(doors.url())),
    ];
    for (name, kind, address) in transports {
        let house = House::default();
        let builder = doors.client().service(HomeServer::new(house.clone()));
        let client = match address {
            Some(address) => soon(builder.connect(address)).await.unwrap(),
            None => builder.local(KindsServer::new(desk.clone())),
        };
        assert_eq!(client.transport(), Some(kind), "{name}");
        run_every_kind(name, client, (&desk, &house)).await;
    }
}

/// Makes every kind of call on a client, and closes it.
async fn run_every_kind(name: &str, client: Client, seen: (&Desk, &House)) {
    run_kinds(name, client, seen, |_| true).await;
}

/// Makes the kinds of calls that a proxy supports on a client, and closes it.
pub(crate) async fn run_kinds(
    name: &str,
    client: Client,
    (desk, house): (&Desk, &House),
    supports: impl Fn(&str) -> bool,
) {
    let bench = Bench::new(client, desk, house);
    for (kind, step) in KINDS.iter().filter(|(kind, _)| supports(kind)) {
        let step = AssertUnwindSafe(step(&bench)).catch_unwind();
        match timeout(Duration::from_secs(60), step).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => panic!("{kind} over {name} has failed"),
            Err(_) => panic!("{kind} over {name} does not end"),
        }
    }
    soon(bench.client.close()).await;
    eventually(|| bench.client.transport().is_none()).await;
}
