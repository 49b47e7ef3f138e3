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

/// Compares two descriptions: the exit status is 1 if the new one breaks callers of the old one
///
/// Breaking changes are: a removed method or alias; another kind of method; a parameter that is removed, new and required,
/// now required, at another position, or accepts less; a result or an item that may have more values; a removed error
/// code, or other data of an error. Changes that may break are: a changed default, a changed error message, a method that
/// is no longer idempotent, and changed schema keywords that `check` does not interpret.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The description that callers use now: a file with an OpenRPC document, `-` for standard input, or a server, `HOST:PORT`
    old: Source,
    /// The description that replaces it
    new: Source,
    /// Counts changes that may break as breaking
    #[arg(long)]
    strict: bool,
    /// Prints JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Options {
    pub(crate) async fn run(self, output: &mut Output) -> Result<(), Stop> {
        if self.old.is_input() && self.new.is_input() {
            let failure = Failure::usage("standard input cannot be both descriptions");
            return Err(failure.into());
        }
        let old = read(&self.old, &self.connection).await?;
        let new = read(&self.new, &self.connection).await?;
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

async fn read(source: &Source, connection: &Connection) -> Result<Document, Stop> {
    let document = source.document(source.read(connection).await?)?;
    let checked = document
        .check_references()
        .and_then(|()| document.check_names());
    checked.map_err(|failure| source.invalid(failure))?;
    Ok(document)
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
