//! The recorded expansions of the macros compile and run.

use rpc_runtime::{CallError, Client};

mod calculator {
    #![allow(unreachable_pub)]
    // A closure limits the lifetime of a default value.
    #![allow(clippy::redundant_closure)]

    use rpc_runtime::Context;

    #[derive(Debug, PartialEq)]
    pub enum DivideError {
        ByZero,
        NotFinite { value: String },
    }

    impl std::fmt::Display for DivideError {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("no quotient")
        }
    }

    include!("../../../rpc-macros/src/expansions/calculator.rs");
    include!("../../../rpc-macros/src/expansions/divide_error.rs");

    pub struct Desk;

    impl Calculator for Desk {
        async fn add(&self, a: i64, b: i64) -> i64 {
            a + b
        }

        async fn divide(&self, a: f64, b: f64) -> Result<f64, DivideError> {
            match a / b {
                _ if b == 0.0 => Err(DivideError::ByZero),
                quotient if quotient.is_finite() => Ok(quotient),
                quotient => Err(DivideError::NotFinite {
                    value: quotient.to_string(),
                }),
            }
        }

        async fn count(&self, text: &str, needle: Option<&str>) -> usize {
            needle.map_or(text.len(), |needle| text.matches(needle).count())
        }

        async fn scale(&self, values: Vec<f64>, factor: f64) -> Vec<f64> {
            values.iter().map(|value| value * factor).collect()
        }

        async fn sum(&self, values: Vec<i64>) -> i64 {
            values.iter().sum()
        }

        async fn log(&self, _: &Context, _: &str) {}

        async fn tick(&self, _: u64) {}

        fn digest(&self, _: &Context, text: &str) -> String {
            text.to_uppercase()
        }

        async fn name(&self) -> &str {
            "desk"
        }
    }
}

#[tokio::test]
async fn expansion_of_calculator_compiles_and_runs() {
    use calculator::{CalculatorClient, CalculatorServer, Desk, DivideError};

    let calculator = CalculatorClient::new(Client::local(CalculatorServer::new(Desk)));
    assert_eq!(calculator.add(1, 2).await.unwrap(), 3);
    assert_eq!(calculator.count("a\tb\ta", Some("a")).await.unwrap(), 2);
    assert_eq!(calculator.scale(vec![1.0], 2.0).await.unwrap(), [2.0]);
    assert_eq!(calculator.sum(vec![1, 2, 3]).await.unwrap(), 6);
    assert_eq!(calculator.digest("x").await.unwrap(), "X");
    assert_eq!(calculator.name().await.unwrap(), "desk");
    calculator.log("a line").await.unwrap();
    calculator.tick(1).await.unwrap();
    let by_zero = calculator.divide(1.0, 0.0).await.unwrap_err();
    assert!(matches!(
        by_zero,
        CallError::Application(DivideError::ByZero)
    ));
    let infinite = calculator.divide(f64::MAX, 0.1).await.unwrap_err();
    let value = "inf".to_owned();
    assert!(
        matches!(infinite, CallError::Application(error) if error == DivideError::NotFinite { value })
    );
}

mod one_method {
    include!("../../../rpc-macros/src/expansions/one_method.rs");

    pub(crate) struct Same;

    impl Echo for Same {
        async fn echo(&self, text: &str) -> String {
            text.into()
        }
    }

    pub(crate) async fn same(text: &str) -> String {
        let client = rpc_runtime::Client::local(EchoServer::new(Same));
        EchoClient::new(client).echo(text).await.unwrap()
    }
}

#[tokio::test]
async fn expansion_of_one_method_compiles_and_runs() {
    assert_eq!(one_method::same("\"\n").await, "\"\n");
}

mod generic {
    use std::fmt::Debug;

    use rpc_runtime as rpc;

    type Result<T> = std::result::Result<T, rpc_runtime::ErrorObject>;

    include!("../../../rpc-macros/src/expansions/generic.rs");

    #[derive(Debug)]
    pub(crate) struct Fixed;

    impl Store<String, u32, 2> for Fixed {
        async fn get(&self, key: String) -> Option<&u32> {
            (key == "one").then_some(&1)
        }

