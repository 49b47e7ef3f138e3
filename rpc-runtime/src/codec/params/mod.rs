//! Parameters of a call: how a client encodes them and how a server decodes them.

pub(crate) mod decode;
pub(crate) mod encode;
