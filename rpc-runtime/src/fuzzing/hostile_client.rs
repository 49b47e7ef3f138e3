//! Connections of a hostile client, which follows a script, to a server in memory whose allocations are counted.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Runtime;
use tokio::time::sleep;

use crate::client::callback::{IntoServePeer, ServePeer};
use crate::description::discover::DiscoverOptions;
use crate::event::EventHook;
use crate::fuzzing::gated::{Gate, GatedServer, GatedService};
use crate::fuzzing::gauge::{Gauge, Measure, run_until_idle};
use crate::fuzzing::script::Script;
use crate::fuzzing::scripted::{MOST_SENDING, ScriptedStream, accept, code, open};
use crate::fuzzing::traffic;
use crate::limits::Limits;
use crate::service::router::Single;
use crate::transport::Connection;
use crate::transport::memory::{self, Connection as MemoryConnection};

/// Maximum number of streams that a client has open at once, as QUIC would limit them, and number of connections.
const STREAMS: usize = 8;
const CONNECTIONS: usize = 2;

/// Maximum number of actions of a script.
const MOST_ACTIONS: usize = 100;

/// Maximum number of calls at once, on a connection and on the server.
const CALLS_PER_CONNECTION: usize = 12;
const CALLS: usize = 18;

/// Maximum size of a message, in bytes.
const REQUEST: usize = 20 << 10;

/// Memory that one message may take beyond the budget, in bytes. It is counted once the message is parsed. It consists of
/// the message's bytes in a growing buffer, and for each value, of at least two bytes, an entry of the tape, of the parser's
/// index and of the handler.
const MESSAGE: usize = REQUEST * 3 + REQUEST / 2 * (24 + 8 + 16);

/// Uncounted memory of a stream, in bytes: a task with its small buffers, and replies of less than 16 KiB.
const UNCOUNTED: usize = 32 << 10;

/// Memory that every worker counts, in bytes. A stream has a worker even if the budget is used up.
const WORKER: usize = 16 << 10;

/// Maximum memory of a connection that has been idle, in bytes.
const IDLE: usize = 8 << 10;

/// Memory of the client with which the handlers of a connection call its peer, in bytes. It is that of the tasks of its
/// streams.
const CALLBACK: usize = 36 << 10;

/// Memory that a callback counts for its shared stream, in bytes. The client cannot end the stream before the first byte
/// arrives.
const CALLBACK_STREAM: usize = 16 << 10;

/// Maximum memory of a server without connections, in bytes.
const EMPTY: usize = 8 << 10;

/// Runs the script, and checks after each action that the server holds no more than its budgets. Checks in the end that the
/// server holds nothing and still serves calls.
///
/// `runtime` has one thread, and its clock is paused.
///
/// # Panics
/// Panics if a check fails.
pub fn drive(script: &[u8], runtime: Runtime, measure: Measure) {
    let mut script = Script::new(script);
    let limits = limits(&mut script);
    let window = script.pick(&[1 << 10, 64 << 10]);
    let mut gauge = Gauge::new(runtime, measure);
    let gate = Arc::new(Gate::default());
    let server = gauge.step(async {
        let service = Single(GatedServer::new(GatedService(Arc::clone(&gate))));
        service.into_serve_peer(
            limits.clone(),
            DiscoverOptions::default(),
            EventHook::default(),
        )
    });
    let base = gauge.live();
    let mut harness = ServerHarness {
        gate,
        server,
        window,
        budget: limits.max_memory_bytes_per_connection,
        clients: Vec::new(),
        message: String::with_capacity(traffic::MOST_BYTES),
    };
    gauge.step(async { (0..CONNECTIONS).for_each(|_| harness.connect()) });
    harness.act_all(&mut script, &mut gauge);
    harness.end_streams(&mut script, &mut gauge);
    harness.check_idle(&gauge);
    harness.check_permits(&mut gauge);
    gauge.step(async {
        harness.clients.iter().for_each(HostileClient::close);
        harness.clients = Vec::new();
        run_until_idle().await;
    });
    assert_eq!(harness.gate.running(), 0, "handlers outlive connections");
    assert_eq!(gauge.counted(), 0, "connections that are gone are counted");
    let kept = gauge.live().saturating_sub(base);
    assert!(kept <= EMPTY, "{kept} bytes are kept without connections");
}

fn limits(script: &mut Script<'_>) -> Limits {
    let budget = script.pick(&[1 << 20, 768 << 10, 512 << 10]);
    Limits {
        max_request_bytes: REQUEST,
        max_response_bytes: 32 << 10,
        max_depth: 16,
        max_batch_entries: 6,
        max_concurrent_calls_per_connection: CALLS_PER_CONNECTION,
        max_concurrent_calls: CALLS,
        reject_excess_calls: script.below(4) == 1,
        max_unsent_bytes_per_stream: 32 << 10,
        max_unsent_bytes_per_connection: 128 << 10,
        max_memory_bytes_per_connection: budget,
        // Larger than the sum, since connections take the budget in chunks and keep some of them.
        max_memory_bytes: CONNECTIONS * budget + (1 << 20),
        max_net_cancellations: 50,
        ..Limits::default()
    }
}

