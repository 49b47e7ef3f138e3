//! A hundred services, services of hundreds of methods, and many layers compile, and calls of them need little stack.
//!
//! Worker threads have 512 KiB of stack. The tests run in debug builds, whose functions reserve stack for each of their
//! values.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rpc_runtime::middleware::{Layered, Middleware, Next, RequestInfo, Response};
use rpc_runtime::{BindError, CallError, Client, Server, ServerBuilder, Service, code, rpc};
use serde::{Deserialize, Serialize};
use tests::support::{ANY_PORT, TestServer};

const STACK: usize = 512 << 10;

/// Runs `test` on a worker thread.
fn on_a_worker(test: impl Future<Output = ()> + Send + 'static) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(STACK)
        .enable_all()
        .build();
    let runtime = runtime.unwrap();
    let test = runtime.spawn(test);
    runtime.block_on(test).unwrap();
}

async fn over_quic(bind: impl FnOnce(ServerBuilder) -> Result<Server, BindError>) -> Client {
    TestServer::bind(bind).connect().await
}

#[derive(Clone, Copy)]
struct Host;

macro_rules! services {
    ($($service:ident $name:literal)*) => {
        $(
            mod $service {
                #[super::rpc(namespace = $name)]
                pub(crate) trait Named {
                    async fn name(&self, suffix: &str) -> String;
                }

                impl Named for super::Host {
                    async fn name(&self, suffix: &str) -> String {
                        format!("{}{suffix}", $name)
                    }
                }
            }
        )*

        const SERVICES: &[&str] = &[$($name),*];

        fn server_of_all(builder: ServerBuilder) -> Result<Server, BindError> {
            $(let builder = builder.service($service::NamedServer::new(Host));)*
            builder.bind(ANY_PORT)
        }

        /// Returns a client that serves them, of a server that calls them.
        fn client_with_all() -> Client {
            let builder = Client::builder();
            $(let builder = builder.service($service::NamedServer::new(Host));)*
            builder.local(RelayServer::new(Host))
        }
    };
}

services! {
    s00 "s00" s01 "s01" s02 "s02" s03 "s03" s04 "s04" s05 "s05" s06 "s06" s07 "s07" s08 "s08" s09 "s09" s10 "s10"
    s11 "s11" s12 "s12" s13 "s13" s14 "s14" s15 "s15" s16 "s16" s17 "s17" s18 "s18" s19 "s19" s20 "s20" s21 "s21"
    s22 "s22" s23 "s23" s24 "s24" s25 "s25" s26 "s26" s27 "s27" s28 "s28" s29 "s29" s30 "s30" s31 "s31" s32 "s32"
    s33 "s33" s34 "s34" s35 "s35" s36 "s36" s37 "s37" s38 "s38" s39 "s39" s40 "s40" s41 "s41" s42 "s42" s43 "s43"
    s44 "s44" s45 "s45" s46 "s46" s47 "s47" s48 "s48" s49 "s49" s50 "s50" s51 "s51" s52 "s52" s53 "s53" s54 "s54"
    s55 "s55" s56 "s56" s57 "s57" s58 "s58" s59 "s59" s60 "s60" s61 "s61" s62 "s62" s63 "s63" s64 "s64" s65 "s65"
    s66 "s66" s67 "s67" s68 "s68" s69 "s69" s70 "s70" s71 "s71" s72 "s72" s73 "s73" s74 "s74" s75 "s75" s76 "s76"
    s77 "s77" s78 "s78" s79 "s79" s80 "s80" s81 "s81" s82 "s82" s83 "s83" s84 "s84" s85 "s85" s86 "s86" s87 "s87"
    s88 "s88" s89 "s89" s90 "s90" s91 "s91" s92 "s92" s93 "s93" s94 "s94" s95 "s95" s96 "s96" s97 "s97" s98 "s98"
    s99 "s99"
}

/// Calls its caller.
#[rpc]
trait Relay {
    async fn relay(&self, cx: &rpc_runtime::Context, method: &str) -> Option<String>;
}

impl Relay for Host {
    async fn relay(&self, cx: &rpc_runtime::Context, method: &str) -> Option<String> {
        let caller: Client = cx.client();
        caller.call(method, &["!"]).await.ok()
    }
}

#[test]
fn call_to_each_of_a_hundred_services_is_answered() {
    assert_eq!(SERVICES.len(), 100);
    on_a_worker(async {
        let client = over_quic(server_of_all).await;
        for service in SERVICES {
            let call = client.call::<String, _>(&format!("{service}.name"), &["!"]);
            assert_eq!(call.await.unwrap(), format!("{service}!"));
        }
        let typed = s99::NamedClient::new(client);
        assert_eq!(typed.name("?").await.unwrap(), "s99?");
    });
}

#[test]
fn unknown_method_beside_a_hundred_services_is_not_found() {
    on_a_worker(async {
        let client = over_quic(server_of_all).await;
        for method in ["s100.name", "s99.names", "s50", ".name", ""] {
            match client.call::<String, _>(method, &["!"]).await {
                Err(CallError::Remote(error)) => {
                    assert_eq!(error.code(), code::METHOD_NOT_FOUND);
                }
                other => panic!("{method}: {other:?}"),
            }
        }
    });
}

