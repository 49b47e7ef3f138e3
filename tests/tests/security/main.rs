//! What a hostile or slow peer cannot do: TLS, limits, disclosure.

mod attacks;
mod disclosure;
mod hostile;
mod hostile_server;
mod keys;
mod limits;
mod memory;
mod secrets;
mod tls;
