//! `rpc bench`: its output must be correct. How fast the calls are is not tested.

use serde_json::Value;

use crate::program::Demo;

fn json(demo: &Demo, arguments: &[&str]) -> Value {
    let printed = demo.rpc(
        "bench",
        &[arguments, &["--json", "--warm-up", "10ms"]].concat(),
    );
    serde_json::from_str(&printed.assert_ok()).unwrap()
}

const COUNT: [&str; 3] = ["text.count", "text=to be or not to be", "needle=be"];

#[test]
fn closed_loop_makes_the_requested_number_of_calls() {
    let demo = Demo::start();
    let report = json(
        &demo,
        &[
            &COUNT[..],
            &["--calls", "500", "--in-flight", "10", "--connections", "3"],
        ]
        .concat(),
    );
    assert_eq!(report["loop"], "closed");
    assert_eq!(report["connections"], 3);
    assert_eq!(report["answered"], 500);
    assert_eq!(report["failed"], 0);
    let at = |name: &str| report["latency_ns"][name].as_f64().unwrap();
    let order = [
        "min", "p50", "p75", "p90", "p95", "p99", "p99.9", "p99.99", "max",
    ]
    .map(at);
    assert!(order.is_sorted() && order[0] > 0.0, "{order:?}");
    assert!((order[0]..=order[8]).contains(&at("mean")));
    let (rate, seconds) = (
        report["rate"].as_f64().unwrap(),
        report["seconds"].as_f64().unwrap(),
    );
    assert!(
        (rate * seconds - 500.0).abs() < 0.5,
        "{rate} in {seconds} s"
    );
}

#[test]
fn open_loop_starts_calls_at_the_requested_rate() {
    let demo = Demo::start();
    let report = json(
        &demo,
        &[&COUNT[..], &["--rate", "200", "--duration", "500ms"]].concat(),
    );
    assert_eq!(report["loop"], "open");
    assert_eq!(report["failed"], 0);
    // As many calls as are due in that time, also on a busy machine.
    let answered = report["answered"].as_u64().unwrap();
    assert!((99..=101).contains(&answered), "{answered}");
}

/// With at most one call in flight the others start late, which counts as latency.
#[test]
fn open_loop_with_slow_calls_counts_the_time_they_waited() {
    let demo = Demo::start();
    let slow = ["text.pause", "ms=20"];
    let report = json(
        &demo,
        &[
            &slow[..],
            &["--rate", "200", "--in-flight", "1", "--calls", "40"],
        ]
        .concat(),
    );
    assert_eq!(report["answered"], 40);
    // 40 calls are due within 200 ms and take 800 ms.
    let max = report["latency_ns"]["max"].as_u64().unwrap();
    assert!(max >= 500_000_000, "{max} ns");
    let closed = json(&demo, &[&slow[..], &["--calls", "10"]].concat());
    let (min, median) = (&closed["latency_ns"]["min"], &closed["latency_ns"]["p50"]);
    assert!(min.as_u64().unwrap() >= 20_000_000, "{min}");
    assert!(median.as_u64().unwrap() < 500_000_000, "{median}");
}

#[test]
fn failed_calls_are_counted_by_kind() {
    let demo = Demo::start();
    let refused = ["shop.buy", "item=melon", "--calls", "20", "--warm-up", "0s"];
    let ended = demo.rpc("bench", &[&refused[..], &["--json"]].concat());
    assert_eq!(
        (ended.status, ended.stderr.as_str()),
        (1, "error: 20 calls failed\n")
    );
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(
        (&report["failed"], &report["answered"]),
        (&20.into(), &0.into())
    );
    assert_eq!(report["failures"][0]["kind"], "error 1001");
    assert_eq!(report["failures"][0]["count"], 20);
    assert_eq!(report["latency_ns"], Value::Null);
    let told = demo.rpc("bench", &refused);
    assert!(
        told.stdout
            .contains("20 failed  error 1001: there is no melon: {\"item\":"),
        "{told:?}"
    );
    let late = [
        "text.pause",
        "ms=60000",
        "--calls",
        "2",
        "--warm-up",
        "0s",
        "--timeout",
        "50ms",
    ];
    let told = demo.rpc("bench", &late);
    assert!(told.stdout.contains("2 failed  timeout"), "{told:?}");
}

#[test]
fn terminal_output_has_percentiles_and_bars() {
    let demo = Demo::start();
    let told = demo
        .rpc(
            "bench",
            &[&COUNT[..], &["--calls", "300", "--warm-up", "0s"]].concat(),
        )
        .assert_ok();
    for part in [
        "300 answered in",
        "calls/s",
        "   p50 ",
        " p99.9 ",
        "   max ",
        "█",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let shares = told.lines().filter_map(|line| {
        line.strip_suffix(" %")?
            .rsplit(' ')
            .next()?
            .parse::<f64>()
            .ok()
    });
    let total: f64 = shares.sum();
    assert!((99.0..101.0).contains(&total), "{total} %: {told}");
}

#[test]
fn bench_of_what_cannot_be_measured_is_rejected() {
    let demo = Demo::start();
    let wrong: [&[&str]; 7] = [
        &["shop.watch", "item=pear"],
        &["shop.restock", "item=pear", "quantity=1"],
        &["text.count", "--connections", "2"],
        &["text.count", "--rate", "0"],
        &["text.count", "--calls", "0"],
        &["text.count", "--duration", "500000000000y"],
        &["text.count", "--warm-up", "500000000000y"],
    ];
    for arguments in wrong {
        demo.rpc("bench", arguments).assert_failed(2);
    }
    let misspelt = demo.rpc("bench", &["text.cuont", "text=a", "needle=a"]);
    assert_eq!(misspelt.stdout, "");
    let told = misspelt.assert_failed(1);
    assert!(told.contains("did you mean `text.count`"), "{told}");
}
