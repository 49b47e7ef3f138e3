//! `rpc stream`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use crate::hostile::Hostile;
use crate::program::{Demo, command, ended};

#[test]
fn items_are_printed_one_per_line() {
    let demo = Demo::start();
    let watch = ["shop.watch", "item=pear", "--count", "3"];
    let printed = demo.rpc("stream", &watch).assert_ok();
    let expected: Vec<_> = (5..8)
        .map(|cents| format!("{{\"item\":\"pear\",\"cents\":{cents}}}\n"))
        .collect();
    assert_eq!(printed, expected.concat());
}

#[test]
fn item_is_printed_before_the_next_arrives_and_ctrl_c_ends_the_stream() {
    let demo = Demo::start();
    let line = demo.line("stream", &["shop.watch", "item=plum"]);
    let mut child = command(&line)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let id = child.id().to_string();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    assert_eq!(
        lines.next().unwrap().unwrap(),
        "{\"item\":\"plum\",\"cents\":3}"
    );
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    drop(lines);
    let ended = ended(child);
    assert_eq!((ended.status, ended.stderr.as_str()), (130, ""));
}

#[test]
fn closed_standard_output_ends_the_stream() {
    let demo = Demo::start();
    let line = demo.line("stream", &["shop.watch", "item=plum"]);
    let mut child = command(&line)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    assert_eq!(first, "{\"item\":\"plum\",\"cents\":3}\n");
    // The reading end of the pipe has been dropped.
    let ended = ended(child);
    assert_eq!((ended.status, ended.stderr.as_str()), (0, ""));
}

#[test]
fn lines_of_standard_input_are_sent_as_items() {
    let demo = Demo::start();
    let orders = "{\"item\":\"pear\"}\n\n{\"item\": \"plum\", \"quantity\": 4}\n";
    let printed = demo
        .rpc_with_input("stream", &["shop.order", "--upload", "-"], orders)
        .assert_ok();
    assert_eq!(printed, "{\"quantity\":5,\"total\":17}\n");
    let none = demo
        .rpc("stream", &["shop.order", "--upload", "-"])
        .assert_ok();
    assert_eq!(none, "{\"quantity\":0,\"total\":0}\n");
}

#[test]
fn response_before_the_end_of_input_is_printed() {
    let demo = Demo::start();
    let line = demo.line("stream", &["shop.order", "--upload", "-"]);
    let mut child = command(&line)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"{\"item\":\"melon\"}\n").unwrap();
    let told = ended(child).assert_failed(1);
    assert!(told.contains("1001: there is no melon"), "{told}");
    drop(input);
}

#[test]
fn invalid_item_is_rejected_with_its_line_number() {
    let demo = Demo::start();
    let orders = "{\"item\":\"pear\"}\n{\"item\":\n";
    let told = demo
        .rpc_with_input("stream", &["shop.order", "--upload", "-"], orders)
        .assert_failed(2);
    assert!(
        told.contains(
            "line 2 of standard input is not JSON: EOF while parsing a value at column 8"
        ),
        "{told}"
    );
    let orders = "{\"item\":\"pear\"}\n\n{\"item\":\"plum\",\"quantity\":1e400}\n";
    let told = demo
        .rpc_with_input("stream", &["shop.order", "--upload", "-"], orders)
        .assert_failed(2);
    assert!(
        told.contains("line 3 of standard input cannot be sent: "),
        "{told}"
    );
}

#[test]
fn error_after_items_is_printed() {
    let demo = Demo::start();
    let told = demo
        .rpc("stream", &["shop.watch", "item=melon"])
        .assert_failed(1);
    assert!(told.contains("1001: there is no melon"), "{told}");
    let late = demo.rpc("stream", &["shop.watch", "item=pear", "--timeout", "1s"]);
    assert_eq!(late.status, 4);
    assert!(
        late.stdout.starts_with("{\"item\":\"pear\",\"cents\":5}\n"),
        "{late:?}"
    );
}

#[test]
fn call_and_stream_of_the_wrong_method_name_each_other() {
    let demo = Demo::start();
    let told = demo
        .rpc("call", &["shop.watch", "item=pear"])
        .assert_failed(2);
    assert!(told.contains("`rpc stream "), "{told}");
    let told = demo.rpc("stream", &["text.count", "{}"]).assert_failed(2);
    assert!(told.contains("`rpc call "), "{told}");
    let told = demo.rpc("stream", &["shop.order"]).assert_failed(2);
    assert!(told.contains(" --upload - shop.order`"), "{told}");
    demo.rpc("stream", &["shop.watch", "item=pear", "--upload", "-"])
        .assert_failed(2);
    demo.rpc("stream", &["shop.order", "-", "--upload", "-"])
        .assert_failed(2);
}

#[test]
fn metadata_of_the_response_is_printed_on_request() {
    let demo = Demo::start();
    let order = ["shop.order", "--upload", "-", "--show-metadata"];
    let ended = demo.rpc_with_input("stream", &order, "{\"item\":\"pear\"}\n");
    assert_eq!(ended.stdout, "{\"quantity\":1,\"total\":5}\n");
    assert_eq!(ended.stderr, "meta: {\"sold\":\"1\"}\n");

    let server = Hostile::answering(|call| {
        let id = &call["id"];
        let item = format!(r#"{{"method":"rpc.item","params":[{id},7]}}"#);
        let end = format!(
            r#"{{"id":{id},"result":null,"meta":{{"a": "{}"}}}}"#,
            '\u{9b}'
        );
        format!("{item}\n{end}\n").into_bytes()
    });
    let ended = server.rpc("stream", &["m", "--undescribed", "--show-metadata"]);
    assert_eq!((ended.status, ended.stdout.as_str()), (0, "7\n"));
    assert_eq!(ended.stderr, "meta: {\"a\":\"\\u009b\"}\n");
}
