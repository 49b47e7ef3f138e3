//! Who takes part.

use clap::ValueEnum;

use super::answers::Answers;
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
