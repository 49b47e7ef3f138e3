//! A service with every feature that an OpenRPC document can describe.

use rpc_runtime::{Context, RpcError, Stream, rpc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps money.
#[rpc(openrpc)]
#[allow(clippy::too_many_arguments)] // a method with every kind of parameter
pub(crate) trait Bank {
    /// Moves money.
    ///
    /// Both accounts must be of this bank.
    async fn transfer(
        &self,
        from: &str,
        to: &str,
        cents: u64,
        reason: Option<&str>,
        #[rpc(default = 3)] retries: u8,
        #[rpc(default)] kind: Kind,
    ) -> Result<Receipt, Refused>;

    /// Returns the balance of an account.
    #[rpc(idempotent, alias = "saldo")]
    #[rpc(example(
        name = "an account with money",
        params = {"iban": "DE02"},
        result = {"cents": 1250, "at": null}
    ))]
    #[rpc(example(params = ["DE03"]))]
    async fn balance(&self, iban: &str) -> Amount;

    /// Opens an account.
    async fn open(&self, #[rpc(params)] account: Account);

    async fn find(&self, owner: &[u8]) -> Option<Account>;

    async fn sum(&self, #[rpc(params)] cents: Vec<i64>) -> i64;

    /// Closes an account.
    #[deprecated(since = "0.1.0", note = "accounts are kept")]
    async fn close(&self, iban: &str) -> close::Result;

    /// Sends prices.
    fn ticker(&self, symbol: &str) -> impl Stream<Item = Amount>;

    async fn import(&self, accounts: impl Stream<Item = Account>) -> u64;

    #[rpc(notification, unreliable)]
    async fn hint(&self, cx: &Context, text: &str);
}

/// Looks at text.
#[rpc(namespace = "text")]
pub(crate) trait Text {
    async fn count(
        &self,
        text: &str,
        #[rpc(default = " ")] needle: &str,
    ) -> Result<usize, NothingToLookFor>;
}

pub(crate) mod close {
    pub(crate) type Result = std::result::Result<(), super::Refused>;
}

#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    #[default]
    Instant,
    /// Again and again.
    StandingOrder,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Account {
    pub(crate) iban: String,
    pub(crate) owner: String,
    #[serde(default)]
    pub(crate) limit: u64,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Amount {
    pub(crate) cents: i64,
    pub(crate) at: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Receipt {
    pub(crate) number: u64,
    pub(crate) account: Account,
}

#[derive(Debug, thiserror::Error, RpcError)]
pub(crate) enum Refused {
    #[error("no such account")]
    #[rpc(code = 2001)]
    NoAccount,
    #[error("{missing} cents are missing")]
    #[rpc(code = 2002)]
    Short { missing: u64, account: Account },
    /// Shut for today.
    #[error(transparent)]
    #[rpc(code = 2003)]
    Shut(Until),
    #[rpc(code = 2004)]
    #[error("")]
    Twice(u64, u64),
}

#[derive(Debug, thiserror::Error, Serialize, Deserialize, JsonSchema)]
#[error("until {0}")]
pub(crate) struct Until(pub(crate) String);

#[derive(Debug, thiserror::Error, RpcError)]
#[error("nothing to look for")]
#[rpc(code = 3001)]
pub(crate) struct NothingToLookFor;

pub(crate) struct Vault;

fn account(owner: &str) -> Account {
    Account {
        iban: "DE02".into(),
        owner: owner.into(),
        limit: 0,
    }
}

impl Bank for Vault {
    async fn transfer(
        &self,
        from: &str,
        to: &str,
        cents: u64,
        reason: Option<&str>,
        retries: u8,
        kind: Kind,
    ) -> Result<Receipt, Refused> {
        match (from, cents) {
            ("", _) => Err(Refused::NoAccount),
            (_, 0) => Err(Refused::Twice(1, 2)),
            (_, 1..=100) => Ok(Receipt {
                number: u64::from(retries) + reason.map_or(0, str::len) as u64 + kind as u64,
                account: account(to),
            }),
            (_, 101..=200) => Err(Refused::Short {
                missing: cents - 100,
                account: account(from),
            }),
            _ => Err(Refused::Shut(Until("Monday".into()))),
        }
    }

    async fn balance(&self, iban: &str) -> Amount {
        Amount {
            cents: 1250,
            at: (iban != "DE02").then(|| iban.to_owned()),
        }
    }

    async fn open(&self, _: Account) {}

    async fn find(&self, owner: &[u8]) -> Option<Account> {
        let owner = std::str::from_utf8(owner).ok()?;
        (!owner.is_empty()).then(|| account(owner))
    }

    async fn sum(&self, cents: Vec<i64>) -> i64 {
        cents.iter().sum()
    }

    async fn close(&self, _: &str) -> close::Result {
        Ok(())
    }

    fn ticker(&self, symbol: &str) -> impl Stream<Item = Amount> {
        let cents = symbol.len() as i64;
        futures_util::stream::iter((0..3).map(move |_| Amount { cents, at: None }))
    }

    async fn import(&self, accounts: impl Stream<Item = Account>) -> u64 {
        use futures_util::StreamExt;
        accounts.count().await as u64
    }

    async fn hint(&self, _: &Context, _: &str) {}
}

impl Text for Vault {
    async fn count(&self, text: &str, needle: &str) -> Result<usize, NothingToLookFor> {
        match needle.is_empty() {
            true => Err(NothingToLookFor),
            false => Ok(text.matches(needle).count()),
        }
    }
}
