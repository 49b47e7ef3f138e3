//! The types of bodies.

use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap};

/// Messages, one a line.
pub(crate) const NDJSON: &str = "application/x-ndjson";

/// Server-sent events.
pub(crate) const EVENTS: &str = "text/event-stream";

/// The type of a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContentType {
    /// One message or one batch.
    Json,
    /// Messages, one a line.
    Ndjson,
}

impl ContentType {
    /// Returns the type of a request's body, or `None` if it is not a known one.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let essence = value.split(';').next()?.trim();
        let is = |name| essence.eq_ignore_ascii_case(name);
        if is("application/json") || is("application/json-rpc") {
            Some(Self::Json)
        } else if is(NDJSON) {
            Some(Self::Ndjson)
        } else {
            None
        }
    }
}

/// The form of the replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplyForm {
    /// One reply, when it is complete.
    Whole,
    /// The lines of a stream as they come.
    Lines,
    /// The lines of a stream as they come, each as a server-sent event.
    Events,
}

impl ReplyForm {
    /// Returns the form that the client accepts. A client that accepts several gets the one that is closest to its request.
    pub(crate) fn of(headers: &HeaderMap, request: ContentType) -> Self {
        if !headers.contains_key(ACCEPT) {
            return Self::closest_to(request);
        }
        let accepts = |types: &[&str]| accepts(headers, types);
        let json = [
            "application/json",
            "application/json-rpc",
            "application/*",
            "*/*",
        ];
        let lines = [NDJSON, "application/*", "*/*"];
        let events = [EVENTS, "text/*", "*/*"];
        match request {
            ContentType::Json if accepts(&json) => Self::Whole,
            _ if accepts(&lines) => Self::Lines,
            _ if accepts(&events) => Self::Events,
            // As other servers of JSON-RPC do.
            _ => Self::closest_to(request),
        }
    }

    fn closest_to(request: ContentType) -> Self {
        match request {
            ContentType::Json => Self::Whole,
            ContentType::Ndjson => Self::Lines,
        }
    }
}

/// Returns `true` if the client accepts one of `types`.
fn accepts(headers: &HeaderMap, types: &[&str]) -> bool {
    let values = headers.get_all(ACCEPT).iter();
    let mut ranges = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    ranges.any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default();
        types.iter().any(|name| essence.eq_ignore_ascii_case(name)) && !parts.any(is_zero_weight)
    })
}

/// Returns `true` if a parameter of a range says that the range is not accepted.
fn is_zero_weight(parameter: &str) -> bool {
    let Some((name, weight)) = parameter.split_once('=') else {
        return false;
    };
    name.trim().eq_ignore_ascii_case("q") && weight.trim().parse() == Ok(0.0)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn form_of_the_replies_follows_what_the_client_accepts() {
        let (json, ndjson) = (ContentType::Json, ContentType::Ndjson);
        let cases = [
            (json, None, ReplyForm::Whole),
            (json, Some("*/*"), ReplyForm::Whole),
            (json, Some("application/json"), ReplyForm::Whole),
            (
                json,
                Some("application/json, text/event-stream"),
                ReplyForm::Whole,
            ),
            (
                json,
                Some("text/event-stream;q=1, */*;q=0.1"),
                ReplyForm::Whole,
            ),
            (json, Some("text/event-stream"), ReplyForm::Events),
            (
                json,
                Some("Text/Event-Stream; charset=utf-8"),
                ReplyForm::Events,
            ),
            (json, Some("text/event-stream, */*;q=0"), ReplyForm::Events),
            (json, Some("application/x-ndjson"), ReplyForm::Lines),
            (
                json,
                Some("text/event-stream, application/x-ndjson"),
                ReplyForm::Lines,
            ),
            (json, Some("image/png"), ReplyForm::Whole),
            (ndjson, None, ReplyForm::Lines),
            (ndjson, Some("*/*"), ReplyForm::Lines),
            (ndjson, Some("application/json"), ReplyForm::Lines),
            (ndjson, Some("text/event-stream"), ReplyForm::Events),
        ];
        for (request, accept, form) in cases {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(ACCEPT, HeaderValue::from_static(accept));
            }
            assert_eq!(
                ReplyForm::of(&headers, request),
                form,
                "{request:?} {accept:?}"
            );
        }
    }
}
