//! Log events of a client's calls.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use rpc_layers::ClientLogging;
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::calls::{Again, ENDS, local, make_calls};

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

/// Keeps the events of the layers.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<Fields>>>);

impl<S: Subscriber> Layer<S> for Events {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "rpc_layers" {
            let mut fields = Fields::default();
            event.record(&mut fields);
            fields
                .0
                .insert("level", event.metadata().level().to_string());
            self.0.lock().unwrap().push(fields);
        }
    }
}

#[tokio::test]
async fn calls_that_end_in_any_way_write_one_event_each() {
    let events = Events::default();
    let subscriber = tracing_subscriber::registry().with(events.clone());
    let _subscribed = tracing::subscriber::set_default(subscriber);
    let (client, desk) =
        local(|builder| builder.middleware(ClientLogging::new()).middleware(Again));
    make_calls(client, desk).await;

    let events = std::mem::take(&mut *events.0.lock().unwrap());
    let ended = events
        .iter()
        .filter(|event| event.0["message"] != "attempt failed");
    let ended: Vec<_> = ended.collect();
    assert_eq!(ended.len(), ENDS.len());
    for (event, (method, outcome, code, attempts)) in ended.into_iter().zip(ENDS) {
        let field = |name| event.0.get(name).map_or("", String::as_str);
        assert_eq!(field("service"), "Desk");
        assert_eq!((field("method"), field("outcome")), (method, outcome));
        assert_eq!(field("attempts"), attempts.to_string());
        assert!(event.0["duration"].parse::<f64>().unwrap() >= 0.0);
        let (level, message) = match outcome {
            "success" => ("DEBUG", "call ended"),
            "cancelled" => ("DEBUG", "call dropped"),
            _ => ("WARN", "call failed"),
        };
        assert_eq!(
            (field("level"), field("message")),
            (level, message),
            "{method}"
        );
        if level == "WARN" {
            assert_eq!(field("code"), code);
            assert!(!field("reason").is_empty() && !field("reason").contains('\n'));
        }
    }
    let attempts = events
        .iter()
        .filter(|event| event.0["message"] == "attempt failed");
    let attempts: Vec<_> = attempts.map(|event| &*event.0["outcome"]).collect();
    assert_eq!(attempts, ["error", "error", "cancelled", "timed_out"]);
}
