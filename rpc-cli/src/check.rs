//! `rpc check`: checks that callers of an old description can call a new one.

mod finding;
mod fit;
mod fuel;
mod kinds;
mod limits;
mod memory;
mod methods;
mod problem;
mod range;
mod same;
mod side;
#[cfg(test)]
mod tests;
mod union;

use std::io::Write;

use clap::Args;
use serde_json::{Value, json};

use self::finding::{Change, Severity};
use crate::connect::Connection;
use crate::document::Document;
use crate::escape::Printable;
use crate::failure::{Failure, Status, Stop};
use crate::output::{FAINT, Output, TITLE};
use crate::source::Source;

/// Compare two descriptions: exit status 1 if callers of the old one break on the new one
///
/// What breaks: a method or alias that is gone; another kind of method; a parameter that is gone, new and required,
/// required now, elsewhere in the order, or takes less; a result or an item that may be more than it was; an error code
/// that is gone, or its data another. What may break: a changed default, an error that says something else, a method
/// that is no longer idempotent, and what is not understood of a schema.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The description that callers know: a file with an OpenRPC document, or a server, `HOST:PORT`
    old: Source,
    /// The description that they will meet
    new: Source,
    /// Let what may break count as breaking
    #[arg(long)]
    strict: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Options {
    pub(crate) async fn run(self, output: &mut Output) -> Result<(), Stop> {
        let old = Document::new(self.old.read(&self.connection).await?)?;
        let new = Document::new(self.new.read(&self.connection).await?)?;
        let changes = methods::compare(&old, &new);
        match self.json {
            true => output.json(&to_json(&changes).to_string())?,
            false => output.buffered(|out| write(out, &changes))?,
        }
        let count = |severity| count(&changes, severity);
        let unsure = if self.strict {
            count(Severity::MayBreak)
        } else {
            0
        };
        match count(Severity::Breaking) + unsure {
            0 => Ok(()),
            1 => Err(Failure::new(Status::Answered, "one change breaks callers").into()),
            several => Err(Failure::new(
                Status::Answered,
                format!("{several} changes break callers"),
            )
            .into()),
        }
    }
}

/// Returns the output for the changes between two documents.
#[cfg(test)]
pub(crate) fn outputs(old: &Document, new: &Document) -> [String; 2] {
    let changes = methods::compare(old, new);
    let mut shown = Vec::new();
    write(&mut shown, &changes).unwrap();
    let json = to_json(&changes).to_string();
    [
        String::from_utf8(shown).unwrap(),
        crate::json::Compact(&json).to_string(),
    ]
}

fn of(changes: &[Change], severity: Severity) -> impl Iterator<Item = &Change> {
    changes
        .iter()
        .filter(move |change| change.finding.severity == severity)
}

fn count(changes: &[Change], severity: Severity) -> usize {
    of(changes, severity).count()
}

fn to_json(changes: &[Change]) -> Value {
    let listed = Severity::ALL.map(|severity| {
        let each = of(changes, severity)
            .map(|change| json!({"method": &*change.method, "what": &*change.finding.what}));
        (severity.name().replace(' ', "_"), each.collect())
    });
    listed.into_iter().collect::<serde_json::Map<_, _>>().into()
}

fn write(out: &mut impl Write, changes: &[Change]) -> std::io::Result<()> {
    for severity in Severity::ALL {
        let (style, name) = (severity.style(), severity.name());
        for (index, change) in of(changes, severity).enumerate() {
            if index == 0 {
                writeln!(out, "{style}{name}{style:#}")?;
            }
            let (method, what) = (Printable(&change.method), Printable(&change.finding.what));
            writeln!(out, "  {TITLE}{method}{TITLE:#}  {what}")?;
        }
    }
    let counts =
        Severity::ALL.map(|severity| format!("{} {}", count(changes, severity), severity.name()));
    writeln!(out, "{FAINT}{}{FAINT:#}", counts.join(", "))
}
