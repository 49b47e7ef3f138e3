//! The constant text of messages.

/// The start of every message.
pub(crate) const VERSION: &[u8] = br#"{"jsonrpc":"2.0""#;
/// The start of every response; the id follows.
pub(crate) const HEAD: &[u8] = br#"{"jsonrpc":"2.0","id":"#;
/// The text between the id and the value of a result.
pub(crate) const RESULT: &[u8] = br#","result":"#;
/// The text between the id and an error's code.
pub(crate) const ERROR: &[u8] = br#","error":{"code":"#;
/// The text between an error's code and its message.
pub(crate) const MESSAGE: &[u8] = br#","message":"#;
/// The text between an error's message and its data.
pub(crate) const DATA: &[u8] = br#","data":"#;
/// The text before the call's id and its item.
pub(crate) const ITEM: &[u8] = br#"{"jsonrpc":"2.0","method":"rpc.item","params":["#;
/// The text before the id of a call whose items are complete.
pub(crate) const END: &[u8] = br#"{"jsonrpc":"2.0","method":"rpc.end","params":["#;
/// The text before the method of a compact request, which its parameters and its timeout follow.
pub(super) const METHOD: &[u8] = br#","method":""#;
/// The text before the parameters of a compact request.
pub(super) const PARAMS: &[u8] = br#","params":"#;
/// The text before the metadata of a response, behind its result or error.
pub(super) const META: &[u8] = br#","meta":"#;
