//! What the document says is what passes on the wire: a client calls, somebody in the middle listens, and every argument,
//! result, item and error that he hears fits its schema.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures_util::{TryStreamExt, stream};
use quinn::{RecvStream, SendStream};
use rpc_runtime::{CallError, Client, Limits, OpenRpc};
use serde_json::{Value, json};
use tests::peer::{RawClient, RawConnection, RawServer};
use tests::support::{TestServer, soon};

use crate::bank::{Account, BankClient, BankServer, Kind, Vault};

/// What passed, in its order on each stream.
type Heard = Arc<Mutex<Vec<Value>>>;

/// Someone in the middle, with a certificate of his own.
struct Listener {
    server: RawServer,
    heard: Heard,
}

impl Listener {
    fn start(host: RawConnection) -> Self {
        let this = Self {
            server: RawServer::start(),
            heard: Heard::default(),
        };
        tokio::spawn(serve(this.server.clone(), host, Arc::clone(&this.heard)));
        this
    }

    async fn client(&self) -> Client {
        let connecting = self.server.client().connect(self.server.address());
        soon(connecting).await.unwrap()
    }
}

async fn serve(server: RawServer, host: RawConnection, heard: Heard) {
    let guest = server.accept().await;
    while let Ok((back, asked)) = guest.accept_bi().await {
        let (ask, answered) = host.open_bi().await.unwrap();
        tokio::spawn(pass(asked, ask, Arc::clone(&heard)));
        tokio::spawn(pass(answered, back, Arc::clone(&heard)));
    }
}

/// Passes lines on once they are written down.
async fn pass(mut from: RecvStream, mut to: SendStream, heard: Heard) {
    let mut line = Vec::new();
    while let Ok(Some(chunk)) = from.read_chunk(64 << 10, true).await {
        for piece in chunk.bytes.split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(piece);
            if line.ends_with(b"\n") {
                heard
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

/// The schemas of a document, ready to be held against what was heard.
struct Judge {
    document: Value,
    /// How many values were judged, by what they are.
    judged: HashMap<&'static str, usize>,
}

impl Judge {
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
    fn judge(&mut self, kind: &'static str, schema: &Value, value: &Value) {
        assert!(
            schema.as_object().is_some_and(|schema| !schema.is_empty()),
            "no schema: {kind}"
        );
        if let Err(error) = self.fits(schema, value) {
            panic!("{kind} {value} is not {schema}: {error}");
        }
        *self.judged.entry(kind).or_default() += 1;
    }

    fn request(&mut self, method: &str, params: &Value) {
        let method = self.method(method).clone();
        if let Some(whole) = method.get("x-params") {
            self.judge("whole params", &whole["schema"], params);
        }
        let told = method["params"].as_array().unwrap();
        for (at, parameter) in told.iter().enumerate() {
            let name = parameter["name"].as_str().unwrap();
            match params.get(at).or_else(|| params.get(name)) {
                Some(value) => self.judge("argument", &parameter["schema"], value),
                None => assert_eq!(parameter["required"], false, "{name} is missing"),
            }
        }
    }

    fn response(&mut self, method: &str, response: &Value) {
        let method = self.method(method).clone();
        match response.get("error") {
            None => self.judge("result", &method["result"]["schema"], &response["result"]),
            Some(error) => {
                let mut errors = method["errors"].as_array().unwrap().iter();
                let told = errors.find(|told| told["code"] == error["code"]).unwrap();
                assert_eq!(told.get("data").is_some(), error.get("data").is_some());
                if let Some(schema) = told.get("data") {
                    self.judge("data", schema, &error["data"]);
                }
            }
        }
    }

    /// Takes a conversation in its order.
    fn hear(&mut self, heard: &[Value]) {
        let mut methods = HashMap::new();
        for message in heard {
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
                    self.judge("item", &method[way.unwrap()]["schema"], item);
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
    let listener = Listener::start(RawClient::connect(&server).await);
    let bank = BankClient::new(listener.client().await);

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
    let mut judge = Judge {
        document,
        judged: HashMap::new(),
    };
    judge.hear(&listener.heard.lock().unwrap());
    let expected = [
        ("argument", 6 * 6 + 2 + 3 + 2 + 1),
        ("whole params", 2),
        ("result", 2 + 2 + 1 + 2 + 1 + 2),
        ("data", 3),
        ("item", 5),
    ];
    assert_eq!(judge.judged, HashMap::from(expected));
}

#[test]
fn value_of_another_type_does_not_match_its_schema() {
    let document = serde_json::to_value(OpenRpc::of::<BankClient>()).unwrap();
    let judge = Judge {
        document,
        judged: HashMap::new(),
    };
    let result = &judge.method("balance")["result"]["schema"];
    assert!(judge.fits(result, &json!({"cents": 3, "at": null})).is_ok());
    assert!(
        judge
            .fits(result, &json!({"cents": "3", "at": null}))
            .is_err()
    );
    assert!(judge.fits(result, &json!({"cents": 3})).is_err());
    let kind = &judge.method("transfer")["params"][5]["schema"];
    assert!(judge.fits(kind, &json!("standing_order")).is_ok());
    assert!(judge.fits(kind, &json!("StandingOrder")).is_err());
}

#[test]
fn examples_match_their_schemas() {
    let document = serde_json::to_value(OpenRpc::of::<BankClient>()).unwrap();
    let mut judge = Judge {
        document: document.clone(),
        judged: HashMap::new(),
    };
    for method in document["methods"].as_array().unwrap() {
        for example in method["examples"].as_array().into_iter().flatten() {
            for given in example["params"].as_array().unwrap() {
                let mut told = method["params"].as_array().unwrap().iter();
                let told = told.find(|told| told["name"] == given["name"]).unwrap();
                judge.judge("argument", &told["schema"], &given["value"]);
            }
            if let Some(result) = example.get("result") {
                judge.judge("result", &method["result"]["schema"], &result["value"]);
            }
        }
    }
    assert_eq!(
        judge.judged,
        HashMap::from([("argument", 2), ("result", 1)])
    );
}
