//! Calls whose replies are returned unparsed. A parsed value takes several times the memory of its text.

use serde::Serialize;

use crate::client::call::Call;
use crate::client::error::{CallError, TOO_LARGE};
use crate::client::handle::Client;
use crate::client::streaming::response::Streaming;
use crate::codec::error::ErrorObject;
use crate::codec::result::ResultReader;

impl Client {
    /// Calls a method by name and returns the unparsed line of the reply. The line may hold a result, an error or anything
    /// else. The call uses a dedicated stream, so a reply with another id is an error.
    #[doc(hidden)]
    pub fn call_unparsed<P>(&self, method: &str, params: &P) -> Call<Vec<u8>, ErrorObject>
    where
        P: Serialize + ?Sized,
    {
        let mut call = self.call(method, params).dedicated_stream();
        call.reader = ResultReader::unparsed();
        // Middleware sees only replies that are decoded.
        call.layers = None;
        call
    }

    /// Calls a method that returns a stream of items by name, and returns the unparsed lines of the reply. These are the
    /// lines with the items, and the response after the last item, at which the caller must end the stream.
    #[doc(hidden)]
    pub fn items_unparsed<P>(&self, method: &str, params: &P) -> Streaming<Vec<u8>, ErrorObject>
    where
        P: Serialize + ?Sized,
    {
        Streaming::new(self.call_unparsed(method, params))
    }
}

impl<E> CallError<E> {
    /// Returns `true` if the reply was larger than the client accepts.
    #[doc(hidden)]
    pub fn is_reply_too_large(&self) -> bool {
        matches!(self, Self::Decode(reason) if reason.starts_with(TOO_LARGE))
    }
}
