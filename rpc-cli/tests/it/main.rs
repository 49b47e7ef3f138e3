//! The binary, run against servers on loopback.

mod arguments;
mod bench;
mod call;
mod check;
mod describe;
mod environment;
mod evolution;
mod health;
mod hostile;
mod interrupt;
mod page;
mod pictures;
mod ping;
mod program;
mod shell;
mod stream;
mod undescribed;
mod url;
mod values;
