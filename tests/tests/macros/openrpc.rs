//! OpenRPC documents of services, and their discovery.

use rpc_runtime::description::{Described, OpenRpc};
use rpc_runtime::{
    BindError, CallError, Client, ErrorObject, Identity, RawService, Server, ServerBuilder, Trust,
    code, rpc,
};
use serde_json::{Value, json};

use crate::bank::{BankClient, BankServer, TextClient, TextServer, Vault};

fn document() -> Value {
    serde_json::to_value(OpenRpc::of::<BankClient>().and::<TextClient>()).unwrap()
}

/// Returns the method of a document.
fn method<'d>(document: &'d Value, name: &str) -> &'d Value {
    let mut methods = document["methods"].as_array().unwrap().iter();
    methods.find(|method| method["name"] == name).unwrap()
}

/// Resolves a reference.
fn resolve<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    match schema["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).unwrap(),
        None => schema,
    }
}

#[test]
fn document_has_title_and_version() {
    let document = document();
    assert_eq!(document["openrpc"], "1.4.1");
    assert_eq!(document["info"]["title"], "Bank, Text");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let of_one = serde_json::to_value(OpenRpc::of::<TextClient>()).unwrap();
    assert_eq!(of_one["info"]["description"], "Looks at text.");
    let named = OpenRpc::of::<BankClient>()
        .title("Bank of tests")
        .version("7.1");
    let named = serde_json::to_value(named.description("Money of tests.")).unwrap();
    assert_eq!(
        named["info"],
        json!({"title": "Bank of tests", "version": "7.1", "description": "Money of tests."})
    );
}

#[test]
fn docs_of_a_method_are_its_summary_and_description() {
    let document = document();
    let transfer = method(&document, "transfer");
    assert_eq!(transfer["summary"], "Moves money.");
    let description = transfer["description"].as_str().unwrap();
    assert!(
        description.starts_with("Moves money.\n\nBoth accounts"),
        "{description}"
    );
    assert_eq!(
        transfer["tags"],
        json!([{"name": "Bank", "description": "Keeps money."}])
    );
}

