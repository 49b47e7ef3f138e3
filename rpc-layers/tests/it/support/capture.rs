//! Keeps the spans of the layers in memory.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// The fields of a span or of an event.
#[derive(Debug, Default)]
pub(crate) struct Fields(pub(crate) BTreeMap<&'static str, String>);

impl Fields {
    /// Returns the fields of an event, with its `level` and its `target`.
    pub(crate) fn of(event: &tracing::Event<'_>) -> Self {
        let mut fields = Self::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        fields.0.insert("level", metadata.level().to_string());
        fields.0.insert("target", metadata.target().to_owned());
        fields
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

/// A span, and the events within it.
#[derive(Debug, Default)]
pub(crate) struct Span {
    pub(crate) fields: Fields,
    pub(crate) events: Vec<Fields>,
}

/// Keeps the closed spans of the layers.
#[derive(Clone, Default)]
pub(crate) struct Spans(Arc<Mutex<Vec<Span>>>);

impl Spans {
    /// Subscribes on the current thread.
    pub(crate) fn subscribe(&self) -> DefaultGuard {
        tracing::subscriber::set_default(tracing_subscriber::registry().with(self.clone()))
    }

    /// Removes and returns the spans that were closed.
    pub(crate) fn take(&self) -> Vec<Span> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut span = Span::default();
        attributes.record(&mut span.fields);
        context.span(id).unwrap().extensions_mut().insert(span);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        values.record(&mut span.extensions_mut().get_mut::<Span>().unwrap().fields);
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        if let Some(span) = context.event_span(event) {
            let mut extensions = span.extensions_mut();
            let span = extensions.get_mut::<Span>().unwrap();
            span.events.push(Fields::of(event));
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        let closed = span.extensions_mut().remove::<Span>().unwrap();
        if span.metadata().target() == "rpc_layers" {
            self.0.lock().unwrap().push(closed);
        }
    }
}
