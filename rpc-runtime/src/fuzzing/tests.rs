//! Tests of the cost of messages of each shape for a server, in steps. `bench` counts the cost in instructions.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

use crate::codec::steps;
use crate::fuzzing::harness::ScenarioPeer;
use crate::fuzzing::shapes::{Scenario, Shape, Size, all, cheapest};
use crate::limits::Limits;

/// Approximate size of the messages of a shape, in bytes.
const BYTES: usize = 8 << 10;

/// Number of steps that do not depend on the messages.
const CONSTANT: u64 = 200;

/// Maximum factor between the steps of a shape and the steps of the cheapest messages of the same size. A shape that exceeds
/// it must be charged to its sender.
const MOST: u64 = 4;

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

/// Returns the steps that a server takes for these messages.
fn steps(scenario: Scenario, messages: String) -> u64 {
    let limits = Limits {
        max_net_cancellations: usize::MAX,
        ..Limits::default()
    };
    runtime().block_on(async {
        let mut harness = ScenarioPeer::start(scenario, limits).await.unwrap();
        let before = steps::taken();
        let processed = harness.process(&Bytes::from(messages)).await;
        processed.expect("the connection is open");
        steps::taken() - before
    })
}

/// Returns `true` if the server closes the connection of a client that sends much of this shape.
fn is_charged(shape: &Shape) -> bool {
    let limits = Limits {
        max_net_cancellations: 0,
        cancellations_offset_per_second: 0,
        ..Limits::default()
    };
    runtime().block_on(async {
        let mut harness = ScenarioPeer::start(Scenario::Idle, limits).await.unwrap();
        let messages = Bytes::from((shape.make)(BYTES));
        // What the server has sent before it closes the connection is still received.
        harness.process(&messages).await.is_none() || harness.process(&Bytes::new()).await.is_none()
    })
}

#[test]
fn steps_of_every_shape_are_linear_in_its_bytes() {
    for shape in all() {
        let count = |bytes| {
            let messages = (shape.make)(bytes);
            (messages.len() as u64, steps(shape.scenario, messages))
        };
        let ((bytes, small), (more_bytes, large)) = (count(BYTES), count(4 * BYTES));
        let linear = small * more_bytes / bytes;
        assert!(
            large <= linear + CONSTANT,
            "{}: {small}, {large}",
            shape.name
        );
    }
}

#[test]
fn shape_that_takes_many_steps_is_charged_to_its_sender() {
    for shape in all() {
        let messages = (shape.make)(BYTES);
        let cheapest = steps(Scenario::Idle, cheapest(Size::of(&messages)));
        let steps = steps(shape.scenario, messages);
        let is_cheap = steps <= MOST * cheapest + CONSTANT;
        let name = shape.name;
        assert!(is_cheap || is_charged(shape), "{name}: {steps}, {cheapest}");
    }
}

/// The shapes whose messages serve no purpose. Messages of all other shapes can be sent without limit.
const CHARGED: [&str; 18] = [
    "a member again and again",
    "metadata in many names",
    "an error object",
    "no JSON",
    "JSON without its end",
    "a batch past the limit",
    "a cancellation with a long id",
    "a cancellation with many members",
    "tiny objects",
    "tiny arrays",
    "tiny numbers",
    "tiny lines that are no JSON",
    "batches of 100 numbers",
    "batches of 100 cancellations",
    "cancellations that find nothing on the stream",
    "cancellations of a long id that find nothing",
    "cancellations that find nothing on any stream",
    "cancellations that name a stream that is over",
];

#[test]
fn messages_without_use_are_charged_and_no_others() {
    for shape in all() {
        let is_expected =
            CHARGED.contains(&shape.name) || shape.name == "cancellations past those kept";
        assert_eq!(is_charged(shape), is_expected, "{}", shape.name);
    }
}

/// More chunks than a thousand times the number of messages that a worker serves before it yields, and no more than a stream
/// holds unread.
const CHUNKS: usize = 200_000;

#[test]
fn tasks_beside_a_stream_of_blank_lines_are_polled() {
    let polls = Rc::new(Cell::new(0));
    let counted = Rc::clone(&polls);
    let tasks = LocalSet::new();
    tasks.spawn_local(async move {
        loop {
            tokio::task::yield_now().await;
            counted.set(counted.get() + 1);
        }
    });
    for scenario in [Scenario::Idle, Scenario::Upload] {
        let before = polls.get();
        tasks.block_on(&runtime(), async {
            let mut harness = ScenarioPeer::start(scenario, Limits::default())
                .await
                .unwrap();
            let blank = Bytes::from("\n".repeat(CHUNKS));
            harness.process_chunks(&blank, 1).await.unwrap();
        });
        let polls = polls.get() - before;
        assert!(polls >= 1000, "{scenario:?}: {polls} polls");
    }
}
