//! Error responses disclose no internals, and logs show text of peers escaped.

use std::collections::BTreeMap;

use rpc_runtime::{Limits, RawService, rpc};
use serde::{Deserialize, Serialize, Serializer};
use tests::log::Log;
use tests::message::call;
use tests::peer::RawClient;
use tests::support::{TestServer, eventually};

/// Types whose names must not be disclosed to callers.
#[derive(Debug, Serialize, Deserialize)]
struct SecretPoint {
    x: i32,
    y: i32,
}

#[derive(Debug, Serialize, Deserialize)]
struct SecretPair(i32, i32);

#[derive(Debug, Serialize, Deserialize)]
struct SecretNothing;

#[derive(Debug, Serialize, Deserialize)]
enum SecretShape {
    Circle { radius: u32 },
    Line(u32, u32),
    Point,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum SecretEither {
    Number(u32),
    Text(String),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum SecretTagged {
    Circle { radius: u32 },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", content = "of")]
enum SecretAdjacent {
    Circle(u32),
}

/// A value that serde fails to serialize, with a reason that must not be disclosed to callers.
struct SecretFailure;

impl Serialize for SecretFailure {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("secret of /etc/secret.conf"))
    }
}

impl<'de> Deserialize<'de> for SecretFailure {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}

#[rpc]
trait Vault {
    async fn panics(&self, text: &str);
    #[rpc(blocking)]
    fn panics_apart(&self);
    async fn unwritable(&self) -> SecretFailure;
    async fn unwritable_key(&self) -> BTreeMap<Vec<u8>, u8>;
    async fn point(&self, at: SecretPoint);
    async fn pair(&self, at: SecretPair);
    async fn nothing(&self, at: SecretNothing);
    async fn shape(&self, at: SecretShape);
    async fn either(&self, at: SecretEither);
    async fn tagged(&self, at: SecretTagged);
    async fn adjacent(&self, at: SecretAdjacent);
    async fn points(&self, at: Vec<Option<SecretPoint>>);
}

struct Bank;

impl Vault for Bank {
    async fn panics(&self, text: &str) {
        panic!("secret in {}: {text}", file!());
    }
    fn panics_apart(&self) {
        std::fs::read("/etc/secret.conf/none").unwrap();
    }
    async fn unwritable(&self) -> SecretFailure {
        SecretFailure
    }
    async fn unwritable_key(&self) -> BTreeMap<Vec<u8>, u8> {
        BTreeMap::from([(vec![1], 1)])
    }
    async fn point(&self, _: SecretPoint) {}
    async fn pair(&self, _: SecretPair) {}
    async fn nothing(&self, _: SecretNothing) {}
    async fn shape(&self, _: SecretShape) {}
    async fn either(&self, _: SecretEither) {}
    async fn tagged(&self, _: SecretTagged) {}
    async fn adjacent(&self, _: SecretAdjacent) {}
    async fn points(&self, _: Vec<Option<SecretPoint>>) {}
}

/// Arguments of every shape, most of which no method accepts.
const ARGUMENTS: &[&str] = &[
    "null",
    "true",
    "-1",
    "1.5",
    "1e300",
    r#""text""#,
    r#""Circle""#,
    r#""Point""#,
    "[]",
    "[1]",
    "[1,2,3]",
    "[null]",
    r#"["x"]"#,
    "{}",
    r#"{"x":1}"#,
    r#"{"x":"1","y":2}"#,
    r#"{"x":1,"x":2}"#,
    r#"{"Circle":1}"#,
    r#"{"Circle":{}}"#,
    r#"{"Circle":{"radius":-1}}"#,
    r#"{"Line":[1]}"#,
    r#"{"Line":{}}"#,
    r#"{"Point":1}"#,
    r#"{"Other":1}"#,
    r#"{"kind":1}"#,
    r#"{"kind":"Other"}"#,
    r#"{"kind":"Circle"}"#,
    r#"{"kind":"Circle","radius":"1"}"#,
    r#"{"kind":"Circle","of":"1"}"#,
    r#"{"of":1}"#,
    "[{}]",
    r#"[{"x":1}]"#,
];

/// Parts of panics, paths, names of types and other internals.
const INTERNALS: &[&str] = &[
    "ecret",
    "anick",
    ".rs",
    "/",
    "::",
    "unwrap",
    "struct",
    "enum",
    "tuple",
    "serde",
    "No such file",
    "os error",
];

#[tokio::test]
async fn error_response_discloses_no_internals() {
    let mut responder = RawService::new(VaultServer::new(Bank));
    let mut messages = Vec::new();
    for method in ["panics_apart", "unwritable", "unwritable_key"] {
        messages.push(format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#));
    }
    messages.push(r#"{"jsonrpc":"2.0","id":1,"method":"panics","params":["x"]}"#.into());
    for method in [
        "point", "pair", "nothing", "shape", "either", "tagged", "adjacent", "points",
    ] {
        for argument in ARGUMENTS {
            let call = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params""#);
            messages.push(format!(r#"{call}:[{argument}]}}"#));
            messages.push(format!(r#"{call}:{{"at":{argument}}}}}"#));
        }
    }
    let mut refused = 0;
    for message in messages {
        let reply =
            String::from_utf8(responder.respond(message.as_bytes()).await.to_vec()).unwrap();
        let is_internal = reply.contains(r#""code":-32603,"message":"Internal error"}"#);
        let is_mismatch = reply.contains(r#""code":-32602,"message":"Invalid params""#);
        let is_fine = reply.ends_with(r#""result":null}"#);
        assert!(is_internal || is_mismatch || is_fine, "{message}: {reply}");
        refused += u32::from(is_mismatch);
        for internal in INTERNALS {
            assert!(
                !reply.contains(internal),
                "{message}: {reply} tells `{internal}`"
            );
        }
    }
    assert!(refused > 300, "{refused}");
}

/// Returns long text with control characters.
fn nasty() -> String {
    "\n\x1b[2J\u{202e}forged \u{7f}".repeat(100)
}

#[tokio::test]
async fn text_of_a_peer_is_logged_escaped_and_truncated() {
    let log = Log::default();
    let _recording = log.record();
    let server = TestServer::start(VaultServer::new(Bank), Limits::default());
    let connection = RawClient::connect(&server).await;
    for method in ["panics".to_owned(), nasty()] {
        let replies = connection
            .exchange(call(1, &method, [nasty()]).to_string())
            .await;
        assert!(replies[0]["error"].is_object(), "{replies:?}");
    }
    connection.close(1u8.into(), nasty().as_bytes());
    eventually(|| log.has("closed by the other side")).await;

    assert!(log.has("panicked: secret"));
    // Text of this side around that of the peer is not truncated.
    let around = "closed by the other side (code 0x1: )".len();
    let fields = log.fields();
    for field in fields.iter() {
        assert!(field.len() <= 128 + "…".len() + around, "{field:?}");
        let is_plain = |c: char| c == '…' || (c.is_ascii() && !c.is_ascii_control());
        assert!(field.chars().all(is_plain), "{field:?}");
        assert!(!field.starts_with("Some("), "{field:?}");
    }
}

#[tokio::test]
async fn refused_connections_are_logged_with_the_limit_and_its_setting() {
    let log = Log::default();
    let _recording = log.record();
    let limits = Limits {
        max_connections_per_address: 1,
        ..Limits::default()
    };
    let server = TestServer::start(VaultServer::new(Bank), limits);
    let client = RawClient::new(&server);
    let _connection = client.dial().await;
    assert!(!log.has("WARN"));
    let refused = client.try_dial().await;
    assert!(refused.is_err());
    for field in ["WARN", "connections refused", "max_connections_per_address"] {
        assert!(log.has(field), "{field}");
    }
}
