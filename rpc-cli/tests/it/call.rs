//! `rpc call`.

use crate::program::{Demo, rpc};

#[test]
fn a_call_prints_its_result() {
    let demo = Demo::start();
    let count = |params: &[&str]| {
        demo.rpc("call", &[&["text.count"], params].concat())
            .assert_ok()
    };
    assert_eq!(
        count(&[r#"{"text":"to be or not to be","needle":"be"}"#]),
        "2\n"
    );
    assert_eq!(count(&[r#"["aaa", "a"]"#]), "3\n");
    assert_eq!(count(&["text=to be", "needle=be"]), "1\n");
    let input = "{\"text\": \"x\",\n \"needle\": \"x\"}\n";
    let from_input = demo.rpc_with_input("call", &["wc", "-"], input).assert_ok();
    assert_eq!(from_input, "1\n");
}

#[test]
fn an_object_comes_as_the_server_wrote_it() {
    let demo = Demo::start();
    let bought = demo
        .rpc("call", &["shop.buy", "item=pear", "quantity=3"])
        .assert_ok();
    assert_eq!(bought, "{\"quantity\":3,\"total\":15}\n");
    let shown = demo
        .rpc("call", &["shop.buy", "item=plum", "--color", "always"])
        .assert_ok();
    assert!(shown.contains("\u{1b}["), "in colours: {shown:?}");
    assert!(shown.starts_with("{\n  "), "on several lines: {shown:?}");
}

#[test]
fn an_error_of_the_servers_is_told_in_full() {
    let demo = Demo::start();
    let failed = demo
        .rpc("call", &["shop.buy", "item=melon"])
        .assert_failed(1);
    assert_eq!(
        failed,
        "error: the server answered 1001: there is no melon\n data: {\"item\":\"melon\"}\n"
    );
}

#[test]
fn a_notification_is_not_answered() {
    let demo = Demo::start();
    let restock = [
        "shop.restock",
        r#"{"item":"pear","quantity":7}"#,
        "--notify",
    ];
    assert_eq!(demo.rpc("call", &restock).assert_ok(), "");
    // It arrives before the command ends, and is run at once.
    assert_eq!(demo.rpc("call", &["shop.restocked"]).assert_ok(), "1\n");
}

#[test]
fn what_is_wrong_on_the_command_line_is_found_before_anything_is_called() {
    let demo = Demo::start();
    let wrong: [&[&str]; 5] = [
        &["text.count", "{"],
        &["text.count", "5"],
        &["text.count", "a=1", "a=2"],
        &["text.count", "{}", "--pin", "12"],
        &["text.count", "{}", "--ca", "/no/such/file"],
    ];
    for arguments in wrong {
        let told = demo.rpc("call", arguments).assert_failed(2);
        assert!(told.starts_with("error: "), "{told}");
    }
    rpc(&["call", "no-port", "text.count"]).assert_failed(2);
    rpc(&[]).assert_failed(2);
}

#[test]
fn an_untrusted_certificate_says_how_to_trust_it() {
    let demo = Demo::start();
    let told = rpc(&["call", &demo.address, "text.count"]).assert_failed(3);
    assert!(told.contains("not signed by anyone trusted"), "{told}");
    assert!(
        told.contains("--pin SHA256") && told.contains("--ca FILE"),
        "{told}"
    );
    let other = "00".repeat(32);
    let told = rpc(&["call", &demo.address, "text.count", "--pin", &other]).assert_failed(3);
    assert!(told.contains("not the pinned one"), "{told}");
}

#[test]
fn a_server_that_is_not_there_is_waited_for_as_long_as_is_said() {
    // A socket that nobody reads.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let told = rpc(&["call", &address, "m", "--timeout", "50ms"]).assert_failed(4);
    assert!(told.contains(&address) && told.contains("UDP"), "{told}");
}
