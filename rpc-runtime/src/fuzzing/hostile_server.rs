//! A connection to a hostile server, which follows a script, of a client in memory whose allocations are counted.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::client::Client;
use crate::fuzzing::gated::{Gate, GatedServer, GatedService, check};
use crate::fuzzing::gauge::{Gauge, Measure, run_until_idle};
use crate::fuzzing::script::Script;
use crate::fuzzing::scripted::{MOST_SENDING, ScriptedStream, accept, code, open};
use crate::fuzzing::traffic;
use crate::limits::Limits;
use crate::transport::memory::{self, Connection};

/// Maximum number of streams of both sides that the server has open at once.
const STREAMS: usize = 12;

/// Maximum number of calls, batches, streams of items and notifications in flight at once.
const CALLS: usize = 10;

/// Maximum number of actions of a script.
const MOST_ACTIONS: usize = 100;

/// Maximum size of a reply, and maximum size of the text of a request, in bytes.
const REPLY: usize = 16 << 10;
const REQUEST: usize = 5_000;

/// The client's memory budget for the calls that the server makes, in bytes.
const BUDGET: usize = 256 << 10;

/// Memory that a call may take, in bytes. It consists of the request in a growing buffer and a queued request, and of three
/// buffers of replies (a batch has a buffer for its entries) with their values. Each value, of at least two bytes, has an
/// entry of the tape, of the parser's index and of the result.
const CALL: usize = 8 * REQUEST + 3 * (3 * REPLY) + REPLY / 2 * (24 + 8 + 16);

/// Memory that a stream may take besides its calls, in bytes, with the worker that serves the server's calls on it.
const STREAM: usize = 32 << 10;

/// Memory that a message of the server may take beyond the budget, in bytes: see `hostile_client`.
const MESSAGE: usize = 300 << 10;

/// Memory that the thread may keep for later replies, in bytes: the five buffers of its parser.
const PARSER: usize = 5 * (64 << 10);

/// Memory that may be left of a client, in bytes.
const EMPTY: usize = 8 << 10;

/// The time limit of calls that have one.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Runs the script, and checks after each action that the client holds no more than its calls and its budget allow. Checks
/// in the end that each call has ended once and that no memory is left.
///
/// `runtime` has one thread, and its clock is paused.
///
/// # Panics
/// Panics if a check fails.
pub fn drive(script: &[u8], runtime: Runtime, measure: Measure) {
    let mut script = Script::new(script);
    let mut gauge = Gauge::new(runtime, measure);
    let mut harness = gauge.step(ClientHarness::new(&mut script));
    for _ in 0..MOST_ACTIONS {
        if script.has_ended() {
            break;
        }
        gauge.step(harness.act(&mut script));
        harness.check_held(&gauge);
    }
    harness.gate.set_open(true);
    gauge.step(async { sleep(2 * TIMEOUT).await });
    harness.check_timeouts();
    gauge.step(harness.end(&mut script));
    harness.check_ended();
    let gate = Arc::clone(&harness.gate);
    gauge.last_step(async {
        drop(harness);
        // Streams of a closed client may linger.
        sleep(Duration::from_secs(10)).await;
    });
    assert_eq!(gate.running(), 0, "handlers outlive their connection");
    assert_eq!(gauge.counted(), 0, "a connection that is gone is counted");
    drop(gate);
    let kept = gauge.live();
    assert!(kept <= EMPTY, "{kept} bytes are kept without a client");
}

struct ClientHarness {
    gate: Arc<Gate>,
    client: Option<Client>,
    server: Connection,
    streams: [ScriptedStream; STREAMS],
    calls: Vec<InFlightCall>,
    /// Number of calls that have returned, and number of calls that were started and not cancelled.
    returned: Arc<AtomicUsize>,
    expected: usize,
    /// The message that is sent. The buffer does not grow.
    message: String,
}

struct InFlightCall {
    task: JoinHandle<()>,
    has_timeout: bool,
}

