//! `CallWithMetadata`: a call that returns the metadata of its response.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::client::call::Call;
use crate::client::error::CallError;
use crate::client::response_metadata::ResponseMetadata;

/// A [`Call`] that returns the metadata of its response beside its result. [`Call::with_response_metadata`] creates it.
///
/// It is a future with the properties of the call: it is made when it is first polled, and dropping it cancels it.
#[must_use = "a call is made when it is awaited"]
pub struct CallWithMetadata<T, E = Infallible> {
    call: Call<T, E>,
    metadata: ResponseMetadata,
}

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
    /// The metadata is empty if there is no reply, as after a timeout. If the call was retried, it is that of the last
    /// attempt.
    pub fn with_response_metadata(self) -> CallWithMetadata<T, E> {
        CallWithMetadata {
            call: self,
            metadata: ResponseMetadata::default(),
        }
    }
}

impl<T, E> Future for CallWithMetadata<T, E> {
    type Output = (Result<T, CallError<E>>, ResponseMetadata);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { call, metadata } = self.get_mut();
        let result = ready!(call.poll_with(metadata, cx));
        Poll::Ready((result, std::mem::take(metadata)))
    }
}

impl<T, E> fmt::Debug for CallWithMetadata<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallWithMetadata")
            .field("call", &self.call)
            .finish_non_exhaustive()
    }
}
