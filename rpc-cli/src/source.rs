//! Reads a description from a file or a server.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rpc_runtime::Client;

use crate::connect::Connection;
use crate::document::Document;
use crate::failure::{ErrorReply, Failure, Status, Stop};
use crate::input::decode;
use crate::json::Json;
use crate::reply::CallFailed;
use crate::target::Target;

/// The source of a description: a file or a server.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Server(Target),
    File(std::path::PathBuf),
    Input,
}

impl std::str::FromStr for Source {
    type Err = String;

    /// Parses a source: `-`, the name of an existing file, or an address.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "-" {
            return Ok(Self::Input);
        }
        if Path::new(text).exists() {
            return Ok(Self::File(text.into()));
        }
        text.parse().map(Self::Server).map_err(|error: String| {
            format!("{error}, the name of a file that exists, or `-` for standard input")
        })
    }
}

impl Source {
    /// Returns the description in what was read.
    pub(crate) fn document(&self, read: Json) -> Result<Document, Failure> {
        Document::new(read).map_err(|failure| self.invalid(failure))
    }

    /// Returns the failure with the name of the source.
    pub(crate) fn invalid(&self, failure: Failure) -> Failure {
        match self {
            Self::Server(address) => failure.of(&address.to_string()),
            Self::File(path) => failure.of(&path.display().to_string()),
            Self::Input => failure.of(INPUT),
        }
    }

    pub(crate) fn is_input(&self) -> bool {
        matches!(self, Self::Input)
    }

    /// Returns the document as received.
    pub(crate) async fn read(&self, connection: &Connection) -> Result<Json, Stop> {
        match self {
            Self::Server(target) => {
                let discover = async |client: &Client| Ok(discover(connection, client).await?);
                let document = connection.session(target, discover).await?;
                Ok(parse(document)?)
            }
            Self::File(path) => {
                let file = File::open(path).map_err(|error| error.to_string());
                let text = file.and_then(|file| read_text(file, connection));
                let parsed = text.and_then(Json::parse);
                Ok(parsed.map_err(|why| self.invalid(Failure::usage(why)))?)
            }
            Self::Input => {
                let parsed = read_text(io::stdin(), connection).and_then(Json::parse);
                Ok(parsed.map_err(|why| self.invalid(Failure::usage(why)))?)
            }
        }
    }
}

const INPUT: &str = "standard input";

fn read_text(source: impl Read, connection: &Connection) -> Result<String, String> {
    let limit = connection.max_reply();
    let mut bytes = Vec::new();
    let read = source.take(limit.bytes() + 1).read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    match bytes.len() as u64 > limit.bytes() {
        true => Err(format!(
            "there are more than {limit}, the limit of `--max-reply`"
        )),
        false => decode(bytes),
    }
}

fn parse(document: String) -> Result<Json, Failure> {
    Json::parse(document).map_err(|why| {
        let message = format!("the description is not an OpenRPC document: {why}");
        Failure::new(Status::Unusable, message)
    })
}

/// Requests the description of a server.
async fn discover(connection: &Connection, client: &Client) -> Result<String, Failure> {
    let asked = ask(connection, client).await?;
    asked.map_err(|error_reply| {
        Failure::answered(error_reply).tip("the server does not return a description")
    })
}

/// The advice if the description of a server cannot be read.
pub(crate) const WITHOUT: &str = "`--undescribed` makes the call without the description";

/// Returns the description of a server, or nothing if the server has none. `tip` is the advice if it cannot be read.
pub(crate) async fn describe(
    connection: &Connection,
    client: &Client,
    tip: &str,
) -> Result<Option<Document>, Failure> {
    let Ok(document) = ask(connection, client).await? else {
        return Ok(None);
    };
    let document = parse(document).and_then(Document::new);
    Ok(Some(document.map_err(|failure| failure.tip(tip))?))
}

async fn ask(
    connection: &Connection,
    client: &Client,
) -> Result<Result<String, ErrorReply>, Failure> {
    match connection.call(client, "rpc.discover", &()).await {
        Ok(document) => Ok(Ok(document)),
        Err(CallFailed::Answered(error_reply)) => Ok(Err(error_reply)),
        Err(failed) => Err(connection.explain(failed)),
    }
}
