//! Every option of `#[rpc]` and `#[derive(RpcError)]`, used by a local client.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rpc_runtime::description::{MethodKind, ServiceDescription};
use rpc_runtime::{Call, CallError, Client, Context, ErrorObject, RpcError, Service, code, rpc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tests::support::soon;

/// Makes an untyped call and returns its result.
async fn ask(client: &Client, method: &str, params: Value) -> Value {
    client
        .call(method, &params)
        .await
        .expect("the call succeeds")
}

/// Makes an untyped call and returns the code and the data of its error.
async fn refused(client: &Client, method: &str, params: Value) -> (i64, String) {
    match client.call::<Value, _>(method, &params).await {
        Err(CallError::Application(error) | CallError::Remote(error)) => {
            (error.code(), error.data().unwrap_or_default())
        }
        other => panic!("{other:?}"),
    }
}

fn describe<S: Service>(_: &S) -> &'static ServiceDescription {
    S::DESCRIPTION
}

mod names {
    use super::*;

    #[rpc(namespace = "text", rename_all = "camelCase")]
    trait Names {
        async fn word_count(&self, some_text: &str) -> usize;
        #[rpc(name = "shout", alias = "yell", alias = "cry")]
        #[rpc(alias = "text.scream")]
        async fn louder(&self, #[rpc(name = "t")] text: &str) -> String;
        async fn r#type(&self, r#in: u32) -> u32;
    }

    struct Words;

    impl Names for Words {
        async fn word_count(&self, some_text: &str) -> usize {
            some_text.split_whitespace().count()
        }

        async fn louder(&self, text: &str) -> String {
            text.to_uppercase()
        }

        async fn r#type(&self, r#in: u32) -> u32 {
            r#in
        }
    }

    #[tokio::test]
    async fn renamed_methods_have_their_names_on_the_wire() {
        let client = Client::local(NamesServer::new(Words));
        assert_eq!(
            ask(&client, "text.wordCount", json!({"someText": "a b"})).await,
            2
        );
        assert_eq!(ask(&client, "text.type", json!({"in": 3})).await, 3);
        for name in ["text.shout", "yell", "cry", "text.scream"] {
            assert_eq!(ask(&client, name, json!({"t": "a"})).await, "A");
        }
        for name in [
            "wordCount",
            "text.word_count",
            "text.louder",
            "louder",
            "text.yell",
        ] {
            assert_eq!(
                refused(&client, name, json!([])).await.0,
                code::METHOD_NOT_FOUND
            );
        }
    }

    #[tokio::test]
    async fn renamed_methods_keep_their_names_in_rust() {
        let names = NamesClient::new(Client::local(NamesServer::new(Words)));
        assert_eq!(names.word_count("a b c").await.unwrap(), 3);
        assert_eq!(names.louder("a").await.unwrap(), "A");
        assert_eq!(names.r#type(1).await.unwrap(), 1);
    }

    #[test]
    fn rename_rule_changes_methods_and_parameters() {
        macro_rules! rule {
            ($Trait:ident, $Server:ident, $rule:literal, $method:literal, $parameter:literal) => {
                #[rpc(rename_all = $rule)]
                trait $Trait {
                    async fn two_words(&self, one_more: u8);
                }
                impl $Trait for () {
                    async fn two_words(&self, _: u8) {}
                }
                let method = &describe(&$Server::new(())).methods[0];
                assert_eq!(
                    (method.name, method.parameters[0].name),
                    ($method, $parameter)
                );
            };
        }
        rule!(A, AServer, "snake_case", "two_words", "one_more");
        rule!(B, BServer, "camelCase", "twoWords", "oneMore");
        rule!(C, CServer, "PascalCase", "TwoWords", "OneMore");
        rule!(D, DServer, "kebab-case", "two-words", "one-more");
        rule!(E, EServer, "SCREAMING_SNAKE_CASE", "TWO_WORDS", "ONE_MORE");
    }
}

mod arguments {
    use super::*;

