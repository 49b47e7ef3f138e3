//! Failures: the reason for the user, advice, and the exit status for scripts.

use std::fmt;
use std::io;

use anstyle::{AnsiColor, Style};
use rpc_runtime::{CallError, code};

use crate::escape::{PrintableLines, truncated};
use crate::json::Compact;

/// The exit status of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// The server answered with an error, or `check` found a breaking change.
    Answered = 1,
    /// The command line, a file or the arguments are invalid.
    Usage = 2,
    /// There is no connection, or it was lost.
    Unreachable = 3,
    /// The timeout passed.
    Timeout = 4,
    /// The reply or the description cannot be used.
    Unusable = 5,
    /// Standard output cannot be written.
    Unwritable = 6,
}

/// The text of `--help` about the environment and the exit status.
pub(crate) const HELP: &str = "\
Environment:
  RPC_PIN, RPC_CA    as --pin and --ca, if neither is given
  RPC_CERT, RPC_KEY  as --cert and --key
  RPC_TOKEN          sends the metadata `authorization` with the value `Bearer` and this token
  NO_COLOR           turns off colours, unless --color is given

Exit status:
  0    the command succeeded
  1    the server returned an error; `check` found breaking changes; calls of `bench` failed
  2    the command line, a file or the arguments are invalid
  3    no connection: the server is unreachable or not trusted, or the connection was lost
  4    a timeout elapsed
  5    the reply or the description cannot be used
  6    standard output cannot be written
  130  interrupted by ctrl-c";

/// An error with which the server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ErrorReply {
    pub(crate) code: i64,
    pub(crate) message: String,
    /// The data as JSON text.
    pub(crate) data: Option<String>,
}

/// The reason why the command failed.
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

    /// Adds advice.
    pub(crate) fn tip(mut self, tip: impl Into<String>) -> Self {
        self.tips.push(tip.into());
        self
    }

    /// Names the subject of the failure.
    pub(crate) fn of(mut self, subject: &str) -> Self {
        self.message = format!("{subject}: {}", self.message);
        self
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn status(&self) -> Status {
        self.status
    }

    /// Creates the failure for an error with which the server answered.
    pub(crate) fn answered(error_reply: ErrorReply) -> Self {
        let ErrorReply {
            code: number,
            message,
            data,
        } = error_reply;
        let message = format!("the server answered {number}: {message}");
        // Without a description, only the server knows which arguments are valid.
        let status = match number {
            code::INVALID_PARAMS => Status::Usage,
            _ => Status::Answered,
        };
        Self {
            data,
            ..Self::new(status, message)
        }
    }

    /// Creates the failure for a call that the server did not answer.
    pub(crate) fn unanswered<E: fmt::Display>(error: &CallError<E>) -> Self {
        let status = match error {
            CallError::Timeout
            | CallError::TimeoutAtLimit(_)
            | CallError::TimeoutBehindItems(_) => Status::Timeout,
            CallError::Encode(_) => Status::Usage,
            CallError::Connection { .. } | CallError::StreamEnded => Status::Unreachable,
            CallError::Cancelled => Status::Answered,
            _ => Status::Unusable,
        };
        let failure = Self::new(status, error.to_string());
        match error {
            CallError::Timeout => failure.tip("`--timeout DURATION` sets a longer timeout"),
            _ => failure,
        }
    }

    /// Creates the failure for an error of standard output. Returns `None` if the reader has closed the pipe, which is
    /// no failure.
    pub(crate) fn output(error: &io::Error) -> Option<Self> {
        match error.kind() {
            io::ErrorKind::BrokenPipe => None,
            _ => Some(Self::new(
                Status::Unwritable,
                format!("cannot write to standard output: {error}"),
            )),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let below = |text| Below { indent: 7, text };
        writeln!(f, "{ERROR}error:{ERROR:#} {}", below(&self.message))?;
        if let Some(data) = &self.data {
            let (start, is_all) = truncated(data, SHOWN);
            let rest = if is_all { "" } else { "…" };
            writeln!(f, " data: {}{rest}", Compact(start))?;
        }
        for tip in &self.tips {
            writeln!(f, "  {TIP}tip:{TIP:#} {}", below(tip))?;
        }
        Ok(())
    }
}

/// The maximum number of bytes of a text that are shown, because a server may send any number.
const SHOWN: usize = 16 << 10;

/// Displays a text with each line indented, so that no line looks like a message of this program.
struct Below<'a> {
    indent: usize,
    text: &'a str,
}

impl fmt::Display for Below<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, is_all) = truncated(self.text, SHOWN);
        for (index, line) in start.lines().enumerate() {
            if index > 0 {
                write!(f, "\n{:1$}", "", self.indent)?;
            }
            PrintableLines(line).fmt(f)?;
        }
        match is_all {
            true => Ok(()),
            false => write!(f, "… ({} bytes in all)", self.text.len()),
        }
    }
}

/// The reason why a command ends early.
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
        let error_reply = ErrorReply {
            code: 1,
            message: "no\n  tip: paste this\n\u{1b}[2Jerror: other\u{202e}".into(),
            data: Some("[ 1,\n\"\u{9b}2J\u{2028}\"]".into()),
        };
        let told = Failure::answered(error_reply).to_string();
        let told = anstream::adapter::strip_str(&told).to_string();
        let expected = "error: the server answered 1: no\n         tip: paste this\n       \\u{1b}[2Jerror: other\\u{202e}\n data: [1,\"\\u009b2J\\u2028\"]\n";
        assert_eq!(told, expected);
    }

    #[test]
    fn a_servers_text_of_any_length_is_shown_up_to_a_limit() {
        let long = "x\n".repeat(1 << 20);
        let error_reply = ErrorReply {
            code: 1,
            message: long.clone(),
            data: Some(format!("{long:?}")),
        };
        let told = Failure::answered(error_reply).tip(long).to_string();
        assert!(told.len() < 16 * SHOWN, "{}", told.len());
        assert!(told.contains("bytes in all)"));
    }
}
