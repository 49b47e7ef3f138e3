//! What the messages of all shapes are sent to.

use std::pin::pin;

use futures::{Stream, StreamExt};
use rpc_runtime::rpc;
use serde::de::{Deserialize, Deserializer, IgnoredAny};

#[rpc]
pub(super) trait Desk {
    async fn text(&self, text: &str) -> usize;
    /// Looks at no argument.
    async fn ignore(&self, #[rpc(params)] all: Ignored);
    async fn numbers(&self, numbers: Vec<i64>) -> usize;
    async fn sum(&self, numbers: impl Stream<Item = u64>) -> u64;
    async fn wait(&self);
}

/// Any value.
#[derive(Debug, serde::Serialize)]
pub(super) struct Ignored;

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|IgnoredAny| Self)
    }
}

pub(super) struct Clerk;

impl Desk for Clerk {
    async fn text(&self, text: &str) -> usize {
        text.len()
    }

    async fn ignore(&self, _: Ignored) {}

    async fn numbers(&self, numbers: Vec<i64>) -> usize {
        numbers.len()
    }

    async fn sum(&self, numbers: impl Stream<Item = u64> + Send) -> u64 {
        let numbers = pin!(numbers);
        numbers.fold(0, async |sum, number| sum + number).await
    }

    async fn wait(&self) {
        std::future::pending().await
    }
}
