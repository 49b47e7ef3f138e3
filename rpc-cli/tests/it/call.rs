//! `rpc call`.

use crate::program::{Demo, rpc};
use crate::undescribed::UndescribedServer;

#[test]
fn call_that_succeeds_prints_its_result() {
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
    let tens = count(&["text=10 + 1", "needle=1"]);
    assert_eq!(tens, "2\n", "text that could be JSON is text");
    let input = "{\"text\": \"x\",\n \"needle\": \"x\"}\n";
    let from_input = demo.rpc_with_input("call", &["wc", "-"], input).assert_ok();
    assert_eq!(from_input, "1\n");
}

#[test]
fn object_in_a_result_is_printed_as_the_server_wrote_it() {
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
fn application_error_is_printed_with_its_data() {
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
fn metadata_of_the_response_is_printed_on_request() {
    let demo = Demo::start();
    let buy = |item, quantity| {
        let words = ["shop.buy", item, quantity, "--show-metadata"];
        demo.rpc("call", &words)
    };
    let bought = buy("item=pear", "quantity=3");
    assert_eq!(bought.stdout, "{\"quantity\":3,\"total\":15}\n");
    assert_eq!(bought.stderr, "meta: {\"stock-left\":\"97\"}\n");
    let failed = buy("item=melon", "quantity=3").assert_failed(1);
    assert!(
        failed.starts_with("meta: {\"stock-left\":\"100\"}\nerror: the server answered 1001"),
        "{failed}"
    );
    let none = demo.rpc(
        "call",
        &["text.count", "text=a", "needle=a", "--show-metadata"],
    );
    assert_eq!(none.assert_ok(), "1\n");
}

#[test]
fn notification_prints_nothing() {
    let demo = Demo::start();
    let described = ["shop.restock", "item=pear", "quantity=7"];
    assert_eq!(demo.rpc("call", &described).assert_ok(), "");
    let told = ["shop.restock", r#"["pear",7]"#, "--notify", "--undescribed"];
    assert_eq!(demo.rpc("call", &told).assert_ok(), "");
    // The notifications have arrived, but may not have reached the handler.
    let arrived = || demo.rpc("call", &["shop.restocked"]).assert_ok();
    assert!((0..100).any(|_| arrived() == "2\n"), "{}", arrived());
}

#[test]
fn rejected_call_prints_what_the_server_accepts() {
    let demo = Demo::start();
    let told = demo.rpc("call", &["text.cuont", "{}"]).assert_failed(1);
    assert!(told.contains("-32601"), "{told}");
    assert!(told.contains("did you mean `text.count`"), "{told}");
    let told = demo.rpc("call", &["text.count", "[1]"]).assert_failed(2);
    assert!(told.contains("-32602"), "{told}");
    assert!(
        told.contains("text.count(text: string, needle: string) -> uint"),
        "{told}"
    );
    let told = demo
        .rpc("call", &["text.repeat", "text=x", "times=often"])
        .assert_failed(2);
    assert!(told.contains("`times` is of type uint16"), "{told}");
    let told = demo.rpc("call", &["text.repeat", "txt=x"]).assert_failed(2);
    assert!(told.contains("did you mean `text`"), "{told}");
    let told = demo
        .rpc("call", &["text.repeat", "times=3"])
        .assert_failed(2);
    assert!(told.contains("requires text=string"), "{told}");
}

#[test]
fn server_without_description_is_called() {
    let server = UndescribedServer::start();
    let add = |a: &str| server.rpc(&["add", a, "b=2"]);
    assert_eq!(add("a=1").assert_ok(), "3\n");
    let told = add("a=x").assert_failed(2);
    assert!(told.contains("-32602"), "{told}");
    let told = server.rpc(&["ad"]).assert_failed(1);
    assert!(told.contains("-32601"), "{told}");
}

#[test]
fn describe_of_a_server_without_description_says_so() {
    let server = UndescribedServer::start();
    let told = rpc(&["describe", &server.address, "--ca", &server.ca]).assert_failed(1);
    assert!(
        told.contains("-32601") && told.contains("does not return a description"),
        "{told}"
    );
}

#[test]
fn metadata_option_is_sent_with_the_call() {
    let server = UndescribedServer::start();
    let told = server.rpc(&["tenant", "--meta", "tenant=a=b", "--meta", "other=c"]);
    assert_eq!(told.assert_ok(), "\"a=b\"\n");
    server.rpc(&["tenant", "--meta", "tenant"]).assert_failed(2);
}

#[test]
fn server_that_requires_a_certificate_is_called_with_the_client_identity() {
    let server = UndescribedServer::start_for(true);
    let told = server.rpc(&["add", "[1,2]"]).assert_failed(3);
    assert!(told.contains("`--cert FILE --key FILE`"), "{told}");
    let [cert, key] = server.client_files();
    let added = server.rpc(&["add", "[1,2]", "--cert", &cert, "--key", &key]);
    assert_eq!(added.assert_ok(), "3\n");
    server
        .rpc(&["add", "[1,2]", "--cert", &cert])
        .assert_failed(2);
    let by_file = [
        &["call", &server.address, "add", "[1,2]", "--ca", &server.ca][..],
        &["--cert", &cert, "--key", &key],
    ];
    assert_eq!(rpc(&by_file.concat()).assert_ok(), "3\n");
}

#[test]
fn invalid_command_line_is_rejected_before_any_call() {
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
fn untrusted_certificate_is_rejected_with_the_option_that_trusts_it() {
    let demo = Demo::start();
    let told = rpc(&["call", &demo.address, "text.count"]).assert_failed(3);
    assert!(told.contains("not signed by a trusted authority"), "{told}");
    assert!(
        told.contains("--pin SHA256") && told.contains("--ca FILE"),
        "{told}"
    );
    let other = "00".repeat(32);
    let told = rpc(&["call", &demo.address, "text.count", "--pin", &other]).assert_failed(3);
    assert!(told.contains("not the pinned one"), "{told}");
}

#[test]
fn absent_server_is_waited_for_until_the_connect_timeout() {
    // A socket that is never read.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let told = rpc(&["call", &address, "m", "--timeout", "50ms"]).assert_failed(4);
    assert!(told.contains(&address) && told.contains("UDP"), "{told}");
}