struct ServerHarness {
    gate: Arc<Gate>,
    server: Arc<dyn ServePeer>,
    window: usize,
    budget: usize,
    clients: Vec<HostileClient>,
    /// The message that is sent. The buffer does not grow, and is not counted.
    message: String,
}

/// The client's end of one connection.
struct HostileClient {
    connection: MemoryConnection,
    streams: [ScriptedStream; STREAMS],
    /// `true` if a datagram was sent. The server then has a worker for datagrams as long as the connection lasts.
    sends_datagrams: bool,
}

impl HostileClient {
    fn close(&self) {
        self.connection.close(0, "");
    }

    /// Returns the number of bytes that the client and the transport hold, which are not the server's.
    fn held(&self) -> usize {
        let streams: usize = self.streams.iter().map(ScriptedStream::held).sum();
        streams + self.connection.unread()
    }

    /// Sends a cancellation, on this stream or on a unidirectional one.
    async fn cancel(&mut self, message: &str, stream: Option<usize>) {
        match stream {
            Some(stream) => self.streams[stream].push(message.as_bytes(), true).await,
            None => {
                if let Some(mut control) = open(&self.connection, false) {
                    control.push(message.as_bytes(), true).await;
                    control.finish();
                }
            }
        }
    }

    /// Ends the streams that the server has opened, and the streams that it opens in their place.
    async fn end_accepted(&self) {
        while let Some(mut accepted) = accept(&self.connection) {
            accepted.reset(0x20);
            accepted.stop(0x20);
            run_until_idle().await;
        }
    }

    fn is_closed(&self) -> bool {
        self.connection.open_uni().is_err()
    }
}

impl ServerHarness {
    fn connect(&mut self) {
        let (here, there) = memory::pair_with_window(self.window);
        tokio::spawn(self.server.serve(Connection::Memory(there), None));
        self.clients.push(HostileClient {
            connection: here,
            streams: std::array::from_fn(|_| ScriptedStream::default()),
            sends_datagrams: false,
        });
    }

    fn act_all(&mut self, script: &mut Script<'_>, gauge: &mut Gauge) {
        for _ in 0..MOST_ACTIONS {
            if script.has_ended() {
                break;
            }
            gauge.step(self.act(script));
            self.check_held(gauge);
        }
    }

    async fn act(&mut self, script: &mut Script<'_>) {
        let action = script.byte();
        let is_settling = action & 0x80 == 0;
        let client = &mut self.clients[usize::from(action >> 6 & 1) % CONNECTIONS];
        let message = &mut self.message;
        message.clear();
        let stream = script.below(STREAMS);
        match action & 0x3f {
            0..=3 => {
                let opened = open(&client.connection, action & 0x3f < 3);
                client.streams[stream] = opened.unwrap_or_default();
            }
            4..=19 => {
                traffic::message(script, message);
                message.push('\n');
                traffic::truncate(script, message);
                let stream = &mut client.streams[stream];
                stream.push(message.as_bytes(), is_settling).await;
            }
            20..=22 => {
                let bytes = script.take(32);
                client.streams[stream].push(bytes, is_settling).await;
            }
            23..=25 => {
                let is_own = script.flag();
                traffic::cancellation(script, message, client.streams[stream].offset());
                message.push('\n');
                client.cancel(message, is_own.then_some(stream)).await;
            }
            26..=28 => client.streams[stream].finish(),
            29..=31 => client.streams[stream].reset(code(script)),
            32..=34 => client.streams[stream].stop(code(script)),
            35..=40 => {
                client.streams[stream].read(script.below(8) + 1);
            }
            41..=43 => {
                traffic::message(script, message);
                let datagram = Bytes::copy_from_slice(message.as_bytes());
                client.sends_datagrams |= client.connection.send_datagram(datagram);
            }
            44..=47 => self.gate.release(script.flag()),
            48..=51 => {
                let milliseconds = script.pick(&[1, 40, 120, 1_000, 2_500, 6_000, 11_000, 25_000]);
                sleep(Duration::from_millis(milliseconds)).await;
            }
            52..=53 => {
                if let Some(accepted) = accept(&client.connection) {
                    client.streams[stream] = accepted;
                }
            }
            54 => {
                client.close();
                client.streams = Default::default();
                client.sends_datagrams = false;
            }
            55..=58 => {
                traffic::much(script, message);
                let mut opened = open(&client.connection, true).unwrap_or_default();
                opened.push(message.as_bytes(), is_settling).await;
                client.streams[stream] = opened;
            }
            _ => client.streams.iter_mut().for_each(|stream| {
                stream.read(4);
                let _ = stream.flush();
            }),
        }
        match is_settling {
            true => run_until_idle().await,
            false => tokio::task::yield_now().await,
        }
    }

