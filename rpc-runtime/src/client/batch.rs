//! Batches: calls and notifications that are sent as one message.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::client::batch_entry::{
    BatchMessage, EntryDecoder, EntryReply, EntryResult, EntryResults, decoder,
};
use crate::client::call::Call;
use crate::client::connection::ClientConnection;
use crate::client::decode::{restore, with_parser};
use crate::client::dedicated_stream::{self, DedicatedRequest, reported_deadline};
use crate::client::error::{CallError, CallFailure, Execution};
use crate::client::handle::{Client, ClientInner};
use crate::client::layered_entry::{LayeredEntry, poll_all};
use crate::client::notification::Notification;
use crate::client::options::TimeLimit;
use crate::client::response_metadata::ResponseMetadata;
use crate::codec::arena::Arena;
use crate::codec::de::Value;
use crate::codec::error::RpcError;
use crate::codec::id::Id;
use crate::codec::response::{ResponseBody, ResponseMessage};
use crate::codec::ser;

/// Calls and notifications that are sent as one JSON-RPC batch. [`Client::batch`] starts a batch.
///
/// ```
/// # use rpc_runtime::{Client, rpc};
/// # #[rpc]
/// # trait Calculator { async fn add(&self, a: i64, b: i64) -> i64; }
/// # struct Desk;
/// # impl Calculator for Desk { async fn add(&self, a: i64, b: i64) -> i64 { a + b } }
/// # #[tokio::main]
/// # async fn main() -> Result<(), rpc_runtime::CallError> {
/// # let client = Client::local(CalculatorServer::new(Desk));
/// let calculator = CalculatorClient::new(client.clone());
///
/// let mut batch = client.batch();
/// let three = batch.call(calculator.add(1, 2));
/// let seven = batch.call(calculator.add(3, 4));
/// let mut replies = batch.send().await?;
/// assert_eq!((replies.take(three)?, replies.take(seven)?), (3, 7));
/// # Ok(())
/// # }
/// ```
///
/// # Deadlines
/// The time limit of [`send`](Self::send) is the batch's [`timeout`](Self::timeout), or else the timeout of the
/// [client](crate::ClientBuilder::timeout). It also applies while there is no connection. A batch that a handler creates
/// inherits the handler's deadline, as a [`Call`](Call#deadlines) does.
#[must_use = "a batch is sent by `send`"]
pub struct Batch {
    client: Arc<ClientInner>,
    number: BatchNumber,
    time: TimeLimit,
    message: BatchMessage,
    decoders: Vec<EntryDecoder>,
    /// The entries that pass through the middleware of the client, and are written when the batch is sent.
    layered: Vec<LayeredEntry>,
    /// Reasons why entries were not written, by index.
    rejected: HashMap<usize, String>,
}

/// Identifies a batch, so that an entry takes no reply of another batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct BatchNumber(u64);

impl BatchNumber {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A call of a batch. [`BatchResponse::take`] returns its result.
///
/// The type parameters are the types of the call's result and error, so entries of the same type can be kept in a list.
///
/// ```
/// # use rpc_runtime::{CallError, Client, BatchEntry, rpc};
/// # #[rpc]
/// # trait Calculator { async fn add(&self, a: i64, b: i64) -> i64; }
/// # struct Desk;
/// # impl Calculator for Desk { async fn add(&self, a: i64, b: i64) -> i64 { a + b } }
/// # #[tokio::main]
/// # async fn main() -> Result<(), CallError> {
/// # let client = Client::local(CalculatorServer::new(Desk));
/// let calculator = CalculatorClient::new(client.clone());
///
/// let mut batch = client.batch();
/// let entries: Vec<BatchEntry<i64, _>> = (1..=3).map(|n| batch.call(calculator.add(n, n))).collect();
/// let mut replies = batch.send().await?;
/// let sums: Result<Vec<i64>, CallError> = entries.into_iter().map(|entry| replies.take(entry)).collect();
/// assert_eq!(sums?, [2, 4, 6]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct BatchEntry<T, E> {
    batch: BatchNumber,
    index: usize,
    returns: PhantomData<fn() -> (T, E)>,
}

impl Client {
    /// Starts an empty batch.
    pub fn batch(&self) -> Batch {
        Batch {
            client: Arc::clone(&self.inner),
            number: BatchNumber::next(),
            time: TimeLimit::inherited(&self.inner.options),
            message: BatchMessage::default(),
            decoders: Vec::new(),
            layered: Vec::new(),
            rejected: HashMap::new(),
        }
    }
}

