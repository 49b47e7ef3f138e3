//! `rpc ping`.

use crate::program::{Demo, rpc};

#[test]
fn ping_of_a_running_server_prints_the_round_trips() {
    let demo = Demo::start();
    let told = demo
        .rpc("ping", &["--count", "3", "--interval", "1ms"])
        .assert_ok();
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines.len(), 5, "{told}");
    assert!(
        lines[0].starts_with(&format!("connected to {} in ", demo.address)),
        "{told}"
    );
    assert!(lines[3].starts_with("ping 3: "), "{told}");
    assert!(lines[4].starts_with("3 answered: min "), "{told}");
    assert_eq!(demo.rpc("ping", &["--quiet"]).assert_ok(), "");
    assert_eq!(demo.stop(), Some(0));
}

#[test]
fn ping_of_an_absent_server_fails() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    rpc(&["ping", &address, "--quiet", "--timeout", "50ms"]).assert_failed(4);
}