impl ClientHarness {
    async fn new(script: &mut Script<'_>) -> Self {
        let gate = Arc::new(Gate::default());
        let (here, server) = memory::pair_with_window(script.pick(&[1 << 10, 64 << 10]));
        let limits = Limits {
            max_request_bytes: 20 << 10,
            max_response_bytes: 32 << 10,
            max_depth: 16,
            max_batch_entries: 6,
            max_concurrent_calls_per_connection: 4,
            max_unsent_bytes_per_stream: 32 << 10,
            max_unsent_bytes_per_connection: 128 << 10,
            max_memory_bytes_per_connection: BUDGET,
            max_net_cancellations: 50,
            ..Limits::default()
        };
        let client = Client::builder()
            .streams(1 + script.below(2))
            .max_response_bytes(REPLY)
            .limits(limits)
            .service(GatedServer::new(GatedService(Arc::clone(&gate))))
            .in_memory(here);
        Self {
            gate,
            client: Some(client),
            server,
            streams: Default::default(),
            calls: Vec::new(),
            returned: Arc::default(),
            expected: 0,
            message: String::with_capacity(traffic::MOST_BYTES),
        }
    }

    async fn act(&mut self, script: &mut Script<'_>) {
        let action = script.byte();
        let is_settling = action & 0x80 == 0;
        let stream = script.below(STREAMS);
        let Self {
            server,
            streams,
            message,
            ..
        } = self;
        let stream = &mut streams[stream];
        match action & 0x3f {
            0..=9 => self.call(script),
            10..=12 => self.cancel(script),
            13..=15 => {
                stream.reset(0x20);
                stream.stop(0x20);
                *stream = accept(server).unwrap_or_default();
            }
            16..=32 => {
                write(script, stream, message);
                stream.push(message.as_bytes(), is_settling).await;
            }
            33..=34 => stream.push(script.take(32), is_settling).await,
            35..=40 => {
                stream.read(script.below(8) + 1);
            }
            41..=42 => stream.finish(),
            43..=44 => stream.reset(code(script)),
            45..=46 => stream.stop(code(script)),
            47..=49 => *stream = open(server, script.flag()).unwrap_or_default(),
            50..=51 => {
                write(script, stream, message);
                server.send_datagram(Bytes::copy_from_slice(message.as_bytes()));
            }
            52..=54 => self.gate.release(script.flag()),
            55..=57 => {
                let milliseconds = script.pick(&[1, 40, 1_000, 2_500, 4_000, 25_000]);
                sleep(Duration::from_millis(milliseconds)).await;
            }
            58 => server.close(code(script), "hostile"),
            _ => streams.iter_mut().for_each(|stream| {
                stream.read(4);
                let _ = stream.flush();
            }),
        }
        match is_settling {
            true => run_until_idle().await,
            false => tokio::task::yield_now().await,
        }
    }

    fn call(&mut self, script: &mut Script<'_>) {
        let (kind, has_timeout) = (script.byte(), script.flag());
        let length = script.pick(&[0, 100, 900, REQUEST]);
        self.calls.retain(|call| !call.task.is_finished());
        let Some(client) = self.client.clone().filter(|_| self.calls.len() < CALLS) else {
            return;
        };
        let call = OutgoingCall {
            client,
            gate: Arc::clone(&self.gate),
            text: "x".repeat(length),
            timeout: if has_timeout { TIMEOUT } else { 1000 * TIMEOUT },
        };
        let returned = Arc::clone(&self.returned);
        let task = tokio::spawn(async move {
            call.run(kind).await;
            returned.fetch_add(1, Ordering::Relaxed);
        });
        self.expected += 1;
        self.calls.push(InFlightCall { task, has_timeout });
    }

    fn cancel(&mut self, script: &mut Script<'_>) {
        let running = self.calls.iter().filter(|call| !call.task.is_finished());
        let running: Vec<_> = running.collect();
        if !running.is_empty() {
            running[script.below(running.len())].task.abort();
            self.expected -= 1;
        }
        self.calls.retain(|call| !call.task.is_finished());
    }

    fn check_held(&self, gauge: &Gauge) {
        let streams: usize = self.streams.iter().map(ScriptedStream::held).sum();
        let apart = streams + self.server.unread() + self.message.capacity();
        let served = BUDGET + BUDGET / 2 + MESSAGE;
        let most = CALLS * CALL + 2 * STREAMS * STREAM + served + PARSER;
        let held = gauge.live().saturating_sub(apart);
        assert!(held <= most, "{held} bytes are held, {most} are allowed");
        let peak = gauge.peak().saturating_sub(apart);
        assert!(peak <= most + MOST_SENDING, "{peak} bytes were held");
    }

