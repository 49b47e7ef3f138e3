//! `rpc call`: makes one call and prints its result on standard output.

use clap::Args;
use rpc_runtime::{Client, code};

use crate::connect::Connection;
use crate::document::{Document, Method};
use crate::failure::{Failure, Stop};
use crate::metadata::ShowMetadata;
use crate::output::Output;
use crate::params::{Given, Params};
use crate::reply::{CallFailed, read_result};
use crate::shell::command_line;
use crate::source::{WITHOUT, describe};
use crate::target::Target;
use crate::types;

/// Calls a method and prints its result
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The server: `HOST:PORT` over QUIC, or a URL: `https://…`, `http://…`, `wss://…`, `ws://…`
    target: Target,
    /// The name of the method
    method: String,
    #[command(flatten)]
    params: Params,
    /// Sends a notification, which has no reply
    #[arg(long)]
    notify: bool,
    /// Does not request the description of the server before the call
    #[arg(long)]
    undescribed: bool,
    #[command(flatten)]
    metadata: ShowMetadata,
    #[command(flatten)]
    connection: Connection,
}

impl Options {
    pub(crate) async fn run(self, output: &mut Output) -> Result<(), Stop> {
        let given = self.params.clone().read()?;
        let call = async |client: &Client| self.call(client, &given).await;
        match self.connection.session(&self.target, call).await? {
            Some(result) => Ok(output.json(&result)?),
            None => Ok(()),
        }
    }

    /// Makes the call. Returns the result as JSON, or `None` for a notification.
    async fn call(&self, client: &Client, given: &Given) -> Result<Option<String>, Stop> {
        let document = match self.undescribed || self.method.starts_with("rpc.") {
            true => None,
            false => describe(&self.connection, client, WITHOUT).await?,
        };
        let known = known(document.as_ref(), &self.method);
        let streams = known.filter(|(_, method)| {
            let (items, upload) = (method.items(), method.upload());
            items.is_some() || upload.is_some()
        });
        if let Some((_, method)) = streams {
            let failure = Failure::usage(format!("`{}` streams items", self.method));
            let upload = match method.upload() {
                Some(_) => " --upload -",
                None => "",
            };
            let command = self.stream_command(upload);
            return Err(failure.tip(format!("call it with `{command}`")).into());
        }
        let params = given.to_json(known)?;
        if self.notify || known.is_some_and(|(_, method)| method.is_notification()) {
            // The server does not report invalid arguments of a notification.
            given.check(known)?;
            let notification = client.notify(&self.method, &params);
            let sent = self.connection.with_meta(notification).await;
            sent.map_err(|error| Failure::unanswered(&error))?;
            return Ok(None);
        }
        let line = self.connection.call_line(client, &self.method, &params);
        let called = line.await.and_then(|line| {
            self.metadata.show(&line);
            read_result(line)
        });
        let server = (&self.connection, &self.target);
        let explained = |failed| explain(server, failed, &self.method, document.as_ref());
        Ok(Some(called.map_err(explained)?))
    }

    /// Returns the command line of `rpc stream` with the same target, method and arguments.
    fn stream_command(&self, upload: &str) -> String {
        let options = self.connection.written() + upload;
        let words = [std::slice::from_ref(&self.method), self.params.words()].concat();
        command_line("stream", &self.target.to_string(), &options, &words)
    }
}

/// Returns the method, if the server describes it. The server may have methods that it does not describe.
pub(crate) fn known<'a>(
    document: Option<&'a Document>,
    name: &str,
) -> Option<(&'a Document, Method<'a>)> {
    let document = document?;
    document.method(name).map(|method| (document, method))
}

/// The maximum length of a signature in a failure, in characters.
const SIGNATURE: usize = 2000;

/// Returns the failure, with explanations from the description.
pub(crate) fn explain(
    (connection, target): (&Connection, &Target),
    failed: CallFailed,
    name: &str,
    document: Option<&Document>,
) -> Failure {
    let error_code = match &failed {
        CallFailed::Answered(error_reply) => error_reply.code,
        _ => 0,
    };
    let failure = connection.explain(failed);
    let Some(document) = document else {
        return failure;
    };
    match (error_code, document.method(name)) {
        (code::METHOD_NOT_FOUND, None) => {
            let tip = document.did_you_mean(name);
            let all = || {
                let (target, options) = (target.to_string(), connection.written());
                let command = command_line("describe", &target, &options, &[]);
                format!("`{command}` lists the methods")
            };
            failure.tip(tip.unwrap_or_else(all))
        }
        (code::INVALID_PARAMS, Some(method)) => {
            failure.tip(types::text(SIGNATURE, |out| types::signature(method, out)))
        }
        _ => failure,
    }
}