    #[rpc]
    trait Arguments {
        async fn three(&self, a: u32, b: Option<u32>, c: Option<u32>) -> [Option<u32>; 3];
        async fn scale(&self, value: f64, #[rpc(default = 2.0)] factor: f64) -> f64;
        async fn count(&self, #[rpc(default)] from: u32, #[rpc(default = 1 + 9)] to: u32) -> u32;
        async fn sum(&self, #[rpc(params)] values: Vec<i64>) -> i64;
        async fn keys(&self, #[rpc(params)] object: Pair<'_>) -> String;
        async fn none(&self) -> u32;
        #[allow(clippy::too_many_arguments)]
        #[rustfmt::skip]
        async fn sixteen(
            &self,
            a: u8,
            b: u8,
            c: u8,
            d: u8,
            e: u8,
            f: u8,
            g: u8,
            h: u8,
            i: u8,
            j: u8,
            k: u8,
            l: u8,
            m: u8,
            n: u8,
            o: u8,
            p: u8,
        ) -> u32;
    }

    #[derive(Deserialize, Serialize)]
    struct Pair<'a> {
        key: &'a str,
        value: u32,
    }

    struct Plain;

    #[rustfmt::skip]
    impl Arguments for Plain {
        async fn three(&self, a: u32, b: Option<u32>, c: Option<u32>) -> [Option<u32>; 3] {
            [Some(a), b, c]
        }

        async fn scale(&self, value: f64, factor: f64) -> f64 {
            value * factor
        }

        async fn count(&self, from: u32, to: u32) -> u32 {
            to - from
        }

        async fn sum(&self, values: Vec<i64>) -> i64 {
            values.iter().sum()
        }

        async fn keys(&self, Pair { key, value }: Pair<'_>) -> String {
            format!("{key}={value}")
        }

        async fn none(&self) -> u32 {
            7
        }

        async fn sixteen(
            &self,
            a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8,
            i: u8, j: u8, k: u8, l: u8, m: u8, n: u8, o: u8, p: u8,
        ) -> u32 {
            [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p].into_iter().map(u32::from).sum()
        }
    }

    fn client() -> Client {
        Client::local(ArgumentsServer::new(Plain))
    }

    #[tokio::test]
    async fn arguments_are_accepted_by_position_and_by_name() {
        let client = client();
        assert_eq!(
            ask(&client, "three", json!([1, 2, 3])).await,
            json!([1, 2, 3])
        );
        assert_eq!(
            ask(&client, "three", json!({"c": 3, "a": 1})).await,
            json!([1, null, 3])
        );
        assert_eq!(
            ask(&client, "three", json!([1, null])).await,
            json!([1, null, null])
        );
        assert_eq!(ask(&client, "none", json!([])).await, 7);
        assert_eq!(ask(&client, "none", json!({})).await, 7);
        assert_eq!(ask(&client, "none", Value::Null).await, 7);
    }

    #[tokio::test]
    async fn invalid_arguments_are_rejected() {
        let client = client();
        for (params, says) in [
            (json!([1, 2, 3, 4]), "at most 3"),
            (json!({"a": 1, "d": 4}), "`d`"),
            (json!({"b": 1}), "missing argument `a`"),
            (json!(["one"]), "argument `a`"),
        ] {
            let (code, data) = refused(&client, "three", params).await;
            assert_eq!(code, code::INVALID_PARAMS);
            assert!(data.contains(says), "{data}");
        }
        assert_eq!(
            refused(&client, "none", json!([1])).await.0,
            code::INVALID_PARAMS
        );
    }

    #[tokio::test]
    async fn missing_arguments_have_their_defaults() {
        let client = client();
        assert_eq!(ask(&client, "scale", json!([3.0])).await, 6.0);
        assert_eq!(
            ask(&client, "scale", json!({"value": 3.0, "factor": 1.0})).await,
            3.0
        );
        assert_eq!(ask(&client, "count", json!({})).await, 10);
        assert_eq!(ask(&client, "count", json!({"from": 4})).await, 6);
        let typed = ArgumentsClient::new(client);
        assert_eq!(typed.count(1, 2).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn entire_params_are_passed_as_one_argument() {
        let client = client();
        assert_eq!(ask(&client, "sum", json!([1, 2, 3])).await, 6);
        assert_eq!(
            ask(&client, "keys", json!({"value": 1, "key": "k\n"})).await,
            "k\n=1"
        );
        let typed = ArgumentsClient::new(client);
        assert_eq!(typed.sum(vec![]).await.unwrap(), 0);
        assert_eq!(
            typed
                .keys(Pair {
                    key: "\"",
                    value: 2
                })
                .await
                .unwrap(),
            "\"=2"
        );
    }

    #[tokio::test]
    async fn sixteen_parameters_are_accepted() {
        let typed = ArgumentsClient::new(client());
        let sum = typed
            .sixteen(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)
            .await;
        assert_eq!(sum.unwrap(), 16);
    }

    #[rpc(lenient)]
    trait Lenient {
        async fn add(&self, a: i64, b: i64) -> i64;
    }

    impl Lenient for Plain {
        async fn add(&self, a: i64, b: i64) -> i64 {
            a + b
        }
    }

    #[tokio::test]
    async fn lenient_trait_ignores_unknown_arguments() {
        let client = Client::local(LenientServer::new(Plain));
        assert_eq!(ask(&client, "add", json!([1, 2, 3])).await, 3);
        assert_eq!(
            ask(&client, "add", json!({"a": 1, "c": 3, "b": 2})).await,
            3
        );
    }
}

mod borrowing {
    use super::*;

    #[rpc]
    trait Borrowing {
        async fn name(&self) -> &str;
        async fn all(&self) -> Vec<&str>;
        async fn first(&self) -> Option<&String>;
        async fn slice(&self) -> &[u8];
        async fn pick<'a>(&self, a: &'a str, b: &str) -> &'a str;
        async fn find<'a>(&'a self, b: &str) -> Result<&'a str, ErrorObject>;
        async fn held(&self, text: &str) -> String;
        async fn cow(&self, text: Cow<'_, str>, more: Option<Cow<'_, str>>) -> bool;
        async fn owned_cow(&self, text: Cow<'static, str>) -> Cow<'static, str>;
        async fn bytes(&self, bytes: &[u8], more: Option<&[u8]>) -> usize;
        async fn point(&self, point: Point<'_>) -> String;
        async fn points(&self, points: Vec<Point<'_>>, texts: [&str; 2]) -> usize;
    }

    #[derive(Deserialize, Serialize)]
    struct Point<'a> {
        name: &'a str,
        #[serde(borrow)]
        note: Cow<'a, str>,
        x: f64,
    }

    struct Shelf(Vec<String>);

    impl Borrowing for Shelf {
        async fn name(&self) -> &str {
            "shelf"
        }

        async fn all(&self) -> Vec<&str> {
            self.0.iter().map(String::as_str).collect()
        }

        async fn first(&self) -> Option<&String> {
            self.0.first()
        }

        async fn slice(&self) -> &[u8] {
            &[1, 2]
        }

        async fn pick<'a>(&self, a: &'a str, _: &str) -> &'a str {
            a
        }

        async fn find<'a>(&'a self, b: &str) -> Result<&'a str, ErrorObject> {
            let found = self.0.iter().find(|item| *item == b);
            found
                .map(String::as_str)
                .ok_or(ErrorObject::new(1, "not here"))
        }

        async fn held(&self, text: &str) -> String {
            tokio::task::yield_now().await;
            text.to_owned()
        }

        async fn cow(&self, text: Cow<'_, str>, more: Option<Cow<'_, str>>) -> bool {
            let is_borrowed = |text: &Cow<'_, str>| matches!(text, Cow::Borrowed(_));
            is_borrowed(&text) && more.as_ref().is_none_or(is_borrowed)
        }

        async fn owned_cow(&self, text: Cow<'static, str>) -> Cow<'static, str> {
            text
        }

        async fn bytes(&self, bytes: &[u8], more: Option<&[u8]>) -> usize {
            bytes.len() + more.map_or(0, <[u8]>::len)
        }

        async fn point(&self, point: Point<'_>) -> String {
            format!("{} {} {}", point.name, point.note, point.x)
        }

        async fn points(&self, points: Vec<Point<'_>>, texts: [&str; 2]) -> usize {
            points.len() + texts.concat().len()
        }
    }

    fn client() -> BorrowingClient {
        BorrowingClient::new(Client::local(BorrowingServer::new(Shelf(vec!["a".into()]))))
    }

    #[tokio::test]
    async fn borrowed_results_arrive_owned() {
        let shelf = client();
        let name: Call<String> = shelf.name();
        assert_eq!(name.await.unwrap(), "shelf");
        assert_eq!(shelf.all().await.unwrap(), ["a"]);
        assert_eq!(shelf.first().await.unwrap().as_deref(), Some("a"));
        assert_eq!(shelf.slice().await.unwrap(), vec![1, 2]);
        assert_eq!(
            shelf.pick("x\u{1F600}\"\n", "y").await.unwrap(),
            "x\u{1F600}\"\n"
        );
        assert_eq!(shelf.find("a").await.unwrap(), "a");
        assert!(matches!(
            shelf.find("b").await,
            Err(CallError::Application(_))
        ));
    }

    #[tokio::test]
    async fn borrowed_arguments_are_passed() {
        let shelf = client();
        assert_eq!(
            shelf.held("tab\tand \\ more").await.unwrap(),
            "tab\tand \\ more"
        );
        assert!(shelf.cow("a\tb".into(), None).await.unwrap());
        assert!(
            shelf
                .cow("a\tb".into(), Some("\u{1F600}\\".into()))
                .await
                .unwrap()
        );
        assert_eq!(shelf.owned_cow("a".into()).await.unwrap(), "a");
        assert_eq!(shelf.bytes(b"a\nb", Some("é".as_bytes())).await.unwrap(), 5);
        assert_eq!(shelf.bytes(b"", None).await.unwrap(), 0);
        assert!(matches!(
            shelf.bytes(&[0xFF], None).await,
            Err(CallError::Encode(_))
        ));
        let point = || Point {
            name: "n\n",
            note: "\"".into(),
            x: 1.5,
        };
        assert_eq!(shelf.point(point()).await.unwrap(), "n\n \" 1.5");
        assert_eq!(
            shelf
                .points(vec![point(), point()], ["a", "\t"])
                .await
                .unwrap(),
            4
        );
    }

    #[tokio::test]
    async fn bytes_are_sent_as_a_string() {
        let client = Client::local(BorrowingServer::new(Shelf(vec![])));
        assert_eq!(ask(&client, "bytes", json!(["a\n"])).await, 2);
        assert_eq!(
            ask(&client, "bytes", json!({"more": null, "bytes": "abc"})).await,
            3
        );
    }
}

mod kinds {
    use super::*;

