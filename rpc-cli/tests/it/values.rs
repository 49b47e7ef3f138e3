//! Values arrive and are printed digit by digit.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::hostile::{Hostile, result_line};
use crate::program::{ended, rpc_with_input};

/// Numbers that a double cannot hold, or that a double prints differently.
const NUMBERS: [&str; 8] = [
    "12345678901234567890.123456789",
    "340282366920938463463374607431768211456",
    "0.1000000000000000000001",
    "1.50",
    "-0",
    "-0.0",
    "1E+2",
    "9007199254740993",
];

/// A number that no double can hold. Servers cannot read it, but may write it.
const HUGE: &str = "1e400";

/// A request, as it was written.
#[derive(Deserialize)]
struct Request<'a> {
    id: u64,
    #[serde(borrow)]
    params: &'a RawValue,
}

/// Starts a server that returns the `params` of each call.
fn echo() -> Hostile {
    Hostile::answering_lines(|line| {
        let request: Request<'_> = serde_json::from_slice(line).unwrap();
        result_line(&request.id.into(), request.params.get())
    })
}

#[test]
fn number_of_any_length_is_sent_and_printed_digit_by_digit() {
    let server = echo();
    let all = NUMBERS.join(",");
    let given = NUMBERS
        .iter()
        .enumerate()
        .map(|(index, number)| format!("a{index}={number}"));
    let given: Vec<_> = given.collect();
    let by_name: Vec<_> = given.iter().map(String::as_str).collect();
    let members = NUMBERS
        .iter()
        .enumerate()
        .map(|(index, number)| format!("\"a{index}\":{number}"));
    let object = format!("{{{}}}", members.collect::<Vec<_>>().join(","));
    let array = format!("[{all}]");
    let call = |arguments: &[&str]| {
        let arguments = [&["m", "--undescribed"], arguments].concat();
        server.rpc("call", &arguments).assert_ok()
    };
    assert_eq!(call(&[&array]), format!("{array}\n"));
    assert_eq!(call(&[&object]), format!("{object}\n"));
    assert_eq!(call(&by_name), format!("{object}\n"));
    let line = server.line("call", &["m", "--undescribed", "-"]);
    assert_eq!(
        rpc_with_input(&line, &array).assert_ok(),
        format!("{array}\n")
    );
    let coloured = call(&[&array, "--color", "always"]);
    let plain = anstream::adapter::strip_str(&coloured).to_string();
    let plain: String = plain.split_whitespace().collect();
    assert_eq!(plain, array);
}

/// No JSON parser that reads numbers as doubles accepts such a number, so it is not sent.
#[test]
fn number_past_every_double_is_refused_and_printed_if_it_arrives() {
    let server = echo();
    let ended = server.rpc("call", &["m", "--undescribed", "[1e400]"]);
    let expected = "error: the arguments cannot be sent: a number is larger than any double\n";
    assert_eq!((ended.status, ended.stderr.as_str()), (2, expected));
    let server = Hostile::answering_lines(|line| {
        let request: Request<'_> = serde_json::from_slice(line).unwrap();
        result_line(&request.id.into(), "1e400")
    });
    let printed = server
        .rpc("call", &["m", "--undescribed", "[]"])
        .assert_ok();
    assert_eq!(printed, "1e400\n");
}

#[test]
fn number_that_no_double_can_hold_is_refused_in_every_spelling() {
    let server = echo();
    for argument in ["a=1e400", "[1e400]", "{\"a\":[-1e400]}"] {
        let arguments = ["m", "--undescribed", argument];
        let told = server.rpc("call", &arguments).assert_failed(2);
        assert!(told.contains("larger than any double"), "{told}");
    }
}

#[test]
fn item_and_error_data_are_printed_digit_by_digit() {
    let array = format!("[{},{HUGE}]", NUMBERS.join(","));
    let data = array.clone();
    let server = Hostile::answering(move |call| {
        let id = &call["id"];
        let item =
            format!("{{\"jsonrpc\":\"2.0\",\"method\":\"rpc.item\",\"params\":[{id},{data}]}}\n");
        let error = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":7,\"message\":\"no\",\"data\":{data}}}}}\n"
        );
        [item, error].concat().into_bytes()
    });
    let ended = ended(server.spawn("stream", &["m", "--undescribed"]));
    assert_eq!(ended.stdout, format!("{array}\n"));
    let told = format!("error: the server answered 7: no\n data: {array}\n");
    assert_eq!(ended.stderr, told);
}
