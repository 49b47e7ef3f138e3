//! The binary, run against servers on loopback.

mod bench;
mod call;
mod check;
mod describe;
mod hostile;
mod interrupt;
mod page;
mod pictures;
mod ping;
mod program;
mod shell;
mod stream;
mod undescribed;
mod values;