    /// Checks that calls with a time limit have ended, whatever the server did.
    fn check_timeouts(&self) {
        let limited = self.calls.iter().filter(|call| call.has_timeout);
        let late = limited.filter(|call| !call.task.is_finished()).count();
        assert_eq!(late, 0, "calls past their time limits");
    }

    /// Ends the connection in the way that the script chooses.
    async fn end(&mut self, script: &mut Script<'_>) {
        let client = self.client.take();
        match script.below(3) {
            0 => self.server.close(code(script), "hostile"),
            1 => {
                if let Some(client) = &client {
                    client.close().await;
                }
            }
            _ => {
                for stream in &mut self.streams {
                    stream.reset(code(script));
                    stream.stop(code(script));
                }
                run_until_idle().await;
                self.server.close(0x11, "hostile");
            }
        }
        run_until_idle().await;
        drop(client);
    }

    fn check_ended(&self) {
        let running = self.calls.iter().filter(|call| !call.task.is_finished());
        assert_eq!(running.count(), 0, "calls outlive their connection");
        let returned = self.returned.load(Ordering::Relaxed);
        assert_eq!(returned, self.expected, "calls that have returned");
    }
}

/// Writes a line or the start of a line; most often a reply to one of the calls of a stream.
fn write(script: &mut Script<'_>, stream: &ScriptedStream, message: &mut String) {
    message.clear();
    let id = match stream.ids.len() {
        0 => script.pick(&[0_u64, 1, 63, 64, 127, 128, 1 << 26]),
        known => stream.ids[script.below(known)],
    };
    let id = id.to_string();
    match script.below(8) {
        0 => traffic::message(script, message),
        1 | 2 => traffic::item_of(script, message, &id),
        3 => {
            message.push('[');
            traffic::reply(script, message, &id);
            message.push(',');
            traffic::reply(script, message, &id);
            message.push(']');
        }
        _ => traffic::reply(script, message, &id),
    }
    message.push('\n');
    traffic::truncate(script, message);
}

struct OutgoingCall {
    client: Client,
    gate: Arc<Gate>,
    text: String,
    timeout: Duration,
}

impl OutgoingCall {
    async fn run(self, kind: u8) {
        let Self {
            client,
            gate,
            text,
            timeout,
        } = self;
        let number = || client.call::<u64, _>("number", &(&text,)).timeout(timeout);
        let string = || {
            client
                .call::<String, _>("string", &(&text,))
                .timeout(timeout)
        };
        let items = || {
            client
                .items::<String, _>("items", &(&text,))
                .timeout(timeout)
        };
        let upload = || stream::iter(vec![text.clone(); 3]);
        match kind % 12 {
            0 => drop(number().await),
            1 => check(&string().with_response_metadata().await.1),
            2 => {
                let call = string().dedicated_stream();
                check(&call.with_response_metadata().await.1);
            }
            3 => drop(number().upload(upload()).await),
            4 => drop(number().upload(stream::pending::<u64>()).await),
            5 => read_items(items(), None).await,
            6 => read_items(items(), Some(&gate)).await,
            7 => read_items(items().upload(upload()), None).await,
            8 => drop(client.notify("note", &(&text,)).timeout(timeout).await),
            9 => drop(client.notify("note", &(&text,)).unreliable().await),
            10 => drop(tokio::join!(number(), string(), number())),
            _ => {
                let mut batch = client.batch().timeout(timeout);
                let entries = (batch.call(number()), batch.call(string()));
                if let Ok(mut replies) = batch.send().await {
                    check(replies.response_metadata(&entries.0));
                    drop((replies.take(entries.0), replies.take(entries.1)));
                }
            }
        }
    }
}

/// Reads items until they end: as they arrive, or each after it has passed the gate.
async fn read_items<T>(items: impl Stream<Item = T>, gate: Option<&Gate>) {
    let mut items = pin!(items);
    while poll_fn(|cx| items.as_mut().poll_next(cx)).await.is_some() {
        if let Some(gate) = gate {
            gate.passed().await;
        }
    }
}
