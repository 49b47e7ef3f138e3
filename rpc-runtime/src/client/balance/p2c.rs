//! Which of several servers takes a call: of two that are chosen at random, the one with fewer calls in flight. That is
//! the power of two choices, which spreads calls almost as well as looking at all of them, and does not send all callers to
//! the same one at once.

use std::sync::Arc;

use crate::client::connection::ClientConnection;

/// One of `links` that takes calls, and another than `failed` if there is one.
pub(in crate::client) fn pick<'a>(
    connections: &'a [Arc<ClientConnection>],
    failed: Option<&Arc<ClientConnection>>,
) -> Option<&'a Arc<ClientConnection>> {
    match connections {
        [only] => {
            let is_out =
                failed.is_some_and(|failed| Arc::ptr_eq(only, failed) && only.is_retired());
            (!is_out).then_some(only)
        }
        [] => None,
        several => pick_of(several, failed),
    }
}

fn pick_of<'a>(
    connections: &'a [Arc<ClientConnection>],
    failed: Option<&Arc<ClientConnection>>,
) -> Option<&'a Arc<ClientConnection>> {
    let has_failed = |connection: &Arc<ClientConnection>| {
        failed.is_some_and(|failed| Arc::ptr_eq(connection, failed))
    };
    let is_fit = |connection: &Arc<ClientConnection>| {
        !(connection.is_retired() || connection.is_stalled() || has_failed(connection))
    };
    let (first, second) = two(connections);
    match (is_fit(first), is_fit(second)) {
        (true, true) if second.in_flight() < first.in_flight() => Some(second),
        (true, _) => Some(first),
        (false, true) => Some(second),
        (false, false) => {
            let fit = connections.iter().find(|connection| is_fit(connection));
            fit.or_else(|| {
                connections
                    .iter()
                    .find(|connection| !connection.is_retired())
            })
        }
    }
}

/// Two different ones of several, each pair as likely as any other.
fn two(connections: &[Arc<ClientConnection>]) -> (&Arc<ClientConnection>, &Arc<ClientConnection>) {
    let first = fastrand::usize(..connections.len());
    let second = fastrand::usize(..connections.len() - 1);
    let second = second + usize::from(second >= first);
    (&connections[first], &connections[second])
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Runtime;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::client::Options;
    use crate::client::balance::outlier::{Ejection, OutlierDetector};
    use crate::client::callback::IntoServePeer;
    use crate::client::reconnect::ConnectionSlot;
    use crate::description::discover::DiscoverOptions;
    use crate::transport::{Connection, memory};
    use crate::{Client, Limits, rpc};

    #[rpc(crate = crate)]
    trait Desk {
        async fn add(&self, a: i64, b: i64) -> i64;
        async fn hang(&self);
    }

    struct Calculator;

    impl Desk for Calculator {
        async fn add(&self, a: i64, b: i64) -> i64 {
            a + b
        }

        async fn hang(&self) {
            std::future::pending().await
        }
    }

    /// A client of so many servers, all on the same thread.
    fn several(servers: usize) -> (Runtime, Client) {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().unwrap();
        let inside = runtime.enter();
        let services = ().into_serve_peer(Limits::default(), DiscoverOptions::default());
        let client = Client::of_endpoints(Options::default(), services);
        for port in 1..=servers {
            let (here, there) = memory::pair();
            let services = ((), DeskServer::new(Calculator));
            let server = services.into_serve_peer(Limits::default(), DiscoverOptions::default());
            runtime.spawn(server.serve(Connection::Memory(there), None));
            let address = format!("memory:{port}").parse().unwrap();
            let health = Arc::new(OutlierDetector::new(Ejection::default()));
            let number = client.0.change_endpoints(|endpoints| {
                endpoints.add(address, health, CancellationToken::new())
            });
            let slot = ConnectionSlot::of_endpoint(&client.0, number);
            slot.connected(Connection::Memory(here)).unwrap();
        }
        drop(inside);
        (runtime, client)
    }

    #[test]
    fn a_call_to_one_of_two_servers_allocates_nothing() {
        let (runtime, client) = several(2);
        let desk = DeskClient::new(client.clone());
        let repeat = |times: usize| {
            runtime.block_on(async {
                for _ in 0..times {
                    assert_eq!(desk.add(1, 2).await.unwrap(), 3);
                }
            });
        };
        repeat(600);
        assert_eq!(allocation_counter::measure(|| repeat(300)).count_total, 0);
    }

    #[test]
    fn the_one_with_fewer_calls_in_flight_is_picked() {
        let (runtime, client) = several(2);
        let desk = DeskClient::new(client.clone());
        let connections = client.0.connections();
        let in_flight = || {
            connections
                .iter()
                .map(|connection| connection.in_flight())
                .collect::<Vec<_>>()
        };
        runtime.block_on(async {
            let mut calls = Vec::new();
            for round in 1..=20 {
                for _ in 0..connections.len() {
                    let mut call = Box::pin(desk.hang());
                    assert!(futures_util::poll!(&mut call).is_pending());
                    calls.push(call);
                }
                assert_eq!(in_flight(), [round, round]);
            }
            drop(calls);
            assert_eq!(in_flight(), [0, 0]);
        });
    }

    #[test]
    fn calls_on_streams_of_their_own_count() {
        let (runtime, client) = several(1);
        let desk = DeskClient::new(client.clone());
        let connection = client.0.connections().pop().unwrap();
        runtime.block_on(async {
            let mut calls = Vec::new();
            for number in 1..=150 {
                let mut call = Box::pin(desk.hang().own_stream());
                assert!(futures_util::poll!(&mut call).is_pending());
                calls.push(call);
                assert_eq!(connection.in_flight(), number);
            }
            drop(calls);
            assert_eq!(connection.in_flight(), 0);
        });
    }

    #[test]
    fn what_has_failed_or_takes_no_more_is_avoided() {
        let (_runtime, client) = several(3);
        let connections = client.0.connections();
        let picked = |failed| -> Vec<bool> {
            let picked: Vec<_> = (0..200)
                .filter_map(|_| pick(&connections, failed))
                .collect();
            let is_picked =
                |connection| picked.iter().any(|picked| Arc::ptr_eq(picked, connection));
            connections.iter().map(is_picked).collect()
        };
        assert_eq!(picked(None), [true, true, true]);
        assert_eq!(picked(Some(&connections[0])), [false, true, true]);
        connections[1].retire();
        assert_eq!(picked(None), [true, false, true]);
        assert_eq!(picked(Some(&connections[0])), [false, false, true]);
        connections[2].retire();
        assert_eq!(picked(None), [true, false, false]);
        assert_eq!(
            picked(Some(&connections[0])),
            [true, false, false],
            "there is no other"
        );
        connections[0].retire();
        assert_eq!(picked(None), [false, false, false]);
    }
}
