//! The contenders.

use clap::ValueEnum;

use super::answers::Answers;
use super::message::Message;
use super::{jsonrpsee, ours, typed};

/// A contender. The order is that of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Contender {
    Ours,
    Jsonrpsee,
    /// serde_json, which decodes the envelope first and then the parameters.
    SerdeJson,
    /// serde_json, which knows the method in advance and decodes everything at once.
    SerdeJsonForeseen,
}

impl Contender {
    /// Returns its name in the tables.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Jsonrpsee => "jsonrpsee",
            Self::SerdeJson => "serde_json, envelope first",
            Self::SerdeJsonForeseen => "serde_json, method foreseen",
        }
    }

    /// Creates an instance that answers this message.
    pub(crate) fn answers(self, message: Message) -> Box<dyn Answers> {
        match self {
            Self::Ours => Box::new(ours::Contender::new()),
            Self::Jsonrpsee => Box::new(jsonrpsee::Contender::new()),
            Self::SerdeJson => Box::new(typed::EnvelopeFirst::default()),
            Self::SerdeJsonForeseen => Box::new(typed::Foreseen::new(message.method)),
        }
    }
}
