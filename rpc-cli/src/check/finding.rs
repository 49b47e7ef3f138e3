//! What a comparison of two descriptions finds.

use anstyle::{AnsiColor, Style};

use crate::output::WARNING;

/// What a change means for callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    Breaking,
    MayBreak,
    Compatible,
}

impl Severity {
    pub(super) const ALL: [Self; 3] = [Self::Breaking, Self::MayBreak, Self::Compatible];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Breaking => "breaking",
            Self::MayBreak => "may break",
            Self::Compatible => "compatible",
        }
    }

    pub(super) fn style(self) -> Style {
        match self {
            Self::Breaking => AnsiColor::Red.on_default(),
            Self::MayBreak => WARNING,
            Self::Compatible => AnsiColor::Green.on_default(),
        }
    }
}

/// What was found in a method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    pub(super) what: String,
}

/// A finding, and its method.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) method: String,
    pub(super) finding: Finding,
}

impl Change {
    pub(super) fn new(method: &str, finding: Finding) -> Self {
        Self {
            method: method.to_owned(),
            finding,
        }
    }
}
