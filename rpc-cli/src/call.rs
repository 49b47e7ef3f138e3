//! `rpc call`: one call, its result on standard output.

use clap::Args;
use rpc_runtime::{Address, CallError, Client, ErrorObject, code};
use serde_json::Value;

use crate::connect::Connection;
use crate::document::{Document, Method, WITHOUT, describe};
use crate::failure::{Failure, Stop};
use crate::output::Output;
use crate::params::{Given, Params};
use crate::types;

/// Call a method and print its result
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where the server is: `HOST:PORT`
    target: Address,
    /// The method's name
    method: String,
    #[command(flatten)]
    params: Params,
    /// Send it as a notification, which nobody answers
    #[arg(long)]
    notify: bool,
    /// Do not ask the server for its description before the call
    #[arg(long)]
    undescribed: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Options {
    pub(crate) async fn run(self, output: &mut Output) -> Result<(), Stop> {
        let given = self.params.clone().read()?;
        let call = async |client: &Client| self.call(client, &given).await;
        match self.connection.session(&self.target, call).await? {
            Some(result) => Ok(output.value(&result)?),
            None => Ok(()),
        }
    }

    /// The result; `None` of a notification.
    async fn call(&self, client: &Client, given: &Given) -> Result<Option<Value>, Stop> {
        let document = match self.undescribed || self.method.starts_with("rpc.") {
            true => None,
            false => describe(&self.connection, client, WITHOUT).await?,
        };
        let known = known(document.as_ref(), &self.method);
        if known.is_some_and(|(_, method)| method.items.is_some() || method.upload.is_some()) {
            let failure = Failure::usage(format!("`{}` is a stream of items", self.method));
            return Err(failure
                .tip(format!("`rpc stream {} {} …`", self.target, self.method))
                .into());
        }
        let params = given.to_json(known)?;
        if self.notify || known.is_some_and(|(_, method)| method.notification) {
            let notification = client.notify(&self.method, &params);
            let sent = self.connection.with_meta(notification).await;
            sent.map_err(|error| Failure::unanswered(&error))?;
            return Ok(None);
        }
        let call = self
            .connection
            .with_meta(client.call(&self.method, &params));
        match call.await {
            Ok(result) => Ok(Some(result)),
            Err(error) => Err(explain(error, &self.method, document.as_ref()).into()),
        }
    }
}

/// The method, if the server has told of it. It may have others of which it does not tell.
pub(crate) fn known<'a>(
    document: Option<&'a Document>,
    name: &str,
) -> Option<(&'a Document, &'a Method)> {
    let document = document?;
    document.method(name).map(|method| (document, method))
}

/// What went wrong, with what the description can say about it.
pub(crate) fn explain(
    error: CallError<ErrorObject>,
    name: &str,
    document: Option<&Document>,
) -> Failure {
    let refused = match &error {
        CallError::Remote(refused) => refused.code(),
        _ => 0,
    };
    let failure = Failure::call(error);
    let Some(document) = document else {
        return failure;
    };
    match (refused, document.method(name)) {
        (code::METHOD_NOT_FOUND, None) => match document.similar(name).as_slice() {
            [] => failure.tip("`rpc describe` lists what there is"),
            names => failure.tip(format!("did you mean `{}`?", names.join("`, `"))),
        },
        (code::INVALID_PARAMS, Some(method)) => failure.tip(types::text(&types::signature(method))),
        _ => failure,
    }
}