    #[rpc]
    trait Kinds {
        #[rpc(notification)]
        async fn log(&self, line: &str, cx: &Context);
        #[rpc(notification, blocking)]
        fn log_slowly(&self, line: &str);
        #[rpc(blocking)]
        fn thread(&self, cx: &rpc_runtime::Context, prefix: &str) -> Result<String, ErrorObject>;
        async fn meta(&self, cx: &Context, name: &str) -> Option<String>;
        async fn lines(&self) -> Vec<String>;
        async fn unit(&self);
    }

    #[derive(Default)]
    struct Journal(Mutex<Vec<String>>);

    impl Journal {
        fn write(&self, line: &str) {
            self.0.lock().expect("no panic").push(line.to_owned());
        }
    }

    impl Kinds for Journal {
        async fn log(&self, line: &str, cx: &Context) {
            assert!(cx.peer().is_none());
            self.write(line);
        }

        fn log_slowly(&self, line: &str) {
            self.write(line);
        }

        fn thread(&self, cx: &Context, prefix: &str) -> Result<String, ErrorObject> {
            let user = cx.meta("user").ok_or(ErrorObject::new(401, "no user"))?;
            // Blocking is allowed on this thread.
            tokio::runtime::Handle::current().block_on(async {});
            Ok(format!("{prefix}{user}"))
        }

