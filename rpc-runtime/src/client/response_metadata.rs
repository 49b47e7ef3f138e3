//! The metadata of a response, and calls that return it.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::client::call::Call;
use crate::client::error::CallError;
use crate::codec::de::Value;
use crate::codec::metadata::Metadata;
use crate::codec::parser::Document;

/// The metadata of a response: strings by name, which the handler or a middleware of the server has set with
/// [`Context::set_response_meta`](crate::Context::set_response_meta).
///
/// [`Call::with_response_metadata`], [`Streaming::response_metadata`](crate::Streaming::response_metadata) and
/// [`BatchResponse::response_metadata`](crate::BatchResponse::response_metadata) return it. `Debug` shows the names and
/// hides the values.
///
/// It is empty if the server has sent none, and if there is no reply. It is also empty if what the server has sent breaks
/// the rules of the protocol: it has more than 64 names, more than 8 KiB, a name twice, control characters, or values that
/// are not strings. The call has its result nevertheless, and the client logs the reason.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ResponseMetadata(Metadata);

impl ResponseMetadata {
    /// Returns the value of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)
    }

    /// Returns the names and the values, in the order in which the server sent them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter()
    }

    /// Returns the number of names.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns `true` if there are no names.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the metadata of a response.
    pub(super) fn receive(&mut self, response: &Document<'_, '_>) {
        let read = response.read_metadata(&mut self.0);
        log(read);
    }

    /// Returns the metadata of a response in a batch.
    pub(super) fn of_entry(response: Value<'_, '_>) -> Self {
        let mut metadata = Metadata::default();
        log(metadata.read_response(response));
        Self(metadata)
    }

    /// Returns metadata without names.
    pub(super) fn none() -> &'static Self {
        static NONE: ResponseMetadata = ResponseMetadata(Metadata::new());
        &NONE
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

fn log(read: Result<(), &str>) {
    if let Err(reason) = read {
        tracing::debug!(target: "rpc_runtime::client", reason, "response metadata ignored");
    }
}

impl fmt::Debug for ResponseMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A [`Call`] that returns the metadata of its response beside its result. [`Call::with_response_metadata`] creates it.
///
/// It is a future with the properties of the call: it is made when it is first polled, and dropping it cancels it.
#[must_use = "a call is made when it is awaited"]
pub struct CallWithMetadata<T, E = Infallible>(Call<T, E>);

impl<T, E> Call<T, E> {
    /// Returns the metadata of the response as well, for a result and for an error. Options of the call are set before
    /// this.
    ///
    /// ```
    /// # use rpc_runtime::{Client, CallError, ErrorObject};
    /// # async fn example(client: Client) -> Result<(), CallError<ErrorObject>> {
    /// let call = client.call::<i64, _>("add", &(1, 2));
    /// let (sum, metadata) = call.with_response_metadata().await;
    /// if metadata.get("requests-left") == Some("0") {
    ///     println!("the next call will be rejected");
    /// }
    /// println!("{}", sum?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The metadata is empty if there is no reply, as after a timeout. It is that of the last reply if the call was
    /// retried.
    pub fn with_response_metadata(mut self) -> CallWithMetadata<T, E> {
        self.dispatch.outgoing.options.reads_metadata = true;
        CallWithMetadata(self)
    }
}

impl<T, E> Future for CallWithMetadata<T, E> {
    type Output = (Result<T, CallError<E>>, ResponseMetadata);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self(call) = self.get_mut();
        let result = ready!(Pin::new(&mut *call).poll(cx));
        let metadata = std::mem::take(&mut call.dispatch.outgoing.response_metadata);
        Poll::Ready((result, metadata))
    }
}

impl<T, E> fmt::Debug for CallWithMetadata<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CallWithMetadata").field(&self.0).finish()
    }
}
