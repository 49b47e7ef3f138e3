//! `rpc stream`: items as they come, and items as they are typed.

use std::pin::pin;

use clap::Args;
use futures_util::{Stream, StreamExt, stream};
use rpc_runtime::{Address, CallError, Client, ErrorObject};
use serde::ser::Error;
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::call::{explain, known};
use crate::connect::Connection;
use crate::document::{Method, WITHOUT, describe};
use crate::failure::{Failure, Stop};
use crate::output::Output;
use crate::params::{Given, Json, Params};

/// Call a method that streams items, and print them as they come, one JSON line each
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where the server is: `HOST:PORT`
    target: Address,
    /// The method's name
    method: String,
    #[command(flatten)]
    params: Params,
    /// End after so many items
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Send each line of standard input as an item: JSON
    #[arg(long, value_name = "-", value_parser = ["-"])]
    upload: Option<String>,
    /// Do not ask the server for its description before the call
    #[arg(long)]
    undescribed: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Options {
    pub(crate) async fn run(self, output: &mut Output) -> Result<(), Stop> {
        if self.upload.is_some() && self.params.are_input() {
            let failure = Failure::usage("standard input is either the arguments or the items");
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
            Some((_, method)) if method.items.is_none() => {
                self.result(client, &params, output).await?
            }
            _ => self.items(client, &params, output).await?,
        };
        Ok(ended.map_err(|error| explain(error, &self.method, document.as_ref()))?)
    }

    /// Whether the method does what it is asked for.
    fn check(&self, method: &Method) -> Result<(), Failure> {
        let name = &self.method;
        match (&method.upload, &self.upload) {
            (None, None) if method.items.is_none() => {
                let failure = Failure::usage(format!("`{name}` is not a stream of items"));
                Err(failure.tip(format!("`rpc call {} {name} …`", self.target)))
            }
            (Some(_), None) => {
                let failure = Failure::usage(format!("`{name}` takes items"));
                Err(failure.tip("`--upload -` sends the lines of standard input"))
            }
            (None, Some(_)) => Err(Failure::usage(format!("`{name}` takes no items"))),
            _ => Ok(()),
        }
    }

    async fn items(
        &self,
        client: &Client,
        params: &Json,
        output: &mut Output,
    ) -> Result<Ended, Stop> {
        let items = client.items::<Value, _>(&self.method, params);
        let items = self.connection.with_meta(items);
        let items = match self.upload {
            Some(_) => items.upload(lines()),
            None => items,
        };
        let most = usize::try_from(self.count.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        let mut items = pin!(items.take(most));
        while let Some(item) = items.next().await {
            match item {
                Ok(item) => output.line(&item)?,
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(()))
    }

    /// Items that are sent have one result.
    async fn result(
        &self,
        client: &Client,
        params: &Json,
        output: &mut Output,
    ) -> Result<Ended, Stop> {
        let call = client.call::<Value, _>(&self.method, params);
        match self.connection.with_meta(call).upload(lines()).await {
            Ok(result) => Ok(Ok(output.value(&result)?)),
            Err(error) => Ok(Err(error)),
        }
    }
}

type Ended = Result<(), CallError<ErrorObject>>;

/// The lines of standard input, up to the first that is no JSON.
fn lines() -> impl Stream<Item = Line> + Send + 'static {
    let lines = BufReader::new(tokio::io::stdin()).lines();
    let numbered = stream::unfold((lines, 1), |(mut lines, number)| async move {
        match lines.next_line().await {
            Ok(Some(line)) if line.trim().is_empty() => Some((None, (lines, number + 1))),
            Ok(Some(line)) => Some((Some(Line::new(line, number)), (lines, number + 1))),
            Ok(None) => None,
            Err(error) => Some((Some(Line(Err(error.to_string()))), (lines, number + 1))),
        }
    });
    numbered.filter_map(async |line| line)
}

/// An item, or why it is none.
struct Line(Result<Box<RawValue>, String>);

impl Line {
    fn new(line: String, number: u64) -> Self {
        let line = RawValue::from_string(line);
        Self(line.map_err(|error| format!("line {number} of standard input is no JSON: {error}")))
    }
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Ok(line) => line.serialize(serializer),
            Err(why) => Err(S::Error::custom(why)),
        }
    }
}