        async fn meta(&self, cx: &Context, name: &str) -> Option<String> {
            cx.meta(name).map(str::to_owned)
        }

        async fn lines(&self) -> Vec<String> {
            self.0.lock().expect("no panic").clone()
        }

        async fn unit(&self) {}
    }

    #[tokio::test]
    async fn notifications_reach_their_handlers() {
        let kinds = KindsClient::new(Client::local(KindsServer::new(Journal::default())));
        kinds.log("one").await.unwrap();
        kinds.log_slowly("two").await.unwrap();
        soon(async { while kinds.lines().await.unwrap().len() < 2 {} }).await;
        let mut lines = kinds.lines().await.unwrap();
        lines.sort();
        assert_eq!(lines, ["one", "two"]);
    }

    #[tokio::test]
    async fn context_is_passed_to_async_and_blocking_handlers() {
        let kinds = KindsClient::new(Client::local(KindsServer::new(Journal::default())));
        assert_eq!(
            kinds.meta("a").meta("a", "1").await.unwrap().as_deref(),
            Some("1")
        );
        assert_eq!(kinds.meta("a").await.unwrap(), None);
        assert_eq!(
            kinds.thread("dear ").meta("user", "ada").await.unwrap(),
            "dear ada"
        );
        assert!(matches!(
            kinds.thread("").await,
            Err(CallError::Application(error)) if error.code() == 401
        ));
        let () = kinds.unit().await.unwrap();
    }
}

mod shapes_of_traits {
    use super::*;

    /// More than one supertrait, generic, with defaults, of restricted visibility.
    #[rpc]
    pub(super) trait Store<K, V = String, const N: usize = 1>: fmt::Debug
    where
        K: Ord + Send + Sync,
        V: Send + Sync,
        Self: Sized,
    {
        async fn get(&self, key: K) -> Option<&V>;
        async fn first(&self, keys: [u8; N]) -> Result<V>;
        async fn put(&self, #[rpc(params)] entry: (K, V)) -> Result<(), Full<K>>;
    }

    type Result<T, E = ErrorObject> = std::result::Result<T, E>;

    #[derive(Debug, RpcError)]
    #[rpc(code = 1)]
    pub(super) struct Full<K>(K);

    impl<K> Display for Full<K> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("full")
        }
    }

    #[derive(Debug)]
    struct One;

    impl Store<u32, String, 3> for One {
        async fn get(&self, _: u32) -> Option<&String> {
            None
        }

        async fn first(&self, [_, _, c]: [u8; 3]) -> Result<String> {
            Ok(c.to_string())
        }

        async fn put(&self, (key, _): (u32, String)) -> Result<(), Full<u32>> {
            Err(Full(key))
        }
    }

    #[rpc]
    trait Counter {
        async fn count(&self) -> usize;
    }

    struct Count(AtomicUsize);

    impl Counter for Count {
        async fn count(&self) -> usize {
            self.0.fetch_add(1, Ordering::SeqCst) + 1
        }
    }

