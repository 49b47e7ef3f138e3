//! Records the events of a server or a client as metrics.

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use rpc_runtime::event::{CloseReason, Event, HandshakeFailure};

/// Returns a function that records the events of a server as metrics, with the [`metrics`] facade:
/// [`ServerBuilder::on_event`](rpc_runtime::ServerBuilder::on_event).
///
/// | name | kind | labels | meaning |
/// |---|---|---|---|
/// | `rpc_server_connections_open` | gauge | | the number of open connections |
/// | `rpc_server_connections_total` | counter | | the number of connections that were opened |
/// | `rpc_server_connections_closed_total` | counter | `reason` | the number of connections that have ended |
/// | `rpc_server_connection_duration_seconds` | histogram | | the durations of connections |
/// | `rpc_server_connections_refused_total` | counter | `limit` | the number of connections that were refused |
/// | `rpc_server_retries_sent_total` | counter | | the number of clients that were asked to validate their addresses (`max_unvalidated_handshakes`) |
/// | `rpc_server_handshakes_failed_total` | counter | `reason` | the number of handshakes that failed |
/// | `rpc_server_calls_waiting` | gauge | `limit` | the number of calls that wait for a limit before they start |
/// | `rpc_server_call_wait_seconds` | histogram | `limit`, `started` | the time that calls waited for a limit |
/// | `rpc_server_calls_rejected_total` | counter | `limit`, `code` | the number of messages and replies that were replaced by the error of a limit |
/// | `rpc_server_streams_timed_out_total` | counter | `limit` | the number of streams that were reset at a limit of time |
///
/// | label | value |
/// |---|---|
/// | `limit` | the name of the limit, a field of [`Limits`](rpc_runtime::Limits) |
/// | `reason` | [`CloseReason`], or [`HandshakeFailure`], as one word |
/// | `started` | `true` if the call started; `false` if its deadline passed or it was cancelled |
/// | `code` | the error code |
///
/// A client that serves its server has the metrics of calls, too. Install the recorder before this function is called, so
/// that metrics exist, with the value zero, before their first event. Metrics with the label `limit` exist from their first
/// event on.
///
/// ```
/// use rpc_layers::server_event_metrics;
/// use rpc_runtime::{Identity, Server};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::builder(Identity::self_signed(["localhost"])?)
///     .on_event(server_event_metrics())
///     .bind("127.0.0.1:0")?;
/// # Ok(())
/// # }
/// ```
pub fn server_event_metrics() -> impl Fn(&Event<'_>) + Clone + Send + Sync + 'static {
    describe_server();
    gauge!("rpc_server_connections_open").set(0.0);
    counter!("rpc_server_connections_total").absolute(0);
    counter!("rpc_server_retries_sent_total").absolute(0);
    for reason in CloseReason::ALL {
        counter!("rpc_server_connections_closed_total", "reason" => reason.as_str()).absolute(0);
    }
    for reason in HandshakeFailure::ALL {
        counter!("rpc_server_handshakes_failed_total", "reason" => reason.as_str()).absolute(0);
    }
    record
}

/// Returns a function that records the events of a client as metrics, with the [`metrics`] facade:
/// [`ClientBuilder::on_event`](rpc_runtime::ClientBuilder::on_event).
///
/// | name | kind | labels | meaning |
/// |---|---|---|---|
/// | `rpc_client_connections_total` | counter | `server` | the number of connections that were made |
/// | `rpc_client_disconnects_total` | counter | `server` | the number of connections that were lost or drained |
/// | `rpc_client_connects_failed_total` | counter | `server` | the number of attempts to connect again that failed |
/// | `rpc_client_retries_total` | counter | | the number of attempts of calls after their first |
/// | `rpc_client_retry_budget_exhausted_total` | counter | | the number of calls that were not retried, since too many retries had failed |
/// | `rpc_client_replies_discarded_total` | counter | `limit` | the number of replies and items that were discarded at a limit of the client |
/// | `rpc_client_replies_held_back_total` | counter | `limit` | the number of seconds in which streams of items that are not read may have held back replies |
/// | `rpc_client_calls_waiting` | gauge | `limit` | the number of calls that wait for a dedicated stream, or for room in a shared one |
/// | `rpc_client_call_wait_seconds` | histogram | `limit`, `started` | the time that calls waited for it |
///
/// The label `server` is the address of the server, as it was given to the client. The label `limit` is the name of the
/// limit, and `started` is `true` if the call got a stream.
pub fn client_event_metrics() -> impl Fn(&Event<'_>) + Clone + Send + Sync + 'static {
    describe_client();
    counter!("rpc_client_retries_total").absolute(0);
    counter!("rpc_client_retry_budget_exhausted_total").absolute(0);
    record
}

fn record(event: &Event<'_>) {
    match event {
        Event::ConnectionOpened { .. } => {
            gauge!("rpc_server_connections_open").increment(1);
            counter!("rpc_server_connections_total").increment(1);
        }
        Event::ConnectionClosed { reason, lasted, .. } => {
            let reason = reason.as_str();
            gauge!("rpc_server_connections_open").decrement(1);
            counter!("rpc_server_connections_closed_total", "reason" => reason).increment(1);
            histogram!("rpc_server_connection_duration_seconds").record(*lasted);
        }
        Event::ConnectionRefused { limit, .. } => {
            counter!("rpc_server_connections_refused_total", "limit" => limit.name).increment(1);
        }
        Event::RetrySent { .. } => counter!("rpc_server_retries_sent_total").increment(1),
        Event::HandshakeFailed { reason, .. } => {
            let reason = reason.as_str();
            counter!("rpc_server_handshakes_failed_total", "reason" => reason).increment(1);
        }
        Event::CallWaitStarted { limit, .. } => {
            gauge!("rpc_server_calls_waiting", "limit" => limit.name).increment(1);
        }
        Event::CallWaitEnded {
            limit,
            waited,
            has_started,
            ..
        } => {
            let labels = [("limit", limit.name), ("started", word(*has_started))];
            gauge!("rpc_server_calls_waiting", "limit" => limit.name).decrement(1);
            histogram!("rpc_server_call_wait_seconds", &labels).record(*waited);
        }
        Event::CallRejected { limit, code, .. } => {
            let code = code.to_string();
            counter!("rpc_server_calls_rejected_total", "limit" => limit.name, "code" => code)
                .increment(1);
        }
        Event::StreamTimedOut { limit, .. } => {
            counter!("rpc_server_streams_timed_out_total", "limit" => limit.name).increment(1);
        }
        event => record_of_client(event),
    }
}

fn record_of_client(event: &Event<'_>) {
    match event {
        Event::Connected { server, .. } => {
            let server = server.to_string();
            counter!("rpc_client_connections_total", "server" => server).increment(1);
        }
        Event::Disconnected { server, .. } => {
            let server = server.to_string();
            counter!("rpc_client_disconnects_total", "server" => server).increment(1);
        }
        Event::ConnectFailed { server, .. } => {
            let server = server.to_string();
            counter!("rpc_client_connects_failed_total", "server" => server).increment(1);
        }
        Event::CallRetried { .. } => counter!("rpc_client_retries_total").increment(1),
        Event::RetryBudgetExhausted { .. } => {
            counter!("rpc_client_retry_budget_exhausted_total").increment(1);
        }
        Event::ReplyDiscarded { limit, .. } => {
            counter!("rpc_client_replies_discarded_total", "limit" => limit.name).increment(1);
        }
        Event::RepliesHeldBack { limit, .. } => {
            counter!("rpc_client_replies_held_back_total", "limit" => limit.name).increment(1);
        }
        Event::StreamWaitStarted { limit, .. } => {
            gauge!("rpc_client_calls_waiting", "limit" => limit.name).increment(1);
        }
        Event::StreamWaitEnded {
            limit,
            waited,
            has_opened,
            ..
        } => {
            let labels = [("limit", limit.name), ("started", word(*has_opened))];
            gauge!("rpc_client_calls_waiting", "limit" => limit.name).decrement(1);
            histogram!("rpc_client_call_wait_seconds", &labels).record(*waited);
        }
        _ => {}
    }
}

fn word(is: bool) -> &'static str {
    match is {
        true => "true",
        false => "false",
    }
}

fn describe_server() {
    describe_gauge!("rpc_server_connections_open", "Open connections");
    describe_counter!(
        "rpc_server_connections_total",
        "Connections that were opened"
    );
    describe_counter!(
        "rpc_server_connections_closed_total",
        "Connections that have ended"
    );
    describe_histogram!(
        "rpc_server_connection_duration_seconds",
        Unit::Seconds,
        "How long connections lasted"
    );
    describe_counter!(
        "rpc_server_connections_refused_total",
        "Connections that were refused at a limit"
    );
    describe_counter!(
        "rpc_server_retries_sent_total",
        "Clients that were asked to validate their addresses"
    );
    describe_counter!(
        "rpc_server_handshakes_failed_total",
        "Handshakes that failed"
    );
    describe_gauge!("rpc_server_calls_waiting", "Calls that wait for a limit");
    describe_histogram!(
        "rpc_server_call_wait_seconds",
        Unit::Seconds,
        "How long calls waited for a limit"
    );
    describe_counter!(
        "rpc_server_calls_rejected_total",
        "Messages and replies that were replaced by the error of a limit"
    );
    describe_counter!(
        "rpc_server_streams_timed_out_total",
        "Streams that were reset at a limit of time"
    );
}

fn describe_client() {
    describe_counter!("rpc_client_connections_total", "Connections that were made");
    describe_counter!("rpc_client_disconnects_total", "Connections that were lost");
    describe_counter!(
        "rpc_client_connects_failed_total",
        "Attempts to connect again that failed"
    );
    describe_counter!(
        "rpc_client_retries_total",
        "Attempts of calls after their first"
    );
    describe_counter!(
        "rpc_client_retry_budget_exhausted_total",
        "Calls that were not retried, since too many retries had failed"
    );
    describe_counter!(
        "rpc_client_replies_discarded_total",
        "Replies and items that were discarded at a limit of the client"
    );
    describe_counter!(
        "rpc_client_replies_held_back_total",
        "Seconds in which streams of items that are not read may have held back replies"
    );
    describe_gauge!("rpc_client_calls_waiting", "Calls that wait for a stream");
    describe_histogram!(
        "rpc_client_call_wait_seconds",
        Unit::Seconds,
        "How long calls waited for a stream"
    );
}
