//! Shows errors that arrive as the caller's own enum, error objects, and timeouts.

use std::time::Duration;

use rpc_runtime::{CallError, Client, ErrorObject, RpcError, rpc};

#[rpc]
trait Bank {
    /// Takes money out of an account.
    async fn withdraw(&self, account: &str, amount: u64) -> Result<u64, BankError>;
    /// Closes an account. Its error has no type of its own.
    async fn close(&self, account: &str) -> Result<(), ErrorObject>;
    /// Audits the bank. Never returns.
    async fn audit(&self) -> u64;
}

#[derive(Debug, thiserror::Error, RpcError)]
enum BankError {
    #[error("no account {0}")]
    #[rpc(code = 1)]
    NoAccount(String),
    #[error("{missing} short")]
    #[rpc(code = 2)]
    Short { missing: u64 },
}

struct Vault;

impl Bank for Vault {
    async fn withdraw(&self, account: &str, amount: u64) -> Result<u64, BankError> {
        match account {
            "ada" if amount > 100 => Err(BankError::Short {
                missing: amount - 100,
            }),
            "ada" => Ok(100 - amount),
            other => Err(BankError::NoAccount(other.to_owned())),
        }
    }

    async fn close(&self, account: &str) -> Result<(), ErrorObject> {
        Err(ErrorObject::new(3, "not today").with_data(&[account]))
    }

    async fn audit(&self) -> u64 {
        std::future::pending().await
    }
}

#[tokio::main]
async fn main() {
    let bank = BankClient::new(Client::local(BankServer::new(Vault)));

    for (account, amount) in [("ada", 30), ("ada", 130), ("bob", 1)] {
        match bank.withdraw(account, amount).await {
            Ok(left) => println!("{account} has {left} left"),
            Err(CallError::Application(BankError::Short { missing })) => {
                println!("{missing} short")
            }
            Err(other) => println!("refused: {other}"),
        }
    }
    if let Err(CallError::Application(error)) = bank.close("ada").await {
        println!("{} {error}: {:?}", error.code(), error.raw_data());
    }
    match bank.audit().timeout(Duration::from_millis(50)).await {
        Err(CallError::Timeout) => println!("the audit takes too long"),
        other => println!("{other:?}"),
    }
}
