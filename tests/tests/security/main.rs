//! Protection against hostile and slow peers: TLS, limits, memory, disclosure.

mod attacks;
mod disclosure;
mod hostile;
mod hostile_server;
mod keys;
mod limits;
mod memory;
mod pem;
mod replicas;
mod secrets;
mod tls;
