//! The values of a call: a middleware inserts them, and handlers of every kind read them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use rpc_runtime::middleware::{Layered, Middleware, Next, RequestInfo, Response};
use rpc_runtime::{Client, Context, Limits, Service, rpc};
use tests::support::{TestServer, eventually, soon};
use tokio::sync::Mutex;

/// The user of a call. Counts itself while it exists.
struct User {
    name: String,
    alive: Arc<AtomicUsize>,
}

impl Drop for User {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
        assert_ne!(self.name, "panics when dropped");
    }
}

/// Inserts the user that the metadata names.
#[derive(Clone, Default)]
struct Authenticate {
    alive: Arc<AtomicUsize>,
}

impl Middleware for Authenticate {
    async fn call<S: Service>(&self, call: RequestInfo<'_>, next: Next<'_, S>) -> Response {
        let values = call.context().extensions();
        assert!(values.get::<User>().is_none(), "a value of another call");
        if let Some(name) = call.context().meta("user") {
            self.alive.fetch_add(1, Ordering::SeqCst);
            values.insert(User {
                name: name.to_owned(),
                alive: Arc::clone(&self.alive),
            });
        }
        next.run().await
    }
}

#[rpc]
trait Account {
    async fn name(&self, cx: &Context) -> String;
    #[rpc(blocking)]
    fn name_on_thread(&self, cx: &Context) -> String;
    fn names(&self, cx: &Context) -> impl Stream<Item = String>;
    async fn upload(&self, cx: &Context, items: impl Stream<Item = u32>) -> String;
    #[rpc(notification)]
    async fn note(&self, cx: &Context);
    async fn noted(&self) -> String;
    /// Calls `name` of the caller, as this user.
    async fn name_of_caller(&self, cx: &Context, user: &str) -> String;
}

#[derive(Clone, Default)]
struct Accounts {
    noted: Arc<Mutex<String>>,
}

fn user(cx: &Context) -> String {
    let user = cx.extensions().get::<User>();
    user.map_or_else(|| "none".into(), |user| user.name.clone())
}

impl Account for Accounts {
    async fn name(&self, cx: &Context) -> String {
        let before = user(cx);
        tokio::task::yield_now().await;
        assert_eq!(before, user(cx));
        let copy = cx.clone();
        let spawned = tokio::spawn(async move { user(&copy) }).await.unwrap();
        assert_eq!(before, spawned);
        before
    }

    fn name_on_thread(&self, cx: &Context) -> String {
        user(cx)
    }

    fn names(&self, cx: &Context) -> impl Stream<Item = String> {
        let cx = cx.clone();
        stream::iter(0..2).then(move |_| {
            let name = user(&cx);
            async move { name }
        })
    }

    async fn upload(&self, cx: &Context, items: impl Stream<Item = u32>) -> String {
        let count = items.count().await;
        format!("{} {count}", user(cx))
    }

    async fn note(&self, cx: &Context) {
        *self.noted.lock().await = user(cx);
    }

    async fn noted(&self) -> String {
        self.noted.lock().await.clone()
    }

    async fn name_of_caller(&self, cx: &Context, user: &str) -> String {
        let caller = cx.client::<AccountClient>();
        let name = caller.name().meta("user", user).await.unwrap();
        format!("{}, called as {name}", self::user(cx))
    }
}

fn service(authenticate: &Authenticate) -> impl Service + use<> {
    Layered::new(
        authenticate.clone(),
        AccountServer::new(Accounts::default()),
    )
}

struct Setup {
    /// Serves the same service as its server.
    client: Client,
    account: AccountClient,
    /// Number of values that exist.
    alive: Arc<AtomicUsize>,
}

impl Setup {
    async fn new() -> Self {
        let authenticate = Authenticate::default();
        let server = TestServer::start(service(&authenticate), Limits::default());
        let builder = server.client().service(service(&authenticate));
        let client = soon(builder.connect(server.address)).await.unwrap();
        Self::of(client, authenticate)
    }

