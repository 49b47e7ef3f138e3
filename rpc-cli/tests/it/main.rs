//! The command as scripts and people meet it: the real binary, against real servers on loopback.

mod bench;
mod call;
mod check;
mod describe;
mod page;
mod pictures;
mod ping;
mod program;
mod shell;
mod silent;
mod stream;
