//! Arguments in their spellings, and texts as machines write them.

use std::fs;
use std::process::Command;

use crate::describe::SHOP;
use crate::program::{Demo, command, ended, rpc, rpc_with_bytes};
use crate::undescribed::UndescribedServer;

/// A file of a test, deleted when dropped.
struct File(String);

impl File {
    fn new(name: &str, content: &[u8]) -> Self {
        let (folder, id) = (env!("CARGO_TARGET_TMPDIR"), std::process::id());
        let path = format!("{folder}/arguments-{id}-{name}");
        fs::write(&path, content).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Returns a text as the editors and shells of several systems write it.
fn as_written(text: &str) -> Vec<Vec<u8>> {
    let text = text.replace('\n', "\r\n");
    let units = || text.encode_utf16();
    vec![
        text.clone().into_bytes(),
        [b"\xef\xbb\xbf", text.as_bytes()].concat(),
        [
            &b"\xff\xfe"[..],
            &units().flat_map(u16::to_le_bytes).collect::<Vec<_>>(),
        ]
        .concat(),
        [
            &b"\xfe\xff"[..],
            &units().flat_map(u16::to_be_bytes).collect::<Vec<_>>(),
        ]
        .concat(),
    ]
}

#[test]
fn invalid_arguments_have_the_same_exit_status_in_every_spelling() {
    let demo = Demo::start();
    let file = File::new("missing.json", br#"{"text":"a"}"#);
    let at_file = format!("@{}", file.0);
    let spellings: [&[&str]; 14] = [
        // A missing argument.
        &[],
        &["{}"],
        &["[]"],
        &["text=a"],
        &[r#"{"text":"a"}"#],
        &[r#"["a"]"#],
        &[&at_file],
        // An unknown one, one too many, and one of another type.
        &["text=a", "needle=b", "more=c"],
        &[r#"{"text":"a","needle":"b","more":"c"}"#],
        &[r#"["a","b","c"]"#],
        &[r#"{"text":5,"needle":"b"}"#],
        &[r#"[5,"b"]"#],
        // No JSON.
        &["{text:a}"],
        &["{"],
    ];
    for arguments in spellings {
        for option in [&[][..], &["--undescribed"]] {
            let call = [&["text.count"], option, arguments].concat();
            demo.rpc("call", &call).assert_failed(2);
        }
        let bench = [&["text.count", "--calls", "1"], arguments].concat();
        assert_eq!(demo.rpc("bench", &bench).status, 2, "{arguments:?}");
    }
    for arguments in [&["item=5", "size=1"][..], &["{\"size\":1}"], &["[]"], &[]] {
        let stream = [&["shop.watch"], arguments].concat();
        demo.rpc("stream", &stream).assert_failed(2);
    }
    for arguments in ["quantity=-1", r#"{"item":"pear","quantity":-1}"#] {
        let named = arguments.contains('{');
        let item: &[&str] = if named { &[] } else { &["item=pear"] };
        let buy = [&["shop.buy", arguments], item].concat();
        demo.rpc("call", &buy).assert_failed(2);
    }
}

#[test]
fn invalid_notification_is_not_sent_in_any_spelling() {
    let demo = Demo::start();
    let spellings: [&[&str]; 12] = [
        &["item=pear", "quantity=1", "quantity=1"],
        &[r#"{"item":"pear","quantity":1,"quantity":1}"#],
        &[],
        &["[]"],
        &["item=pear"],
        &[r#"{"item":"pear"}"#],
        &[r#"["pear"]"#],
        &[r#"{"item":"pear","quantity":1,"more":1}"#],
        &[r#"["pear",1,1]"#],
        &[r#"["pear","1"]"#],
        &[r#"{"item":5,"quantity":1}"#],
        &["item=pear", "quantity=x"],
    ];
    for arguments in spellings {
        let call = [&["shop.restock"], arguments].concat();
        let told = demo.rpc("call", &call).assert_failed(2);
        assert!(!told.contains("the server answered"), "{told}");
    }
    let valid = r#"{"quantity":1,"item":"\u0070ear"}"#;
    demo.rpc("call", &["shop.restock", valid]).assert_ok();
}

#[test]
fn arguments_are_read_from_a_file_and_from_standard_input_in_every_encoding() {
    let demo = Demo::start();
    let json = "{\n  \"text\": \"grün\u{1f34f}\",\n  \"needle\": \"ü\"\n}\n";
    for (index, written) in as_written(json).into_iter().enumerate() {
        let line = demo.line("call", &["text.count", "-"]);
        assert_eq!(
            rpc_with_bytes(&line, &written).assert_ok(),
            "1\n",
            "{index}"
        );
        let file = File::new(&format!("{index}.json"), &written);
        let from_file = demo.rpc("call", &["text.count", &format!("@{}", file.0)]);
        assert_eq!(from_file.assert_ok(), "1\n", "{index}");
    }
    let line = demo.line("call", &["text.count", "-"]);
    let told = rpc_with_bytes(&line, b"{\"text\":\"\xfc\"}").assert_failed(2);
    assert!(
        told.contains("standard input is neither UTF-8 nor UTF-16"),
        "{told}"
    );
    let told = demo
        .rpc("call", &["text.count", "@/no/such/file"])
        .assert_failed(2);
    assert!(told.contains("cannot read /no/such/file: "), "{told}");
    let told = demo.rpc("call", &["text.count", "@"]).assert_failed(2);
    assert!(told.contains("`@` names no file"), "{told}");
}

#[test]
fn uploaded_lines_are_read_in_every_encoding() {
    let demo = Demo::start();
    for written in as_written("{\"item\":\"pear\"}\n\n{\"item\":\"plum\"}") {
        let line = demo.line("stream", &["shop.order", "--upload", "-"]);
        let ordered = rpc_with_bytes(&line, &written).assert_ok();
        assert_eq!(ordered, "{\"quantity\":2,\"total\":8}\n", "{written:?}");
    }
}

#[test]
fn description_is_read_in_every_encoding() {
    let text = fs::read_to_string(SHOP).unwrap();
    for (index, written) in as_written(&text).into_iter().enumerate() {
        let file = File::new(&format!("shop-{index}.json"), &written);
        let told = rpc(&["check", SHOP, &file.0]).assert_ok();
        assert_eq!(told, "0 breaking, 0 may break, 0 compatible\n");
        rpc(&["describe", &file.0]).assert_ok();
    }
    let file = File::new("no-text.json", b"{\"a\":\"\xe4\"}");
    let told = rpc(&["describe", &file.0]).assert_failed(2);
    assert!(
        told.contains("neither UTF-8 nor UTF-16: the byte 0xe4 at offset 6"),
        "{told}"
    );
}

/// Windows shells remove quotes.
#[test]
fn json_without_its_quotes_is_refused_with_spellings_that_need_none() {
    let server = UndescribedServer::start();
    for arguments in [
        &["{a:1,b:2}"][..],
        &["{a: 1,", "b: 2}"],
        &["'{a:1,b:2}'"],
        &["{\\a\\:1}"],
    ] {
        let told = server.rpc(&[&["add"], arguments].concat()).assert_failed(2);
        for spelling in ["`name=value`", "`@FILE`", "`-`"] {
            assert!(told.contains(spelling), "{told}");
        }
    }
    assert_eq!(server.rpc(&["add", "a=1", "b=2"]).assert_ok(), "3\n");
}

/// Returns the command in the tip of a failure.
fn command_in(told: &str) -> &str {
    let tip = told.lines().find(|line| line.contains("tip: ")).unwrap();
    tip.split('`').nth(1).unwrap()
}

#[test]
fn command_in_a_tip_runs_unchanged() {
    let demo = Demo::start();
    let file = File::new("orders.json", b"{\"item\":\"pear\"}");
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_rpc"))
        .parent()
        .unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let options = [
        "--timeout",
        "20s",
        "--meta",
        "tenant=it's",
        "--max-reply",
        "1MiB",
    ];
    let cases: [(&str, &[&str]); 5] = [
        ("call", &["shop.watch", "item=pear"]),
        ("call", &["shop.order"]),
        ("stream", &["shop.order"]),
        ("stream", &["text.count", "text=to be", "needle=it's"]),
        ("stream", &["text.count", r#"{"text":"-","needle":"x"}"#]),
    ];
    for (name, arguments) in cases {
        let arguments = [arguments, &options].concat();
        let told = demo.rpc(name, &arguments).assert_failed(2);
        let line = command_in(&told).replace("rpc stream ", "rpc stream --count 1 ");
        let ran = Command::new("sh")
            .args(["-c", &line])
            .env("PATH", &path)
            .stdin(fs::File::open(&file.0).unwrap())
            .output()
            .unwrap();
        assert!(ran.status.success(), "{line}: {ran:?}");
        for option in [
            "--pin ",
            "--timeout 20s",
            "--max-reply ",
            r"--meta 'tenant=it'\''s'",
        ] {
            assert!(line.contains(option), "{line}");
        }
    }
    let told = demo.rpc("call", &["nothing.like.it"]).assert_failed(1);
    let ran = Command::new("sh")
        .args(["-c", command_in(&told)])
        .env("PATH", &path)
        .output();
    assert!(ran.unwrap().status.success(), "{told}");
}

#[test]
fn token_of_the_command_line_is_not_repeated_in_a_tip() {
    let demo = Demo::start();
    let arguments = [
        "shop.watch",
        "item=pear",
        "--meta",
        "authorization=Bearer s3cret",
    ];
    let child = command(&demo.line("call", &arguments))
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn();
    let told = ended(child.unwrap()).assert_failed(2);
    assert!(!told.contains("s3cret"), "{told}");
}