    fn in_memory() -> Self {
        let authenticate = Authenticate::default();
        let builder = Client::builder().service(service(&authenticate));
        Self::of(builder.local(service(&authenticate)), authenticate)
    }

    fn of(client: Client, authenticate: Authenticate) -> Self {
        Self {
            account: AccountClient::new(client.clone()),
            client,
            alive: authenticate.alive,
        }
    }

    async fn no_value_is_left(&self) {
        eventually(|| self.alive.load(Ordering::SeqCst) == 0).await;
    }
}

#[tokio::test]
async fn value_of_a_call_reaches_handlers_of_every_kind() {
    reaches_handlers_of_every_kind(Setup::new().await).await;
    reaches_handlers_of_every_kind(Setup::in_memory()).await;
}

async fn reaches_handlers_of_every_kind(setup: Setup) {
    let account = &setup.account;
    assert_eq!(account.name().meta("user", "ada").await.unwrap(), "ada");
    let on_thread = account.name_on_thread().meta("user", "bob");
    assert_eq!(on_thread.await.unwrap(), "bob");
    let names = account.names().meta("user", "cid").try_collect::<Vec<_>>();
    assert_eq!(soon(names).await.unwrap(), ["cid", "cid"]);
    let upload = account.upload(stream::iter([1, 2])).meta("user", "dan");
    assert_eq!(soon(upload).await.unwrap(), "dan 2");
    account.note().meta("user", "eve").await.unwrap();
    while soon(account.noted()).await.unwrap() != "eve" {
        tokio::task::yield_now().await;
    }
    let name = account.name_of_caller("fay").meta("user", "gil").await;
    assert_eq!(name.unwrap(), "gil, called as fay");
    assert_eq!(account.name().await.unwrap(), "none");
    setup.no_value_is_left().await;
}

#[tokio::test]
async fn value_of_a_call_is_that_of_its_entry_of_a_batch() {
    let setup = Setup::new().await;
    let account = &setup.account;
    let mut batch = setup.client.batch();
    let entries = ["ada", "bob"].map(|user| batch.call(account.name().meta("user", user)));
    let without = batch.call(account.name());
    let mut replies = soon(batch.send()).await.unwrap();
    let [ada, bob] = entries.map(|entry| replies.take(entry).unwrap());
    assert_eq!((ada.as_str(), bob.as_str()), ("ada", "bob"));
    assert_eq!(replies.take(without).unwrap(), "none");
    setup.no_value_is_left().await;
}

#[tokio::test]
async fn concurrent_calls_of_two_users_on_one_connection_see_only_their_own_values() {
    for setup in [Setup::new().await, Setup::in_memory()] {
        let account = &setup.account;
        let calls = (0..200).map(|call| async move {
            let user = ["ada", "bob"][call % 2];
            let seen = match call / 2 % 5 {
                0 => account.name().meta("user", user).await.unwrap(),
                1 => {
                    let call = account.name().dedicated_stream();
                    call.meta("user", user).await.unwrap()
                }
                2 => account.name_on_thread().meta("user", user).await.unwrap(),
                3 => {
                    let names = account.names().meta("user", user);
                    let names: Vec<_> = names.try_collect().await.unwrap();
                    assert_eq!(names, [user; 2]);
                    user.to_owned()
                }
                _ => {
                    let upload = account.upload(stream::iter([1, 2]));
                    let uploaded = upload.meta("user", user).await.unwrap();
                    uploaded.replace(" 2", "")
                }
            };
            assert_eq!(user, seen);
        });
        soon(join_all(calls)).await;
        setup.no_value_is_left().await;
    }
}

#[tokio::test]
async fn value_that_panics_when_dropped_ends_no_other_call() {
    let setup = Setup::new().await;
    let account = &setup.account;
    for _ in 0..3 {
        let name = account.name().meta("user", "panics when dropped").await;
        assert_eq!(name.unwrap(), "panics when dropped");
        assert_eq!(account.name().meta("user", "ada").await.unwrap(), "ada");
    }
    setup.no_value_is_left().await;
}
