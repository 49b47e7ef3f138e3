//! Answers requests that are refused before one of their calls runs.

use http::header::{
    ACCEPT_ENCODING, ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, SEC_WEBSOCKET_VERSION,
};
use http::{Response, StatusCode};
use rpc_runtime::ConnectionError;
use rpc_runtime::gateway::{ConnectionRefused, header};

use crate::body::ResponseBody;

/// The reason why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    InvalidHost,
    InvalidTimeout,
    InvalidMetadata,
    BodyBroken,
    HostNotAllowed,
    OriginNotAllowed,
    NotFound,
    MethodNotAllowed,
    BodyTimedOut,
    BodyTooLarge {
        max_bytes: usize,
    },
    UnsupportedMediaType,
    UnsupportedEncoding,
    MetadataTooLarge,
    #[cfg_attr(
        not(feature = "websocket"),
        expect(dead_code, reason = "refuses handshakes of WebSocket")
    )]
    WebSocketVersion,
    #[cfg_attr(
        not(feature = "websocket"),
        expect(dead_code, reason = "refuses handshakes of WebSocket")
    )]
    WebSocketHandshake,
    /// The server takes no more streams of the connection, and would close it with this code.
    Unavailable {
        code: Option<u64>,
    },
    BadSession,
    VersionNotSupported,
}

impl Refusal {
    fn status(self) -> StatusCode {
        match self {
            Self::InvalidHost
            | Self::InvalidTimeout
            | Self::InvalidMetadata
            | Self::BodyBroken
            | Self::BadSession
            | Self::WebSocketHandshake => StatusCode::BAD_REQUEST,
            Self::WebSocketVersion => StatusCode::UPGRADE_REQUIRED,
            Self::HostNotAllowed | Self::OriginNotAllowed => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTimedOut => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType | Self::UnsupportedEncoding => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Self::MetadataTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::VersionNotSupported => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        }
    }

    fn text(self) -> String {
        let text = match self {
            Self::InvalidHost => "the request needs one valid `host`",
            Self::InvalidTimeout => "`rpc-timeout-ms` is not a number of milliseconds",
            Self::InvalidMetadata => {
                "a header of metadata is not text, has a control character, or stands twice"
            }
            Self::BodyBroken => "the body of the request has ended early",
            Self::HostNotAllowed => {
                "this host is not allowed; add it on the server with `HttpService::allow_hosts`"
            }
            Self::OriginNotAllowed => {
                "this origin is not allowed; add it on the server with `HttpService::allow_origins`"
            }
            Self::NotFound => "nothing is served at this path",
            Self::MethodNotAllowed => "send JSON-RPC 2.0 messages with POST",
            Self::BodyTimedOut => "the body of the request did not arrive in time",
            Self::BodyTooLarge { max_bytes } => {
                return format!(
                    "a message has up to {max_bytes} bytes on this server (`Limits::max_request_bytes`)\n"
                );
            }
            Self::UnsupportedMediaType => {
                "send a message with `content-type: application/json`, or messages one a line with `application/x-ndjson`"
            }
            Self::UnsupportedEncoding => "send messages without `content-encoding`",
            Self::WebSocketVersion => "the server speaks version 13 of WebSocket",
            Self::WebSocketHandshake => {
                "the handshake of WebSocket needs `connection: upgrade` and `sec-websocket-key`"
            }
            Self::MetadataTooLarge => {
                "the headers of metadata are more than 64, or have more than 8192 bytes"
            }
            Self::Unavailable { .. } => {
                "the server takes no more connections, is shutting down, or has closed this one"
            }
            Self::BadSession => {
                "a session has 32 hexadecimal digits, and each of its streams an even number of its own"
            }
            Self::VersionNotSupported => "a stream needs HTTP/1.1 or HTTP/2",
        };
        format!("{text}\n")
    }

    pub(crate) fn response(self) -> Response<ResponseBody> {
        let mut response = Response::new(ResponseBody::whole(self.text().into()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        headers.insert(CONTENT_TYPE, plain);
        match self {
            Self::MethodNotAllowed => {
                headers.insert(ALLOW, HeaderValue::from_static("POST"));
            }
            Self::WebSocketVersion => {
                headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            Self::UnsupportedEncoding => {
                headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            }
            Self::BodyTimedOut => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Self::Unavailable { code: Some(code) } => {
                headers.insert(header::RESET, code.into());
            }
            _ => {}
        }
        response
    }
}

impl From<ConnectionError> for Refusal {
    fn from(ended: ConnectionError) -> Self {
        let code = match ended {
            ConnectionError::ClosedByPeer { code, .. } => Some(code),
            _ => None,
        };
        Self::Unavailable { code }
    }
}

impl From<ConnectionRefused> for Refusal {
    fn from(refused: ConnectionRefused) -> Self {
        let code = match refused {
            ConnectionRefused::ShuttingDown => Some(SHUTDOWN),
            _ => None,
        };
        Self::Unavailable { code }
    }
}

/// The code of a server that has shut down, before it has executed a call (section 8.2 of `PROTOCOL.md`).
const SHUTDOWN: u64 = 0x10;
