//! `rpc stream`: prints received items, and sends items from standard input.

use std::fmt::Display;
use std::pin::pin;

use clap::Args;
use futures_util::{Stream, StreamExt, stream};
use rpc_runtime::Client;
use serde::ser::Error;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use tokio::io::BufReader;

use crate::call::{explain, known};
use crate::connect::Connection;
use crate::document::Method;
use crate::failure::{Failure, Stop};
use crate::input::Lines;
use crate::metadata::ShowMetadata;
use crate::output::Output;
use crate::params::{Given, Params, Sent};
use crate::reply::{self, CallFailed, read_result};
use crate::shell::command_line;
use crate::source::{WITHOUT, describe};
use crate::target::Target;

/// Calls a method that streams items, and prints each item as one line of JSON when it arrives
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The server: `HOST:PORT` over QUIC, or a URL: `https://…`, `http://…`, `wss://…`, `ws://…`
    target: Target,
    /// The name of the method
    method: String,
    #[command(flatten)]
    params: Params,
    /// Ends after this number of items
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Sends each line of standard input, which must be JSON, as an item
    #[arg(long, value_name = "-", value_parser = ["-"])]
    upload: Option<String>,
    /// Does not request the description of the server before the call
    #[arg(long)]
    undescribed: bool,
    #[command(flatten)]
    metadata: ShowMetadata,
    #[command(flatten)]
    connection: Connection,
}

impl Options {
    pub(crate) async fn run(mut self, output: &mut Output) -> Result<(), Stop> {
        self.connection.expect_items();
        if self.upload.is_some() && self.params.are_input() {
            let failure =
                Failure::usage("standard input cannot be both the arguments and the items");
            return Err(failure.into());
        }
        let given = self.params.clone().read()?;
        let work = async |client: &Client| self.stream(client, &given, output).await;
        self.connection.session(&self.target, work).await
    }

    async fn stream(
        &self,
        client: &Client,
        given: &Given,
        output: &mut Output,
    ) -> Result<(), Stop> {
        let document = match self.undescribed {
            true => None,
            false => describe(&self.connection, client, WITHOUT).await?,
        };
        let known = known(document.as_ref(), &self.method);
        if let Some((_, method)) = known {
            self.check(method)?;
        }
        let params = given.to_json(known)?;
        let ended = match known {
            Some((_, method)) if method.items().is_none() => {
                self.result(client, &params, output).await?
            }
            _ => self.items(client, &params, output).await?,
        };
        let explained = |failed| {
            let server = (&self.connection, &self.target);
            explain(server, failed, &self.method, document.as_ref())
        };
        Ok(ended.map_err(explained)?)
    }

    /// Returns a command line with the same target, method and arguments.
    fn command(&self, name: &str, option: &str) -> String {
        let options = self.connection.written() + option;
        let words = [std::slice::from_ref(&self.method), self.params.words()].concat();
        command_line(name, &self.target.to_string(), &options, &words)
    }

    /// Checks that the method supports the requested streams.
    fn check(&self, method: Method<'_>) -> Result<(), Failure> {
        let name = &self.method;
        match (method.upload(), &self.upload) {
            (None, None) if method.items().is_none() => {
                let failure = Failure::usage(format!("`{name}` does not stream items"));
                Err(failure.tip(format!("call it with `{}`", self.command("call", ""))))
            }
            (Some(_), None) => {
                let failure = Failure::usage(format!("`{name}` receives items"));
                let command = self.command("stream", " --upload -");
                Err(failure.tip(format!(
                    "`{command}` sends the lines of standard input as items"
                )))
            }
            (None, Some(_)) => Err(Failure::usage(format!("`{name}` receives no items"))),
            _ => Ok(()),
        }
    }

    async fn items(
        &self,
        client: &Client,
        params: &Sent,
        output: &mut Output,
    ) -> Result<Ended, Stop> {
        let items = client.items_unparsed(&self.method, params);
        let items = self.connection.with_meta(items);
        let items = match self.upload {
            Some(_) => items.upload(lines()),
            None => items,
        };
        let most = usize::try_from(self.count.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        let mut items = pin!(items.take(most));
        while let Some(line) = items.next().await {
            let line = line.map_err(CallFailed::from).and_then(|line| {
                self.metadata.show(&line);
                reply::read(line)
            });
            match line {
                Ok(reply::Line::Item(item)) => output.json_line(&item)?,
                Ok(reply::Line::Result(_)) => break,
                Ok(reply::Line::Error(error_reply)) => return Ok(Err(error_reply.into())),
                Err(failed) => return Ok(Err(failed)),
            }
        }
        Ok(Ok(()))
    }

    /// Prints the only result of a method that receives items.
    async fn result(
        &self,
        client: &Client,
        params: &Sent,
        output: &mut Output,
    ) -> Result<Ended, Stop> {
        let call = client.call_unparsed(&self.method, params);
        let called = self.connection.with_meta(call).upload(lines()).await;
        let result = called.map_err(CallFailed::from).and_then(|line| {
            self.metadata.show(&line);
            read_result(line)
        });
        match result {
            Ok(result) => Ok(Ok(output.json(&result)?)),
            Err(failed) => Ok(Err(failed)),
        }
    }
}

type Ended = Result<(), CallFailed>;

/// Returns the lines of standard input, up to the first that is not JSON.
fn lines() -> impl Stream<Item = Line> + Send + 'static {
    let lines = Lines::new(BufReader::new(tokio::io::stdin()));
    let numbered = stream::unfold((lines, 1), |(mut lines, number)| async move {
        let line = match lines.next().await {
            Ok(None) => return None,
            Ok(Some(Ok(line))) if line.trim().is_empty() => None,
            Ok(Some(Ok(line))) => Some(Line::new(line, number)),
            Ok(Some(Err(why))) => {
                let item = Err(format!("is {why}"));
                Some(Line { number, item })
            }
            Err(error) => {
                let item = Err(format!("cannot be read: {error}"));
                Some(Line { number, item })
            }
        };
        Some((line, (lines, number + 1)))
    });
    numbered.filter_map(async |line| line)
}

/// An item, or the reason why a line is not one.
struct Line {
    number: u64,
    item: Result<Box<RawValue>, String>,
}

impl Line {
    fn new(line: String, number: u64) -> Self {
        let item = RawValue::from_string(line).map_err(|error| not_json(&error));
        Self { number, item }
    }
}

/// Returns what is wrong with a line. The error has a line number of its own, which is always 1.
fn not_json(error: &serde_json::Error) -> String {
    let place = format!(" at line {} column {}", error.line(), error.column());
    let told = error.to_string();
    match told.strip_suffix(&place) {
        Some(what) => format!("is not JSON: {what} at column {}", error.column()),
        None => format!("is not JSON: {told}"),
    }
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let named = |why: &dyn Display| {
            S::Error::custom(format_args!("line {} of standard input {why}", self.number))
        };
        match &self.item {
            Ok(line) => line
                .serialize(serializer)
                .map_err(|error| named(&format_args!("cannot be sent: {error}"))),
            Err(why) => Err(named(why)),
        }
    }
}