#[test]
fn parameter_has_name_schema_and_default() {
    let document = document();
    let params = method(&document, "transfer")["params"].as_array().unwrap();
    let names: Vec<_> = params
        .iter()
        .map(|it| it["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["from", "to", "cents", "reason", "retries", "kind"]);
    let required = params.iter().map(|it| it["required"].as_bool().unwrap());
    assert!(required.eq([true, true, true, false, false, false]));
    assert_eq!(params[2]["schema"]["type"], "integer");
    assert_eq!(params[2]["x-rust-type"], "u64");
    assert_eq!(params[4]["schema"]["default"], 3);
    let kind = &params[5]["schema"];
    assert_eq!(kind["default"], "instant");
    let kinds = resolve(&document, &kind["allOf"][0]);
    assert!(kinds.to_string().contains("standing_order"), "{kinds}");
}

#[test]
fn error_has_code_message_and_data_schema() {
    let document = document();
    let errors = method(&document, "transfer")["errors"].as_array().unwrap();
    assert_eq!(
        errors[0],
        json!({"code": 2001, "message": "no such account"})
    );
    assert_eq!(errors[1]["code"], 2002);
    assert_eq!(errors[1]["message"], "{missing} cents are missing");
    assert_eq!(errors[1]["data"]["required"], json!(["missing", "account"]));
    assert_eq!(
        errors[1]["data"]["properties"]["missing"]["type"],
        "integer"
    );
    let account = resolve(&document, &errors[1]["data"]["properties"]["account"]);
    assert_eq!(account["type"], "object");
    assert_eq!(errors[2]["message"], "Shut for today.");
    assert_eq!(resolve(&document, &errors[2]["data"])["type"], "string");
    assert_eq!(errors[3]["message"], "Twice");
    assert_eq!(errors[3]["data"]["items"].as_array().unwrap().len(), 2);
    assert_eq!(
        method(&document, "close")["errors"].as_array().unwrap(),
        errors
    );
}

#[test]
fn properties_without_a_field_in_openrpc_are_extensions() {
    let document = document();
    let ticker = method(&document, "ticker");
    assert_eq!(ticker["result"]["schema"]["type"], "null");
    assert_eq!(
        resolve(&document, &ticker["x-items"]["schema"])["type"],
        "object"
    );
    let import = method(&document, "import");
    assert_eq!(import["x-upload"]["x-rust-type"], "Account");
    assert_eq!(import["result"]["schema"]["type"], "integer");
    let hint = method(&document, "hint");
    assert!(hint.get("result").is_none());
    assert_eq!(hint["x-notification"], true);
    assert_eq!(hint["x-unreliable"], true);
    let balance = method(&document, "balance");
    assert_eq!(balance["x-idempotent"], true);
    assert_eq!(balance["x-aliases"], json!(["saldo"]));
    assert!(balance.get("deprecated").is_none());
    let close = method(&document, "close");
    assert_eq!(close["deprecated"], true);
    let description = "Closes an account.\n\nDeprecated: accounts are kept";
    assert_eq!(close["description"], description);
}

#[test]
fn object_as_entire_params_is_described_by_its_members() {
    let document = document();
    let open = method(&document, "open");
    assert_eq!(open["paramStructure"], "by-name");
    let params = open["params"].as_array().unwrap();
    let told = params
        .iter()
        .map(|it| (it["name"].as_str().unwrap(), &it["required"]));
    assert!(told.eq([
        ("iban", &json!(true)),
        ("owner", &json!(true)),
        ("limit", &json!(false))
    ]));
    assert_eq!(open["x-params"]["x-rust-type"], "Account");
    let sum = method(&document, "sum");
    assert_eq!(sum["params"], json!([]));
    assert_eq!(sum["x-params"]["schema"]["type"], "array");
}

#[test]
fn example_has_params_and_result() {
    let document = document();
    let examples = &method(&document, "balance")["examples"];
    assert_eq!(
        *examples,
        json!([
            {
                "name": "an account with money",
                "params": [{"name": "iban", "value": "DE02"}],
                "result": {"name": "result", "value": {"cents": 1250, "at": null}},
            },
            {"name": "example", "params": [{"name": "iban", "value": "DE03"}]},
        ])
    );
}

#[test]
fn arguments_of_an_example_are_in_the_order_of_the_parameters() {
    #[rpc]
    trait Files {
        #[rpc(example(params = {"mode": 7, "from": "a", "to": "b"}))]
        async fn copy(&self, to: &str, from: &str, mode: u8);
    }

    let document = serde_json::to_value(OpenRpc::of::<FilesClient>()).unwrap();
    assert_eq!(
        method(&document, "copy")["examples"][0]["params"],
        json!([
            {"name": "to", "value": "b"},
            {"name": "from", "value": "a"},
            {"name": "mode", "value": 7},
        ])
    );
}

#[test]
fn type_that_is_read_and_written_differently_has_two_schemas() {
    let document = document();
    let given = &method(&document, "open")["x-params"]["schema"]["$ref"];
    let got = &method(&document, "find")["result"]["schema"]["anyOf"][0]["$ref"];
    assert_eq!(given, "#/components/schemas/Account");
    assert_eq!(got, "#/components/schemas/AccountResult");
    let required = |name: &str| document["components"]["schemas"][name]["required"].clone();
    assert_eq!(required("Account"), json!(["iban", "owner"]));
    assert_eq!(required("AccountResult"), json!(["iban", "owner", "limit"]));
}

#[test]
fn types_without_schemas_are_named_as_in_the_trait() {
    let document = document();
    let count = method(&document, "text.count");
    assert_eq!(count["params"][0]["schema"], json!({}));
    assert_eq!(count["params"][0]["x-rust-type"], "&str");
    assert_eq!(count["params"][1]["required"], false);
    assert_eq!(count["params"][1]["schema"], json!({"default": " "}));
    assert_eq!(count["result"]["x-rust-type"], "usize");
    assert_eq!(
        count["errors"],
        json!([{"code": 3001, "message": "nothing to look for"}])
    );
}

#[test]
fn description_of_a_method_lists_its_errors() {
    let errors = BankClient::DESCRIPTION.methods[0].errors;
    let told = errors.iter().map(|error| (error.name, error.code));
    assert!(told.eq([
        ("NoAccount", 2001),
        ("Short", 2002),
        ("Shut", 2003),
        ("Twice", 2004)
    ]));
    assert_eq!(errors[2].docs, "Shut for today.");
}

/// Connects a client to a server that `build` has added services to.
async fn client_of(build: impl FnOnce(ServerBuilder) -> Result<Server, BindError>) -> Client {
    let identity = Identity::self_signed(["localhost", "127.0.0.1"]).unwrap();
    let trust = Trust::certificate(identity.certificate());
    let server = build(Server::builder(identity)).unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(server.run());
    Client::builder()
        .trust(trust)
        .connect(address)
        .await
        .unwrap()
}

async fn discover(client: &Client) -> Result<Value, CallError<ErrorObject>> {
    client.call("rpc.discover", &()).await
}

#[tokio::test]
async fn server_with_several_services_describes_all() {
    let client = client_of(|server| {
        server
            .service(BankServer::new(Vault))
            .service(TextServer::new(Vault))
            .bind("127.0.0.1:0")
    })
    .await;
    let first = discover(&client).await.unwrap();
    assert_eq!(first, document());
    assert_eq!(discover(&client).await.unwrap(), first);
    assert_eq!(
        client.call::<Value, _>("rpc.ping", &()).await.unwrap(),
        Value::Null
    );
}

#[tokio::test]
async fn server_leaves_excluded_methods_out_of_its_document() {
    let client = client_of(|server| {
        server
            .service(BankServer::new(Vault))
            .openrpc(|document| {
                let public = document.retain(|method| method.name != "transfer");
                public.title("Counter")
            })
            .service(TextServer::new(Vault))
            .bind("127.0.0.1:0")
    })
    .await;
    let document = discover(&client).await.unwrap();
    assert_eq!(document["info"]["title"], "Counter");
    let names = document["methods"].as_array().unwrap().iter();
    let names: Vec<_> = names
        .map(|method| method["name"].as_str().unwrap())
        .collect();
    assert!(!names.contains(&"transfer"), "{names:?}");
    assert!(names.contains(&"text.count"), "{names:?}");
}

#[tokio::test]
async fn server_without_discovery_rejects_rpc_discover() {
    let client = client_of(|server| {
        server
            .service(TextServer::new(Vault))
            .discover(false)
            .bind("127.0.0.1:0")
    })
    .await;
    match discover(&client).await {
        Err(CallError::Remote(error)) => assert_eq!(error.code(), code::METHOD_NOT_FOUND),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn default_that_panics_fails_discovery_only() {
    fn none_today() -> u32 {
        panic!("no default today")
    }
    #[rpc]
    trait Odd {
        async fn get(&self, #[rpc(default = none_today())] at: u32) -> u32;
    }
    struct Strange;
    impl Odd for Strange {
        async fn get(&self, at: u32) -> u32 {
            at
        }
    }
    let mut responder = RawService::new(OddServer::new(Strange));
    let discover = br#"{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}"#;
    for _ in 0..2 {
        let reply: Value = serde_json::from_slice(responder.respond(discover).await).unwrap();
        assert_eq!(reply["error"]["code"], code::INTERNAL_ERROR);
    }
    let get = br#"{"jsonrpc":"2.0","id":2,"method":"get","params":[4]}"#;
    assert_eq!(
        responder.respond(get).await,
        br#"{"jsonrpc":"2.0","id":2,"result":4}"#
    );
}
