//! Shows the metadata of responses.

use std::io::Write;

use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::escape::truncated;
use crate::json::Compact;
use crate::output::FAINT;

/// The maximum number of bytes that are shown. Metadata that obeys the protocol has at most 8 KiB without its escapes.
const SHOWN: usize = 16 << 10;

#[derive(Debug, Args)]
pub(crate) struct ShowMetadata {
    /// Prints the metadata of the response on standard error
    #[arg(long)]
    show_metadata: bool,
}

/// The metadata of a response, of any shape.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    meta: Option<&'a RawValue>,
}

impl ShowMetadata {
    /// Shows the metadata in the line of a response, if it was requested and there is some.
    pub(crate) fn show(&self, line: &[u8]) {
        if !self.show_metadata {
            return;
        }
        let frame = serde_json::from_slice::<Frame<'_>>(line);
        if let Some(meta) = frame.ok().and_then(|frame| frame.meta) {
            let (start, is_all) = truncated(meta.get(), SHOWN);
            let rest = if is_all { "" } else { "…" };
            let text = format!("{FAINT}meta:{FAINT:#} {}{rest}\n", Compact(start));
            // As for failures, an error of standard error is ignored.
            let _ = anstream::stderr().write_all(text.as_bytes());
        }
    }
}
