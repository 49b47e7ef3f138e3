//! Records the log events of the runtime.

use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard};

use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Dispatch, Event, Metadata, Subscriber, span};

/// Records the levels and the fields of the events of the runtime.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

/// Records events until it is dropped.
#[must_use]
pub struct Recording {
    _subscribed: DefaultGuard,
    _second: Dispatch,
}

impl Log {
    /// Records the events of this thread, which also runs the servers of a test with one thread, because other tests of the
    /// process log, too.
    pub fn record(&self) -> Recording {
        // While a process has a single subscriber, the first thread that reaches an event decides for all threads whether it
        // is recorded, so there is a second one.
        Recording {
            _subscribed: tracing::subscriber::set_default(self.clone()),
            _second: Dispatch::new(Self::default()),
        }
    }

    /// Returns the recorded levels and fields. The fields of an event follow its level.
    ///
    /// # Panics
    /// When another thread has panicked while it recorded.
    pub fn fields(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap()
    }

    /// Returns `true` if a field contains `text`.
    pub fn has(&self, text: &str) -> bool {
        self.count(text) > 0
    }

    /// Returns the number of fields that contain `text`.
    pub fn count(&self, text: &str) -> usize {
        let fields = self.fields();
        fields.iter().filter(|field| field.contains(text)).count()
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("rpc_runtime")
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut recorded = self.fields();
        recorded.push(event.metadata().level().to_string());
        recorded.extend(fields.0);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// Strings without any escaping, as some subscribers write them.
#[derive(Default)]
struct Fields(Vec<String>);

impl Visit for Fields {
    fn record_str(&mut self, _: &Field, value: &str) {
        self.0.push(value.to_owned());
    }

    fn record_debug(&mut self, _: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        write!(text, "{value:?}").unwrap();
        self.0.push(text);
    }
}
