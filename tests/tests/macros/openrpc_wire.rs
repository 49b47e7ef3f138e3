//! Messages between a client and a server, recorded by a proxy: every argument, result, item and error matches its
//! schema in the OpenRPC document.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures_util::{TryStreamExt, stream};
use quinn::{RecvStream, SendStream};
use rpc_runtime::description::OpenRpc;
use rpc_runtime::{CallError, Client, Limits};
use serde_json::{Value, json};
use tests::peer::{RawClient, RawConnection, RawServer};
use tests::support::{TestServer, soon};

use crate::bank::{Account, BankClient, BankServer, Kind, Vault};

/// The recorded messages, in the order of each stream.
type Recorded = Arc<Mutex<Vec<Value>>>;

/// A proxy with a certificate of its own.
struct Proxy {
    server: RawServer,
    recorded: Recorded,
}

impl Proxy {
    fn start(host: RawConnection) -> Self {
        let this = Self {
            server: RawServer::start(),
            recorded: Recorded::default(),
        };
        tokio::spawn(serve(this.server.clone(), host, Arc::clone(&this.recorded)));
        this
    }

    async fn client(&self) -> Client {
        let connecting = self.server.client().connect(self.server.address());
        soon(connecting).await.unwrap()
    }
}

async fn serve(server: RawServer, host: RawConnection, recorded: Recorded) {
    let guest = server.accept().await;
    while let Ok((back, asked)) = guest.accept_bi().await {
        let (ask, answered) = host.open_bi().await.unwrap();
        tokio::spawn(pass(asked, ask, Arc::clone(&recorded)));
        tokio::spawn(pass(answered, back, Arc::clone(&recorded)));
    }
}

/// Forwards chunks, and records the lines in them first.
async fn pass(mut from: RecvStream, mut to: SendStream, recorded: Recorded) {
    let mut line = Vec::new();
    while let Ok(Some(chunk)) = from.read_chunk(64 << 10, true).await {
        for piece in chunk.bytes.split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(piece);
            if line.ends_with(b"\n") {
                recorded
                    .lock()
                    .unwrap()
                    .push(serde_json::from_slice(&line).unwrap());
                line.clear();
            }
        }
        if to.write_chunk(chunk.bytes).await.is_err() {
            return;
        }
    }
    let _ = to.finish();
}

/// Checks recorded messages against the schemas of a document.
struct Checker {
    document: Value,
    /// The number of checked values of each kind.
    checked: HashMap<&'static str, usize>,
}

impl Checker {
    fn method(&self, name: &str) -> &Value {
        let mut methods = self.document["methods"].as_array().unwrap().iter();
        methods.find(|method| method["name"] == name).unwrap()
    }

