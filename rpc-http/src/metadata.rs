//! The metadata and the timeout that a request has in its headers.

use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use rpc_runtime::MetadataError;
use rpc_runtime::gateway::CallDefaults;

use crate::refusal::Refusal;

/// The header with the timeout of a request's calls, in milliseconds.
pub(crate) const TIMEOUT: HeaderName = HeaderName::from_static("rpc-timeout-ms");

/// The maximum number of headers of a request whose names are compared one by one.
const FEW_HEADERS: usize = 16;

/// The headers that are metadata unless others are allowed.
const ALWAYS: [HeaderName; 3] = [
    AUTHORIZATION,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

/// The names of the headers that handlers see as metadata, without repetition.
#[derive(Debug, Clone)]
pub(crate) struct MetadataHeaders(Vec<HeaderName>);

impl Default for MetadataHeaders {
    fn default() -> Self {
        Self(ALWAYS.to_vec())
    }
}

impl MetadataHeaders {
    pub(crate) fn allow(&mut self, names: impl IntoIterator<Item = HeaderName>) {
        for name in names {
            if !self.0.contains(&name) {
                self.0.push(name);
            }
        }
    }

    /// Returns the metadata and the timeout of a request's calls, or `None` if it has neither.
    pub(crate) fn read(&self, headers: &HeaderMap) -> Result<Option<Arc<CallDefaults>>, Refusal> {
        let mut defaults = None;
        // Most requests have none of them. To compare a few names takes less time than to look each one up.
        if headers.keys_len() <= FEW_HEADERS
            && !headers
                .keys()
                .any(|name| self.0.contains(name) || *name == TIMEOUT)
        {
            return Ok(None);
        }
        for name in &self.0 {
            let Some(value) = value_of(headers, name)? else {
                continue;
            };
            let defaults = defaults.get_or_insert_with(CallDefaults::default);
            let set = defaults.set_meta(name.as_str(), &value);
            set.map_err(|error| match error {
                MetadataError::ControlCharacter => Refusal::InvalidMetadata,
                _ => Refusal::MetadataTooLarge,
            })?;
        }
        if let Some(timeout) = headers.get(TIMEOUT) {
            let timeout = timeout.to_str().ok().and_then(|text| text.parse().ok());
            let timeout = timeout.ok_or(Refusal::InvalidTimeout)?;
            defaults
                .get_or_insert_with(CallDefaults::default)
                .set_timeout(Duration::from_millis(timeout));
        }
        Ok(defaults.map(Arc::new))
    }
}

/// Returns the value of a header. The values of a repeated one are joined (RFC 9110, section 5.3), except for `authorization`,
/// which is no list.
fn value_of(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Refusal> {
    let mut joined: Option<String> = None;
    for value in headers.get_all(name) {
        let value = value.to_str().map_err(|_| Refusal::InvalidMetadata)?;
        match &mut joined {
            Some(_) if *name == AUTHORIZATION => return Err(Refusal::InvalidMetadata),
            Some(joined) => {
                joined.push_str(", ");
                joined.push_str(value);
            }
            None => joined = Some(value.to_owned()),
        }
    }
    Ok(joined)
}
