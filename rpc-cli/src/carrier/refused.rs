//! The reasons why a server of HTTP did not answer with JSON-RPC.

use http::header::{CONTENT_TYPE, LOCATION};
use http::response::Parts;
use http::{HeaderMap, StatusCode};
use rpc_runtime::ConnectError;
use tokio_rustls::rustls;

use crate::advice::{advise, error_chain};
use crate::carrier::shared::Shared;
use crate::failure::{Failure, Status};
use crate::target::{Protocol, Target};

/// The maximum length of a server's own text, in bytes.
const SHOWN: usize = 500;

/// Returns the failure for a response that is no answer.
pub(super) fn refused(shared: &Shared, head: &Parts, body: &[u8]) -> Failure {
    let status = head.status;
    let mut message = format!(
        "{}: the server answered with the status {status}",
        shared.url
    );
    if let Some(text) = text_of(&head.headers, body) {
        message = format!("{message}: {text}");
    }
    let kind = match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => Status::Timeout,
        status if status.is_server_error() => Status::Unreachable,
        _ => Status::Answered,
    };
    let failure = Failure::new(kind, message);
    match status {
        StatusCode::NOT_FOUND => failure.tip("check the path of the URL"),
        StatusCode::UNAUTHORIZED => {
            failure.tip("the environment variable RPC_TOKEN holds a bearer token to send")
        }
        StatusCode::FORBIDDEN => failure.tip(format!(
            "the server may answer for other hosts than `{}` only; use a host that it allows",
            shared.url.host
        )),
        StatusCode::METHOD_NOT_ALLOWED => {
            failure.tip("check the path of the URL: JSON-RPC is not served there")
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE if shared.needs.has_items => failure
            .tip("the server does not stream items over HTTP; call the method with `rpc call`"),
        status if status.is_redirection() => {
            let location = head.headers.get(LOCATION).and_then(|it| it.to_str().ok());
            match location {
                Some(location) => failure.tip(format!("call the URL {location}")),
                None => failure,
            }
        }
        status if status.is_success() || status == StatusCode::UPGRADE_REQUIRED => {
            let other = match shared.url.protocol {
                Protocol::Http => "`ws://` or `wss://` calls a server over WebSocket",
                Protocol::WebSocket => "`http://` or `https://` calls a server over HTTP",
            };
            failure.tip(other)
        }
        _ => failure,
    }
}

/// Returns the failure for a response without a reply.
pub(super) fn unanswered(shared: &Shared, status: StatusCode) -> Failure {
    let url = &shared.url;
    let message = format!("{url}: the server sent no reply to the call (status {status})");
    Failure::new(Status::Unusable, message)
}

/// Returns the failure for a body that is not JSON.
pub(super) fn not_json(shared: &Shared, head: &Parts) -> Failure {
    let of_type = match head
        .headers
        .get(CONTENT_TYPE)
        .and_then(|it| it.to_str().ok())
    {
        Some(name) => format!("a body of the type {name}"),
        None => "a body without a type".to_owned(),
    };
    let message = format!(
        "{}: the server answered with {of_type}, and not with JSON-RPC",
        shared.url
    );
    Failure::new(Status::Unusable, message).tip("check the port and the path of the URL")
}

/// Returns the first line of a text that the server wrote for its readers.
fn text_of(headers: &HeaderMap, body: &[u8]) -> Option<String> {
    let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let is_shown = ["text/plain", "application/json"];
    if !is_shown.iter().any(|shown| content_type.starts_with(shown)) {
        return None;
    }
    let text = String::from_utf8_lossy(&body[..body.len().min(SHOWN)]);
    let line = text.lines().find(|line| !line.trim().is_empty())?;
    Some(line.trim().to_owned())
}

/// Returns the failure for a connection that was lost.
pub(super) fn lost(shared: &Shared, error: &(dyn std::error::Error + 'static)) -> Failure {
    if let Some(refused) = refusal_of_certificate(error) {
        return advise(&refused, &Target::Url(shared.url.clone()));
    }
    let message = format!("{}: {}", shared.url, error_chain(error));
    let failure = Failure::new(Status::Unreachable, message);
    match is_not_http(error) {
        true if !shared.url.is_tls => {
            failure.tip("the server does not answer in HTTP: check the port, and write `https://` or `wss://` for a server with TLS")
        }
        true => failure.tip("the server does not answer in HTTP: check the port"),
        false => failure,
    }
}

fn causes<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'e (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

fn is_not_http(error: &(dyn std::error::Error + 'static)) -> bool {
    use tokio_tungstenite::tungstenite::Error;
    causes(error).any(|cause| {
        let parse = cause.downcast_ref::<hyper::Error>();
        parse.is_some_and(hyper::Error::is_parse)
            || matches!(
                cause.downcast_ref(),
                Some(Error::HttpFormat(_) | Error::Protocol(_))
            )
    })
}

/// Returns what the server says of the client's certificate, which it does after the handshake of TLS.
fn refusal_of_certificate(error: &(dyn std::error::Error + 'static)) -> Option<ConnectError> {
    use rustls::AlertDescription as Alert;
    let alert = causes(error).find_map(|cause| {
        let inner = cause.downcast_ref::<std::io::Error>()?.get_ref()?;
        match inner.downcast_ref()? {
            rustls::Error::AlertReceived(alert) => Some(*alert),
            _ => None,
        }
    })?;
    match alert {
        Alert::CertificateRequired => Some(ConnectError::CertificateRequired),
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied
        | Alert::DecryptError => Some(ConnectError::CertificateRefused {
            alert: alert.into(),
        }),
        _ => None,
    }
}