    #[tokio::test]
    async fn service_from_an_arc_is_shared() {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let [one, other] = [0; 2].map(|_| {
            let server = CounterServer::from_arc(Arc::clone(&count));
            CounterClient::new(Client::local(server))
        });
        assert_eq!(one.count().await.unwrap(), 1);
        assert_eq!(other.count().await.unwrap(), 2);
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn generic_service_from_an_arc_is_shared() {
        let server = StoreServer::<_, u32, String, 3>::from_arc(Arc::new(One));
        let store = StoreClient::<u32, String, 3>::new(Client::local(server));
        assert_eq!(store.first([1, 2, 3]).await.unwrap(), "3");
    }

    #[tokio::test]
    async fn generic_trait_is_served_and_called() {
        let server = StoreServer::<_, u32, String, 3>::new(One);
        let store = StoreClient::<u32, String, 3>::new(Client::local(server.clone()));
        assert_eq!(store.get(1).await.unwrap(), None);
        assert_eq!(store.first([1, 2, 3]).await.unwrap(), "3");
        let full = store.clone().put((5, "five".into())).await.unwrap_err();
        assert!(matches!(full, CallError::Application(Full(5))));
        assert_eq!(
            format!("{server:?} {store:?}"),
            "StoreServer { .. } StoreClient { .. }"
        );
    }

    /// The type parameters have no bounds but those of serde and of the trait.
    #[rpc]
    trait Cell<T> {
        async fn swap(&self, value: T) -> Option<T>;
    }

    impl<T: Send + 'static> Cell<T> for Mutex<Option<T>> {
        async fn swap(&self, value: T) -> Option<T> {
            self.lock().expect("no panic").replace(value)
        }
    }

    fn cell<T>() -> CellClient<T>
    where
        T: Serialize + serde::de::DeserializeOwned + Send + 'static,
    {
        CellClient::new(Client::local(
            CellServer::new(Mutex::<Option<T>>::default()),
        ))
    }

    async fn swap_twice<T>(cell: &CellClient<T>, value: T) -> Option<T>
    where
        T: Serialize + serde::de::DeserializeOwned + Clone,
    {
        cell.swap(value.clone()).await.expect("a value");
        cell.swap(value).await.expect("a value")
    }

    #[tokio::test]
    async fn generic_client_is_used_by_a_generic_function() {
        let text = "twice".to_owned();
        assert_eq!(swap_twice(&cell(), text.clone()).await, Some(text));
    }

    #[rpc]
    trait Bodies {
        async fn one(&self) -> u32;

        async fn double(&self, mut n: u32) -> u32 {
            n += n;
            n
        }

        /// Awaits, borrows and returns early.
        async fn checked(&self, text: &str) -> std::result::Result<usize, ErrorObject> {
            let one = self.one().await as usize;
            if text.is_empty() {
                return Err(ErrorObject::new(1, "empty"));
            }
            Err(ErrorObject::new(2, "short")).or(Ok(text.len() + one))
        }

        #[rpc(blocking)]
        fn slow(&self) -> u32 {
            1
        }

        #[rpc(notification)]
        async fn forget(&self, _what: &str) {}
    }

    impl Bodies for One {
        async fn one(&self) -> u32 {
            1
        }
    }

    #[tokio::test]
    async fn default_bodies_are_served() {
        let bodies = BodiesClient::new(Client::local(BodiesServer::new(One)));
        assert_eq!(bodies.double(4).await.unwrap(), 8);
        assert_eq!(bodies.checked("ab").await.unwrap(), 3);
        assert!(matches!(
            bodies.checked("").await,
            Err(CallError::Application(_))
        ));
        assert_eq!(bodies.slow().await.unwrap(), 1);
        bodies.forget("it").await.unwrap();
    }

    #[rpc]
    trait Attributes {
        #[cfg(any())]
        async fn absent(&self, what: Nonsense) -> Nonsense;
        #[cfg(not(any()))]
        async fn present(&self) -> u32;
        #[cfg(any())]
        async fn which(&self) -> u8;
        #[cfg(not(any()))]
        async fn which(&self) -> u32;
        #[deprecated = "too old"]
        async fn old(&self) -> u32;
        #[must_use]
        #[allow(clippy::ptr_arg)]
        async fn kept(&self, #[allow(unused)] text: &str) -> u32;
    }

    impl Attributes for One {
        async fn present(&self) -> u32 {
            1
        }

        async fn which(&self) -> u32 {
            2
        }

        async fn old(&self) -> u32 {
            3
        }

        async fn kept(&self, _: &str) -> u32 {
            4
        }
    }

