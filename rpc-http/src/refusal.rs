//! Requests that are refused before their body is read.

use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};

use crate::body::ResponseBody;

/// The reason why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    MethodNotAllowed,
    PayloadTooLarge { max_bytes: usize },
    UnsupportedMediaType,
}

impl Refusal {
    pub(crate) fn response(self) -> Response<ResponseBody> {
        let (status, text) = match self {
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "send JSON-RPC 2.0 messages with POST\n".to_owned(),
            ),
            Self::PayloadTooLarge { max_bytes } => (
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("a message has up to {max_bytes} bytes\n"),
            ),
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "send messages as `content-type: application/json`\n".to_owned(),
            ),
        };
        let mut response = Response::new(ResponseBody::whole(text.into()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        if self == Self::MethodNotAllowed {
            headers.insert(ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}