impl Batch {
    /// Sets the time limit of [`send`](Self::send), counted from its first poll. Defaults to the client's
    /// [timeout](crate::ClientBuilder::timeout), which is none by default.
    ///
    /// When the time is over, the batch ends with [`CallError::Timeout`], and the server stops its handlers. If there was no
    /// connection all the time, it ends with [`CallError::Connection`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.time.timeout = Some(timeout);
        self
    }

    /// Adds a call of the same client to the batch, with the call's timeout and metadata.
    ///
    /// The call's timeout is sent to the server and does not limit [`send`](Self::send). [`Call::dedicated_stream`] has no
    /// effect.
    ///
    /// The [middleware](crate::ClientBuilder::middleware) of the client runs for each entry when the batch is sent. The batch
    /// waits until it has run for all entries. Entries that it sends again are sent together in another batch.
    ///
    /// A call that cannot be an entry of this batch is not sent, and [`BatchResponse::take`] returns [`CallError::Encode`]
    /// for it. These are calls whose arguments cannot be written as JSON, calls with items, and calls of another client.
    pub fn call<T, E>(&mut self, mut call: Call<T, E>) -> BatchEntry<T, E>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let index = self.decoders.len();
        let id = self.client.next_dedicated_id();
        let layers = call.layers.take();
        self.decoders.push(decoder(call.reader, layers.is_some()));
        match (call.dispatch.encode_entry(&self.client, id), layers) {
            (Ok(_), Some(layers)) => {
                let entry = LayeredEntry::call(layers, call.dispatch, index);
                self.layered.push(entry);
            }
            (Ok(entry), None) => self.message.add(entry, Some((id, index))),
            (Err(reason), _) => {
                self.rejected.insert(index, reason);
            }
        }
        BatchEntry {
            batch: self.number,
            index,
            returns: PhantomData,
        }
    }

    /// Adds a notification of the same client to the batch. A notification that the
    /// [middleware](crate::ClientBuilder::middleware) of the client answers with an error is not sent.
    ///
    /// # Errors
    /// Returns [`CallError::Encode`] if the arguments cannot be written as JSON, or if the notification belongs to another
    /// client. The batch is then unchanged.
    pub fn notify(&mut self, mut notification: Notification) -> Result<(), CallError> {
        let layers = notification.take_layers();
        let entry = notification.encode_entry(&self.client);
        let entry = entry.map_err(CallError::Encode)?;
        match layers {
            None => self.message.add(entry, None),
            Some(layers) => {
                let entry = LayeredEntry::notification(layers, notification);
                self.layered.push(entry);
            }
        }
        Ok(())
    }

    /// Sends the batch on a dedicated stream and waits for the replies, if it contains calls.
    ///
    /// The batch waits for a connection as a call does. The client itself never sends it twice.
    ///
    /// # Errors
    /// Returns an error if the batch as a whole has no reply: the connection is lost, the time is over, or the server
    /// rejects batches of this size.
    ///
    /// # Panics
    /// Panics if the batch has a timeout and the tokio runtime has no timers.
    ///
    /// # Cancel safety
    /// Dropping the future cancels every call of the batch.
    pub async fn send(mut self) -> Result<BatchResponse, CallError> {
        let mut replies = BatchResponse {
            batch: self.number,
            results: HashMap::new(),
            metadata: HashMap::new(),
            rejected: std::mem::take(&mut self.rejected),
        };
        let mut layered = std::mem::take(&mut self.layered);
        if self.message.is_empty() && layered.is_empty() {
            return Ok(replies);
        }
        let remaining = self.time.remaining();
        if remaining.is_some_and(|remaining| remaining.is_zero()) {
            return Err(CallError::Timeout);
        }
        let client = Arc::clone(&self.client);
        let used = OnceLock::new();
        let sent = match layered.is_empty() {
            true => {
                let exchange = self.exchange(&mut replies, &used);
                client.timers.limit(remaining, exchange).await
            }
            false => {
                let exchange = self.exchange_layered(&mut layered, &mut replies, &used);
                let sent = client.timers.limit(remaining, exchange).await;
                layered.into_iter().for_each(LayeredEntry::time_out);
                sent
            }
        };
        match sent {
            Some(sent) => sent.map(|()| replies),
            None => Err(match used.get() {
                Some(connection) => connection.budget.timed_out().into(),
                None => client.not_connected(Execution::NotSent).into(),
            }),
        }
    }

    /// Sends the entries as their middleware asks, and puts their results into `replies`.
    async fn exchange_layered(
        &mut self,
        entries: &mut [LayeredEntry],
        replies: &mut BatchResponse,
        used: &OnceLock<Arc<ClientConnection>>,
    ) -> Result<(), CallError> {
        let limit = self.time.remaining();
        entries.iter_mut().for_each(|entry| entry.begin(limit));
        // Entries without middleware are part of the first message.
        let mut has_plain = !self.message.is_empty();
        let (mut failure, mut has_failed) = (None, false);
        loop {
            poll_fn(|cx| poll_all(entries, cx)).await;
            for entry in &mut *entries {
                entry.write(&self.client, &mut self.message);
                if let Some(index) = entry.without_reply() {
                    replies.metadata.remove(&index);
                }
            }
            if self.message.is_empty() {
                if entries.iter().all(LayeredEntry::has_ended) {
                    break;
                }
                continue;
            }
            let sent = {
                let mut exchange = pin!(self.exchange(replies, used));
                poll_fn(|cx| {
                    // An entry may end, or be run again, without the reply.
                    let _ = poll_all(entries, cx);
                    exchange.as_mut().poll(cx)
                })
                .await
            };
            let failed = sent.as_ref().err();
            for entry in &mut *entries {
                entry.end_run(failed, &mut replies.results, &replies.metadata);
            }
            self.message.clear();
            has_failed |= has_plain && sent.is_err();
            has_plain = false;
            failure = sent.err().or(failure);
        }
        for entry in entries {
            has_failed |= entry.finish(&self.decoders, &mut replies.results);
        }
        match failure.filter(|_| has_failed) {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    /// Sends the message, and waits for the replies.
    async fn exchange(
        &mut self,
        replies: &mut BatchResponse,
        used: &OnceLock<Arc<ClientConnection>>,
    ) -> Result<(), CallError> {
        let message = self.message.end();
        let connection = self.client.next_connection(None).await?;
        used.get_or_init(|| Arc::clone(&connection));
        connection.record_call();
        if self.message.ids.is_empty() {
            dedicated_stream::notify(connection, message).await?;
            return Ok(());
        }
        let mut reply = dedicated_stream::call(DedicatedRequest {
            connection: Arc::clone(&connection),
            message,
            id: None,
            upload: None,
            deadline: self.time.remaining().and_then(reported_deadline),
        })
        .await?;
        let _decoding = connection.budget.decode(&reply).await;
        let (arena, length) = (Arena::default(), reply.len());
        let decoded = with_parser(|parser| {
            let mut document = parser.parse(&mut reply).ok()?;
            document.lend(&arena);
            replies.decode(document.root(), self, &connection)
        });
        decoded.unwrap_or_else(|| {
            restore(&mut reply, length);
            Err(CallFailure::malformed(&reply).into())
        })
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("calls", &self.decoders.len())
            .finish_non_exhaustive()
    }
}

/// The replies to a [`Batch`]. [`take`](Self::take) returns the result of each entry.
///
/// An error of one call does not affect the other calls.
///
/// ```
/// # use rpc_runtime::{CallError, Client, code, rpc};
/// # #[rpc]
/// # trait Calculator { async fn add(&self, a: i64, b: i64) -> i64; }
/// # struct Desk;
/// # impl Calculator for Desk { async fn add(&self, a: i64, b: i64) -> i64 { a + b } }
/// # #[tokio::main]
/// # async fn main() -> Result<(), CallError> {
/// # let client = Client::local(CalculatorServer::new(Desk));
/// let mut batch = client.batch();
/// let sum = batch.call(client.call::<i64, _>("add", &(1, 2)));
/// let difference = batch.call(client.call::<i64, _>("subtract", &(1, 2)));
///
/// let mut replies = batch.send().await?;
/// match replies.take(difference) {
///     Err(CallError::Remote(error)) => assert_eq!(error.code(), code::METHOD_NOT_FOUND),
///     other => panic!("{other:?}"),
/// }
/// assert_eq!(replies.take(sum).unwrap(), 3);
/// # Ok(())
/// # }
/// ```
pub struct BatchResponse {
    batch: BatchNumber,
    results: EntryResults,
    /// The metadata of the responses that have some.
    metadata: HashMap<usize, ResponseMetadata>,
    rejected: HashMap<usize, String>,
}

impl BatchResponse {
    /// Decodes the replies. Returns `None` if the value is no reply to a batch.
    fn decode(
        &mut self,
        root: Value<'_, '_>,
        batch: &Batch,
        connection: &ClientConnection,
    ) -> Option<Result<(), CallError>> {
        let retire_if_draining = |body: &ResponseBody<'_, '_>| {
            if body.is_shutting_down() {
                connection.retire();
            }
        };
        let Some(responses) = root.elements() else {
            // The server sent one error for the whole batch.
            let response = ResponseMessage::read(root)?;
            if !response.outcome.is_error() {
                let received = CallFailure::SingleReply(CallFailure::excerpt_of(root));
                return Some(Err(received.into()));
            }
            retire_if_draining(&response.outcome);
            return Some(Err(CallError::received(response.outcome, Infallible::read)));
        };
        let mut unmatched = None;
        for element in responses {
            let response = ResponseMessage::read(element);
            if let Some(response) = response {
                retire_if_draining(&response.outcome);
            }
            let id = element.members().and_then(|members| {
                let id = members.filter(|(name, _)| *name == "id").last();
                Id::read_call_id(id?.1)
            });
            let Some(&index) = id.and_then(|id| batch.message.ids.get(&id)) else {
                if unmatched.is_none() {
                    let text = ser::to_text(&element).unwrap_or_default();
                    connection.log_unmatched(text.as_bytes());
                    unmatched = Some(CallFailure::excerpt(text.as_bytes()));
                }
                continue;
            };
            let outcome = response.map(|response| response.outcome);
            let is_response = outcome.is_some();
            let reply = match outcome {
                Some(outcome) => EntryReply::Received(outcome),
                None => {
                    let received = CallFailure::excerpt_of(element);
                    EntryReply::Missing(CallFailure::MalformedReply(received))
                }
            };
            if let Entry::Vacant(result) = self.results.entry(index) {
                result.insert((batch.decoders[index])(reply));
                let metadata = is_response.then(|| ResponseMetadata::of_entry(element));
                if let Some(metadata) = metadata.filter(|metadata| !metadata.is_empty()) {
                    self.metadata.insert(index, metadata);
                }
            }
        }
        for (index, decode) in batch.decoders.iter().enumerate() {
            let result = self.results.entry(index);
            result.or_insert_with(|| {
                let missing = CallFailure::MissingInBatch(unmatched.clone());
                decode(EntryReply::Missing(missing))
            });
        }
        Some(Ok(()))
    }

    /// Returns the metadata of the response to a call of the batch, whether it holds a result or an error.
    ///
    /// ```
    /// # use rpc_runtime::{CallError, Client};
    /// # async fn example(client: Client) -> Result<(), CallError> {
    /// let mut batch = client.batch();
    /// let sum = batch.call(client.call::<i64, _>("add", &(1, 2)));
    /// let mut replies = batch.send().await?;
    /// println!("{:?}", replies.response_metadata(&sum).get("requests-left"));
    /// println!("{:?}", replies.take(sum));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// It is empty for an entry of another batch.
    pub fn response_metadata<T, E>(&self, entry: &BatchEntry<T, E>) -> &ResponseMetadata {
        let metadata = self.metadata.get(&entry.index);
        metadata
            .filter(|_| entry.batch == self.batch)
            .unwrap_or(ResponseMetadata::none())
    }

    /// Returns the result of a call of the batch.
    ///
    /// # Errors
    /// Returns the errors of a single call. Returns [`CallError::Encode`] for a call that could not be an entry, and
    /// [`CallError::Decode`] for an entry of another batch; the replies are then unchanged.
    pub fn take<T: 'static, E: 'static>(
        &mut self,
        entry: BatchEntry<T, E>,
    ) -> Result<T, CallError<E>> {
        if entry.batch != self.batch {
            let reason = "the entry belongs to another batch than these replies";
            return Err(CallError::Decode(reason.into()));
        }
        if let Some(reason) = self.rejected.remove(&entry.index) {
            return Err(CallError::Encode(reason));
        }
        let result = self.results.remove(&entry.index);
        let result = result.map(|EntryResult { result, .. }| result);
        match result.and_then(|result| result.downcast::<Result<T, CallError<E>>>().ok()) {
            Some(result) => *result,
            None => Err(CallFailure::MissingInBatch(None).into()),
        }
    }
}

impl fmt::Debug for BatchResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchResponse")
            .field("results", &self.results.len())
            .finish_non_exhaustive()
    }
}
