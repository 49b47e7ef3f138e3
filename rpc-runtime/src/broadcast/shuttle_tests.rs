//! Senders and subscribers of a feed, under many schedules: `cargo test -p rpc-runtime --features __shuttle --lib shuttle`.

use shuttle::future::{block_on, spawn};

use super::*;

/// Number of schedules that each test explores.
const SCHEDULES: usize = 2_000;

const ITEMS: u32 = 4;

async fn next<T>(items: &mut Subscription<T>) -> Option<T> {
    poll_fn(|cx| Pin::new(&mut *items).poll_next(cx)).await
}

async fn collect<T>(mut items: Subscription<T>) -> Vec<T> {
    let mut collected = Vec::new();
    while let Some(item) = next(&mut items).await {
        collected.push(item);
    }
    collected
}

/// Two senders; subscribers that keep up, one that drops the oldest, and one that is dropped after its first item.
#[test]
fn concurrent_senders_deliver_every_item_in_one_order_and_all_return() {
    let test = || {
        block_on(async {
            let feed = Broadcast::new();
            let all = spawn(collect(feed.subscribe_waiting(1)));
            let others = spawn(collect(feed.subscribe_waiting(2)));
            let dropping = spawn(collect(feed.subscribe_dropping_oldest(1)));
            let mut gone = feed.subscribe_waiting(1);
            let gone = spawn(async move { next(&mut gone).await });
            for sender in 0..2 {
                let feed = feed.clone();
                spawn(async move {
                    for item in 0..ITEMS {
                        feed.send((sender, item)).await;
                    }
                });
            }
            drop(feed);
            let all = all.await.unwrap();
            assert_eq!(all.len() as u32, 2 * ITEMS);
            for sender in 0..2 {
                let own = all.iter().filter(|(by, _)| *by == sender);
                assert!(own.map(|(_, item)| *item).eq(0..ITEMS));
            }
            assert_eq!(others.await.unwrap(), all);
            assert_eq!(gone.await.unwrap().as_ref(), all.first());
            let dropping = dropping.await.unwrap();
            assert_eq!(dropping.last(), all.last());
        });
    };
    shuttle::check_random(test, SCHEDULES);
}

/// Closing a feed ends senders and subscribers that wait.
#[test]
fn close_ends_waiting_senders_and_subscribers() {
    let test = || {
        block_on(async {
            let feed = Broadcast::new();
            let _unread = feed.subscribe_waiting(1);
            let all = spawn(collect(feed.subscribe_waiting(1)));
            let sender = spawn({
                let feed = feed.clone();
                async move {
                    for item in 0..ITEMS {
                        feed.send(item).await;
                    }
                }
            });
            feed.close();
            sender.await.unwrap();
            let all = all.await.unwrap();
            assert!(all.iter().copied().eq(0..all.len() as u32), "{all:?}");
        });
    };
    shuttle::check_random(test, SCHEDULES);
}