#[test]
fn services_of_a_server_are_described_in_the_order_they_were_added() {
    on_a_worker(async {
        let client = over_quic(server_of_all).await;
        let document: serde_json::Value = client.call("rpc.discover", &()).await.unwrap();
        let methods = document["methods"].as_array().unwrap().iter();
        let names: Vec<_> = methods
            .filter_map(|method| method["name"].as_str())
            .collect();
        let expected: Vec<_> = SERVICES.iter().map(|name| format!("{name}.name")).collect();
        assert_eq!(names, expected);
    });
}

#[test]
fn call_to_a_client_with_a_hundred_services_is_answered() {
    on_a_worker(async {
        let relay = RelayClient::new(client_with_all());
        for service in ["s00", "s50", "s99"] {
            let name = relay.relay(&format!("{service}.name")).await.unwrap();
            assert_eq!(name, Some(format!("{service}!")));
        }
        assert_eq!(relay.relay("s100.name").await.unwrap(), None);
    });
}

type Words = [u64; 32];

macro_rules! large {
    ($($method:ident)*) => {
        #[rpc(namespace = "large")]
        trait Large {
            $(async fn $method(&self, seed: u64, words: Words, text: &str, more: Words) -> Sum;)*
        }

        impl Large for Host {
            $(
                async fn $method(&self, seed: u64, words: Words, text: &str, more: Words) -> Sum {
                    let sums: Words = std::array::from_fn(|at| words[at] + more[at]);
                    tokio::task::yield_now().await;
                    let products: Words = std::array::from_fn(|at| words[at] * more[at]);
                    tokio::task::yield_now().await;
                    let sum = sums.iter().chain(&products).sum::<u64>() + seed;
                    Sum { method: stringify!($method).to_owned() + text, sum }
                }
            )*
        }

        const METHODS: &[&str] = &[$(stringify!($method)),*];
    };
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Sum {
    method: String,
    sum: u64,
}

impl Sum {
    fn of(method: &str) -> Self {
        let method = format!("{method}!");
        Self { method, sum: 103 }
    }
}

const ONES: Words = [1; 32];

large! {
    m000 m001 m002 m003 m004 m005 m006 m007 m008 m009 m010 m011 m012 m013 m014 m015 m016 m017 m018 m019 m020 m021
    m022 m023 m024 m025 m026 m027 m028 m029 m030 m031 m032 m033 m034 m035 m036 m037 m038 m039 m040 m041 m042 m043
    m044 m045 m046 m047 m048 m049 m050 m051 m052 m053 m054 m055 m056 m057 m058 m059 m060 m061 m062 m063 m064 m065
    m066 m067 m068 m069 m070 m071 m072 m073 m074 m075 m076 m077 m078 m079 m080 m081 m082 m083 m084 m085 m086 m087
    m088 m089 m090 m091 m092 m093 m094 m095 m096 m097 m098 m099 m100 m101 m102 m103 m104 m105 m106 m107 m108 m109
    m110 m111 m112 m113 m114 m115 m116 m117 m118 m119 m120 m121 m122 m123 m124 m125 m126 m127 m128 m129 m130 m131
    m132 m133 m134 m135 m136 m137 m138 m139 m140 m141 m142 m143 m144 m145 m146 m147 m148 m149 m150 m151 m152 m153
    m154 m155 m156 m157 m158 m159 m160 m161 m162 m163 m164 m165 m166 m167 m168 m169 m170 m171 m172 m173 m174 m175
    m176 m177 m178 m179 m180 m181 m182 m183 m184 m185 m186 m187 m188 m189 m190 m191 m192 m193 m194 m195 m196 m197
    m198 m199 m200 m201 m202 m203 m204 m205 m206 m207 m208 m209 m210 m211 m212 m213 m214 m215 m216 m217 m218 m219
    m220 m221 m222 m223 m224 m225 m226 m227 m228 m229 m230 m231 m232 m233 m234 m235 m236 m237 m238 m239 m240 m241
    m242 m243 m244 m245 m246 m247 m248 m249
}

async fn call_all_methods(client: Client) {
    for method in METHODS {
        let call = client.call::<Sum, _>(&format!("large.{method}"), &(7, ONES, "!", ONES));
        assert_eq!(call.await.unwrap(), Sum::of(method));
    }
    let large = LargeClient::new(client.clone());
    assert_eq!(
        large.m000(7, ONES, "!", ONES).await.unwrap(),
        Sum::of("m000")
    );
    assert_eq!(
        large.m249(7, ONES, "!", ONES).await.unwrap(),
        Sum::of("m249")
    );
    for methods in METHODS.chunks(100) {
        let mut batch = client.batch();
        let calls = methods.iter().map(|method| {
            let params = (7, ONES, "!", ONES);
            client.call::<Sum, _>(&format!("large.{method}"), &params)
        });
        let entries: Vec<_> = calls.map(|call| batch.call(call)).collect();
        let mut replies = batch.send().await.unwrap();
        for (entry, method) in entries.into_iter().zip(methods) {
            assert_eq!(replies.take(entry).unwrap(), Sum::of(method));
        }
    }
}

#[test]
fn service_of_250_methods_answers_in_memory_on_a_small_stack() {
    assert_eq!(METHODS.iter().collect::<BTreeSet<_>>().len(), 250);
    on_a_worker(async {
        call_all_methods(Client::local(LargeServer::new(Host))).await;
    });
}

#[test]
fn service_of_250_methods_answers_over_quic_on_a_small_stack() {
    on_a_worker(async {
        let client = over_quic(|server| server.service(LargeServer::new(Host)).bind(ANY_PORT));
        call_all_methods(client.await).await;
    });
}

/// Counts the calls that have ended.
struct Counting(Arc<AtomicUsize>);

impl Middleware for Counting {
    async fn call<S: Service>(&self, call: RequestInfo<'_>, next: Next<'_, S>) -> Response {
        let before = self.0.load(Ordering::Relaxed);
        let answer = next
            .observe(|_| {
                self.0.fetch_add(1, Ordering::Relaxed);
            })
            .await;
        assert!(before < self.0.load(Ordering::Relaxed) && call.has_reply());
        answer
    }
}

macro_rules! layered {
    ($service:expr, $calls:expr,) => { $service };
    ($service:expr, $calls:expr, $layer:literal $($more:literal)*) => {
        layered!(Layered::new(Counting(Arc::clone($calls)), $service), $calls, $($more)*)
    };
}

fn twenty_layers(calls: &Arc<AtomicUsize>) -> impl Service {
    layered!(LargeServer::new(Host), calls, 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20)
}

#[test]
fn service_within_twenty_layers_answers_in_memory_on_a_small_stack() {
    on_a_worker(async {
        let calls = Arc::new(AtomicUsize::new(0));
        let client = Client::local(twenty_layers(&calls));
        call_all_methods(client).await;
        assert_eq!(calls.load(Ordering::Relaxed), 20 * (2 * METHODS.len() + 2));
    });
}

#[test]
fn service_within_twenty_layers_answers_over_quic_on_a_small_stack() {
    on_a_worker(async {
        let calls = Arc::new(AtomicUsize::new(0));
        let service = twenty_layers(&calls);
        let client = over_quic(|server| server.service(service).bind(ANY_PORT));
        call_all_methods(client.await).await;
        assert_eq!(calls.load(Ordering::Relaxed), 20 * (2 * METHODS.len() + 2));
    });
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Wrapped<T> {
    inner: Option<T>,
    name: String,
}

type Wrapped4<T> = Wrapped<Wrapped<Wrapped<Wrapped<T>>>>;
type Wrapped24 = Wrapped4<Wrapped4<Wrapped4<Wrapped4<Wrapped4<Wrapped4<u8>>>>>>;
type Nested4<T> = Vec<Option<Vec<Option<T>>>>;
type Nested24 = Nested4<Nested4<Nested4<Nested4<Nested4<Nested4<u8>>>>>>;

#[rpc(namespace = "deep")]
trait Deep {
    async fn wrapped(&self, value: Box<Wrapped24>) -> Box<Wrapped24>;
    async fn nested(&self, value: Nested24) -> Nested24;
    async fn both(&self, value: (Box<Wrapped24>, Option<Nested24>)) -> Result<Nested24, Refused>;
}

#[derive(Debug, thiserror::Error, rpc_runtime::RpcError)]
enum Refused {
    #[error("nothing was nested")]
    #[rpc(code = 1)]
    Empty,
}

impl Deep for Host {
    async fn wrapped(&self, value: Box<Wrapped24>) -> Box<Wrapped24> {
        tokio::task::yield_now().await;
        value
    }

    async fn nested(&self, value: Nested24) -> Nested24 {
        tokio::task::yield_now().await;
        value
    }

    async fn both(&self, value: (Box<Wrapped24>, Option<Nested24>)) -> Result<Nested24, Refused> {
        tokio::task::yield_now().await;
        value.1.ok_or(Refused::Empty)
    }
}

#[test]
fn arguments_of_deeply_nested_types_arrive_on_a_small_stack() {
    on_a_worker(async {
        let deep = DeepClient::new(Client::local(DeepServer::new(Host)));
        let json = [
            r#"{"name":"x","inner":"#.repeat(24),
            "7".into(),
            "}".repeat(24),
        ]
        .concat();
        let wrapped: Box<Wrapped24> = serde_json::from_str(&json).unwrap();
        assert_eq!(deep.wrapped(wrapped.clone()).await.unwrap(), wrapped);
        let nested: Nested24 = serde_json::from_str("[[[[[[[[[[[[1]]]]]]]]]]]]").unwrap();
        assert_eq!(deep.nested(nested.clone()).await.unwrap(), nested);
        let both = deep.both((wrapped, Some(nested.clone()))).await.unwrap();
        assert_eq!(both, nested);
    });
}
