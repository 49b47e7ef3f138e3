//! `rpc health`.

use crate::program::{Demo, rpc};

#[test]
fn running_server_and_its_services_are_ready() {
    let demo = Demo::start();
    assert_eq!(demo.rpc("health", &[]).assert_ok(), "SERVING\n");
    assert_eq!(demo.rpc("health", &["Shop"]).assert_ok(), "SERVING\n");
    assert_eq!(demo.rpc("health", &["--quiet"]).assert_ok(), "");
    let json = demo.rpc("health", &["Text", "--json"]).assert_ok();
    assert_eq!(json, "{\"status\":\"SERVING\"}\n");
    let told = demo.rpc("health", &["Nowhere", "--quiet"]).assert_failed(1);
    assert!(told.contains("the server has no such service"), "{told}");
    assert_eq!(demo.stop(), Some(0));
}

#[test]
fn absent_server_is_not_ready() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    rpc(&["health", &address, "--quiet", "--timeout", "50ms"]).assert_failed(4);
}
