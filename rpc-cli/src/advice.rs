//! Says why there is no connection, and how to correct it.

use rpc_runtime::ConnectError;
use rpc_runtime::tls::UntrustedReason;

use crate::failure::{Failure, Status};
use crate::target::Target;

/// Returns the text of an error and its causes.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Returns the reason why there is no connection, and how to correct it.
pub(crate) fn advise(error: &ConnectError, target: &Target) -> Failure {
    let status = match error {
        ConnectError::Timeout { .. } => Status::Timeout,
        ConnectError::Address(_) | ConnectError::Trust(_) => Status::Usage,
        _ => Status::Unreachable,
    };
    let failure = Failure::new(status, format!("{target}: {}", error_chain(error)));
    match error {
        ConnectError::Resolve(_) => failure.tip("check the host name"),
        ConnectError::Untrusted(reason) => match reason {
            UntrustedReason::UnknownIssuer | UntrustedReason::Authority => failure
                .tip("`--ca FILE` trusts the authority, or the self-signed certificate, in a PEM file")
                .tip("`--pin SHA256` trusts one certificate by its fingerprint"),
            UntrustedReason::NotPinned { .. } => {
                failure.tip("if the server has a new certificate, pass its fingerprint with `--pin SHA256`")
            }
            UntrustedReason::WrongName { .. } => {
                failure.tip("`--server-name NAME` sets the name that the certificate must have")
            }
            _ => failure,
        },
        ConnectError::CertificateRequired => {
            failure.tip("`--cert FILE --key FILE` authenticates with a client certificate")
        }
        ConnectError::CertificateRefused { .. } => {
            failure.tip("pass a certificate that the server accepts with `--cert FILE --key FILE`")
        }
        ConnectError::ServerName => {
            failure.tip("`--server-name NAME` sets the name that the certificate must have")
        }
        ConnectError::Protocol { .. } => failure.tip("check the port: its server does not speak this protocol"),
        _ => failure,
    }
}
