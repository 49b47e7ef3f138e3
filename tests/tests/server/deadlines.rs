//! Deadlines of calls and of the calls that their handlers make.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rpc_runtime::{CallError, Client, Context, Limits, code, rpc};
use tests::support::{DEADLINE, serve, soon};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// The last service of the chain.
#[rpc]
trait Stock {
    /// Returns the remaining time in milliseconds, if there is a deadline.
    async fn remaining(&self, cx: &Context) -> Option<u128>;
    async fn hang(&self);
}

/// A service that calls `Stock`.
#[rpc]
trait Shop {
    async fn remaining(&self) -> Option<u128>;
    async fn remaining_of(&self, milliseconds: u64) -> Option<u128>;
    async fn remaining_after_a_pause(&self) -> Option<u128>;
    async fn remaining_in_a_task(&self) -> Option<u128>;
    async fn remaining_in_a_batch(&self) -> Option<u128>;
    #[rpc(blocking)]
    fn remaining_in_a_thread(&self) -> Option<u128>;
    async fn remaining_out_of_sight(&self) -> Option<u128>;
    async fn remaining_when_told(&self, cx: &Context) -> Option<u128>;
    /// Keeps the context of the call.
    async fn keep(&self, cx: &Context);
    /// Calls within the deadline of the call that was kept.
    async fn remaining_within_the_kept(&self) -> Option<u128>;
    async fn hang(&self);
    async fn outlive(&self, cx: &Context);
}

#[derive(Clone)]
struct Shelf(Arc<Counts>);

struct Counts {
    started: AtomicUsize,
    hung: Semaphore,
    dropped: Semaphore,
    outlived: Semaphore,
}

/// Reports that the future of a handler was dropped.
struct Hanging(Arc<Counts>);

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.dropped.add_permits(1);
    }
}

impl Stock for Shelf {
    async fn remaining(&self, cx: &Context) -> Option<u128> {
        self.0.started.fetch_add(1, Ordering::SeqCst);
        cx.remaining().map(|remaining| remaining.as_millis())
    }

    async fn hang(&self) {
        self.0.hung.add_permits(1);
        let _hanging = Hanging(Arc::clone(&self.0));
        std::future::pending().await
    }
}

struct Keeper {
    stock: StockClient,
    client: Client,
    counts: Arc<Counts>,
    kept: Mutex<Option<Context>>,
}

impl Shop for Keeper {
    async fn remaining(&self) -> Option<u128> {
        self.stock.remaining().await.unwrap()
    }

    async fn remaining_of(&self, milliseconds: u64) -> Option<u128> {
        let timeout = Duration::from_millis(milliseconds);
        self.stock.remaining().timeout(timeout).await.unwrap()
    }

    async fn remaining_after_a_pause(&self) -> Option<u128> {
        tokio::task::yield_now().await;
        self.stock.remaining().dedicated_stream().await.unwrap()
    }

    async fn remaining_in_a_task(&self) -> Option<u128> {
        tokio::spawn(self.stock.remaining()).await.unwrap().unwrap()
    }

    async fn remaining_in_a_batch(&self) -> Option<u128> {
        let mut batch = self.client.batch();
        let entry = batch.call(self.stock.remaining());
        batch.send().await.unwrap().take(entry).unwrap()
    }

    fn remaining_in_a_thread(&self) -> Option<u128> {
        Handle::current().block_on(self.stock.remaining()).unwrap()
    }

    async fn remaining_out_of_sight(&self) -> Option<u128> {
        let stock = self.stock.clone();
        let task = tokio::spawn(async move { stock.remaining().await });
        task.await.unwrap().unwrap()
    }

    async fn remaining_when_told(&self, cx: &Context) -> Option<u128> {
        let (stock, cx) = (self.stock.clone(), cx.clone());
        let task = tokio::spawn(async move { stock.remaining().deadline_from(&cx).await });
        task.await.unwrap().unwrap()
    }

    async fn keep(&self, cx: &Context) {
        *self.kept.lock().unwrap() = Some(cx.clone());
    }

    async fn remaining_within_the_kept(&self) -> Option<u128> {
        let kept = self.kept.lock().unwrap().clone().unwrap();
        self.stock.remaining().deadline_from(&kept).await.unwrap()
    }

    async fn hang(&self) {
        self.stock.hang().await.unwrap();
    }

    async fn outlive(&self, cx: &Context) {
        let (stock, cx) = (self.stock.clone(), cx.clone());
        let counts = Arc::clone(&self.counts);
        tokio::spawn(async move {
            tokio::time::sleep_until(cx.deadline().unwrap()).await;
            let late = stock.remaining().deadline_from(&cx).await;
            assert!(matches!(late, Err(CallError::Timeout)), "{late:?}");
            counts.outlived.add_permits(1);
        });
        std::future::pending().await
    }
}

async fn shop() -> (ShopClient, Client, Arc<Counts>) {
    let counts = Arc::new(Counts {
        started: AtomicUsize::new(0),
        hung: Semaphore::new(0),
        dropped: Semaphore::new(0),
        outlived: Semaphore::new(0),
    });
    let shelf = Shelf(Arc::clone(&counts));
    let (stock, _) = serve(StockServer::new(shelf), Limits::default()).await;
    let keeper = Keeper {
        stock: StockClient::new(stock.clone()),
        client: stock.clone(),
        counts: Arc::clone(&counts),
        kept: Mutex::default(),
    };
    let (client, _) = serve(ShopServer::new(keeper), Limits::default()).await;
    (ShopClient::new(client), stock, counts)
}

