//! Checks that a peer determines the length of no field of a log event or span.

use std::path::Path;

use crate::{code, read, root, sources};

/// Fields that are not escaped, with the reason.
const BOUNDED: [(&str, &str); 72] = [
    // Addresses.
    ("serve.rs", "peer = peer().map(tracing::field::display)"),
    ("invoke.rs", "peer"),
    ("connection.rs", "peer = peer.map(tracing::field::display)"),
    ("observe.rs", "peer = peer.map(tracing::field::display)"),
    ("observe.rs", "limit = IDLE_TIMEOUT"),
    ("observe.rs", "streams"),
    ("observe.rs", "connections"),
    ("observe.rs", "replies"),
    ("budget.rs", "calls"),
    ("budget.rs", "total"),
    ("reconnect.rs", "failed"),
    ("fallback.rs", "pause"),
    ("rejections.rs", "%client"),
    // An id that is a number, the start of a line, escaped, and a count.
    ("mux_stream.rs", "id"),
    ("mux_stream.rs", "received = %Excerpt(line)"),
    ("mux_stream.rs", "lines"),
    // The name of a limit, its setting, and counts.
    ("rejections.rs", "limit"),
    ("rejections.rs", "setting"),
    ("rejections.rs", "refused"),
    ("rejections.rs", "failed"),
    ("rejections.rs", "total"),
    ("connection.rs", "held = self.memory.used()"),
    ("connection.rs", "limit = name"),
    ("connection.rs", "setting = value"),
    ("connection.rs", "limit = limit.name"),
    ("connection.rs", "setting = limit.value"),
    ("observe.rs", "peer = peer.map(tracing::field::display)"),
    ("observe.rs", "server = server.map(tracing::field::display)"),
    ("observe.rs", "limit = name"),
    ("observe.rs", "setting = value"),
    ("observe.rs", "code"),
    ("observe.rs", "calls"),
    ("observe.rs", "total"),
    ("observe.rs", "waited"),
    // A constant text: the rule that the metadata breaks.
    ("response_metadata.rs", "reason"),
    // The name of a method that was found.
    ("invoke.rs", "method"),
    // Variables of type `Escaped`.
    ("invoke.rs", "%reason"),
    ("reconnect.rs", "%server"),
    ("reconnect.rs", "%error"),
    // Parts of the description of the service, and values of bounded length.
    ("trace.rs", "rpc.service = call.service().name"),
    ("trace.rs", "rpc.method = method.name"),
    ("trace.rs", "otel.name = method.name"),
    ("trace.rs", "rpc.kind = kind(call)"),
    (
        "trace.rs",
        "network.peer.address = peer().map(|peer| display(peer.ip()))",
    ),
    (
        "trace.rs",
        "network.peer.port = peer().map(|peer| peer.port())",
    ),
    // A client's own calls, the address of its server, numbers, and the words of an enum.
    ("log.rs", "service = service(request)"),
    ("log.rs", "attempts"),
    ("log.rs", "duration"),
    ("log.rs", "method = request.method_name()"),
    ("log.rs", "outcome = outcome.as_str()"),
    ("log.rs", "code = outcome.code()"),
    (
        "log.rs",
        "reason = %rpc_runtime::Escaped(&error.to_string())",
    ),
    ("log.rs", "number = attempt.number()"),
    ("log.rs", "outcome = attempt.outcome().as_str()"),
    ("log.rs", "duration = attempt.duration().as_secs_f64()"),
    (
        "log.rs",
        "server = attempt.server().map(tracing::field::display)",
    ),
    ("log.rs", "service = service(self.request)"),
    ("log.rs", "method = self.request.method_name()"),
    ("log.rs", "attempts = self.request.attempts()"),
    ("log.rs", "duration = self.start.elapsed().as_secs_f64()"),
    ("trace.rs", "otel.name = request.method_name()"),
    (
        "trace.rs",
        "rpc.service = request.service().map(|service| service.name)",
    ),
    ("trace.rs", "rpc.method = request.method_name()"),
    ("trace.rs", "rpc.kind = kind(request)"),
    ("trace.rs", "number = attempt.number()"),
    ("trace.rs", "outcome = attempt.outcome().as_str()"),
    ("trace.rs", "duration = attempt.duration().as_secs_f64()"),
    // Escaped.
    (
        "trace.rs",
        "rpc.method_original = call.unknown_method().map(|name| display(Escaped(name)))",
    ),
    // A closure that escapes.
    ("trace.rs", "traceparent = received(\"traceparent\")"),
    ("trace.rs", "tracestate = received(\"tracestate\")"),
    // The server's own certificate, and the reasons of `UntrustedReason`.
    ("self_check.rs", "certificate = ?self.certificate()"),
    ("self_check.rs", "reason = %reason"),
];