    #[tokio::test]
    async fn attributes_of_methods_are_kept() {
        let client = Client::local(AttributesServer::new(One));
        let attributes = AttributesClient::new(client.clone());
        assert_eq!(attributes.present().await.unwrap(), 1);
        assert_eq!(attributes.which().await.unwrap(), 2);
        #[expect(deprecated)]
        let old = attributes.old();
        assert_eq!(old.await.unwrap(), 3);
        assert_eq!(
            refused(&client, "absent", json!([1])).await.0,
            code::METHOD_NOT_FOUND
        );
        let described: Vec<_> = describe(&AttributesServer::new(One))
            .methods
            .iter()
            .map(|it| it.name)
            .collect();
        assert_eq!(described, ["present", "which", "old", "kept"]);
    }

    #[tokio::test]
    async fn trait_inside_a_function_is_served() {
        struct Text(u32);
        #[rpc]
        trait Local {
            async fn length(&self, text: &str) -> u32;
        }
        impl Local for Text {
            async fn length(&self, text: &str) -> u32 {
                self.0 + text.len() as u32
            }
        }
        let local = LocalClient::new(Client::local(LocalServer::new(Text(1))));
        assert_eq!(local.length("four").await.unwrap(), 5);
    }
}

/// Names of the user that generated code uses as well.
mod hygiene {
    use super::*;

    #[rpc]
    #[allow(clippy::too_many_arguments)]
    trait Hygiene {
        async fn locals(&self, call: u8, reply: u8, method: u8, service: u8, client: u8) -> u8;
        #[rpc(blocking)]
        fn blocking(&self, call: u8, reply: u8, service: u8, cx: &Context) -> u8;
        async fn clone(&self) -> u8;
        async fn call(&self, name: &str, f: u8) -> u8;
        async fn find(&self, name: &str) -> usize;
        async fn fmt(&self) -> u8;
    }

    struct Same;

    impl Hygiene for Same {
        async fn locals(&self, call: u8, reply: u8, method: u8, service: u8, client: u8) -> u8 {
            call + reply + method + service + client
        }

        fn blocking(&self, call: u8, reply: u8, service: u8, _: &Context) -> u8 {
            call + reply + service
        }

        async fn clone(&self) -> u8 {
            1
        }

        async fn call(&self, _: &str, f: u8) -> u8 {
            f
        }

        async fn find(&self, name: &str) -> usize {
            name.len()
        }

        async fn fmt(&self) -> u8 {
            2
        }
    }

    #[tokio::test]
    async fn names_that_generated_code_uses_do_not_collide() {
        let client = HygieneClient::new(Client::local(HygieneServer::new(Same)));
        assert_eq!(client.locals(1, 2, 3, 4, 5).await.unwrap(), 15);
        assert_eq!(client.blocking(1, 2, 3).await.unwrap(), 6);
        assert_eq!(client.clone().await.unwrap(), 1);
        assert_eq!(client.call("", 4).await.unwrap(), 4);
        assert_eq!(client.find("a").await.unwrap(), 1);
        assert_eq!(client.fmt().await.unwrap(), 2);
    }

    /// Parameters named as statics and types of generated code.
    mod loud {
        #![allow(non_snake_case)]

        #[rpc_runtime::rpc]
        pub(super) trait Loud {
            async fn shout(&self, METHOD: u8, DESCRIPTION: u8, Call: u8) -> u8;
        }

        pub(super) struct Shouting;

        impl Loud for Shouting {
            async fn shout(&self, METHOD: u8, DESCRIPTION: u8, Call: u8) -> u8 {
                METHOD + DESCRIPTION + Call
            }
        }
    }

    #[tokio::test]
    async fn uppercase_names_that_generated_code_uses_do_not_collide() {
        let client = loud::LoudClient::new(Client::local(loud::LoudServer::new(loud::Shouting)));
        assert_eq!(client.shout(1, 2, 3).await.unwrap(), 6);
    }

    /// The crate under another name, without a prelude.
    mod bare {
        #![no_implicit_prelude]

        use ::rpc_runtime as renamed;

        mod core {}
        mod std {}
        mod serde {}

        #[derive(renamed::RpcError)]
        #[rpc(crate = renamed)]
        pub(super) enum Failure {
            #[rpc(code = 1)]
            Empty,
            #[rpc(code = 2)]
            Long { by: usize },
        }

        impl ::std::fmt::Display for Failure {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str("failure")
            }
        }

        #[renamed::rpc(crate = renamed)]
        pub(super) trait Bare {
            async fn length(&self, text: &str, #[rpc(default)] plus: usize) -> usize;
            async fn check(&self, text: &str) -> ::std::result::Result<&str, Failure>;
            #[rpc(notification)]
            async fn forget(&self, #[rpc(params)] all: [u8; 2]);
            #[rpc(blocking)]
            fn slow(&self, bytes: &[u8]) -> usize;
            async fn bodied(&self) -> u8 {
                1
            }
        }

        pub(super) struct Service;

        impl Bare for Service {
            async fn length(&self, text: &str, plus: usize) -> usize {
                text.len() + plus
            }

            async fn check(&self, text: &str) -> ::std::result::Result<&str, Failure> {
                match text.len() {
                    0 => ::std::result::Result::Err(Failure::Empty),
                    by => ::std::result::Result::Err(Failure::Long { by }),
                }
            }

            async fn forget(&self, _: [u8; 2]) {}

            fn slow(&self, bytes: &[u8]) -> usize {
                bytes.len()
            }
        }

        pub(super) fn client() -> BareClient {
            BareClient::new(renamed::Client::local(BareServer::new(Service)))
        }
    }

