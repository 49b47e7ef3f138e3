//! Calls whose replies are returned as they came: a value that is parsed takes several times the memory of its text.

use serde::Serialize;

use crate::client::call::Call;
use crate::client::handle::Client;
use crate::client::streaming::response::Streaming;
use crate::codec::error::ErrorObject;
use crate::codec::result::ResultReader;

impl Client {
    /// Calls a method by name. The result is the line of the reply, of a result or of an error, which may be anything. The
    /// call has a dedicated stream, so that no id is looked for in the reply.
    #[doc(hidden)]
    pub fn call_unparsed<P>(&self, method: &str, params: &P) -> Call<Vec<u8>, ErrorObject>
    where
        P: Serialize + ?Sized,
    {
        let mut call = self.call(method, params).dedicated_stream();
        call.reader = ResultReader::unparsed();
        call
    }

    /// Calls a method that returns a stream of items, by name. The items are the lines of the reply: those that hold an item,
    /// and the response behind the last, at which the caller ends the stream.
    #[doc(hidden)]
    pub fn items_unparsed<P>(&self, method: &str, params: &P) -> Streaming<Vec<u8>, ErrorObject>
    where
        P: Serialize + ?Sized,
    {
        Streaming::new(self.call_unparsed(method, params))
    }
}
