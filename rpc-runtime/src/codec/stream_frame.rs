//! The lines of a stream of items: `rpc.item` for each item. The client sends `rpc.end` behind its last item, the
//! server the call's response behind its own.

use crate::codec::de::Value;
use crate::codec::envelope::{END, ITEM};
use crate::codec::fast_path::Compact;
use crate::codec::id::Id;
use crate::codec::parser::Document;
use crate::codec::request::Request;
use crate::codec::response::ResponseMessage;

/// The end of an `rpc.item` and of an `rpc.end`.
const CLOSE: &[u8] = b"]}";

/// A line of a stream of items.
#[derive(Debug)]
pub(crate) enum StreamFrame<'t, 'de> {
    Item(Id<'de>, Value<'t, 'de>),
    /// The end of the items.
    End(Id<'de>),
    /// The response of the call.
    Response(ResponseMessage<'t, 'de>),
}

impl<'t, 'de> StreamFrame<'t, 'de> {
    /// Reads a line of any implementation. Returns `None` if it belongs to no stream of items.
    pub(crate) fn read(value: Value<'t, 'de>) -> Option<Self> {
        match Request::read(value) {
            Ok(request) => Self::of(request),
            Err(_) => ResponseMessage::read(value).map(Self::Response),
        }
    }

    /// Interprets a notification as a line.
    pub(crate) fn of(request: Request<'t, 'de>) -> Option<Self> {
        let (id, item) = parameters(request.params?)?;
        match (request.id, request.method) {
            (None, "rpc.item") => Some(Self::Item(id, item?)),
            (None, "rpc.end") => Some(Self::End(id)),
            _ => None,
        }
    }
}

impl<'de> Document<'_, 'de> {
    /// Interprets the document as a line of a stream of items.
    pub(crate) fn line(&self) -> Option<StreamFrame<'_, 'de>> {
        match self.compact() {
            Some(Compact::Item { id }) => Some(StreamFrame::Item(Id::Unsigned(id), self.root())),
            Some(_) => self.response().map(StreamFrame::Response),
            None => StreamFrame::read(self.root()),
        }
    }
}

/// Returns `true` if a line starts as an `rpc.item` or an `rpc.end` of this implementation.
pub(crate) fn starts_as_item(line: &[u8]) -> bool {
    line.starts_with(ITEM) || line.starts_with(END)
}

/// Reads an id and an item, by position or by name.
fn parameters<'t, 'de>(params: Value<'t, 'de>) -> Option<(Id<'de>, Option<Value<'t, 'de>>)> {
    if let Some(mut elements) = params.elements() {
        return Some((read_id(elements.next()?)?, elements.next()));
    }
    let (mut id, mut item) = (None, None);
    for (name, value) in params.members()? {
        match name {
            "id" => id = Some(read_id(value)?),
            "item" => item = Some(value),
            _ => {}
        }
    }
    Some((id?, item))
}

/// Reads the id of a call. Also accepts an integer that the sender has changed to a fraction.
fn read_id<'de>(value: Value<'_, 'de>) -> Option<Id<'de>> {
    Id::read(value).or_else(|| Id::read_call_id(value).map(Id::Unsigned))
}

/// Appends an item of the call with this id, as JSON. Appends nothing if `write` fails.
pub(crate) fn write<E>(
    id: &[u8],
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let start = out.len();
    out.extend_from_slice(ITEM);
    out.extend_from_slice(id);
    out.push(b',');
    let written = write(out);
    match written {
        Ok(()) => {
            out.extend_from_slice(CLOSE);
            out.push(b'\n');
        }
        Err(_) => out.truncate(start),
    }
    written
}

/// Appends the end of the items.
pub(crate) fn write_end(id: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(END);
    out.extend_from_slice(id);
    out.extend_from_slice(CLOSE);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value as Json;

    use super::*;
    use crate::codec::parser::Parser;
    use crate::codec::ser;

    /// Describes a line in words.
    fn read(line: &str) -> Option<String> {
        let mut message = line.as_bytes().to_vec();
        let mut parser = Parser::new(128);
        let document = parser.parse_line(&mut message).ok()?;
        let text = |id: Id<'_>| {
            let mut text = Vec::new();
            id.write(&mut text);
            String::from_utf8(text).unwrap()
        };
        Some(match document.line()? {
            StreamFrame::Item(id, item) => {
                format!("item {} {}", text(id), serde_json::to_value(item).unwrap())
            }
            StreamFrame::End(id) => format!("end {}", text(id)),
            StreamFrame::Response(_) => "response".into(),
        })
    }

    #[test]
    fn line_of_each_kind_is_read_as_its_kind() {
        for (line, said) in [
            (
                r#"{"jsonrpc":"2.0","method":"rpc.item","params":[1,2]}"#,
                Some("item 1 2"),
            ),
            (
                r#"{"params": ["a", null], "method": "rpc.item", "jsonrpc": "2.0"}"#,
                Some(r#"item "a" null"#),
            ),
            (
                r#"{"jsonrpc":"2.0","method":"rpc.item","params":{"item":[1.5],"id":null}}"#,
                Some("item null [1.5]"),
            ),
            (
                r#"{"jsonrpc":"2.0","method":"rpc.end","params":[1]}"#,
                Some("end 1"),
            ),
            (
                r#"{"jsonrpc":"2.0","method":"rpc.item","params":[1.0,2]}"#,
                Some("item 1 2"),
            ),
            (
                r#"{"jsonrpc":"2.0","method":"rpc.end","params":{"id":1}}"#,
                Some("end 1"),
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"result":null}"#,
                Some("response"),
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"no"}}"#,
                Some("response"),
            ),
            (
                r#"{"jsonrpc":"2.0","method":"rpc.item","params":[1]}"#,
                None,
            ),
            (
                r#"{"jsonrpc":"2.0","method":"rpc.item","params":[1.5,2]}"#,
                None,
            ),
            (r#"{"jsonrpc":"2.0","method":"rpc.item"}"#, None),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"rpc.item","params":[1,2]}"#,
                None,
            ),
            (r#"{"jsonrpc":"2.0","method":"other","params":[1,2]}"#, None),
            (r#"{"jsonrpc":"2.0","result":1}"#, None),
            ("[1]", None),
            ("{", None),
        ] {
            assert_eq!(read(line).as_deref(), said, "{line}");
        }
    }

    proptest! {
        #[test]
        fn item_and_end_written_are_read_back(id in any::<u64>(), item in any::<Option<(i64, String, bool)>>()) {
            let id = id.to_string();
            let mut out = Vec::new();
            write(id.as_bytes(), &mut out, |out| ser::write(&item, out)).unwrap();
            write_end(id.as_bytes(), &mut out);
            let text = String::from_utf8(out).unwrap();
            let lines: Vec<_> = text.lines().collect();
            let json: Json = serde_json::to_value(&item).unwrap();
            let said = [format!("item {id} {json}"), format!("end {id}")];
            prop_assert_eq!([read(lines[0]).unwrap(), read(lines[1]).unwrap()], said);
        }
    }
}
