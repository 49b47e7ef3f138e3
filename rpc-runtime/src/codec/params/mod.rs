//! Parameters of a call: the client encodes them and the server decodes them.

pub(crate) mod decode;
pub(crate) mod encode;
