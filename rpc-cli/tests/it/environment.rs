//! Trust, identity and token from the environment.

use crate::program::{Ended, VARIABLES, command, rpc, rpc_with_env};
use crate::undescribed::UndescribedServer;

/// Calls a method with environment variables only.
fn call(server: &UndescribedServer, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    let arguments = [&["call", &server.address], arguments].concat();
    rpc_with_env(&arguments, variables)
}

#[test]
fn pin_or_ca_of_the_environment_is_trusted() {
    let server = UndescribedServer::start();
    let add = |variables: &[(&str, &str)]| call(&server, &["add", "[1,2]"], variables);
    add(&[]).assert_failed(3);
    assert_eq!(add(&[("RPC_PIN", &server.pin)]).assert_ok(), "3\n");
    let line = format!("{}\r\n", server.pin);
    assert_eq!(
        add(&[("RPC_PIN", &line)]).assert_ok(),
        "3\n",
        "as a file has it"
    );
    assert_eq!(add(&[("RPC_CA", &server.ca)]).assert_ok(), "3\n");
    let wrong = "00".repeat(32);
    add(&[("RPC_PIN", &wrong)]).assert_failed(3);
    // An empty variable counts as missing.
    add(&[("RPC_PIN", "")]).assert_failed(3);
    let told = add(&[("RPC_PIN", "12")]).assert_failed(2);
    assert!(told.contains("the environment variable RPC_PIN"), "{told}");
    let told = add(&[("RPC_CA", "/no/such/file")]).assert_failed(2);
    assert!(told.contains("/no/such/file"), "{told}");
}

#[test]
fn trust_option_replaces_the_trust_of_the_environment() {
    let server = UndescribedServer::start();
    let other = UndescribedServer::start();
    let add = |option: [&str; 2], variable: (&str, &str)| {
        call(
            &server,
            &["add", "[1,2]", option[0], option[1]],
            &[variable],
        )
    };
    let wrong = "00".repeat(32);
    add(["--pin", &server.pin], ("RPC_PIN", &wrong)).assert_ok();
    add(["--pin", &server.pin], ("RPC_PIN", "no pin")).assert_ok();
    // The environment does not add to what an option trusts.
    add(["--pin", &wrong], ("RPC_CA", &server.ca)).assert_failed(3);
    add(["--ca", &other.ca], ("RPC_PIN", &server.pin)).assert_failed(3);
}

#[test]
fn client_certificate_of_the_environment_is_used() {
    let server = UndescribedServer::start_for(true);
    let [cert, key] = server.client_files();
    let both = [
        ("RPC_PIN", server.pin.as_str()),
        ("RPC_CERT", &cert),
        ("RPC_KEY", &key),
    ];
    let add = |variables: &[(&str, &str)]| call(&server, &["add", "[1,2]"], variables);
    assert_eq!(add(&both).assert_ok(), "3\n");
    add(&both[..1]).assert_failed(3);
    let told = add(&both[..2]).assert_failed(2);
    assert!(told.contains("RPC_KEY"), "{told}");
}

#[test]
fn file_of_a_variable_that_cannot_be_read_is_reported_with_the_variable() {
    let call = |variables: &[(&str, &str)]| {
        rpc_with_env(&["call", "127.0.0.1:1", "m"], variables).assert_failed(2)
    };
    let told = call(&[("RPC_CA", "nofile.pem")]);
    assert!(told.contains("the environment variable RPC_CA: "), "{told}");
    assert!(told.contains("nofile.pem"), "{told}");
    let told = call(&[("RPC_CERT", "nofile.pem"), ("RPC_KEY", "nokey.pem")]);
    assert!(told.contains("RPC_CERT and RPC_KEY: "), "{told}");
    let told = rpc(&["call", "127.0.0.1:1", "m", "--ca", "nofile.pem"]).assert_failed(2);
    assert!(!told.contains("RPC_CA"), "{told}");
}

#[test]
fn token_of_the_environment_is_sent_with_every_request() {
    let server = UndescribedServer::start();
    let variables = [("RPC_PIN", server.pin.as_str()), ("RPC_TOKEN", "s3cret\n")];
    let call = |arguments: &[&str]| call(&server, arguments, &variables).assert_ok();
    assert_eq!(call(&["authorization"]), "\"Bearer s3cret\"\n");
    let own = ["authorization", "--meta", "authorization=Basic x"];
    assert_eq!(call(&own), "\"Basic x\"\n", "an option replaces it");
    call(&["note", "--notify"]);
    assert!((0..100).any(|_| call(&["noted"]) == "\"Bearer s3cret\"\n"));
    let watch = ["stream", &server.address, "watch"];
    let items = rpc_with_env(&watch, &variables).assert_ok();
    assert_eq!(items, "\"Bearer s3cret\"\n");
}

#[test]
fn token_that_is_not_unicode_is_refused_without_being_shown() {
    use std::os::unix::ffi::OsStrExt;
    let token = std::ffi::OsStr::from_bytes(b"s3cret\xff");
    let output = command(&["call", "127.0.0.1:1", "m"])
        .env("RPC_TOKEN", token)
        .output();
    let output = output.unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        told.contains("RPC_TOKEN") && !told.contains("s3cret"),
        "{told}"
    );
}

#[test]
fn variables_are_documented() {
    let readme = include_str!("../../README.md");
    let all = rpc(&["--help"]).assert_ok();
    let help = rpc(&["call", "--help"]).assert_ok();
    for name in VARIABLES {
        assert!(readme.contains(&format!("`{name}`")), "{name}");
        assert!(help.contains(name) && all.contains(name), "{name}: {help}");
    }
}