const MINUTE: Duration = Duration::from_secs(60);

#[track_caller]
fn assert_about_a_minute(remaining: Option<u128>) {
    assert!(
        remaining.is_some_and(|remaining| (30_000..=60_000).contains(&remaining)),
        "{remaining:?}"
    );
}

#[tokio::test]
async fn calls_of_a_handler_inherit_its_deadline() {
    let (shop, ..) = shop().await;
    for call in [
        shop.remaining(),
        shop.remaining_after_a_pause(),
        shop.remaining_in_a_task(),
        shop.remaining_in_a_batch(),
        shop.remaining_in_a_thread(),
        shop.remaining_when_told(),
    ] {
        assert_about_a_minute(soon(call.timeout(MINUTE)).await.unwrap());
    }
}

#[tokio::test]
async fn calls_of_a_handler_without_a_deadline_have_none() {
    let (shop, ..) = shop().await;
    // A call with a deadline leaves none on the thread.
    let with = shop.remaining_after_a_pause().timeout(MINUTE);
    let (with, without) = tokio::join!(with, shop.remaining_after_a_pause());
    assert_about_a_minute(with.unwrap());
    assert_eq!(without.unwrap(), None);
    for call in [
        shop.remaining(),
        shop.remaining_in_a_task(),
        shop.remaining_in_a_batch(),
        shop.remaining_in_a_thread(),
        shop.remaining_when_told(),
        shop.remaining_out_of_sight().timeout(MINUTE),
    ] {
        assert_eq!(soon(call).await.unwrap(), None);
    }
}

#[tokio::test]
async fn shorter_of_two_timeouts_applies() {
    let (shop, ..) = shop().await;
    let own = shop.remaining_of(60_000).timeout(60 * MINUTE);
    assert_about_a_minute(soon(own).await.unwrap());
    let own = shop.remaining_of(60_000);
    assert_about_a_minute(soon(own).await.unwrap());
    let inherited = shop.remaining_of(3_600_000).timeout(MINUTE);
    assert_about_a_minute(soon(inherited).await.unwrap());
    let inherited = shop.remaining_of(u64::MAX).timeout(MINUTE);
    assert_about_a_minute(soon(inherited).await.unwrap());
}

#[tokio::test]
async fn shorter_of_the_inherited_and_another_deadline_applies() {
    let (shop, ..) = shop().await;
    for (kept, own) in [(60 * MINUTE, MINUTE), (MINUTE, 60 * MINUTE)] {
        soon(shop.keep().timeout(kept)).await.unwrap();
        let remaining = shop.remaining_within_the_kept().timeout(own);
        assert_about_a_minute(soon(remaining).await.unwrap());
    }
}

#[tokio::test]
async fn deadline_ends_every_call_of_a_chain() {
    let (shop, _, counts) = shop().await;
    let late = soon(shop.hang().timeout(DEADLINE)).await;
    assert!(matches!(late, Err(CallError::Timeout)), "{late:?}");
    soon(counts.hung.acquire()).await.unwrap().forget();
    soon(counts.dropped.acquire()).await.unwrap().forget();
}

#[tokio::test]
async fn call_without_time_left_is_not_started() {
    let (shop, client, counts) = shop().await;
    let stock = StockClient::new(client.clone());
    let late = soon(stock.remaining().timeout(Duration::ZERO)).await;
    assert!(matches!(late, Err(CallError::Timeout)), "{late:?}");
    let late = soon(stock.remaining().dedicated_stream().timeout(Duration::ZERO)).await;
    assert!(matches!(late, Err(CallError::Timeout)), "{late:?}");
    // The client does not time the entries of a batch, so the server rejects this one.
    let mut batch = client.batch();
    let entry = batch.call(stock.remaining().timeout(Duration::ZERO));
    let late = soon(batch.send()).await.unwrap().take(entry);
    assert!(matches!(late, Err(CallError::Timeout)), "{late:?}");
    let late = soon(shop.outlive().timeout(DEADLINE)).await;
    assert!(matches!(late, Err(CallError::Timeout)), "{late:?}");
    soon(counts.outlived.acquire()).await.unwrap().forget();
    assert_eq!(counts.started.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn timeouts_too_long_to_count_are_ignored() {
    let (shop, client, _) = shop().await;
    let stock = StockClient::new(client);
    for timeout in [Duration::MAX, Duration::from_millis(u64::MAX)] {
        let call = stock.remaining().timeout(timeout);
        assert_eq!(soon(call).await.unwrap(), None);
        let call = stock.remaining().dedicated_stream().timeout(timeout);
        assert_eq!(soon(call).await.unwrap(), None);
        let call = shop.remaining().timeout(timeout);
        assert_eq!(soon(call).await.unwrap(), None);
    }
    let shortest = soon(stock.remaining().timeout(Duration::from_nanos(1))).await;
    assert!(
        matches!(shortest, Ok(Some(_)) | Err(CallError::Timeout)),
        "{shortest:?}"
    );
}

#[tokio::test]
async fn deadline_of_a_batch_entry_is_enforced_by_the_server() {
    let (_, client, _) = shop().await;
    let stock = StockClient::new(client.clone());
    // The client does not time the entries of a batch.
    let mut batch = client.batch();
    let entry = batch.call(stock.hang().timeout(Duration::from_millis(20)));
    let mut replies = soon(batch.send()).await.unwrap();
    let late = replies.take(entry);
    assert!(matches!(late, Err(CallError::Timeout)), "{late:?}");
    assert_eq!(code::DEADLINE_PASSED, -32002);
}
