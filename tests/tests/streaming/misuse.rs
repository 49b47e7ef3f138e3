//! Peers and handlers that misuse streams of items: no other call is affected, and no memory or permit is kept.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, poll, stream};
use rpc_runtime::event::Event;
use rpc_runtime::{CallError, Client, Limits};
use tests::log::Log;
use tests::message::{call_line, cancel, item, line};
use tests::peer::{RawClient, TIMED_OUT};
use tests::support::{current_thread, eventually, serve, soon};
use tokio::sync::mpsc;

use crate::service::{Clerk, DeskClient, DeskServer, desk, is_served, server, until_stalled};

/// A time limit that passes within a test.
const SHORT: Duration = Duration::from_millis(300);

/// A time limit that does not pass within a test.
const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn item_received_while_the_handler_is_busy_is_not_lost() {
    let (server, clerk) = server(Limits::default());
    let connection = RawClient::connect(&server).await;
    let mut stream = connection.send(call_line(1, "busy", "[]")).await;
    soon(clerk.started.notified()).await;
    stream.write_line(item(1, 7)).await;
    connection.wait_until_processed().await;
    clerk.gate.notify_one();
    assert_eq!(stream.reply().await["result"], 7);
}

#[tokio::test]
async fn unread_response_streams_do_not_block_calls() {
    let (desk, clerk, _server) = desk(Limits::default()).await;
    let mut stalled: Vec<_> = (0..12).map(|_| Box::pin(desk.numbers())).collect();
    for items in &mut stalled {
        assert_eq!(soon(items.next()).await.unwrap().unwrap(), 0);
    }
    until_stalled(&desk, || clerk.made()).await;
    is_served(&desk).await;
}