/// The macros that write an event or a span.
const MACROS: [&str; 12] = [
    "trace!(",
    "debug!(",
    "info!(",
    "warn!(",
    "error!(",
    "event!(",
    "span!(",
    "trace_span!(",
    "debug_span!(",
    "info_span!(",
    "warn_span!(",
    "error_span!(",
];

/// Returns the arguments of each call of these macros in a file.
fn calls(code: &str) -> Vec<Vec<String>> {
    let starts = MACROS.iter().flat_map(|name| {
        let name = format!("tracing::{name}");
        let length = name.len();
        let found = code.match_indices(&name).map(move |(at, _)| at + length);
        found.collect::<Vec<_>>()
    });
    starts.map(|start| arguments(&code[start..])).collect()
}

/// Returns the arguments up to the closing parenthesis.
fn arguments(code: &str) -> Vec<String> {
    let (mut depth, mut in_string) = (0, false);
    let mut arguments = vec![String::new()];
    for c in code.chars() {
        match c {
            '"' => in_string = !in_string,
            _ if in_string => {}
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => break,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                arguments.push(String::new());
                continue;
            }
            _ => {}
        }
        arguments.last_mut().unwrap().push(c);
    }
    let arguments = arguments.iter().map(|argument| argument.trim().to_owned());
    arguments.filter(|argument| !argument.is_empty()).collect()
}

fn is_bounded(path: &Path, argument: &str) -> bool {
    let file = path.file_name().unwrap().to_str().unwrap();
    let (_, value) = argument.split_once('=').unwrap_or(("", argument));
    let value = value.trim();
    // `target: "…"` and `parent: …` are not fields.
    let is_field = !argument.starts_with("target:") && !argument.starts_with("parent:");
    let is_constant = value.starts_with('"') || value == "Empty" || !is_field;
    is_constant
        || value.starts_with("%Escaped(")
        || value.starts_with("%EscapedMessage(")
        || BOUNDED.contains(&(file, argument))
}

#[test]
fn log_fields_are_escaped_or_bounded() {
    let mut found = 0;
    for folder in [
        "rpc-runtime/src",
        "rpc-layers/src",
        "rpc-discovery/src",
        "rpc-http/src",
    ] {
        for path in sources(folder) {
            let code = code(&path);
            let imported =
                code.contains("use tracing::{debug") || code.contains("use tracing::info");
            assert!(!imported, "{}: write `tracing::info!`", path.display());
            for arguments in calls(&code) {
                found += 1;
                for argument in arguments {
                    let argument = argument.split_whitespace().collect::<Vec<_>>().join(" ");
                    let shown = path.strip_prefix(root()).unwrap().display().to_string();
                    assert!(is_bounded(&path, &argument), "{shown}: `{argument}`");
                }
            }
        }
    }
    assert!(found > 10, "{found}");
}

#[test]
fn log_event_is_documented_with_its_target_and_fields() {
    let page = read("LOGS.md");
    let rows: Vec<_> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let mut events = 0;
    for folder in ["rpc-runtime/src", "rpc-discovery/src", "rpc-http/src"] {
        for arguments in sources(folder).iter().flat_map(|path| calls(&code(path))) {
            let event = arguments.last().unwrap().trim_matches('"').to_owned();
            let cells = format!("| `{event}` |");
            // Two targets may have an event of the same name.
            let target = arguments[0].strip_prefix("target: ");
            let target = target.map(|target| format!("| `{}` |", target.trim_matches('"')));
            let is_of_target = |row: &str| target.iter().all(|target| row.starts_with(target));
            let found = |row: &&&str| row.contains(&cells) && is_of_target(row);
            let row = rows.iter().find(found);
            let row = row.unwrap_or_else(|| panic!("LOGS.md has no row of `{event}`"));
            events += 1;
            for argument in &arguments[..arguments.len() - 1] {
                let name = argument
                    .split_once(" = ")
                    .map_or(argument.as_str(), |(name, _)| name);
                let name = match name.strip_prefix("target: ") {
                    Some(target) => target.trim_matches('"'),
                    None => name.trim_start_matches(['%', '?']),
                };
                assert!(
                    row.contains(&format!("`{name}`")),
                    "LOGS.md, `{event}`: `{name}`"
                );
            }
            let has_target = arguments[0].starts_with("target: ");
            assert!(has_target, "`{event}` has no target");
        }
    }
    assert_eq!(
        rows.len(),
        events,
        "events that LOGS.md has and the code has not"
    );
}

#[test]
fn arguments_of_a_macro_are_split_at_its_commas() {
    let code = r#"tracing::warn!(a = %Escaped(b, c), ?d, target: "e", "f, g"); h(i, j)"#;
    let expected = ["a = %Escaped(b, c)", "?d", "target: \"e\"", "\"f, g\""];
    assert_eq!(calls(code), [expected]);
}
