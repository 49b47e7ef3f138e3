//! The findings of a comparison of two descriptions.

use std::borrow::Cow;
use std::rc::Rc;

use anstyle::{AnsiColor, Style};

use crate::output::WARNING;

/// The consequence of a change for callers.
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

/// A finding about a method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    pub(super) what: Cow<'static, str>,
}

impl Finding {
    pub(super) fn breaking(what: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Severity::Breaking, what)
    }

    pub(super) fn unsure(what: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Severity::MayBreak, what)
    }

    pub(super) fn compatible(what: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Severity::Compatible, what)
    }

    pub(super) fn new(severity: Severity, what: impl Into<Cow<'static, str>>) -> Self {
        let what = what.into();
        Self { severity, what }
    }
}

/// A finding and its method.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) method: Rc<str>,
    pub(super) finding: Finding,
}
