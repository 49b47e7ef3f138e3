//! Calls that travel as one message.

use std::any::Any;
use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::client::call::{self, Call, with_parser};
use crate::client::connection::ClientConnection;
use crate::client::error::{CallError, CallFailure};
use crate::client::mux_stream::CallId;
use crate::client::notification::Notification;
use crate::client::{Client, ClientInner, dedicated_stream};
use crate::codec::de::Value;
use crate::codec::error::RpcError;
use crate::codec::error_code::HEAD;
use crate::codec::id::Id;
use crate::codec::response::{Response, ResponseBody};

/// Calls and notifications that travel as one JSON-RPC batch. [`Client::batch`] starts one.
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
#[must_use = "a batch is sent by `send`"]
pub struct Batch {
    client: Arc<ClientInner>,
    message: Vec<u8>,
    readers: Vec<ResultReader>,
    /// The id of each call that could be written.
    ids: HashMap<u64, usize>,
    /// Why an entry could not be written.
    unwritable: HashMap<usize, String>,
}

/// Reads one entry's answer as the type that its call returns.
type ResultReader =
    Box<dyn Fn(Result<ResponseBody<'_, '_>, CallFailure>) -> Box<dyn Any + Send> + Send>;

/// A call's place in a batch: what [`Replies::take`] wants for its result.
///
/// It has the types of the call's result and error, so calls of one type can be kept in a list.
///
/// ```
/// # use rpc_runtime::{CallError, Client, Entry, rpc};
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
/// let entries: Vec<Entry<i64, _>> = (1..=3).map(|n| batch.call(calculator.add(n, n))).collect();
/// let mut replies = batch.send().await?;
/// let sums: Result<Vec<i64>, CallError> = entries.into_iter().map(|entry| replies.take(entry)).collect();
/// assert_eq!(sums?, [2, 4, 6]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Entry<T, E> {
    index: usize,
    returns: PhantomData<fn() -> (T, E)>,
}

impl Batch {
    pub(super) fn new(client: &Client) -> Self {
        Self {
            client: Arc::clone(&client.0),
            message: Vec::new(),
            readers: Vec::new(),
            ids: HashMap::new(),
            unwritable: HashMap::new(),
        }
    }

    /// Adds a call with its timeout and metadata. The server alone keeps the timeout; [`send`](Self::send) has none.
    /// [`Call::own_stream`] has no effect here.
    pub fn call<T, E>(&mut self, call: Call<T, E>) -> Entry<T, E>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let (index, reader) = (self.readers.len(), call.reader());
        match call.into_entry() {
            Ok(request) => {
                let CallId(id) = self.client.next_dedicated_id();
                self.ids.insert(id, index);
                self.separate();
                self.message.extend_from_slice(HEAD);
                Id::Unsigned(id).write(&mut self.message);
                self.message.extend_from_slice(&request);
            }
            Err(reason) => {
                self.unwritable.insert(index, reason);
            }
        }
        self.readers.push(Box::new(move |answer| {
            let result: Result<T, CallError<E>> = match answer {
                Ok(outcome) => call::result(reader, outcome),
                Err(failure) => Err(failure.into()),
            };
            Box::new(result)
        }));
        Entry {
            index,
            returns: PhantomData,
        }
    }

    /// Adds a notification.
    ///
    /// # Errors
    /// [`CallError::Encode`] if its arguments cannot be written; the batch is as it was.
    pub fn notify(&mut self, notification: Notification) -> Result<(), CallError> {
        let request = notification.into_entry().map_err(CallError::Encode)?;
        self.separate();
        self.message.extend_from_slice(&request);
        Ok(())
    }

    fn separate(&mut self) {
        self.message
            .push(if self.message.is_empty() { b'[' } else { b',' });
    }

    /// Sends the batch on a stream of its own and waits for the answers, unless it is of notifications only.
    ///
    /// # Errors
    /// When the batch as a whole has no answer: the connection is lost, or the server refuses batches of this size. It
    /// waits for a connection as a call does, and is never sent twice.
    ///
    /// # Cancel safety
    /// Dropping the future cancels every call of the batch.
    pub async fn send(mut self) -> Result<Replies, CallError> {
        let mut replies = Replies {
            results: HashMap::new(),
            unwritable: self.unwritable,
        };
        if self.message.is_empty() {
            return Ok(replies);
        }
        self.message.extend_from_slice(b"]\n");
        let connection = self.client.next_connection(None).await?;
        if self.ids.is_empty() {
            dedicated_stream::tell(connection, self.message).await?;
            return Ok(replies);
        }
        let limit = self.client.options.reply_limit;
        let mut answer =
            dedicated_stream::ask(Arc::clone(&connection), self.message, None, limit).await?;
        with_parser(|parser| {
            let document = parser
                .parse(&mut answer)
                .map_err(|_| CallFailure::MalformedReply)?;
            replies.read(document.root(), &self.ids, &self.readers, &connection)
        })?;
        Ok(replies)
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("calls", &self.readers.len())
            .finish_non_exhaustive()
    }
}

/// The answers to a [`Batch`]. Each is taken with its [`Entry`]; one that is an error leaves the others as they are.
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
pub struct Replies {
    results: HashMap<usize, Box<dyn Any + Send>>,
    unwritable: HashMap<usize, String>,
}

impl Replies {
    fn read(
        &mut self,
        root: Value<'_, '_>,
        ids: &HashMap<u64, usize>,
        readers: &[ResultReader],
        connection: &ClientConnection,
    ) -> Result<(), CallError> {
        let record = |outcome: &ResponseBody<'_, '_>| {
            if outcome.is_shutting_down() {
                connection.retire();
            }
        };
        let Some(answers) = root.elements() else {
            // One error for the whole batch.
            let response = Response::read(root).ok_or(CallFailure::MalformedReply)?;
            record(&response.outcome);
            return Err(CallError::received(response.outcome, Infallible::read));
        };
        for response in answers.filter_map(Response::read) {
            record(&response.outcome);
            let Id::Unsigned(id) = response.id else {
                continue;
            };
            let Some(&index) = ids.get(&id) else { continue };
            if let Some(reader) = readers.get(index) {
                self.results
                    .entry(index)
                    .or_insert_with(|| reader(Ok(response.outcome)));
            }
        }
        for (index, reader) in readers.iter().enumerate() {
            self.results
                .entry(index)
                .or_insert_with(|| reader(Err(CallFailure::MalformedReply)));
        }
        Ok(())
    }

    /// What a call of the batch came to.
    ///
    /// # Errors
    /// As if the call had been made alone; [`CallError::Decode`] also for an entry of another batch.
    pub fn take<T: 'static, E: 'static>(&mut self, entry: Entry<T, E>) -> Result<T, CallError<E>> {
        if let Some(reason) = self.unwritable.remove(&entry.index) {
            return Err(CallError::Encode(reason));
        }
        let result = self.results.remove(&entry.index);
        match result.and_then(|result| result.downcast::<Result<T, CallError<E>>>().ok()) {
            Some(result) => *result,
            None => Err(CallError::Decode("the entry is of another batch".into())),
        }
    }
}

impl fmt::Debug for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replies")
            .field("results", &self.results.len())
            .finish_non_exhaustive()
    }
}