    fn fits(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let mut schema = json!({"allOf": [schema]});
        schema["components"] = self.document["components"].clone();
        let options = jsonschema::options().with_draft(jsonschema::Draft::Draft7);
        let validator = options.build(&schema).unwrap();
        validator.validate(value).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn check(&mut self, kind: &'static str, schema: &Value, value: &Value) {
        assert!(
            schema.as_object().is_some_and(|schema| !schema.is_empty()),
            "no schema: {kind}"
        );
        if let Err(error) = self.fits(schema, value) {
            panic!("{kind} {value} is not {schema}: {error}");
        }
        *self.checked.entry(kind).or_default() += 1;
    }

    fn request(&mut self, method: &str, params: &Value) {
        let method = self.method(method).clone();
        if let Some(entire) = method.get("x-params") {
            self.check("entire params", &entire["schema"], params);
        }
        let told = method["params"].as_array().unwrap();
        for (at, parameter) in told.iter().enumerate() {
            let name = parameter["name"].as_str().unwrap();
            match params.get(at).or_else(|| params.get(name)) {
                Some(value) => self.check("argument", &parameter["schema"], value),
                None => assert_eq!(parameter["required"], false, "{name} is missing"),
            }
        }
    }

    fn response(&mut self, method: &str, response: &Value) {
        let method = self.method(method).clone();
        match response.get("error") {
            None => self.check("result", &method["result"]["schema"], &response["result"]),
            Some(error) => {
                let mut errors = method["errors"].as_array().unwrap().iter();
                let told = errors.find(|told| told["code"] == error["code"]).unwrap();
                assert_eq!(told.get("data").is_some(), error.get("data").is_some());
                if let Some(schema) = told.get("data") {
                    self.check("data", schema, &error["data"]);
                }
            }
        }
    }

    /// Checks messages in their order.
    fn check_all(&mut self, recorded: &[Value]) {
        let mut methods = HashMap::new();
        for message in recorded {
            let id = message["id"].to_string();
            match message["method"].as_str() {
                Some("rpc.item") => {
                    let [id, item] = &message["params"].as_array().unwrap()[..] else {
                        panic!("{message}");
                    };
                    let method: &String = &methods[&id.to_string()];
                    let method = self.method(method).clone();
                    let way = ["x-items", "x-upload"]
                        .into_iter()
                        .find(|way| method.get(way).is_some());
                    self.check("item", &method[way.unwrap()]["schema"], item);
                }
                Some("rpc.end") => {}
                Some(method) => {
                    methods.insert(id, method.to_owned());
                    self.request(method, &message["params"]);
                }
                None => self.response(&methods[&id].clone(), message),
            }
        }
    }
}

fn account(limit: u64) -> Account {
    Account {
        iban: "DE02".into(),
        owner: "Ada".into(),
        limit,
    }
}

#[tokio::test]
async fn messages_of_a_client_and_server_match_their_schemas() {
    let server = TestServer::start(BankServer::new(Vault), Limits::default());
    let proxy = Proxy::start(RawClient::connect(&server).await);
    let bank = BankClient::new(proxy.client().await);

    for (from, cents) in [
        ("DE01", 50),
        ("DE01", 150),
        ("DE01", 500),
        ("", 1),
        ("DE01", 0),
    ] {
        let transfer = bank.transfer(from, "DE02", cents, Some("rent"), 2, Kind::StandingOrder);
        match soon(transfer).await {
            Ok(receipt) => assert_eq!(receipt.account.iban, "DE02"),
            Err(CallError::Application(_)) => assert_ne!(cents, 50),
            Err(error) => panic!("{error:?}"),
        }
    }
    let transfer = bank.transfer("DE01", "DE02", 7, None, 0, Kind::Instant);
    soon(transfer).await.unwrap();
    soon(bank.balance("DE02")).await.unwrap();
    soon(bank.balance("DE03")).await.unwrap();
    soon(bank.open(account(3))).await.unwrap();
    soon(bank.find(b"")).await.unwrap();
    soon(bank.find(b"Ada")).await.unwrap();
    soon(bank.sum(vec![1, -2])).await.unwrap();
    let ticks: Vec<_> = soon(bank.ticker("ACME").try_collect()).await.unwrap();
    let imported = soon(bank.import(stream::iter([account(1), account(2)]))).await;
    assert_eq!((ticks.len(), imported.unwrap()), (3, 2));

    let document = serde_json::to_value(OpenRpc::of::<BankClient>()).unwrap();
    let mut check = Checker {
        document,
        checked: HashMap::new(),
    };
    check.check_all(&proxy.recorded.lock().unwrap());
    let expected = [
        ("argument", 6 * 6 + 2 + 3 + 2 + 1),
        ("entire params", 2),
        ("result", 2 + 2 + 1 + 2 + 1 + 2),
        ("data", 3),
        ("item", 5),
    ];
    assert_eq!(check.checked, HashMap::from(expected));
}

#[test]
fn value_of_another_type_does_not_match_its_schema() {
    let document = serde_json::to_value(OpenRpc::of::<BankClient>()).unwrap();
    let check = Checker {
        document,
        checked: HashMap::new(),
    };
    let result = &check.method("balance")["result"]["schema"];
    assert!(check.fits(result, &json!({"cents": 3, "at": null})).is_ok());
    assert!(
        check
            .fits(result, &json!({"cents": "3", "at": null}))
            .is_err()
    );
    assert!(check.fits(result, &json!({"cents": 3})).is_err());
    let kind = &check.method("transfer")["params"][5]["schema"];
    assert!(check.fits(kind, &json!("standing_order")).is_ok());
    assert!(check.fits(kind, &json!("StandingOrder")).is_err());
}

#[test]
fn examples_match_their_schemas() {
    let document = serde_json::to_value(OpenRpc::of::<BankClient>()).unwrap();
    let mut check = Checker {
        document: document.clone(),
        checked: HashMap::new(),
    };
    for method in document["methods"].as_array().unwrap() {
        for example in method["examples"].as_array().into_iter().flatten() {
            for given in example["params"].as_array().unwrap() {
                let mut told = method["params"].as_array().unwrap().iter();
                let told = told.find(|told| told["name"] == given["name"]).unwrap();
                check.check("argument", &told["schema"], &given["value"]);
            }
            if let Some(result) = example.get("result") {
                check.check("result", &method["result"]["schema"], &result["value"]);
            }
        }
    }
    assert_eq!(
        check.checked,
        HashMap::from([("argument", 2), ("result", 1)])
    );
}
