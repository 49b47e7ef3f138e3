//! Runs each attack of the program `hostile` for a short time. Meanwhile the server answers the calls of a neighbour and
//! counts no more than its budget. Afterwards it releases the memory of the attack.

use std::time::Duration;

use rpc_runtime::Limits;
use tests::hostile::target::{TargetClient, TargetServer, TargetService};
use tests::hostile::{Attack, Attacker, address};
use tests::peer::RawClient;
use tests::support::TestServer;
use tokio::time::{Instant, timeout};

const ATTACK: Duration = Duration::from_millis(300);

/// The maximum that a connection counts beyond its budget: the one parsed message that is always accepted. One of 1 MiB of
/// zeros takes 24 bytes for each byte on the tape, and 5 in the index.
const OVERSHOOT: usize = 32 << 20;

/// The bytes that the server may still count for the neighbour's connection.
const RELEASED: usize = 1 << 20;

async fn withstand(attack: Attack) {
    let server = TestServer::start(TargetServer::new(TargetService), Limits::default());
    let neighbour = TargetClient::new(server.connect().await);
    let client = RawClient::new(&server).from(address(0));
    let attacker = timeout(
        Duration::from_secs(10),
        Attacker::begin(attack, client, server.address),
    );
    let attacker = attacker.await.expect("an attack that begins");
    let budget = Limits::default().max_memory_bytes_per_connection + OVERSHOOT;
    let end = Instant::now() + ATTACK;
    while Instant::now() < end {
        let sum = neighbour.add(1, 2).timeout(Duration::from_secs(5)).await;
        assert_eq!(sum.expect("an answer beside the attack"), 3);
        let held = server.handle.memory_held();
        assert!(
            held <= budget * attack.connections().max(1),
            "{held} bytes held"
        );
    }
    drop(attacker);
    released(&server).await;
}

async fn released(server: &TestServer) {
    let released = async {
        while server.handle.memory_held() > RELEASED {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let held = || server.handle.memory_held();
    assert!(
        timeout(Duration::from_secs(20), released).await.is_ok(),
        "{} bytes held",
        held()
    );
}

macro_rules! attacks {
    ($($name:ident: $attack:ident,)*) => {
        #[test]
        fn attack_of_the_suite_has_a_test() {
            assert_eq!([$(Attack::$attack),*], Attack::ALL);
        }

        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                withstand(Attack::$attack).await;
            }
        )*
    };
}

mod neighbour_is_served_and_memory_released_beside {
    use super::*;

    attacks! {
        idle_connection: Idle,
        honest_calls: Honest,
        half_sent: HalfSent,
        brackets: Brackets,
        never_returning: NeverReturning,
        reset: Reset,
        stopped_reader: StoppedReader,
        panics: Panics,
        cancellations: Cancellations,
        unread_replies: UnreadReplies,
        ignored_zeros: IgnoredZeros,
        zero_parameters: ZeroParameters,
        prepared_messages: PreparedMessages,
        half_sent_large: HalfSentLarge,
        waiting_messages: WaitingMessages,
        idle_workers: IdleWorkers,
        batches: Batches,
        unread_batches: UnreadBatches,
        uploads: Uploads,
        unread_items: UnreadItems,
        escaped_replies: EscapedReplies,
        tiny_unread: TinyUnread,
        oversized: Oversized,
        flooding_addresses: FloodingAddresses,
        flooding_memory: FloodingMemory,
        stalled_handshakes: StalledHandshakes,
        missed_cancellations: MissedCancellations,
        cancellation_batches: CancellationBatches,
        blank_lines: BlankLines,
        tiny_messages: TinyMessages,
        duplicate_members: DuplicateMembers,
        unknown_members: UnknownMembers,
        datagrams: Datagrams,
    }
}