#[tokio::test]
async fn call_behind_more_unread_streams_than_the_memory_allows_times_out_with_the_limit() {
    let log = Log::default();
    let _recording = log.record();
    let (server, _clerk) = server(Limits::default());
    let reported = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reported);
    let limit = "max_memory_bytes_per_connection (33554432)";
    let client = server.client().on_event(move |event| {
        if let Event::RepliesHeldBack { limit: found, .. } = event {
            assert_eq!(found.to_string(), limit);
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let client = soon(client.connect(server.address)).await.unwrap();
    let desk = DeskClient::new(client.clone());
    let mut stalled = Vec::new();
    while let Ok(3) = soon(desk.add(1, 2).timeout(SHORT)).await {
        let mut items = Box::pin(desk.numbers());
        let first = tokio::time::timeout(SHORT, items.next()).await;
        if let Ok(Some(first)) = first {
            assert_eq!(first.unwrap(), 0);
            stalled.push(items);
        }
        assert!(stalled.len() < 100);
    }
    // A call without a timeout is reported, too.
    let waiting = tokio::spawn(desk.add(1, 2).into_future());
    eventually(|| reported.load(Ordering::Relaxed) > 1).await;
    let mut batch = client.batch().timeout(SHORT);
    let _entry = batch.call(desk.add(1, 2));
    let mut items = desk.numbers().timeout(SHORT);
    let errors = [
        soon(desk.add(1, 2).timeout(SHORT)).await.unwrap_err(),
        soon(desk.add(1, 2).dedicated_stream().timeout(SHORT))
            .await
            .unwrap_err(),
        soon(batch.send()).await.err().unwrap(),
        soon(items.next()).await.unwrap().unwrap_err(),
    ];
    for error in errors {
        let is_named = matches!(&error, CallError::TimeoutBehindItems(text)
            if text.contains("33554432 bytes") && text.contains("max_memory_bytes_per_connection"));
        assert!(is_named, "{error:?}");
        assert!(!error.is_retryable());
    }
    assert!(log.has("streams of items are not read"));
    drop(stalled);
    assert_eq!(soon(waiting).await.unwrap().unwrap(), 3);
    is_served(&desk).await;
}

#[tokio::test]
async fn unread_request_streams_do_not_block_calls() {
    let (desk, _, _server) = desk(Limits::default()).await;
    let sent = Arc::new(AtomicUsize::new(0));
    let uploads: Vec<_> = (0..12)
        .map(|_| {
            let (desk, sent) = (desk.clone(), Arc::clone(&sent));
            let items = stream::iter(0..).inspect(move |_| {
                sent.fetch_add(1, Ordering::Relaxed);
            });
            tokio::spawn(async move { desk.ignore(items).await })
        })
        .collect();
    until_stalled(&desk, || sent.load(Ordering::Relaxed)).await;
    is_served(&desk).await;
    uploads.iter().for_each(|upload| upload.abort());
}

#[tokio::test]
async fn hundred_open_streams_do_not_block_calls() {
    let (desk, _, _server) = desk(Limits::default()).await;
    let mut streams: Vec<_> = (0..100).map(|_| Box::pin(desk.one())).collect();
    for items in &mut streams {
        assert_eq!(soon(items.next()).await.unwrap().unwrap(), 1);
    }
    is_served(&desk).await;
}

#[tokio::test]
async fn unread_streams_at_the_limit_of_calls_time_out() {
    let (server, _) = server(Limits {
        max_concurrent_calls: 4,
        write_timeout: SHORT,
        ..Limits::default()
    });
    let [slow, other] = [server.connect().await, server.connect().await].map(DeskClient::new);
    is_served(&other).await;
    let mut stalled: Vec<_> = (0..4).map(|_| Box::pin(slow.count(1_000_000))).collect();
    for items in &mut stalled {
        assert_eq!(soon(items.next()).await.unwrap().unwrap(), 0);
    }
    is_served(&other).await;
}

#[tokio::test]
async fn streaming_call_past_its_deadline_releases_its_permit() {
    let (server, clerk) = server(Limits {
        max_concurrent_calls: 1,
        write_timeout: HOUR,
        ..Limits::default()
    });
    let connection = RawClient::connect_with_small_window(&server).await;
    let call = call_line(1, "numbers", "[]").replacen('{', r#"{"timeout":100,"#, 1);
    let _unread = connection.send(call).await;
    soon(clerk.started.notified()).await;
    let other = RawClient::connect(&server).await;
    let mut stream = other.send(call_line(2, "add", "[1,2]")).await;
    assert_eq!(stream.reply().await["result"], 3);
}

#[tokio::test]
async fn handler_that_stops_waiting_for_items_keeps_its_stream() {
    let (server, clerk) = server(Limits::default());
    let connection = RawClient::connect_with_small_window(&server).await;
    let both = call_line(1, "blob", "[100000]") + &call_line(2, "item_or_gate", "[]");
    let mut stream = connection.send(both).await;
    soon(clerk.started.notified()).await;
    clerk.gate.notify_one();
    soon(clerk.ended.notified()).await;
    connection.wait_until_processed().await;
    assert_eq!(stream.reply().await["id"], 1);
    assert_eq!(stream.reply().await["id"], 2);
}

#[tokio::test]
async fn drain_does_not_wait_for_a_dropped_write() {
    let (server, clerk) = server(Limits::default());
    let connection = RawClient::connect_with_small_window(&server).await;
    let both = call_line(1, "blob", "[100000]") + &call_line(2, "item_or_gate", "[]");
    let mut stream = connection.send(both).await;
    soon(clerk.started.notified()).await;
    clerk.gate.notify_one();
    soon(clerk.ended.notified()).await;
    connection.wait_until_processed().await;
    while stream.reply().await["id"] != 2 {}
    assert!(
        soon(server.handle.shutdown(HOUR)).await,
        "calls were aborted"
    );
}

#[tokio::test]
async fn unread_response_after_items_times_out() {
    let (server, _) = server(Limits {
        write_timeout: SHORT,
        ..Limits::default()
    });
    let connection = RawClient::connect_with_small_window(&server).await;
    let mut stream = connection.send(call_line(1, "count", "[1]")).await;
    stream.reply().await;
    assert_eq!(stream.reply().await["id"], 1);
    stream.write(call_line(2, "blob", "[300000]")).await;
    assert_eq!(stream.reset_code().await, Some(TIMED_OUT));
}

#[tokio::test]
async fn request_stream_is_cancelled_by_a_message_on_it() {
    let (server, _) = server(Limits::default());
    let connection = RawClient::connect(&server).await;
    let sent = call_line(1, "sum", "[]") + &line(cancel(1));
    let answer = connection.send(sent).await.reply().await;
    assert_eq!(answer["error"]["code"], -32001, "{answer}");
}

#[tokio::test]
async fn call_without_the_items_of_its_method_does_not_affect_other_calls() {
    let clerk = Clerk::default();
    let (client, _server) = serve(DeskServer::new(clerk.clone()), Limits::default()).await;
    let desk = DeskClient::new(client.clone());
    is_served(&desk).await;
    let mut bare = pin!(client.call::<u64, _>("sum", &()).into_future());
    assert!(poll!(&mut bare).is_pending());
    soon(clerk.started.notified()).await;
    let others: Vec<_> = (0..10)
        .map(|_| {
            let desk = desk.clone();
            tokio::spawn(async move { desk.add(1, 2).await })
        })
        .collect();
    println!("{:?}", soon(bare).await);
    for other in others {
        assert_eq!(soon(other).await.unwrap().unwrap(), 3);
    }
}

#[tokio::test]
async fn handler_that_drops_its_items_stops_the_caller() {
    let (desk, _, _server) = desk(Limits::default()).await;
    let (alive, mut dropped) = mpsc::channel::<()>(1);
    let items = stream::iter(0..).then(move |item| {
        let alive = alive.clone();
        async move {
            tokio::task::yield_now().await;
            let _ = &alive;
            item
        }
    });
    let call = tokio::spawn(async move { desk.drop_items(items).await });
    assert_eq!(soon(dropped.recv()).await, None);
    call.abort();
}

#[test]
fn memory_of_large_items_is_released_once_they_are_taken() {
    const UPLOADS: usize = 32;
    let runtime = current_thread();
    let mut streams = Vec::new();
    let measured = allocation_counter::measure(|| {
        let kept = runtime.block_on(async {
            let (server, clerk) = server(Limits::default());
            let connection = RawClient::connect(&server).await;
            let item = |size: usize| line(item(1, "x".repeat(size)));
            for upload in 1..=UPLOADS {
                let mut stream = connection.send(call_line(1, "discard", "[]")).await;
                stream.write(item(1_000_000)).await;
                stream.write(item(1)).await;
                eventually(|| clerk.taken() >= 2 * upload).await;
                streams.push(stream);
            }
            // Buffers of idle streams are released after some seconds.
            connection.wait_until_processed().await;
            tokio::time::pause();
            tokio::time::sleep(Duration::from_secs(4)).await;
            tokio::time::resume();
            (server, connection)
        });
        streams.push(runtime.block_on(kept.1.open()));
        std::mem::forget(kept);
    });
    let each = measured.bytes_current / UPLOADS as i64;
    println!("{each} bytes each");
    assert!(each < 400_000, "{each} bytes each");
    std::mem::forget((streams, runtime));
}

#[tokio::test]
async fn handler_of_many_items_yields_to_other_tasks() {
    let (desk, clerk, _server) = desk(Limits::default()).await;
    let sent = Arc::new(AtomicUsize::new(0));
    let call = tokio::spawn({
        let (desk, sent) = (desk.clone(), Arc::clone(&sent));
        let items = stream::iter(0..100_000).inspect(move |_| {
            sent.fetch_add(1, Ordering::Relaxed);
        });
        async move { desk.gated_sum(items).await }
    });
    until_stalled(&desk, || sent.load(Ordering::Relaxed)).await;
    clerk.gate.notify_one();
    let (mut before, mut most) = (0, 0);
    while !call.is_finished() {
        tokio::task::yield_now().await;
        let taken = clerk.taken();
        most = most.max(taken - before);
        before = taken;
    }
    println!("{most} items at once");
    assert!(most <= 1000, "{most} items at once");
}

#[tokio::test]
async fn response_stream_of_many_items_yields_to_other_tasks() {
    let (desk, clerk, _server) = desk(Limits::default()).await;
    let mut items = Box::pin(desk.yielding());
    let reading = async {
        for _ in 0..50_000 {
            soon(items.next()).await.unwrap().unwrap();
        }
    };
    let most = AtomicUsize::new(0);
    let watching = async {
        let mut before = 0;
        loop {
            tokio::task::yield_now().await;
            let made = clerk.made();
            most.fetch_max(made - before, Ordering::Relaxed);
            before = made;
        }
    };
    tokio::select! { () = reading => {}, () = watching => {} }
    let most = most.into_inner();
    println!("{most} items at once");
    assert!(most <= 1000, "{most} items at once");
}

#[tokio::test(start_paused = true)]
async fn timeout_ends_a_stream_with_buffered_items() {
    let desk = DeskClient::new(Client::local(DeskServer::new(Clerk::default())));
    let limit = Duration::from_millis(100);
    let mut items = Box::pin(desk.numbers().timeout(limit));
    assert_eq!(items.next().await.unwrap().unwrap(), 0);
    tokio::time::sleep(2 * limit).await;
    let mut more = 0;
    let error = loop {
        match items.next().await {
            Some(Ok(_)) => more += 1,
            other => break other,
        }
    };
    println!("{more} more, then {error:?}");
    assert!(matches!(error, Some(Err(CallError::Timeout))));
    assert!(more < 10, "{more} items after the time was over");
}

#[tokio::test]
async fn handler_error_with_the_code_of_an_ended_stream_is_remote() {
    let (desk, _, _server) = desk(Limits::default()).await;
    let error = soon(desk.fails_as_ended()).await.unwrap_err();
    assert!(matches!(error, CallError::Remote(_)), "{error:?}");
}

#[tokio::test]
async fn unread_large_items_do_not_block_calls() {
    let (server, _) = server(Limits {
        max_unsent_bytes_per_connection: 200_000,
        write_timeout: SHORT,
        ..Limits::default()
    });
    let connection = RawClient::connect_with_small_window(&server).await;
    let mut unread = connection.send(call_line(1, "large", "[]")).await;
    unread.read_byte().await;
    connection.wait_until_processed().await;
    let replies = connection.exchange(call_line(2, "add", "[1,2]")).await;
    assert_eq!(replies[0]["result"], 3);
}

#[tokio::test]
async fn streams_dropped_after_one_item_do_not_close_the_connection() {
    let (desk, _, _server) = desk(Limits::default()).await;
    for n in 0..3000 {
        let mut items = pin!(desk.numbers());
        let first = soon(items.next()).await.unwrap();
        assert!(matches!(first, Ok(0)), "stream {n}: {first:?}");
    }
}