    #[tokio::test]
    async fn trait_without_a_prelude_compiles() {
        let bare = bare::client();
        assert_eq!(bare.length("ab", 1).await.unwrap(), 3);
        assert_eq!(bare.slow(b"ab").await.unwrap(), 2);
        assert_eq!(bare.bodied().await.unwrap(), 1);
        bare.forget([1, 2]).await.unwrap();
        let long = bare.check("abc").await.unwrap_err();
        assert!(matches!(
            long,
            CallError::Application(bare::Failure::Long { by: 3 })
        ));
    }
}

/// A trait under strict lints, which generated code must pass.
pub mod strict {
    #![deny(warnings, missing_docs, missing_debug_implementations, unreachable_pub)]
    #![deny(
        rust_2018_idioms,
        single_use_lifetimes,
        unused_lifetimes,
        unused_qualifications
    )]
    #![deny(clippy::all, clippy::pedantic, clippy::nursery)]

    use std::borrow::Cow;

    use rpc_runtime::{Context, RpcError, rpc};

    /// A failure.
    #[derive(Debug, RpcError)]
    pub enum Failure {
        /// Nothing.
        #[rpc(code = 1)]
        Nothing,
        /// One thing.
        #[rpc(code = 2)]
        One(u8),
        /// Two things.
        #[rpc(code = 3)]
        Two {
            /// One.
            one: u8,
            /// And the other.
            other: String,
        },
    }

    impl std::fmt::Display for Failure {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("failure")
        }
    }

    /// A service.
    #[rpc]
    pub trait Strict<K: Send> {
        /// A method.
        async fn method<'a>(&self, key: K, text: &'a str, cow: Cow<'_, str>) -> Option<&'a str>;
        /// Without parameters.
        async fn bare(&self) -> Result<Vec<&str>, Failure>;
        /// Without a reply.
        #[rpc(notification)]
        async fn notification(&self, cx: &Context, #[rpc(params)] bytes: Vec<u8>);
        /// On a thread.
        #[rpc(blocking)]
        fn blocking(&self, bytes: &[u8], #[rpc(default)] more: u32) -> u32;
        /// With a body.
        async fn body(&self, text: &str, #[rpc(default = 2)] n: usize) -> usize {
            text.len() + n
        }
    }
}

mod description {
    use super::*;

    /// Says things.
    ///
    /// In two paragraphs.
    #[rpc(namespace = "d")]
    trait Described {
        /// Says hello.
        async fn hello(
            &self,
            name: Option<&'_ str>,
            #[rpc(default)] times: u32,
        ) -> Result<Vec<(u8, String)>, ErrorObject>;
        #[rpc(notification, alias = "bye")]
        #[deprecated]
        async fn goodbye(
            &self,
            cx: &Context,
            #[rpc(params)] all: std::collections::HashMap<String, [u8; 2]>,
        );
    }

    impl Described for () {
        async fn hello(&self, _: Option<&str>, _: u32) -> Result<Vec<(u8, String)>, ErrorObject> {
            Ok(vec![])
        }

        async fn goodbye(&self, _: &Context, _: std::collections::HashMap<String, [u8; 2]>) {}
    }

    #[test]
    fn description_has_what_the_trait_declares() {
        let service = describe(&DescribedServer::new(()));
        assert_eq!(
            (service.name, service.docs),
            ("Described", "Says things.\n\nIn two paragraphs.")
        );
        let [hello, goodbye] = service.methods else {
            panic!("two methods")
        };

        assert_eq!(
            (hello.name, hello.docs, hello.kind),
            ("d.hello", "Says hello.", MethodKind::Call)
        );
        assert_eq!(
            (hello.result, hello.deprecated),
            ("Vec<(u8, String)>", false)
        );
        let parameters: Vec<_> = hello
            .parameters
            .iter()
            .map(|it| (it.name, it.type_name, it.has_default))
            .collect();
        assert_eq!(
            parameters,
            [("name", "Option<&'_ str>", false), ("times", "u32", true)]
        );

        assert_eq!(
            (goodbye.aliases, goodbye.kind),
            (&["bye"][..], MethodKind::Notification)
        );
        assert_eq!((goodbye.entire_params, goodbye.deprecated), (true, true));
        assert_eq!(
            goodbye.parameters[0].type_name,
            "std::collections::HashMap<String, [u8; 2]>"
        );
    }
}

mod errors {
    use super::*;

