//! Line feeds within messages.

use bytes::Bytes;
use memchr::memchr;

/// Replaces the line feeds of a message, or of a part of one, since in the services a line is a message. Between the values of
/// JSON, a carriage return is white space as well; within a string, it is as invalid as a line feed.
pub(crate) fn one_line(message: Bytes) -> Bytes {
    if memchr(b'\n', &message).is_none() {
        return message;
    }
    let bytes = message.iter().map(|&byte| match byte {
        b'\n' => b'\r',
        byte => byte,
    });
    bytes.collect()
}
