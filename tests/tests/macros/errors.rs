//! `#[derive(RpcError)]`: serde's attributes, shared variants and boxed errors.

use rpc_runtime::description::Described;
use rpc_runtime::{CallError, Client, ErrorObject, RpcError, rpc};
use serde::{Deserialize, Serialize};

/// Returns the code, the message and the data of the error of an untyped call.
async fn on_the_wire(client: &Client, method: &str) -> (i64, String, Option<String>) {
    match client.call::<(), _>(method, &()).await {
        Err(CallError::Application(error) | CallError::Remote(error)) => (
            error.code(),
            error.message().to_owned(),
            error.raw_data().map(str::to_owned),
        ),
        other => panic!("{other:?}"),
    }
}

fn json(text: &str) -> Option<String> {
    Some(text.to_owned())
}

mod serde_attributes {
    use super::*;

    fn one() -> u8 {
        1
    }

    // Also serialized on its own, so that serde's attributes are valid twice.
    #[derive(Debug, PartialEq, Serialize, Deserialize, thiserror::Error, RpcError)]
    #[serde(rename_all_fields = "camelCase")]
    enum LoginError {
        #[error("locked")]
        #[rpc(code = 1)]
        Locked {
            #[serde(rename = "why")]
            the_reason: String,
            retry_after: u32,
            #[serde(skip)]
            password: String,
            #[serde(default = "one")]
            attempts: u8,
        },
        #[error("pair")]
        #[rpc(code = 2)]
        Pair(u8, #[serde(skip)] String),
        #[error("secret")]
        #[rpc(code = 3)]
        Secret(#[serde(skip)] String),
        #[error("other")]
        #[rpc(code = 4)]
        #[serde(rename_all = "SCREAMING-KEBAB-CASE")]
        Other { at_line: u32 },
    }

    // Not serialized on its own: the attributes are those of the derive.
    #[derive(Debug, PartialEq, thiserror::Error, RpcError)]
    #[error("full")]
    #[rpc(code = 9)]
    #[serde(rename_all = "kebab-case")]
    struct Full {
        free_space: u64,
        #[serde(skip)]
        path: String,
    }

    #[rpc]
    trait Login {
        async fn locked(&self) -> Result<(), LoginError>;
        async fn pair(&self) -> Result<(), LoginError>;
        async fn secret(&self) -> Result<(), LoginError>;
        async fn other(&self) -> Result<(), LoginError>;
        async fn full(&self) -> Result<(), Full>;
    }

    struct Desk;

    impl Login for Desk {
        async fn locked(&self) -> Result<(), LoginError> {
            Err(LoginError::Locked {
                the_reason: "late".into(),
                retry_after: 5,
                password: "hunter2".into(),
                attempts: 3,
            })
        }

        async fn pair(&self) -> Result<(), LoginError> {
            Err(LoginError::Pair(7, "hunter2".into()))
        }

        async fn secret(&self) -> Result<(), LoginError> {
            Err(LoginError::Secret("hunter2".into()))
        }

        async fn other(&self) -> Result<(), LoginError> {
            Err(LoginError::Other { at_line: 1 })
        }

        async fn full(&self) -> Result<(), Full> {
            Err(Full {
                free_space: 2,
                path: "hunter2".into(),
            })
        }
    }

    #[tokio::test]
    async fn serde_attributes_of_an_error_decide_what_is_sent() {
        let client = Client::local(LoginServer::new(Desk));
        for (method, data) in [
            (
                "locked",
                json(r#"{"why":"late","retryAfter":5,"attempts":3}"#),
            ),
            ("pair", json("[7]")),
            ("secret", None),
            ("other", json(r#"{"AT-LINE":1}"#)),
            ("full", json(r#"{"free-space":2}"#)),
        ] {
            assert_eq!(on_the_wire(&client, method).await.2, data, "{method}");
        }
    }

    #[tokio::test]
    async fn error_with_skipped_fields_arrives_with_their_defaults() {
        let login = LoginClient::new(Client::local(LoginServer::new(Desk)));
        let application = |error| match error {
            CallError::Application(error) => error,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            application(login.locked().await.unwrap_err()),
            LoginError::Locked {
                the_reason: "late".into(),
                retry_after: 5,
                password: String::new(),
                attempts: 3,
            }
        );
        let pair = application(login.pair().await.unwrap_err());
        assert_eq!(pair, LoginError::Pair(7, String::new()));
        let secret = application(login.secret().await.unwrap_err());
        assert_eq!(secret, LoginError::Secret(String::new()));
        let full = login.full().await.unwrap_err();
        assert!(matches!(
            full,
            CallError::Application(Full { free_space: 2, path }) if path.is_empty()
        ));
    }

    mod older {
        use super::*;

        #[rpc]
        pub(super) trait Login {
            async fn locked(&self) -> Result<(), Older>;
        }

        #[derive(Debug, thiserror::Error, RpcError)]
        #[error("locked")]
        #[rpc(code = 1, rename_all = "camelCase")]
        pub(super) struct Older {
            pub(super) why: String,
            pub(super) retry_after: u32,
        }
    }

    impl older::Login for Desk {
        async fn locked(&self) -> Result<(), older::Older> {
            Err(older::Older {
                why: "late".into(),
                retry_after: 5,
            })
        }
    }

    #[tokio::test]
    async fn field_with_a_serde_default_may_be_missing() {
        let login = LoginClient::new(Client::local(older::LoginServer::new(Desk)));
        let error = login.locked().await.unwrap_err();
        assert!(matches!(
            error,
            CallError::Application(LoginError::Locked { attempts: 1, .. })
        ));
    }
}

mod shared {
    use super::*;

    #[derive(Debug, PartialEq, thiserror::Error, RpcError)]
    enum AccessError {
        #[error("{user} is unknown")]
        #[rpc(code = 10)]
        Unknown { user: String },
        #[error("forbidden")]
        #[rpc(code = 11)]
        Forbidden,
    }

    #[derive(Debug, PartialEq, thiserror::Error, RpcError)]
    enum ReadError {
        #[error("no such file")]
        #[rpc(code = 20)]
        Missing,
        #[error(transparent)]
        #[rpc(transparent)]
        Access(#[from] AccessError),
    }

    #[derive(Debug, PartialEq, thiserror::Error, RpcError)]
    enum WriteError {
        #[error(transparent)]
        #[rpc(transparent)]
        Read(#[from] Box<ReadError>),
        #[error("read only")]
        #[rpc(code = 30)]
        ReadOnly,
        #[cfg(any())]
        #[rpc(transparent)]
        Absent(Missing),
        #[error("something else")]
        #[rpc(transparent)]
        Other(ErrorObject),
    }

    #[rpc(openrpc)]
    trait Files {
        async fn read(&self) -> Result<(), ReadError>;
        async fn write(&self, way: u8) -> Result<(), WriteError>;
        async fn boxed(&self) -> Result<(), Box<AccessError>>;
    }

    struct Disk;

    fn unknown() -> AccessError {
        AccessError::Unknown { user: "bob".into() }
    }

    impl Files for Disk {
        async fn read(&self) -> Result<(), ReadError> {
            Err(unknown().into())
        }

        async fn write(&self, way: u8) -> Result<(), WriteError> {
            Err(match way {
                0 => Box::new(ReadError::from(unknown())).into(),
                1 => WriteError::ReadOnly,
                2 => Box::new(ReadError::Missing).into(),
                _ => WriteError::Other(ErrorObject::new(99, "else")),
            })
        }

        async fn boxed(&self) -> Result<(), Box<AccessError>> {
            Err(Box::new(unknown()))
        }
    }

    #[tokio::test]
    async fn transparent_variant_is_sent_as_the_error_it_holds() {
        let client = Client::local(FilesServer::new(Disk));
        let expected = (10, "bob is unknown".to_owned(), json(r#"{"user":"bob"}"#));
        assert_eq!(on_the_wire(&client, "read").await, expected);
        assert_eq!(on_the_wire(&client, "boxed").await, expected);
    }

    /// `ErrorObject` displays its message escaped and truncated.
    #[tokio::test]
    async fn message_of_an_error_object_is_sent_as_it_is() {
        #[derive(Debug, thiserror::Error, RpcError)]
        enum Passed {
            #[error(transparent)]
            #[rpc(transparent)]
            On(Box<ErrorObject>),
        }

        #[rpc]
        trait Gateway {
            async fn object(&self) -> Result<(), ErrorObject>;
            async fn passed(&self) -> Result<(), Passed>;
        }

        fn failed() -> ErrorObject {
            ErrorObject::new(7, format!("one\ntwo \u{202e}{}", "x".repeat(5_000)))
        }

        struct Fails;

        impl Gateway for Fails {
            async fn object(&self) -> Result<(), ErrorObject> {
                Err(failed())
            }

            async fn passed(&self) -> Result<(), Passed> {
                Err(Passed::On(Box::new(failed())))
            }
        }

        let client = Client::local(GatewayServer::new(Fails));
        for method in ["object", "passed"] {
            let (code, message, data) = on_the_wire(&client, method).await;
            assert_eq!((code, data), (7, None));
            assert_eq!(message, failed().message());
        }
    }

    #[tokio::test]
    async fn transparent_variant_arrives_as_the_same_variant() {
        let files = FilesClient::new(Client::local(FilesServer::new(Disk)));
        let read = files.read().await.unwrap_err();
        assert!(
            matches!(read, CallError::Application(ReadError::Access(error)) if error == unknown())
        );
        for (way, expected) in [
            (0, Box::new(ReadError::Access(unknown())).into()),
            (1, WriteError::ReadOnly),
            (2, Box::new(ReadError::Missing).into()),
            (3, WriteError::Other(ErrorObject::new(99, "something else"))),
        ] {
            match (files.write(way).await.unwrap_err(), expected) {
                (CallError::Application(WriteError::Other(error)), WriteError::Other(expected)) => {
                    assert_eq!(
                        (error.code(), error.message()),
                        (expected.code(), expected.message())
                    )
                }
                (CallError::Application(error), expected) => assert_eq!(error, expected),
                (other, _) => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn boxed_error_arrives_in_a_box() {
        let files = FilesClient::new(Client::local(FilesServer::new(Disk)));
        let boxed = files.boxed().await.unwrap_err();
        assert!(matches!(boxed, CallError::Application(error) if *error == unknown()));
    }

    #[test]
    fn shared_errors_are_described_with_their_codes_and_schemas() {
        let methods = FilesClient::DESCRIPTION.methods;
        let codes = |at: usize| {
            methods[at]
                .errors
                .iter()
                .map(|it| it.code)
                .collect::<Vec<_>>()
        };
        assert_eq!(codes(0), [20, 10, 11]);
        assert_eq!(codes(1), [30, 20, 10, 11]);
        assert_eq!(codes(2), [10, 11]);
        let document = rpc_runtime::description::OpenRpc::of::<FilesClient>();
        let document = serde_json::to_value(document).unwrap();
        let error = &document["methods"][1]["errors"][2];
        assert_eq!(error["message"], "{user} is unknown");
        assert_eq!(error["data"]["properties"]["user"]["type"], "string");
    }
}
