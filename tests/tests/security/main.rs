//! What a hostile or slow peer cannot do: TLS, limits, disclosure.

#[path = "../peer/mod.rs"]
mod peer;
#[path = "../support/mod.rs"]
mod support;

mod disclosure;
mod hostile;
mod limits;
mod tls;
