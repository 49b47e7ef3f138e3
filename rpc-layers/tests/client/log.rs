//! Log events of a client's calls.

use std::sync::{Arc, Mutex};

use rpc_layers::ClientLogging;
use tracing::Subscriber;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::calls::{Again, ENDS, local, make_calls};
use crate::capture::Fields;

/// Keeps the events of the layers.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<Fields>>>);

impl<S: Subscriber> Layer<S> for Events {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "rpc_layers" {
            self.0.lock().unwrap().push(Fields::of(event));
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
        let field = |name| event.get(name).unwrap_or_default();
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