    /// Checks that the held memory is within the budgets, and that all of it is counted.
    fn check_held(&self, gauge: &Gauge) {
        let apart: usize = self.clients.iter().map(HostileClient::held).sum();
        let held = gauge.live().saturating_sub(apart);
        let counted = gauge.counted();
        let streams = CONNECTIONS * (STREAMS + 1);
        let overshoot = CONNECTIONS * MESSAGE + streams * WORKER;
        let budgets = CONNECTIONS * self.budget;
        assert!(
            counted <= budgets + overshoot,
            "{counted} bytes are counted"
        );
        let most = counted + counted / 2 + streams * UNCOUNTED;
        assert!(
            held <= most,
            "{held} bytes are held, and {counted} are counted"
        );
        let peak = gauge.peak().saturating_sub(apart);
        let most = budgets + budgets / 2 + overshoot + streams * UNCOUNTED + MOST_SENDING;
        assert!(peak <= most, "{peak} bytes were held");
    }

    /// Releases the handlers that wait for the gate, reads the replies, and ends all streams. Streams that do not end by
    /// themselves are reset and stopped.
    fn end_streams(&mut self, script: &mut Script<'_>, gauge: &mut Gauge) {
        self.gate.set_open(true);
        let is_reading = script.flag();
        let clients = &mut self.clients;
        gauge.last_step(async {
            let streams = clients.iter_mut().flat_map(|client| &mut client.streams);
            let mut streams: Vec<_> = streams.collect();
            streams.iter_mut().for_each(|stream| stream.finish());
            run_until_idle().await;
            for _ in 0..20 {
                if !is_reading {
                    break;
                }
                let read = streams.iter_mut().map(|stream| {
                    let _ = stream.flush();
                    stream.read(64)
                });
                let is_any = read.fold(false, |is_any, read| is_any | read);
                run_until_idle().await;
                if !is_any {
                    break;
                }
            }
            for stream in streams.iter_mut().filter(|stream| !stream.is_over()) {
                stream.reset(0x20);
                stream.stop(0x20);
            }
            run_until_idle().await;
            for client in clients.iter_mut() {
                client.streams = Default::default();
                client.end_accepted().await;
            }
            sleep(Duration::from_secs(60)).await;
            let connections = clients.iter().map(|client| &client.connection);
            connections.for_each(MemoryConnection::forget_ended);
        });
    }

    /// Checks that no memory is left of ended streams and calls.
    fn check_idle(&self, gauge: &Gauge) {
        assert_eq!(self.gate.running(), 0, "handlers outlive their streams");
        let with_datagrams = self.clients.iter().filter(|client| client.sends_datagrams);
        let workers = with_datagrams.count() * WORKER;
        let callbacks = self.gate.asked().min(CONNECTIONS);
        let counted = gauge.counted();
        assert!(
            counted <= workers + callbacks * CALLBACK_STREAM,
            "{counted} bytes are counted without streams"
        );
        let held = gauge.live();
        let most = CONNECTIONS * IDLE + workers + callbacks * CALLBACK;
        assert!(held <= most, "{held} bytes are held without streams");
    }

    /// Checks that the server still runs its maximum number of calls, and replies to each call once.
    fn check_permits(&mut self, gauge: &mut Gauge) {
        let Self { gate, clients, .. } = self;
        gate.set_open(false);
        gauge.step(async {
            // Closed connections free their slots for new connections.
            let mut expected = 0;
            let mut streams = Vec::new();
            for client in clients.iter_mut() {
                if client.is_closed() {
                    continue;
                }
                expected = CALLS.min(expected + CALLS_PER_CONNECTION);
                for _ in 0..CALLS_PER_CONNECTION {
                    let opened = open(&client.connection, true);
                    streams.push(opened.expect("the connection is open"));
                }
            }
            for stream in &mut streams {
                let call = r#"{"jsonrpc":"2.0","id":1,"method":"wait","params":[""]}"#;
                stream.push(format!("{call}\n").as_bytes(), true).await;
            }
            run_until_idle().await;
            assert_eq!(gate.running(), expected, "calls that run");
            gate.set_open(true);
            run_until_idle().await;
            for stream in &mut streams {
                stream.finish();
                run_until_idle().await;
                stream.read(8);
                assert!(stream.is_over(), "a call has ended: {stream:?}");
                assert_eq!(stream.lines, 1, "replies to a call");
            }
        });
    }
}
