//! The headers of the HTTP requests that carry the streams of a client. `PROTOCOL.md` describes them.

/// The session of a request, as 32 hexadecimal digits. The requests of one connection of a client have the same.
pub const SESSION: &str = "rpc-session";

/// The ID of the stream that a request carries, as a decimal number.
pub const STREAM: &str = "rpc-stream";

/// The kind of the stream that a request carries: [`UNI`] or [`ACCEPT`]. A bidirectional stream of the client has none.
pub const STREAM_KIND: &str = "rpc-stream-kind";

/// The kind of a unidirectional stream.
pub const UNI: &str = "uni";

/// The kind of a request with which the client accepts a stream of the server.
pub const ACCEPT: &str = "accept";

/// The code with which the server has closed the connection, as a decimal number, in the head of a response that carries no
/// stream for that reason.
pub const RESET: &str = "rpc-reset";

/// The content type of a request or a response that carries a stream.
pub const NDJSON: &str = "application/x-ndjson";
