//! Runs the entries of a batch through the middleware of their client.
//!
//! Each entry has middleware of its own. The batch is sent when the middleware of each entry has asked to send it or has
//! answered it. Entries that are run again are sent together, as another batch.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::client::batch_entry::{
    BatchMessage, EntryDecoder, EntryReply, EntryResult, EntryResults,
};
use crate::client::decode::with_parser;
use crate::client::dispatch::Dispatch;
use crate::client::error::{CallError, CallFailure};
use crate::client::handle::ClientInner;
use crate::client::metadata::MetadataWriter;
use crate::client::middleware::layers::{Layers, Step};
use crate::client::middleware::response::{
    ClientOutcome, ClientResponse, KeptResponse, ResponseContent,
};
use crate::client::notification::Notification;
use crate::client::options::CallOptions;
use crate::client::response_metadata::ResponseMetadata;

/// An entry of a batch that passes through the middleware of its client.
pub(super) struct LayeredEntry {
    layers: Box<Layers>,
    message: EntryMessage,
    state: EntryState,
    /// The results of the runs, by their numbers.
    results: Vec<(u32, EntryResult)>,
}

enum EntryMessage {
    /// A call, with its index in the batch.
    Call(Dispatch, usize),
    Notification(Notification),
}

enum EntryState {
    /// The middleware has not asked to send the entry.
    Waiting,
    /// The entry is sent next, with this metadata.
    Ready(MetadataWriter),
    /// The entry was sent.
    Sent,
    Ended(ClientResponse),
    Done,
}

impl LayeredEntry {
    pub(super) fn call(layers: Box<Layers>, dispatch: Dispatch, index: usize) -> Self {
        Self::new(layers, EntryMessage::Call(dispatch, index))
    }

    pub(super) fn notification(layers: Box<Layers>, notification: Notification) -> Self {
        Self::new(layers, EntryMessage::Notification(notification))
    }

    fn new(mut layers: Box<Layers>, message: EntryMessage) -> Self {
        layers.mark(|kind| kind.is_batch_entry = true);
        Self {
            layers,
            message,
            state: EntryState::Waiting,
            results: Vec::new(),
        }
    }

    fn options(&mut self) -> &mut CallOptions {
        match &mut self.message {
            EntryMessage::Call(dispatch, _) => &mut dispatch.outgoing.options,
            EntryMessage::Notification(notification) => notification.options(),
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, EntryState::Ended(_) | EntryState::Done)
    }

    /// Starts the middleware. The batch ends after `limit`.
    pub(super) fn begin(&mut self, limit: Option<Duration>) {
        let options = self.options();
        let remaining = options.time.remaining().into_iter().chain(limit).min();
        let metadata = options.metadata.clone();
        self.layers.begin(&metadata, remaining);
    }

