//! Messages of JSON-RPC as a peer writes them.

use serde_json::{Value, json};

/// Returns a message as a line.
pub fn line(message: impl Into<Value>) -> String {
    format!("{}\n", message.into())
}

/// Returns a call.
pub fn call(id: impl Into<Value>, method: &str, params: impl Into<Value>) -> Value {
    json!({"jsonrpc": "2.0", "id": id.into(), "method": method, "params": params.into()})
}

/// Returns a call as a line. `params` are sent unchanged.
pub fn call_line(id: u64, method: &str, params: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{method}\",\"params\":{params}}}\n")
}

/// Returns a notification.
pub fn notification(method: &str, params: impl Into<Value>) -> Value {
    json!({"jsonrpc": "2.0", "method": method, "params": params.into()})
}

/// Returns the cancellation of a call.
pub fn cancel(id: impl Into<Value>) -> Value {
    notification("rpc.cancel", [id.into()])
}

/// Returns an item of a stream.
pub fn item(id: impl Into<Value>, item: impl Into<Value>) -> Value {
    notification("rpc.item", [id.into(), item.into()])
}

/// Returns the end of a stream of items.
pub fn end(id: impl Into<Value>) -> Value {
    notification("rpc.end", [id.into()])
}

/// Returns the response of a call that succeeded.
pub fn result(id: impl Into<Value>, result: impl Into<Value>) -> Value {
    json!({"jsonrpc": "2.0", "id": id.into(), "result": result.into()})
}

/// Returns the response of a call that failed.
pub fn error(id: impl Into<Value>, code: i64, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id.into(), "error": {"code": code, "message": message}})
}

/// Returns the error of a limit: the name of the setting and its value are its data.
pub fn error_of_limit(id: impl Into<Value>, (code, message): (i64, &str), limit: &str) -> Value {
    let mut error = error(id, code, message);
    error["error"]["data"] = format!("the limit is {limit}").into();
    error
}