    #[derive(Debug, Clone, PartialEq, thiserror::Error, RpcError)]
    #[rpc(rename_all = "camelCase")]
    enum Failure {
        #[error("unit")]
        #[rpc(code = 1)]
        Unit,
        #[error("one")]
        #[rpc(code = -2)]
        One(String),
        #[error("many")]
        #[rpc(code = 3)]
        Many(u8, Option<bool>, Vec<String>),
        #[error("{first_name} and {data}")]
        #[rpc(code = 4)]
        Named {
            first_name: String,
            #[rpc(name = "n")]
            number: Option<u32>,
            data: String,
        },
        #[error("empty")]
        #[rpc(code = 5)]
        Empty {},
        #[cfg(any())]
        #[rpc(code = 5)]
        Absent(Nonsense),
    }

    #[derive(Debug, thiserror::Error, RpcError)]
    #[error("a struct of {0}")]
    #[rpc(code = 70)]
    struct Struct(u32, u32);

    #[derive(Debug, thiserror::Error, RpcError)]
    #[error("{inner}")]
    #[rpc(code = 71)]
    struct Generic<T: Display> {
        inner: T,
    }

    #[derive(Debug, thiserror::Error, RpcError)]
    enum Never {}

    #[rpc]
    trait Failing {
        async fn fail(&self, which: usize) -> Result<(), Failure>;
        async fn fail_struct(&self) -> Result<u8, Struct>;
        async fn fail_generic(&self) -> Result<u8, Generic<String>>;
        async fn fail_never(&self) -> Result<u8, Never>;
        async fn fail_object(&self) -> Result<u8, ErrorObject>;
    }

    fn all() -> [Failure; 5] {
        [
            Failure::Unit,
            Failure::One("a\"b".into()),
            Failure::Many(1, None, vec!["x".into()]),
            Failure::Named {
                first_name: "ada".into(),
                number: None,
                data: "d".into(),
            },
            Failure::Empty {},
        ]
    }

    struct Faulty;

    impl Failing for Faulty {
        async fn fail(&self, which: usize) -> Result<(), Failure> {
            Err(all()[which].clone())
        }

        async fn fail_struct(&self) -> Result<u8, Struct> {
            Err(Struct(1, 2))
        }

        async fn fail_generic(&self) -> Result<u8, Generic<String>> {
            Err(Generic { inner: "in".into() })
        }

        async fn fail_never(&self) -> Result<u8, Never> {
            Ok(1)
        }

        async fn fail_object(&self) -> Result<u8, ErrorObject> {
            Err(ErrorObject::new(9, "nine").with_data(&[9]))
        }
    }

    #[tokio::test]
    async fn typed_errors_arrive_unchanged() {
        let failing = FailingClient::new(Client::local(FailingServer::new(Faulty)));
        for (which, expected) in all().into_iter().enumerate() {
            let failure = failing.fail(which).await.unwrap_err();
            assert!(matches!(failure, CallError::Application(error) if error == expected));
        }
        let error = failing.fail_struct().await.unwrap_err();
        assert!(matches!(error, CallError::Application(Struct(1, 2))));
        let error = failing.fail_generic().await.unwrap_err();
        assert!(matches!(error, CallError::Application(Generic { inner }) if inner == "in"));
        assert_eq!(failing.fail_never().await.unwrap(), 1);
        let error = failing.fail_object().await.unwrap_err();
        assert!(
            matches!(error, CallError::Application(object) if object.raw_data() == Some("[9]"))
        );
    }

    #[tokio::test]
    async fn typed_errors_are_sent_as_error_objects() {
        let client = Client::local(FailingServer::new(Faulty));
        for (which, code, message, data) in [
            (0, 1, "unit", Value::Null),
            (1, -2, "one", json!("a\"b")),
            (2, 3, "many", json!([1, null, ["x"]])),
            (
                3,
                4,
                "ada and d",
                json!({"firstName": "ada", "n": null, "data": "d"}),
            ),
            (4, 5, "empty", Value::Null),
        ] {
            let call = client.call::<Value, _>("fail", &[which]).await;
            let Err(CallError::Application(error)) = call else {
                panic!("{call:?}")
            };
            assert_eq!((error.code(), error.message()), (code, message));
            assert_eq!(error.data::<Value>().unwrap_or_default(), data);
        }
    }

    /// The service as an older client declares it.
    mod older {
        use super::*;

        #[rpc]
        pub(super) trait Failing {
            async fn fail(&self, which: usize) -> Result<(), Struct>;
        }
    }

    #[tokio::test]
    async fn error_with_an_unknown_code_arrives_as_an_object() {
        let failing = older::FailingClient::new(Client::local(FailingServer::new(Faulty)));
        let error = failing.fail(1).await.unwrap_err();
        assert!(matches!(error, CallError::Remote(object) if object.code() == -2));
    }
}
