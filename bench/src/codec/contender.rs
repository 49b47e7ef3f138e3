//! Who takes part.

use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use anyhow::{Result, bail};
use clap::ValueEnum;

use super::message::Message;
use super::{jsonrpsee, ours, typed};

/// In the order of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Contender {
    Ours,
    Jsonrpsee,
    /// The envelope first, then the parameters.
    SerdeJson,
    /// Everything at once, by one who knows the method beforehand.
    SerdeJsonForeseen,
}

impl Contender {
    /// What the tables call it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Jsonrpsee => "jsonrpsee",
            Self::SerdeJson => "serde_json, envelope first",
            Self::SerdeJsonForeseen => "serde_json, method foreseen",
        }
    }

    /// One that answers this message.
    pub(crate) fn answers(self, message: Message) -> Box<dyn Answers> {
        match self {
            Self::Ours => Box::new(ours::Contender::new()),
            Self::Jsonrpsee => Box::new(jsonrpsee::Contender::new()),
            Self::SerdeJson => Box::new(typed::EnvelopeFirst::default()),
            Self::SerdeJsonForeseen => Box::new(typed::Foreseen::new(message.method)),
        }
    }
}

/// Bytes in, bytes out. What is handed out lies in memory of its own until the next message.
pub(crate) trait Answers {
    fn answer(&mut self, message: &[u8]) -> Result<&[u8]>;

    /// The loop that is measured; compiled for each contender, so that its calls are not indirect.
    fn repeat(&mut self, message: &[u8], times: u64) -> Result<()> {
        for _ in 0..times {
            black_box(self.answer(black_box(message))?);
        }
        Ok(())
    }
}

/// What a future comes to that has nothing to wait for. It is pinned where it was made: moving it would cost.
pub(crate) fn finish<F: Future>(future: Pin<&mut F>) -> Result<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Ok(output),
        Poll::Pending => bail!("there is something to wait for"),
    }
}