    /// Polls the middleware. Returns `Pending` while it waits for something else than the reply.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.has_ended() {
                return Poll::Ready(());
            }
            if let Poll::Ready(response) = self.layers.poll(cx) {
                self.state = EntryState::Ended(response);
                return Poll::Ready(());
            }
            match self.layers.next_step() {
                Step::Wait => {
                    self.state = EntryState::Waiting;
                    return Poll::Pending;
                }
                Step::Start(_) if self.layers.refuse_second_run() => {}
                Step::Start(metadata) => {
                    self.state = EntryState::Ready(metadata);
                    return Poll::Ready(());
                }
                Step::Continue => return Poll::Ready(()),
            }
        }
    }

    /// Adds the entry to the message of its batch, if it is ready.
    pub(super) fn write(&mut self, client: &Arc<ClientInner>, batch: &mut BatchMessage) {
        let metadata = match &mut self.state {
            EntryState::Ready(metadata) => std::mem::take(metadata),
            _ => return,
        };
        self.state = EntryState::Sent;
        self.options().metadata = metadata;
        let id = client.next_dedicated_id();
        let (entry, call) = match &mut self.message {
            EntryMessage::Call(dispatch, index) => {
                (dispatch.encode_entry(client, id), Some((id, *index)))
            }
            EntryMessage::Notification(notification) => (notification.encode_entry(client), None),
        };
        match entry {
            Ok(entry) => batch.add(entry, call),
            Err(reason) => {
                let failed = ResponseContent::Failed(CallError::Encode(reason));
                return self.complete(failed, KeptResponse::Nothing);
            }
        }
        self.layers.attempt_started(Instant::now());
    }

    /// Returns the index of a call that was sent now, or that the middleware has answered: no reply that arrived is its own.
    pub(super) fn without_reply(&self) -> Option<usize> {
        let has_none = match &self.state {
            EntryState::Sent => true,
            EntryState::Ended(response) => response.run.is_none(),
            _ => false,
        };
        match self.message {
            EntryMessage::Call(_, index) if has_none => Some(index),
            _ => None,
        }
    }

    /// Ends the run that was sent.
    fn complete(&mut self, content: ResponseContent, received: KeptResponse) {
        self.layers.attempt_ended(content.outcome(), None);
        self.layers.complete_later(content, received);
        self.state = EntryState::Waiting;
    }

    /// Ends the run that was sent with its reply, or with the failure of the batch.
    pub(super) fn end_run(
        &mut self,
        sent: Option<&CallError>,
        results: &mut EntryResults,
        metadata: &HashMap<usize, ResponseMetadata>,
    ) {
        let (result, metadata) = match self.message {
            EntryMessage::Call(_, index) => (results.remove(&index), metadata.get(&index)),
            EntryMessage::Notification(_) => (None, None),
        };
        if !matches!(self.state, EntryState::Sent) {
            return;
        }
        let failure = match (sent, result) {
            (Some(failure), _) => Some(failure.untyped(None)),
            (None, Some(mut result)) => {
                let failure = result.failure.take();
                self.results.push((self.layers.run(), result));
                failure
            }
            // A notification.
            (None, None) => None,
        };
        let content = failure.map_or(ResponseContent::Success, ResponseContent::Failed);
        let metadata = metadata.filter(|_| sent.is_none()).cloned();
        let received = metadata.map_or(KeptResponse::Nothing, KeptResponse::Metadata);
        self.complete(content, received);
    }

    /// Puts the result of an entry whose middleware has ended into `results`. Returns `true` if the entry has ended with the
    /// failure of its batch.
    pub(super) fn finish(&mut self, decoders: &[EntryDecoder], results: &mut EntryResults) -> bool {
        let EntryState::Ended(response) = std::mem::replace(&mut self.state, EntryState::Done)
        else {
            return false;
        };
        let EntryMessage::Call(_, index) = self.message else {
            return response.run.is_some() && response.failure().is_some();
        };
        let of_run = |(run, _): &(u32, EntryResult)| response.run == Some(*run);
        if let Some(found) = self.results.iter().position(of_run) {
            let (_, result) = self.results.swap_remove(found);
            results.insert(index, result);
            return false;
        }
        let (run, Some(decoder)) = (response.run, decoders.get(index)) else {
            return false;
        };
        results.insert(index, decode(decoder, response));
        run.is_some()
    }

    /// Ends an entry whose batch has passed its time limit.
    pub(super) fn time_out(mut self) {
        self.layers.abort(ClientOutcome::TimedOut);
    }
}

/// Returns the result of an entry from the response of its middleware.
fn decode(decoder: &EntryDecoder, response: ClientResponse) -> EntryResult {
    let mut message = match response.content {
        ResponseContent::Answer(message) => message,
        ResponseContent::Failed(error) => return decoder(EntryReply::Failed(error)),
        ResponseContent::Success => {
            return decoder(EntryReply::Missing(CallFailure::AlreadyCompleted));
        }
    };
    let decoded = with_parser(|parser| {
        let document = parser.parse_response(&mut message).ok()?;
        Some(decoder(EntryReply::Received(document.response()?.outcome)))
    });
    decoded.unwrap_or_else(|| decoder(EntryReply::Missing(CallFailure::malformed(&message))))
}

/// Polls the middleware of all entries. Returns `Pending` while one of them waits for something else than the reply.
pub(super) fn poll_all(entries: &mut [LayeredEntry], cx: &mut Context<'_>) -> Poll<()> {
    let polled = entries.iter_mut().map(|entry| entry.poll(cx));
    match polled.filter(Poll::is_pending).count() {
        0 => Poll::Ready(()),
        _ => Poll::Pending,
    }
}
