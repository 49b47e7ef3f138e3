//! Shapes of messages that a hostile client could choose. The tests count their cost in steps, and `bench` counts it in
//! instructions.

/// Messages of one shape.
#[derive(Debug)]
pub struct Shape {
    /// The name of the shape, for reports.
    pub name: &'static str,
    /// The state of the connection on which the messages are sent.
    pub scenario: Scenario,
    /// Creates messages of about this number of bytes.
    pub make: fn(usize) -> String,
}

/// The state of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// No call is in flight.
    Idle,
    /// Many calls wait on the stream of the messages.
    WaitingOnStream,
    /// Many calls wait, each on its own stream. The messages are sent on a unidirectional stream.
    WaitingOnStreams,
    /// Cancellations are kept for requests that never arrive.
    EarlyCancellations,
    /// A call receives the messages as its items.
    Upload,
}

/// The size of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Number of messages; each entry of a batch counts as a message.
    pub messages: usize,
    /// Number of bytes.
    pub bytes: usize,
    /// Approximate number of JSON values and names. Each has a comma, a colon or a bracket.
    pub values: usize,
}

impl Size {
    /// Measures messages.
    pub fn of(messages: &str) -> Self {
        let lines = messages.lines().filter(|line| !line.trim().is_empty());
        let entries = messages.matches(r#""method":"#);
        let (mut values, mut in_string, mut is_escaped) = (0, false, false);
        for c in messages.bytes() {
            match c {
                _ if std::mem::take(&mut is_escaped) => {}
                b'\\' => is_escaped = true,
                b'"' => in_string = !in_string,
                b',' | b':' | b'[' | b'{' if !in_string => values += 1,
                _ => {}
            }
        }
        Self {
            messages: lines.count().max(entries.count()).max(1),
            bytes: messages.len(),
            values,
        }
    }
}

/// Minimum size of a call, in bytes.
const LEAST: usize = 60;

/// Number of values of a call without parameters, plus an array and a string as parameters.
const USUAL_VALUES: usize = 9;

/// Creates calls whose arguments are not decoded, which are the cheapest messages of a size. The arguments are a string and
/// zeros.
pub fn cheapest(size: Size) -> String {
    let bytes = (size.bytes / size.messages).max(LEAST);
    let numbers = (size.values / size.messages).saturating_sub(USUAL_VALUES);
    let mut message = r#"{"jsonrpc":"2.0","id":1,"method":"ignore","params":[""#.to_owned();
    let rest = "\"]}\n".len() + ",0".len() * numbers;
    let text = bytes.saturating_sub(message.len() + rest);
    message.push_str(&"x".repeat(text));
    message.push('"');
    message.push_str(&",0".repeat(numbers));
    message.push_str("]}\n");
    message.repeat(size.messages)
}

/// Creates calls whose argument is one string.
fn usual(bytes: usize, messages: usize) -> String {
    let messages = messages.max(1);
    let each = (bytes / messages).max(LEAST);
    let [head, tail] = [&format!("{CALL}[\""), "\"]}\n"];
    let text = "x".repeat(each - head.len() - tail.len());
    format!("{head}{text}{tail}").repeat(messages)
}

/// Repeats `unit` between `head` and `tail`, up to about this number of bytes.
fn filled(bytes: usize, [head, tail]: [&str; 2], unit: impl Fn(usize) -> String) -> String {
    let mut out = head.to_owned();
    for index in 0.. {
        let next = unit(index);
        if out.len() + next.len() + tail.len() > bytes {
            break;
        }
        out.push_str(&next);
    }
    out.push_str(tail);
    out
}

/// Repeats units as `filled` does, with commas between them.
fn list(bytes: usize, [head, tail]: [&str; 2], unit: impl Fn(usize) -> String) -> String {
    let comma = |index| if index == 0 { "" } else { "," };
    filled(bytes, [head, tail], |index| {
        format!("{}{}", comma(index), unit(index))
    })
}

const fn shape(name: &'static str, make: fn(usize) -> String) -> Shape {
    Shape {
        name,
        scenario: Scenario::Idle,
        make,
    }
}

const fn during(scenario: Scenario, name: &'static str, make: fn(usize) -> String) -> Shape {
    Shape {
        name,
        scenario,
        make,
    }
}

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"text","params":"#;

/// Shapes of one message.
static ONE: [Shape; 24] = [
    shape("one string", |n| usual(n, 1)),
    shape("escapes", |n| {
        filled(n, [&format!("{CALL}[\""), "\"]}\n"], |_| r"\n".into())
    }),
    shape("escaped code points", |n| {
        filled(n, [&format!("{CALL}[\""), "\"]}\n"], |_| r"\u00e9".into())
    }),
    shape("text that is no ASCII", |n| {
        filled(n, [&format!("{CALL}[\""), "\"]}\n"], |_| "é".into())
    }),
    shape("numbers", |n| {
        let head = r#"{"jsonrpc":"2.0","id":1,"method":"numbers","params":[["#;
        list(n, [head, "]]}\n"], |_| "0".into())
    }),
    shape("surplus positions", |n| {
        list(n, [&format!("{CALL}["), "]}\n"], |_| "0".into())
    }),
    shape("empty arrays", |n| {
        list(n, [&format!("{CALL}[["), "]]}\n"], |_| "[]".into())
    }),
    shape("nested arrays", |n| {
        let nested = |_| format!("{}{}", "[".repeat(60), "]".repeat(60));
        list(n, [&format!("{CALL}[["), "]]}\n"], nested)
    }),
    shape("unknown argument names", |n| {
        let unknown = |index| format!("\"{index:x}\":0");
        list(n, [&format!("{CALL}{{"), "}}\n"], unknown)
    }),
    shape("an argument again and again", |n| {
        let again = |_| r#""text":"""#.into();
        list(n, [&format!("{CALL}{{"), "}}\n"], again)
    }),
    shape("unknown members", |n| {
        let unknown = |index| format!(",\"{index:x}\":0");
        filled(n, [&format!("{CALL}[\"\"]"), "}\n"], unknown)
    }),
    shape("a member again and again", |n| {
        filled(n, [&format!("{CALL}[\"\"]"), "}\n"], |_| ",\"id\":1".into())
    }),
    shape("metadata in 64 names", |n| {
        let value = "x".repeat(n / 64);
        let name = |index| format!("\"{index}\":\"{value}\"");
        let head = format!("{CALL}[\"\"],\"meta\":{{");
        list(n, [&head, "}}\n"], name)
    }),
    shape("metadata in many names", |n| {
        let name = |index| format!("\"{index:x}\":\"\"");
        let head = format!("{CALL}[\"\"],\"meta\":{{");
        list(n, [&head, "}}\n"], name)
    }),
    shape("a long id", |n| {
        let tail = "\",\"method\":\"rpc.ping\"}\n";
        filled(n, [r#"{"jsonrpc":"2.0","id":""#, tail], |_| "x".into())
    }),
    shape("a long method name", |n| {
        let head = r#"{"jsonrpc":"2.0","id":1,"method":""#;
        filled(n, [head, "\"}\n"], |_| "x".into())
    }),
    shape("text in place of numbers", |n| {
        let head = r#"{"jsonrpc":"2.0","id":1,"method":"numbers","params":[""#;
        filled(n, [head, "\"]}\n"], |_| "x".into())
    }),
    shape("escapes in place of numbers", |n| {
        let head = r#"{"jsonrpc":"2.0","id":1,"method":"numbers","params":[""#;
        filled(n, [head, "\"]}\n"], |_| r"\u202e".into())
    }),
    shape("an error object", |n| {
        let head = r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"","data":["#;
        list(n, [head, "]}}\n"], |_| "0".into())
    }),
    shape("no JSON", |n| filled(n, ["", "\n"], |_| "x".into())),
    shape("JSON without its end", |n| {
        list(n, [&format!("{CALL}["), "\n"], |_| "0".into())
    }),
    shape("a batch past the limit", |n| {
        list(n, ["[", "]\n"], |_| "0".into())
    }),
    shape("a cancellation with a long id", |n| {
        let head = r#"{"jsonrpc":"2.0","method":"rpc.cancel","params":[""#;
        filled(n, [head, "\"]}\n"], |_| "x".into())
    }),
    shape("a cancellation with many members", |n| {
        let head = r#"{"jsonrpc":"2.0","method":"rpc.cancel","params":{"#;
        list(n, [head, "}}\n"], |_| "\"id\":7".into())
    }),
];

/// Shapes of many messages.
static MANY: [Shape; 22] = [
    shape("calls", |n| usual(n, n / 64)),
    shape("notifications of no method", |n| {
        let unit = |_| "{\"jsonrpc\":\"2.0\",\"method\":\"\"}\n".into();
        filled(n, ["", ""], unit)
    }),
    shape("tiny objects", |n| filled(n, ["", ""], |_| "{}\n".into())),
    shape("tiny arrays", |n| filled(n, ["", ""], |_| "[]\n".into())),
    shape("tiny numbers", |n| filled(n, ["", ""], |_| "1\n".into())),
    shape("tiny lines that are no JSON", |n| {
        filled(n, ["", ""], |_| "x\n".into())
    }),
    shape("batches of 100 numbers", |n| {
        let batch = format!("[{}0]\n", "0,".repeat(99));
        filled(n, ["", ""], |_| batch.clone())
    }),
    shape("batches of 100 cancellations", |n| {
        let cancel = r#"{"jsonrpc":"2.0","method":"rpc.cancel","params":[7]}"#;
        let batch = format!("[{}{cancel}]\n", format!("{cancel},").repeat(99));
        filled(n, ["", ""], |_| batch.clone())
    }),
    shape("batches of 100 calls that wait", |n| {
        let call = r#"{"jsonrpc":"2.0","id":1,"method":"pause","params":[]}"#;
        let batch = format!("[{}{call}]\n", format!("{call},").repeat(99));
        filled(n, ["", ""], |_| batch.clone())
    }),
    shape("blank lines", |n| "\n".repeat(n)),
    shape("blank lines of white space", |n| " \t\r\n".repeat(n / 4)),
    shape("spaces", |n| " ".repeat(n)),
    during(
        Scenario::WaitingOnStream,
        "calls beside calls that wait",
        |n| usual(n, n / 64),
    ),
    during(
        Scenario::WaitingOnStream,
        "cancellations that find nothing on the stream",
        |n| {
            filled(n, ["", ""], |index| {
                cancel(&format!("[{}]", 1_000_000 + index))
            })
        },
    ),
    during(
        Scenario::WaitingOnStream,
        "cancellations of a long id that find nothing",
        |n| {
            let id = format!("[\"{}no\"]", "x".repeat(1000));
            filled(n, ["", ""], |_| cancel(&id))
        },
    ),
    during(
        Scenario::WaitingOnStreams,
        "cancellations that find nothing on any stream",
        |n| {
            filled(n, ["", ""], |index| {
                cancel(&format!("[{}]", 1_000_000 + index))
            })
        },
    ),
    during(
        Scenario::WaitingOnStreams,
        "cancellations that name a stream that is over",
        |n| {
            let params = |index| format!("{{\"id\":{index},\"stream\":4,\"offset\":{index}}}");
            filled(n, ["", ""], |index| cancel(&params(index)))
        },
    ),
    during(
        Scenario::EarlyCancellations,
        "calls while cancellations are kept",
        |n| usual(n, n / 64),
    ),
    during(
        Scenario::EarlyCancellations,
        "cancellations past those kept",
        |n| {
            let params = |index| format!("{{\"id\":{index},\"stream\":0,\"offset\":1000000000}}");
            filled(n, ["", ""], |index| cancel(&params(5000 + index)))
        },
    ),
    during(Scenario::Upload, "items", |n| {
        let unit = "{\"jsonrpc\":\"2.0\",\"method\":\"rpc.item\",\"params\":[1,2]}\n";
        filled(n, ["", ""], |_| unit.into())
    }),
    during(Scenario::Upload, "blank lines among items", |n| {
        "\n".repeat(n)
    }),
    during(Scenario::Upload, "items in another order of members", |n| {
        let unit = "{\"method\":\"rpc.item\",\"params\":[1,2],\"jsonrpc\":\"2.0\"}\n";
        filled(n, ["", ""], |_| unit.into())
    }),
];

pub(super) fn cancel(params: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"method\":\"rpc.cancel\",\"params\":{params}}}\n")
}

/// Returns all shapes.
pub fn all() -> impl Iterator<Item = &'static Shape> {
    ONE.iter().chain(&MANY)
}
