//! What went wrong, what to do about it, and what a script is told.

use std::fmt;
use std::io;

use anstyle::{AnsiColor, Style};
use rpc_runtime::{CallError, ErrorObject};

/// How the command ended, as its exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// The server answered an error, or `check` found what breaks callers.
    Answered = 1,
    /// The command line or a file is not as it should be, and nothing was called.
    Usage = 2,
    /// There is no connection, or no more.
    Unreachable = 3,
    /// The time was over.
    Timeout = 4,
    /// What came cannot be used.
    Unusable = 5,
}

/// What `--help` says of them.
pub(crate) const EXIT_STATUS: &str = "\
Exit status:
  0    done
  1    the server answered an error; `check` found breaks; `bench` saw failures
  2    wrong usage: the arguments, or a file; nothing was called
  3    no connection: nobody there, not trusted, or lost
  4    the time was over
  5    the answer cannot be used
  130  stopped with ctrl-c";

/// Why the command has not done what it was asked for.
#[derive(Debug)]
pub(crate) struct Failure {
    status: Status,
    message: String,
    data: Option<String>,
    tips: Vec<String>,
}

const ERROR: Style = AnsiColor::Red.on_default().bold();
const TIP: Style = AnsiColor::Green.on_default();

impl Failure {
    pub(crate) fn new(status: Status, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            data: None,
            tips: Vec::new(),
        }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Status::Usage, message)
    }

    /// Adds what to do about it.
    pub(crate) fn tip(mut self, tip: impl Into<String>) -> Self {
        self.tips.push(tip.into());
        self
    }

    pub(crate) fn status(&self) -> Status {
        self.status
    }

    /// Of a server's error object.
    pub(crate) fn answered(error: &ErrorObject) -> Self {
        Self {
            data: error.raw_data().map(str::to_owned),
            ..Self::new(
                Status::Answered,
                format!("the server answered {}: {}", error.code(), error.message()),
            )
        }
    }

    /// Of a call.
    pub(crate) fn call(error: CallError<ErrorObject>) -> Self {
        match error {
            CallError::Application(error) | CallError::Remote(error) => Self::answered(&error),
            error => Self::unanswered(&error),
        }
    }

    /// Of a call that the server did not answer.
    pub(crate) fn unanswered<E: fmt::Display>(error: &CallError<E>) -> Self {
        let status = match error {
            CallError::Timeout => Status::Timeout,
            CallError::Encode(_) => Status::Usage,
            CallError::Connection { .. } | CallError::StreamEnded => Status::Unreachable,
            CallError::Cancelled => Status::Answered,
            _ => Status::Unusable,
        };
        let failure = Self::new(status, error.to_string());
        match error {
            CallError::Timeout => failure.tip("a longer `--timeout` waits longer"),
            _ => failure,
        }
    }

    /// Of standard output. `None`: whoever reads it has had enough, which is no failure.
    pub(crate) fn output(error: &io::Error) -> Option<Self> {
        match error.kind() {
            io::ErrorKind::BrokenPipe => None,
            _ => Some(Self::new(
                Status::Unusable,
                format!("cannot write the output: {error}"),
            )),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{ERROR}error:{ERROR:#} {}", below(7, &self.message))?;
        if let Some(data) = &self.data {
            writeln!(f, " data: {}", below(7, data))?;
        }
        for tip in &self.tips {
            writeln!(f, "  {TIP}tip:{TIP:#} {}", below(7, tip))?;
        }
        Ok(())
    }
}

/// Lines that stand below one another, so that none is taken for more than a part of the text.
fn below(indent: usize, text: &str) -> String {
    let lines: Vec<_> = text.lines().map(printable).collect();
    lines.join(&format!("\n{:indent$}", ""))
}

/// A peer's text as a terminal may show it: on one line and without control characters.
pub(crate) fn printable(text: &str) -> String {
    let is_safe = |c: char| !c.is_control() || c == '\t';
    text.chars()
        .flat_map(|c| {
            let shown = is_safe(c).then_some(c);
            let escaped = (!is_safe(c)).then(|| c.escape_default());
            shown.into_iter().chain(escaped.into_iter().flatten())
        })
        .collect()
}

/// What ends a command early.
#[derive(Debug)]
pub(crate) enum Stop {
    Failed(Failure),
    Output(io::Error),
    /// Ctrl-c.
    Interrupted,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_text_stays_a_part_of_the_message() {
        let error = ErrorObject::new(1, "no\n  tip: paste this\n\u{1b}[2Jerror: other");
        let told = anstream::adapter::strip_str(&Failure::answered(&error).to_string()).to_string();
        let expected = "error: the server answered 1: no\n         tip: paste this\n       \\u{1b}[2Jerror: other\n";
        assert_eq!(told, expected);
    }
}