        async fn put(&self, keys: [String; 2], value: u32) -> Result<u32> {
            Ok(value + keys.concat().len() as u32)
        }
    }

    pub(crate) fn client() -> StoreClient<String, u32, 2> {
        StoreClient::new(rpc_runtime::Client::local(StoreServer::new(Fixed)))
    }
}

#[tokio::test]
async fn expansion_of_a_generic_trait_compiles_and_runs() {
    let store = generic::client();
    assert_eq!(store.get("one".to_owned()).await.unwrap(), Some(1));
    assert_eq!(store.put(["a".into(), "b".into()], 3).await.unwrap(), 5);
}

mod streams {
    use futures_util::{Stream, StreamExt, stream};
    use rpc_runtime::Context;

    #[derive(Debug, PartialEq, serde::Deserialize, serde::Serialize)]
    pub(crate) struct Tick<'a>(pub(crate) std::borrow::Cow<'a, str>);

    pub(crate) type FeedError = rpc_runtime::ErrorObject;

    include!("../../../rpc-macros/src/expansions/streams.rs");

    pub(crate) struct Simple;

    impl Feed for Simple {
        fn ticks(&self, symbol: &str) -> impl Stream<Item = Tick<'_>> {
            stream::iter([Tick(symbol.to_owned().into())])
        }

        fn fallible(&self) -> impl Stream<Item = Result<u64, FeedError>> {
            stream::iter([Ok(1), Err(FeedError::new(7, "no more"))])
        }

        async fn sum(
            &self,
            _: &Context,
            start: u64,
            values: impl Stream<Item = u64> + Send + Unpin,
        ) -> u64 {
            values.fold(start, async |sum, value| sum + value).await
        }

        fn echo(
            &self,
            items: impl Stream<Item = String> + Send + Unpin,
        ) -> impl Stream<Item = String> {
            items
        }
    }
}

#[tokio::test]
async fn expansion_of_streams_compiles_and_runs() {
    use futures_util::{StreamExt, TryStreamExt, stream};
    use streams::{FeedClient, FeedServer, Simple, Tick};

    let feed = FeedClient::new(Client::local(FeedServer::new(Simple)));
    let ticks: Vec<_> = feed.ticks("A").try_collect().await.unwrap();
    assert_eq!(ticks, [Tick("A".into())]);
    let mut fallible = feed.fallible();
    assert_eq!(fallible.next().await.unwrap().unwrap(), 1);
    let failed = fallible.next().await.unwrap();
    assert!(matches!(failed, Err(CallError::Application(error)) if error.code() == 7));
    assert_eq!(feed.sum(1, stream::iter([2, 3])).await.unwrap(), 6);
    let echo = feed.echo(stream::iter(["a".to_owned()]));
    assert_eq!(echo.try_collect::<Vec<_>>().await.unwrap(), ["a"]);
}

mod borrowed {
    #![allow(dead_code)]

    use std::borrow::Cow;

    use super::calculator::DivideError;

    #[derive(serde::Deserialize, serde::Serialize)]
    pub(crate) struct Point<'a> {
        name: Cow<'a, str>,
    }

    include!("../../../rpc-macros/src/expansions/borrowed.rs");
}

mod defaults {
    #![allow(dead_code, deprecated, clippy::redundant_closure)]

    include!("../../../rpc-macros/src/expansions/defaults.rs");

    pub(crate) struct Unchanged;

    impl Defaults for Unchanged {}

    pub(crate) async fn call() -> u32 {
        let client = rpc_runtime::Client::local(DefaultsServer::new(Unchanged));
        DefaultsClient::new(client).r#type(1, 2).await.unwrap()
    }
}

#[tokio::test]
async fn expansion_of_default_bodies_compiles_and_runs() {
    assert_eq!(defaults::call().await, 3);
}

mod shapes {
    #![allow(dead_code)]

    pub(crate) enum Shapes<T> {
        One(T),
        Two(u32, String),
        Named { first_name: T, last_name: String },
    }

    impl<T> std::fmt::Display for Shapes<T> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a shape")
        }
    }

    include!("../../../rpc-macros/src/expansions/shapes.rs");
}
