//! Traits as programs write them: out of `macro_rules!`, under `cfg_attr`, with documentation from macros, beside types and
//! methods of the same names, and in crates that forbid lints.

use std::borrow::Cow;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use rpc_runtime::description::{Described, OpenRpc};
use rpc_runtime::{Client, Context, ErrorObject, RpcError, Stream, rpc};
use serde_json::{Value, json};

mod macro_rules {
    use super::*;

    macro_rules! service {
        ($name:ident { $($(#[$attr:meta])* fn $method:ident($($arg:ident: $ty:ty),*) -> $result:ty;)* }) => {
            #[rpc]
            trait $name { $($(#[$attr])* async fn $method(&self, $($arg: $ty),*) -> $result;)* }
        };
    }

    macro_rules! streams {
        ($name:ident { $(fn $method:ident($($arg:ident: $ty:ty),*) -> $result:ty;)* }) => {
            #[rpc]
            trait $name { $(fn $method(&self, $($arg: $ty),*) -> $result;)* }
        };
    }

    macro_rules! error {
        ($name:ident { $($variant:ident($ty:ty) = $code:expr, $text:expr;)* }) => {
            #[derive(Debug, PartialEq, thiserror::Error, RpcError)]
            enum $name {
                $(
                    #[error("{}", $text)]
                    #[rpc(code = $code)]
                    $variant($ty),
                )*
            }
        };
    }

    error! {
        Refused {
            Late(Option<Cow<'static, str>>) = 7, "late";
            Early(u8) = -8, "early";
        }
    }

    service! {
        Grouped {
            /// A comment.
            #[rpc(name = "len")]
            fn text(text: &str, more: Option<&str>) -> usize;
            fn bytes(bytes: &[u8], more: Option<&[u8]>) -> usize;
            fn cow(text: Cow<'_, str>) -> bool;
            fn peer(cx: &Context) -> bool;
            fn name() -> &str;
            fn nothing() -> ();
            fn fails(way: u8) -> Result<u8, Refused>;
        }
    }

    streams! {
        GroupedStreams {
            fn count(to: u8) -> impl Stream<Item = u8>;
            fn echo(items: impl Stream<Item = String>) -> impl Stream<Item = Result<String, Refused>>;
        }
    }

    struct Desk;

    impl Grouped for Desk {
        async fn text(&self, text: &str, more: Option<&str>) -> usize {
            text.len() + more.map_or(0, str::len)
        }

        async fn bytes(&self, bytes: &[u8], more: Option<&[u8]>) -> usize {
            bytes.len() + more.map_or(0, <[u8]>::len)
        }

        async fn cow(&self, text: Cow<'_, str>) -> bool {
            matches!(text, Cow::Borrowed(_))
        }

        async fn peer(&self, cx: &Context) -> bool {
            cx.peer().is_some()
        }

        async fn name(&self) -> &str {
            "desk"
        }

        async fn nothing(&self) {}

        async fn fails(&self, way: u8) -> Result<u8, Refused> {
            match way {
                0 => Err(Refused::Late(None)),
                way => Err(Refused::Early(way)),
            }
        }
    }

    impl GroupedStreams for Desk {
        fn count(&self, to: u8) -> impl Stream<Item = u8> {
            stream::iter(0..to)
        }

        fn echo(
            &self,
            items: impl Stream<Item = String> + Send,
        ) -> impl Stream<Item = Result<String, Refused>> {
            items.map(Ok)
        }
    }

    #[tokio::test]
    async fn types_from_macro_rules_mean_what_they_mean_by_hand() {
        let desk = GroupedClient::new(Client::local(GroupedServer::new(Desk)));
        assert_eq!(desk.text("ab", Some("c")).await.unwrap(), 3);
        assert_eq!(desk.bytes(b"abc", Some(b"d")).await.unwrap(), 4);
        assert!(desk.cow("a".into()).await.unwrap());
        assert!(!desk.peer().await.unwrap());
        assert_eq!(desk.name().await.unwrap(), "desk");
        desk.nothing().await.unwrap();
        let failed = desk.fails(0).await.unwrap_err();
        assert!(matches!(
            failed,
            rpc_runtime::CallError::Application(Refused::Late(None))
        ));
        let streams = GroupedStreamsClient::new(Client::local(GroupedStreamsServer::new(Desk)));
        assert_eq!(
            streams.count(2).try_collect::<Vec<_>>().await.unwrap(),
            [0, 1]
        );
        let echo = streams.echo(stream::iter(["a".to_owned()]));
        assert_eq!(echo.try_collect::<Vec<_>>().await.unwrap(), ["a"]);
    }

    #[test]
    fn attributes_from_macro_rules_are_read() {
        let text = &GroupedClient::DESCRIPTION.methods[0];
        assert_eq!((text.name, text.docs), ("len", "A comment."));
        let fails = &GroupedClient::DESCRIPTION.methods[6];
        assert_eq!(fails.errors[1].code, -8);
    }
}

mod cfg_attr {
    use super::*;

    #[rpc]
    trait Conditional {
        #[cfg_attr(all(), doc = "Documented", cfg_attr(all(), doc = "under a condition."))]
        #[cfg_attr(any(), doc = "Not this.")]
        async fn documented(&self) -> u8;
        /// Kept.
        #[cfg_attr(
            all(),
            deprecated(note = "use `documented`"),
            allow(clippy::unused_async)
        )]
        async fn old(&self) -> u8;
        #[cfg_attr(any(), deprecated = "never")]
        async fn fresh(&self, #[cfg_attr(all(), allow(unused_variables))] of: u8) -> u8;
        #[cfg_attr(all(), cfg(any()))]
        async fn absent(&self, what: Missing) -> u8;
        #[cfg_attr(any(), cfg(any()))]
        async fn present(&self) -> u8;
    }

    struct Desk;

    #[allow(deprecated)]
    impl Conditional for Desk {
        async fn documented(&self) -> u8 {
            1
        }

        async fn old(&self) -> u8 {
            2
        }

        async fn fresh(&self, of: u8) -> u8 {
            of
        }

        async fn present(&self) -> u8 {
            4
        }
    }

    #[tokio::test]
    #[allow(deprecated)]
    async fn attributes_under_cfg_attr_are_read() {
        let methods = ConditionalClient::DESCRIPTION.methods;
        let described: Vec<_> = methods
            .iter()
            .map(|it| (it.name, it.docs, it.deprecated))
            .collect();
        assert_eq!(
            described,
            [
                ("documented", "Documented\nunder a condition.", false),
                ("old", "Kept.\n\nDeprecated: use `documented`", true),
                ("fresh", "", false),
                ("present", "", false),
            ]
        );
        let desk = ConditionalClient::new(Client::local(ConditionalServer::new(Desk)));
        assert_eq!(desk.documented().await.unwrap(), 1);
        assert_eq!(desk.old().await.unwrap(), 2);
        assert_eq!(desk.fresh(3).await.unwrap(), 3);
        assert_eq!(desk.present().await.unwrap(), 4);
    }
}

mod docs {
    use super::*;

    /**
     * A service
     * in stars.
     */
    #[rpc]
    trait Documented {
        #[doc = concat!("Adds ", "two.")]
        async fn concatenated(&self) -> u8;
        #[doc = "Before."]
        #[doc = ""]
        #[doc = include_str!("text/method.md")]
        async fn file(&self) -> u8;
        /**
         * Summary.
         *
         * More:
         * * a list
         */
        async fn stars(&self) -> Result<u8, Fails>;
        /**
        Summary.

            code

        More.
        */
        async fn block(&self) -> u8;
        /** One line. */
        async fn line(&self) -> u8;
        /// Example:
        ///
        /// ```
        /// # use hidden::*;
        /// #[derive(Debug)]
        /// struct Shown;
        /// ```
        /// ```sh
        /// # shown
        /// ```
        async fn example(&self) -> u8;
        /// Not for readers.
        #[doc(hidden)]
        async fn hidden(&self) -> u8;
    }

    #[derive(Debug, thiserror::Error, RpcError)]
    enum Fails {
        #[doc = concat!("When it ", "joins.")]
        #[error("")]
        #[rpc(code = 1)]
        Joined,
    }

    fn document() -> Value {
        serde_json::to_value(OpenRpc::of::<DocumentedClient>()).unwrap()
    }

    #[test]
    fn documentation_from_macros_and_blocks_is_what_rustdoc_shows() {
        let document = document();
        assert_eq!(document["info"]["description"], "A service\nin stars.");
        let docs = |at: usize| document["methods"][at]["description"].as_str().unwrap();
        assert_eq!(docs(0), "Adds two.");
        assert_eq!(docs(1), "Before.\n\nText of a file.\n\n```\nshown();\n```");
        assert_eq!(docs(2), "Summary.\n\nMore:\n* a list");
        assert_eq!(docs(3), "Summary.\n\n    code\n\nMore.");
        assert_eq!(docs(4), "One line.");
        let error = DocumentedClient::DESCRIPTION.methods[2].errors[0];
        assert_eq!(
            (error.message, error.docs),
            ("When it joins.", "When it joins.")
        );
        let _ = Fails::Joined;
    }

    #[test]
    fn hidden_lines_and_hidden_methods_are_not_in_the_document() {
        let document = document();
        let example = &document["methods"][5];
        assert_eq!(
            example["description"],
            "Example:\n\n```\n#[derive(Debug)]\nstruct Shown;\n```\n```sh\n# shown\n```"
        );
        assert_eq!(document["methods"].as_array().unwrap().len(), 6);
        let described = DocumentedClient::DESCRIPTION.methods;
        assert!(described[6].hidden);
    }

    struct Desk;

    impl Documented for Desk {
        async fn concatenated(&self) -> u8 {
            0
        }

        async fn file(&self) -> u8 {
            1
        }

        async fn stars(&self) -> Result<u8, Fails> {
            Ok(2)
        }

        async fn block(&self) -> u8 {
            3
        }

        async fn line(&self) -> u8 {
            4
        }

        async fn example(&self) -> u8 {
            5
        }

        async fn hidden(&self) -> u8 {
            6
        }
    }

    #[tokio::test]
    async fn hidden_method_is_served_and_not_discovered() {
        let client = Client::local(DocumentedServer::new(Desk));
        let desk = DocumentedClient::new(client.clone());
        assert_eq!(desk.hidden().await.unwrap(), 6);
        let discovered: Value = client.call("rpc.discover", &()).await.unwrap();
        let methods = discovered["methods"].as_array().unwrap();
        assert!(methods.iter().all(|method| method["name"] != "hidden"));
        assert_eq!(methods.len(), 6);
    }
}

mod own_types {
    use super::*;

    mod render {
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(super) struct Context {
            pub(super) depth: u32,
        }
    }

    mod poll {
        #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        pub(super) struct Option<T> {
            pub(super) label: T,
        }
        #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        pub(super) struct Result {
            pub(super) votes: u8,
        }
    }

    use poll::Result as PollResult;

    #[rpc]
    trait Polls {
        async fn render(&self, context: render::Context, cx: &rpc_runtime::Context) -> u32;
        async fn vote(&self, option: poll::Option<String>) -> poll::Option<usize>;
        async fn count(&self, of: poll::Result) -> PollResult;
        async fn all(&self) -> Vec<poll::Result>;
    }

    struct Desk;

    impl Polls for Desk {
        async fn render(&self, context: render::Context, _: &Context) -> u32 {
            context.depth
        }

        async fn vote(&self, option: poll::Option<String>) -> poll::Option<usize> {
            poll::Option {
                label: option.label.len(),
            }
        }

        async fn count(&self, of: poll::Result) -> PollResult {
            of
        }

        async fn all(&self) -> Vec<poll::Result> {
            vec![PollResult { votes: 1 }]
        }
    }

    #[tokio::test]
    async fn own_types_with_known_names_are_sent() {
        let polls = PollsClient::new(Client::local(PollsServer::new(Desk)));
        assert_eq!(polls.render(render::Context { depth: 2 }).await.unwrap(), 2);
        let label = "x".to_owned();
        let option = polls.vote(poll::Option { label }).await.unwrap();
        assert_eq!(option, poll::Option { label: 1 });
        let counted = polls.count(PollResult { votes: 3 }).await.unwrap();
        assert_eq!(counted, PollResult { votes: 3 });
        assert_eq!(polls.all().await.unwrap(), [PollResult { votes: 1 }]);
    }
}

mod same_names {
    use super::*;

    trait Base {
        fn count(&self) -> u8 {
            1
        }
        fn clone(&self) -> u8 {
            2
        }
    }

    trait InScope {
        fn invoke(&self) -> u8 {
            3
        }
        fn items(&self) -> u8 {
            4
        }
        fn or<T>(&self, _: T) -> u8 {
            5
        }
    }

    impl<T> InScope for T {}

    #[rpc]
    trait Counter: Base {
        async fn count(&self, #[rpc(default = 7)] of: u8) -> u8;
        #[rpc(blocking)]
        fn clone(&self) -> u8;
        async fn invoke(&self) -> u8;
        async fn or(&self) -> u8;
        fn items(&self) -> impl Stream<Item = u8>;
    }

    struct Desk;

    impl Base for Desk {}

    impl Counter for Desk {
        async fn count(&self, of: u8) -> u8 {
            Base::count(self) + of
        }

        fn clone(&self) -> u8 {
            Base::clone(self)
        }

        async fn invoke(&self) -> u8 {
            InScope::invoke(self)
        }

        async fn or(&self) -> u8 {
            InScope::or(self, ())
        }

        fn items(&self) -> impl Stream<Item = u8> {
            stream::iter([InScope::items(self)])
        }
    }

    #[tokio::test]
    async fn methods_that_other_traits_have_too_are_called() {
        let client = Client::local(CounterServer::new(Desk));
        let counter = CounterClient::new(client.clone());
        assert_eq!(counter.count(1).await.unwrap(), 2);
        assert_eq!(client.call::<u8, _>("count", &()).await.unwrap(), 8);
        assert_eq!(counter.clone().await.unwrap(), 2);
        assert_eq!(counter.invoke().await.unwrap(), 3);
        assert_eq!(counter.or().await.unwrap(), 5);
        assert_eq!(counter.items().try_collect::<Vec<_>>().await.unwrap(), [4]);
    }
}

mod shared_handler {
    use super::*;

    #[rpc]
    trait Greeter {
        async fn greet(&self) -> &str;
    }

    struct Desk(String);

    impl Greeter for Desk {
        async fn greet(&self) -> &str {
            &self.0
        }
    }

    #[tokio::test]
    async fn handler_in_an_arc_is_served() {
        let desk = Arc::new(Desk("hello".to_owned()));
        for server in [
            GreeterServer::from_arc(Arc::clone(&desk)),
            GreeterServer::from(Arc::clone(&desk)),
        ] {
            let greeter = GreeterClient::new(Client::local(server));
            assert_eq!(greeter.greet().await.unwrap(), "hello");
        }
    }
}

/// Each module forbids a lint that generated code would break. It compiles without a warning.
mod forbidden {
    macro_rules! forbidding {
        ($($module:ident: $lint:path;)*) => {$(
            mod $module {
                #![forbid($lint)]

                use std::fmt;

                use rpc_runtime::{RpcError, Stream, rpc};

                /// An error.
                #[derive(Debug, RpcError)]
                pub(super) enum Fails {
                    /// Gone.
                    #[rpc(code = 1)]
                    Gone {
                        /// Which.
                        id: u32,
                    },
                    /// Shared.
                    #[rpc(transparent)]
                    Shared(rpc_runtime::ErrorObject),
                }

                impl fmt::Display for Fails {
                    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("gone")
                    }
                }

                /// A service that has no handler in this crate.
                #[rpc]
                pub(super) trait Unused {
                    /// Asks.
                    async fn ask(&self, id: u32) -> u32;
                }

                /// A service.
                #[rpc]
                pub(super) trait Api {
                    /// Adds.
                    async fn add(&self, first: u32, second: u32) -> Result<u32, Fails>;
                    /// Items.
                    fn items(&self, text: &str) -> impl Stream<Item = u32>;
                    /// Blocks.
                    #[rpc(blocking)]
                    fn block(&self, #[rpc(default = 3)] times: u32) -> u32;
                    /// Tells.
                    #[rpc(notification)]
                    async fn tell(&self, text: &str);
                }

                /// The handler.
                #[derive(Debug)]
                pub(super) struct It;

                impl Api for It {
                    async fn add(&self, first: u32, second: u32) -> Result<u32, Fails> {
                        first.checked_add(second).ok_or(Fails::Gone { id: first })
                    }

                    fn items(&self, text: &str) -> impl Stream<Item = u32> {
                        futures_util::stream::iter([text.len() as u32])
                    }

                    fn block(&self, times: u32) -> u32 {
                        times
                    }

                    async fn tell(&self, _: &str) {}
                }

                /// Makes a call.
                pub(super) async fn run() {
                    let api = ApiClient::new(rpc_runtime::Client::local(ApiServer::new(It)));
                    assert_eq!(api.add(1, 2).await.unwrap(), 3);
                }
            }
        )*

            #[tokio::test]
            async fn service_in_a_crate_that_forbids_a_lint_compiles_and_runs() {
                $($module::run().await;)*
            }
        };
    }

    forbidding! {
        unsafe_code: unsafe_code;
        dead_code: dead_code;
        deprecated: deprecated;
        unused: unused;
        warnings: warnings;
        missing_docs: missing_docs;
        nonstandard_style: nonstandard_style;
        unreachable_pub: unreachable_pub;
        clippy_all: clippy::all;
        clippy_too_many_arguments: clippy::too_many_arguments;
        unused_qualifications: unused_qualifications;
        non_snake_case: non_snake_case;
    }
}

/// Lints that the user allows for a method are allowed in all code that is generated from it.
mod allowed {
    #![deny(warnings)]

    use super::*;

    mod old {
        #[deprecated]
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(super) struct Old;
    }

    #[rpc]
    trait Permits {
        #[expect(clippy::too_many_arguments, reason = "a test")]
        async fn many(&self, a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8) -> u8;
        #[expect(clippy::type_complexity, reason = "a test")]
        async fn complex(&self, all: (u8, Vec<Option<Result<(u8, String), (u16, Vec<u8>)>>>))
        -> u8;
        #[allow(non_snake_case)]
        async fn camelCase(&self, anArgument: u8) -> u8;
        #[allow(deprecated)]
        async fn old(&self, old: Option<old::Old>) -> u8;
    }

    struct Desk;

    #[allow(non_snake_case, deprecated)]
    impl Permits for Desk {
        async fn many(&self, a: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8) -> u8 {
            a
        }

        async fn complex(
            &self,
            all: (u8, Vec<Option<Result<(u8, String), (u16, Vec<u8>)>>>),
        ) -> u8 {
            all.0
        }

        async fn camelCase(&self, anArgument: u8) -> u8 {
            anArgument
        }

        async fn old(&self, _: Option<old::Old>) -> u8 {
            4
        }
    }

    #[tokio::test]
    async fn lints_allowed_on_a_method_are_allowed_in_its_client() {
        let permits = PermitsClient::new(Client::local(PermitsServer::new(Desk)));
        assert_eq!(permits.many(1, 2, 3, 4, 5, 6, 7, 8).await.unwrap(), 1);
        assert_eq!(permits.complex((2, vec![])).await.unwrap(), 2);
        assert_eq!(permits.camelCase(3).await.unwrap(), 3);
        assert_eq!(permits.old(None).await.unwrap(), 4);
    }
}

mod boxed_alias {
    use super::*;

    type Outcome<T> = std::result::Result<T, Box<ErrorObject>>;

    mod api {
        pub(super) type Result<T> = super::Outcome<T>;
    }

    #[rpc]
    trait Aliased {
        async fn one(&self) -> api::Result<u8>;
    }

    struct Desk;

    impl Aliased for Desk {
        async fn one(&self) -> api::Result<u8> {
            Err(Box::new(
                ErrorObject::new(5, "boxed").with_data(&json!([1])),
            ))
        }
    }

    #[tokio::test]
    async fn boxed_error_under_an_alias_arrives() {
        let aliased = AliasedClient::new(Client::local(AliasedServer::new(Desk)));
        let error = aliased.one().await.unwrap_err();
        assert!(matches!(
            error,
            rpc_runtime::CallError::Application(error) if error.code() == 5
        ));
    }
}

/// Types with the names of primitive types, which the generated code names, too.
mod own_primitives {
    #![allow(non_camel_case_types)]

    use super::*;
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    pub(super) struct str(bool);

    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    pub(super) struct i64(bool);

    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    pub(super) struct u32(bool);

    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    pub(super) struct usize(bool);

    #[derive(Debug, PartialEq, thiserror::Error, RpcError)]
    #[error("no")]
    #[rpc(code = 1)]
    pub(super) struct Refused {
        by: i64,
    }

    #[rpc]
    pub(super) trait Primitives {
        async fn text(&self, text: str, count: usize) -> Result<u32, Refused>;
    }

    struct Desk;

    impl Primitives for Desk {
        async fn text(&self, text: str, count: usize) -> Result<u32, Refused> {
            match text.0 && count.0 {
                true => Ok(u32(true)),
                false => Err(Refused { by: i64(true) }),
            }
        }
    }

    #[tokio::test]
    async fn types_named_like_primitive_types_are_sent_like_others() {
        let desk = PrimitivesClient::new(Client::local(PrimitivesServer::new(Desk)));
        assert_eq!(desk.text(str(true), usize(true)).await.unwrap(), u32(true));
        match desk.text(str(false), usize(true)).await.unwrap_err() {
            rpc_runtime::CallError::Application(error) => {
                assert_eq!(error, Refused { by: i64(true) });
            }
            other => panic!("{other:?}"),
        }
    }
}

mod raw_trait {
    use super::*;

    #[rpc]
    trait r#Match {
        async fn r#loop(&self, r#type: u8) -> u8;
    }

    impl Match for () {
        async fn r#loop(&self, r#type: u8) -> u8 {
            r#type
        }
    }

    #[tokio::test]
    async fn raw_identifiers_have_their_plain_names_on_the_wire() {
        assert_eq!(MatchClient::DESCRIPTION.name, "Match");
        let client = Client::local(MatchServer::new(()));
        let sent = json!({"type": 7});
        assert_eq!(client.call::<u8, _>("loop", &sent).await.unwrap(), 7);
    }
}

/// Names that the prelude's traits have too, except `into` and `try_into`.
mod names_of_the_prelude {
    use super::*;

    macro_rules! service {
        ($($method:ident)*) => {
            #[expect(clippy::wrong_self_convention, reason = "the names of the prelude")]
            #[rpc]
            trait Named { $(async fn $method(&self) -> &str;)* }

            struct Desk;

            impl Named for Desk {
                $(async fn $method(&self) -> &str { stringify!($method) })*
            }

            #[tokio::test]
            async fn methods_named_like_those_of_the_prelude_are_called_on_the_client() {
                let client = Client::local(NamedServer::new(Desk));
                let named = NamedClient::new(client);
                $(assert_eq!(named.$method().await.unwrap(), stringify!($method));)*
                let borrowed = &Clone::clone(&named);
                $(assert_eq!(borrowed.$method().await.unwrap(), stringify!($method));)*
            }
        };
    }

    service! {
        clone to_owned to_string borrow borrow_mut as_ref as_mut into_iter next map max min
        eq ne cmp lt hash fmt from try_from default drop call type_id from_iter extend
    }
}

mod client_of_a_client {
    use super::*;

    #[rpc]
    trait Echo<T>
    where
        T: serde::Serialize + serde::de::DeserializeOwned + Send + Sync + 'static,
    {
        async fn echo(&self, value: T) -> T;
    }

    struct Desk;

    impl Echo<u8> for Desk {
        async fn echo(&self, value: u8) -> u8 {
            value
        }
    }

    #[tokio::test]
    async fn generated_client_lends_its_client() {
        let server = EchoServer::<Desk, u8>::new(Desk);
        let echo = EchoClient::<u8>::new(Client::local(server));
        let mut batch = echo.as_ref().batch();
        let entry = batch.call(echo.echo(7));
        assert_eq!(batch.send().await.unwrap().take(entry).unwrap(), 7);
        let untyped = echo.as_ref().call::<u8, _>("echo", &[8]);
        assert_eq!(untyped.await.unwrap(), 8);
    }
}
