//! Metrics of a client's calls.

use std::collections::BTreeMap;

use rpc_layers::ClientMetrics;

use crate::calls::{Again, ENDS, local, make_calls};
use crate::recorder::Recorder;

/// Runs `calls` with a recorder, and returns the metrics that are not zero.
fn recorded(calls: impl Future<Output = ()>) -> BTreeMap<String, u64> {
    let recorder = Recorder::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    metrics::with_local_recorder(&recorder, || runtime.unwrap().block_on(calls));
    recorder.values()
}

#[test]
fn calls_and_attempts_that_end_in_any_way_are_counted_once() {
    let mut expected = BTreeMap::new();
    let mut count = |key: String, by: u64| *expected.entry(key).or_insert(0) += by;
    for (method, outcome, code, attempts) in ENDS {
        let method = format!(r#"service="Desk",method="{method}""#);
        let end = |outcome: &str, code: &str| {
            format!(r#"{{{method},outcome="{outcome}",code="{code}"}}"#)
        };
        count(format!("rpc_client_calls_total{}", end(outcome, code)), 1);
        count(format!("rpc_client_call_duration_seconds{{{method}}}"), 1);
        if attempts == 2 {
            count(
                format!("rpc_client_attempts_total{}", end("error", "401")),
                1,
            );
        }
        if attempts > 0 {
            count(
                format!("rpc_client_attempts_total{}", end(outcome, code)),
                1,
            );
            let took = format!("rpc_client_attempt_duration_seconds{{{method}}}");
            count(took, u64::from(attempts));
        }
    }
    let counted = recorded(async {
        let (client, desk) =
            local(|builder| builder.middleware(ClientMetrics::new()).middleware(Again));
        make_calls(client, desk).await;
    });
    // No call is in flight, as a gauge that is not zero would be listed.
    assert_eq!(counted, expected);
}

#[test]
fn middleware_outside_of_metrics_makes_two_calls_of_one() {
    let counted = recorded(async {
        let (_, desk) = local(|builder| builder.middleware(Again).middleware(ClientMetrics::new()));
        desk.fail(401).await.unwrap();
    });
    let calls = |end: &str| {
        let labels = r#"service="Desk",method="desk.fail""#;
        counted[&format!("rpc_client_calls_total{{{labels},{end}}}")]
    };
    assert_eq!(calls(r#"outcome="error",code="401""#), 1);
    assert_eq!(calls(r#"outcome="success",code="""#), 1);
}

#[test]
fn error_codes_and_names_past_their_limits_are_counted_as_other() {
    let counted = recorded(async {
        let (client, desk) = local(|builder| builder.middleware(ClientMetrics::new()));
        for code in (1..=40).chain(1..=40) {
            desk.fail(code).await.unwrap_err();
        }
        for number in (0..1_100).chain(0..1_100) {
            let missing = client.call::<(), _>(&format!("missing{number}"), &());
            missing.await.unwrap_err();
        }
    });
    let calls = |labels: &str| counted[&format!("rpc_client_calls_total{{{labels}}}")];
    let fail = r#"service="Desk",method="desk.fail",outcome="error""#;
    for code in 1..=32 {
        assert_eq!(calls(&format!(r#"{fail},code="{code}""#)), 2);
    }
    assert_eq!(calls(&format!(r#"{fail},code="other""#)), 16);
    let named = |name: &str| {
        calls(&format!(
            r#"service="",method="{name}",outcome="error",code="-32601""#
        ))
    };
    assert_eq!(named("missing1023"), 2);
    assert_eq!(named("other"), 2 * (1_100 - 1_024));
}
