//! Metrics of calls.

use std::collections::BTreeMap;

use rpc_layers::MetricsLayer;
use rpc_runtime::{Client, ErrorObject, RawService, rpc};
use tower_layer::Layer;

use crate::support::recorder::Recorder;
use crate::support::{Clerk, DeskClient, DeskServer, ENDS, make_calls, soon};

#[rpc]
trait Dice {
    async fn fail(&self, code: i64) -> Result<(), ErrorObject>;
}

struct Loaded;

impl Dice for Loaded {
    async fn fail(&self, code: i64) -> Result<(), ErrorObject> {
        Err(ErrorObject::new(code, "as you wish"))
    }
}

/// Returns the recorder of all tests, which use different services.
fn recorder() -> Recorder {
    static RECORDER: std::sync::OnceLock<Recorder> = std::sync::OnceLock::new();
    let install = || {
        let recorder = Recorder::default();
        metrics::set_global_recorder(recorder.clone()).unwrap();
        recorder
    };
    RECORDER.get_or_init(install).clone()
}

#[tokio::test]
async fn calls_that_end_in_any_way_are_counted_once() {
    let recorder = recorder();
    make_calls(|desk| MetricsLayer::new().layer(desk)).await;
    let mut expected = BTreeMap::new();
    for (method, outcome) in ENDS {
        let code = outcome
            .code()
            .map_or(String::new(), |code| code.to_string());
        let method = format!(r#"service="Desk",method="{method}""#);
        let ended = format!(
            r#"rpc_server_calls_total{{{method},outcome="{}",code="{code}"}}"#,
            outcome.as_str(),
        );
        *expected.entry(ended).or_insert(0) += 1;
        let took = format!("rpc_server_call_duration_seconds{{{method}}}");
        *expected.entry(took).or_insert(0) += 1;
    }
    let mut counted = recorder.values();
    counted.retain(|key, _| key.contains("Desk"));
    // No call is in flight, as a gauge that is not zero would be listed.
    assert_eq!(counted, expected);
}

#[tokio::test]
async fn running_call_is_counted_as_in_flight() {
    let recorder = Recorder::default();
    let clerk = Clerk::default();
    let service = metrics::with_local_recorder(&recorder, || {
        MetricsLayer::new().layer(DeskServer::new(clerk.clone()))
    });
    let desk = DeskClient::new(Client::local(service));
    let calls = [(); 2].map(|()| tokio::spawn(desk.hang().into_future()));
    for _ in &calls {
        clerk.hangs().await;
    }
    let in_flight = r#"rpc_server_calls_in_flight{service="Desk",method="desk.hang"}"#;
    assert_eq!(
        recorder.values(),
        BTreeMap::from([(in_flight.to_owned(), 2)])
    );
    for call in calls {
        call.abort();
        clerk.has_dropped().await;
    }
    assert_eq!(recorder.values().get(in_flight), None);
}

#[tokio::test]
async fn error_codes_past_the_limit_are_counted_as_other() {
    let recorder = recorder();
    let mut responder = RawService::new(MetricsLayer::new().layer(DiceServer::new(Loaded)));
    for code in (1..=40).chain(1..=40) {
        let call = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"fail","params":[{code}]}}"#);
        soon(responder.respond(call.as_bytes())).await;
    }
    let mut counted = recorder.values();
    counted.retain(|key, _| key.contains("rpc_server_calls_total") && key.contains("Dice"));
    let of = |code: &str| {
        let labels = r#"service="Dice",method="fail",outcome="error""#;
        format!(r#"rpc_server_calls_total{{{labels},code="{code}"}}"#)
    };
    let seen = (1..=32).map(|code| (of(&code.to_string()), 2));
    assert_eq!(counted, seen.chain([(of("other"), 16)]).collect());
}

#[test]
fn error_codes_past_the_limit_register_no_counters() {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.unwrap();
    let (early, late) = (Recorder::default(), Recorder::default());
    let make = || RawService::new(MetricsLayer::new().layer(DiceServer::new(Loaded)));
    let mut responder = metrics::with_local_recorder(&early, make);
    let mut fail = |recorder: &Recorder, code: i64| {
        let call = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"fail","params":[{code}]}}"#);
        metrics::with_local_recorder(recorder, || {
            runtime.block_on(responder.respond(call.as_bytes()));
        });
    };
    (1..=33).for_each(|code| fail(&early, code));
    (34..=40).for_each(|code| fail(&late, code));
    assert!(late.values().is_empty(), "{:?}", late.values());
    let others = early.values().into_iter();
    let others = others.filter(|(key, _)| key.contains("other"));
    assert!(others.map(|(_, count)| count).eq([8]));
}
